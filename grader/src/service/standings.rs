//! Standings, ranks, units and winners as callers ask for them.
//!
//! While the board is frozen, whoever asks as the public gets what ended before the cutoff and nothing of what came
//! later; units, winners and the rank of a score are told to organizers only, as they are now.

use bytes::Bytes;
use proto::{
    exam::v1::{Scope as AskedScope, StandingRow},
    grader::v1::{
        GetStandingRequest, GetStandingResponse, GetStandingsRequest, GetStandingsResponse,
        GetUnitStandingsRequest, GetUnitStandingsResponse, GetWinnersResponse, RankScoreRequest,
        RankScoreResponse, ScopePlace, UnitRow, Winner,
    },
};
use tonic::Status;

use super::{LiveState, invalid, not_ready, reply};
use crate::{
    fold::{Fold, Place, Row, View},
    id::CandidateId,
    package::Package,
    prize::winners,
    standing::{Of, Scope},
    unit::ranking::{Among, UnitFigures},
};

/// Rows of a page when none are asked for.
const DEFAULT_ROWS: u32 = 100;
/// Most rows of a page: it is made under the lock, in about 100 µs.
const MAX_ROWS: u32 = 1_000;

type Result<T> = std::result::Result<T, Status>;

impl LiveState {
    pub(super) fn standings(&self, request: &GetStandingsRequest) -> Result<GetStandingsResponse> {
        let limit = match request.limit {
            0 => DEFAULT_ROWS,
            limit @ 1..=MAX_ROWS => limit,
            _ => return Err(invalid("limit")),
        };
        let package = self.fold.package();
        let scope = read_scope(package, request.scope.as_ref())?;
        let view = view(&self.fold, request.public);
        let rows = view.page(scope, request.offset, limit as usize);
        Ok(GetStandingsResponse {
            rows: rows.iter().map(|row| standing_row(package, row)).collect(),
            n_ranked: view.n_ranked(scope),
        })
    }

    pub(super) fn standing(&self, request: &GetStandingRequest) -> Result<GetStandingResponse> {
        let candidate =
            CandidateId::try_from(&*request.candidate).map_err(|_| invalid("candidate"))?;
        let view = view(&self.fold, request.public);
        self.own_standing(view, &candidate, request.attempt)
            .ok_or_else(|| not_ready("Lượt thi chưa kết thúc hoặc chưa chấm xong / The attempt has not ended or is not graded yet"))
    }

    fn own_standing(
        &self,
        view: View<'_>,
        candidate: &CandidateId,
        attempt: u32,
    ) -> Option<GetStandingResponse> {
        let counted = view.counted_attempt(candidate, None)?;
        let asked = match attempt {
            0 => counted,
            attempt => view.attempt(candidate, attempt)?,
        };
        let package = self.fold.package();
        let standing = view.standing(candidate);
        let places = view.places(candidate);
        let row = standing.map(|standing| standing_row(package, &standing.row));
        Some(GetStandingResponse {
            counted: row,
            area_rank: standing.map_or(0, |standing| standing.area_rank),
            n_ranked: view.n_ranked(Scope::default()),
            score: package.print(asked.score.quanta),
            max_score: package.print(package.max_quanta()),
            n_correct: u32::from(asked.score.n_correct),
            n_items: u32::try_from(package.n_items()).expect("papers are short, checked at load"),
            net_time_ms: asked.net_time_ms(),
            passed: asked.score.passed,
            scores: reply::scores_by_key(&self.versions, asked),
            ended_at_ms: asked.ended_at_ms,
            places: places.iter().map(scope_place).collect(),
        })
    }

    pub(super) fn rank_score(&self, request: &RankScoreRequest) -> Result<RankScoreResponse> {
        let package = self.fold.package();
        let scope = read_scope(package, request.scope.as_ref())?;
        let quanta = package.quanta(&request.score);
        let rank = quanta.and_then(|quanta| self.fold.live().rank_of_score(scope, quanta));
        Ok(RankScoreResponse {
            rank: rank.ok_or_else(|| invalid("score"))?,
            n_ranked: self.fold.live().n_ranked(scope),
        })
    }

    pub(super) fn unit_standings(
        &self,
        request: &GetUnitStandingsRequest,
    ) -> Result<GetUnitStandingsResponse> {
        let package = self.fold.package();
        let (among, of) = match (request.group.as_str(), request.parent) {
            ("", 0) => (Among::Below(0), Of::Country),
            ("", parent) => (Among::Below(parent), Of::Unit(parent)),
            (group, 0) => (Among::Group(group), Of::Group(group)),
            _ => return Err(invalid("parent")),
        };
        let known = package.standing_rules().has(of.overall());
        let ranking = known.then(|| self.fold.live().unit_ranking(None, among));
        let ranking = ranking.flatten().ok_or_else(|| {
            invalid(if request.parent == 0 {
                "group"
            } else {
                "parent"
            })
        })?;
        let ranked = ranking
            .ranked
            .iter()
            .map(|(rank, figures)| (*rank, figures));
        let unranked = ranking.unranked.iter().map(|(_, figures)| (0, figures));
        Ok(GetUnitStandingsResponse {
            rows: ranked
                .chain(unranked)
                .map(|(rank, figures)| unit_row(package, rank, figures))
                .collect(),
        })
    }

    pub(super) fn winners(&self) -> GetWinnersResponse {
        let package = self.fold.package();
        let winners = winners(&self.fold).into_iter();
        GetWinnersResponse {
            winners: winners
                .map(|winner| Winner {
                    prize: u32::try_from(winner.prize_idx).expect("a message holds fewer prizes"),
                    row: Some(standing_row(package, &winner.row)),
                    tied: winner.undecided,
                    prize_name: package.standing_rules().prizes.prizes[winner.prize_idx]
                        .name
                        .clone(),
                })
                .collect(),
        }
    }
}

fn view(fold: &Fold, public: bool) -> View<'_> {
    if public { fold.public() } else { fold.live() }
}

/// Reads whose standings are asked for; a unit, group or round that the exam does not have is an error of the caller.
fn read_scope<'a>(package: &Package, asked: Option<&'a AskedScope>) -> Result<Scope<'a>> {
    let Some(asked) = asked else {
        return Ok(Scope::default());
    };
    let of = match (asked.area.as_str(), asked.unit, asked.group.as_str()) {
        ("", 0, "") => Of::Country,
        (area, 0, "") => Of::Area(area),
        ("", unit, "") => Of::Unit(unit),
        ("", 0, group) => Of::Group(group),
        _ => return Err(invalid("scope")),
    };
    let round = (asked.round != 0).then_some(asked.round);
    let scope = Scope { round, of };
    let known = package.standing_rules().has(scope);
    known.then_some(scope).ok_or_else(|| invalid("scope"))
}

fn scope_place(place: &Place<'_>) -> ScopePlace {
    let mut scope = AskedScope {
        round: place.scope.round.unwrap_or(0),
        ..AskedScope::default()
    };
    match place.scope.of {
        Of::Country => {}
        Of::Area(code) => code.clone_into(&mut scope.area),
        Of::Unit(number) => scope.unit = number,
        Of::Group(name) => name.clone_into(&mut scope.group),
    }
    ScopePlace {
        scope: Some(scope),
        rank: place.rank,
        n_tied: place.n_tied,
        n_ranked: place.n_ranked,
    }
}

fn standing_row(package: &Package, row: &Row<'_>) -> StandingRow {
    let counted = row.counted;
    StandingRow {
        rank: row.rank,
        candidate: Bytes::copy_from_slice(row.candidate.as_bytes()),
        area: row.area.to_owned(),
        score: package.print(counted.score.quanta),
        n_correct: u32::from(counted.score.n_correct),
        net_time_ms: counted.net_time_ms(),
        submitted_at_ms: counted.ended_at_ms,
        attempt: u32::from(counted.attempt),
        unit: counted.unit,
        passed: counted.score.passed,
        round: counted.round,
    }
}

fn unit_row(package: &Package, rank: u64, figures: &UnitFigures<'_>) -> UnitRow {
    let tally = figures.tally;
    let mean_score = match tally.persons {
        0 => String::new(),
        n_persons => package.print_mean(tally.quanta, n_persons),
    };
    UnitRow {
        rank,
        unit: figures.unit.number,
        name: figures.unit.name.clone(),
        head_count: figures.head_count,
        persons: tally.persons,
        attempts: tally.attempts,
        passed: tally.passed,
        mean_score,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::{
        exam::v1::{
            BoardRuling, BoardState, EndedBy, Exam, ExamState, ExamUnit, ExclusionRuling, Prize,
            Round, Ruling, Started, event::Kind, log_service_client::LogServiceClient,
            log_service_server::LogServiceServer, ruling,
        },
        grader::v1::GetWinnersRequest,
    };
    use tokio::time::Instant;
    use tonic::Code;

    use super::*;
    use crate::{
        control_candidate,
        fixture::{KEYS, Log, Parts, T0_MS, candidate, parts, started},
        service::tests::{Rig, reason_of},
    };

    const CUTOFF_MS: u64 = T0_MS + 10_000;

    /// Two rounds; unit 1 with 2 and 3 below it, and 4 by itself; 3 and 4 are of the group B.
    fn exam() -> Parts {
        let mut parts = parts();
        let unit = |unit, parent, head_count, group: &str| ExamUnit {
            unit,
            parent,
            name: format!("Đơn vị {unit}"),
            head_count,
            group: group.to_owned(),
        };
        let rules = parts.rules_mut();
        rules.units = vec![
            unit(1, 0, 0, ""),
            unit(2, 1, 4, ""),
            unit(3, 1, 2, "B"),
            unit(4, 0, 8, "B"),
        ];
        rules.unit_threshold_percent = 20;
        rules.pass_mark = "0.25".to_owned();
        rules.rounds.push(Round {
            round: 2,
            ..Round::default()
        });
        rules.prizes = vec![Prize {
            count: 2,
            ..Prize::default()
        }];
        parts
    }

    fn decide(exam: &mut Exam, kind: ruling::Kind) {
        let ruling = Ruling {
            kind: Some(kind),
            ..Ruling::default()
        };
        crate::ruling::append(exam, ruling);
    }

    fn board(state: BoardState) -> ruling::Kind {
        ruling::Kind::Board(BoardRuling {
            state: state.into(),
            cutoff_ms: CUTOFF_MS,
            ..BoardRuling::default()
        })
    }

    /// One attempt with the first `n_right` items right, 0.25 points each.
    fn sit(
        log: &mut Log,
        who: CandidateId,
        attempt: u32,
        (round, unit): (u32, u32),
        n_right: u32,
        net_ms: u64,
    ) {
        let start = Started {
            round,
            unit,
            ..started("79")
        };
        log.push(who, attempt, T0_MS, Kind::Started(start));
        for (position, right) in (0..n_right).zip(KEYS) {
            log.answer(who, attempt, position, right);
        }
        log.end(who, attempt, net_ms, EndedBy::Candidate);
    }

    /// Scores 0.25 in unit 2, 0.5 in unit 3, 0 in unit 3 of round 2, 0.5 in unit 4.
    fn log(parts: &Parts) -> Log {
        let mut log = Log::new(parts);
        sit(&mut log, candidate(1), 1, (1, 2), 1, 1_000);
        sit(&mut log, candidate(2), 1, (1, 3), 2, 2_000);
        sit(&mut log, candidate(3), 1, (2, 3), 0, 3_000);
        sit(&mut log, candidate(4), 1, (1, 4), 2, 2_000);
        log
    }

    fn state(log: &Log) -> LiveState {
        LiveState {
            ends: log.positions.clone(),
            fold: log.fold(),
            versions: vec![Arc::clone(&log.package)],
        }
    }

    fn scope(area: &str, unit: u32, group: &str, round: u32) -> AskedScope {
        AskedScope {
            area: area.to_owned(),
            unit,
            group: group.to_owned(),
            round,
        }
    }

    fn first_bytes<'a>(rows: impl IntoIterator<Item = &'a StandingRow>) -> Vec<(u64, u8)> {
        let rows = rows.into_iter();
        rows.map(|row| (row.rank, row.candidate[0])).collect()
    }

    #[test]
    fn every_scope_is_read_and_one_that_is_not_there_is_refused() {
        let state = state(&log(&exam()));
        let page = |scope| {
            let request = GetStandingsRequest {
                scope: Some(scope),
                ..GetStandingsRequest::default()
            };
            let page = state.standings(&request)?;
            assert_eq!(page.n_ranked, page.rows.len() as u64);
            Ok::<_, Status>(first_bytes(&page.rows))
        };
        for (scope, expected) in [
            (scope("", 0, "", 0), vec![(1, 2), (1, 4), (3, 1), (4, 3)]),
            (scope("79", 0, "", 1), vec![(1, 2), (1, 4), (3, 1)]),
            (scope("01", 0, "", 0), vec![]),
            (scope("", 1, "", 0), vec![(1, 2), (2, 1), (3, 3)]),
            (scope("", 1, "", 1), vec![(1, 2), (2, 1)]),
            (scope("", 0, "B", 0), vec![(1, 2), (1, 4), (3, 3)]),
            (scope("", 0, "B", 2), vec![(1, 3)]),
        ] {
            assert_eq!(page(scope.clone()).unwrap(), expected, "{scope:?}");
        }
        for wrong in [
            scope("", 9, "", 0),
            scope("", 0, "C", 0),
            scope("", 0, "", 3),
            scope("79", 1, "", 0),
            scope("", 1, "B", 0),
        ] {
            assert_eq!(page(wrong).unwrap_err().code(), Code::InvalidArgument);
        }
    }

    #[test]
    fn a_person_reads_the_rank_in_every_scope() {
        let state = state(&log(&exam()));
        let request = GetStandingRequest {
            candidate: vec![3; 16].into(),
            ..GetStandingRequest::default()
        };
        let places = state.standing(&request).unwrap().places;
        let found: Vec<_> = places
            .into_iter()
            .map(|place| {
                (
                    place.scope.unwrap(),
                    place.rank,
                    place.n_tied,
                    place.n_ranked,
                )
            })
            .collect();
        let mut expected = vec![
            (scope("", 0, "", 0), 4, 1, 4),
            (scope("79", 0, "", 0), 4, 1, 4),
            (scope("", 3, "", 0), 2, 1, 2),
            (scope("", 1, "", 0), 3, 1, 3),
            (scope("", 0, "B", 0), 3, 1, 3),
        ];
        let in_round = expected.clone().into_iter();
        expected.extend(in_round.map(|(scope, ..)| (AskedScope { round: 2, ..scope }, 1, 1, 1)));
        assert_eq!(found, expected);
    }

    #[test]
    fn who_is_left_out_reads_a_score_and_no_rank() {
        let mut parts = exam();
        let candidates = vec![candidate(2).as_bytes().to_vec().into()];
        let exclusion = ExclusionRuling { candidates };
        decide(&mut parts.exam, ruling::Kind::Exclusion(exclusion));
        let mut log = log(&parts);
        let control = control_candidate("thi-thu", 0);
        sit(&mut log, control, 1, (1, 3), 3, 500);
        let state = state(&log);
        for (who, score) in [(candidate(2), "0.50"), (control, "0.75")] {
            let request = GetStandingRequest {
                candidate: who.as_bytes().to_vec().into(),
                ..GetStandingRequest::default()
            };
            let standing = state.standing(&request).unwrap();
            assert_eq!((standing.score.as_str(), standing.n_ranked), (score, 3));
            assert_eq!((standing.counted, standing.area_rank), (None, 0));
            assert!(standing.places.is_empty());
        }
        assert_eq!(first_bytes(rows(&state.winners())), [(1, 4), (2, 1)]);
        let units = state.unit_standings(&GetUnitStandingsRequest::default());
        let persons = units
            .unwrap()
            .rows
            .iter()
            .map(|row| row.persons)
            .sum::<u64>();
        assert_eq!(persons, 3);
    }

    fn rows(winners: &GetWinnersResponse) -> impl Iterator<Item = &StandingRow> {
        winners
            .winners
            .iter()
            .filter_map(|winner| winner.row.as_ref())
    }

    #[test]
    fn a_score_is_told_the_best_rank_that_it_can_have() {
        let state = state(&log(&exam()));
        let rank = |scope: AskedScope, score: &str| {
            let request = RankScoreRequest {
                scope: Some(scope),
                score: score.to_owned(),
                ..RankScoreRequest::default()
            };
            let answer = state.rank_score(&request)?;
            Ok::<_, Status>((answer.rank, answer.n_ranked))
        };
        let everybody = || scope("", 0, "", 0);
        for (score, expected) in [("2.25", 1), ("0.5", 1), ("0.4999", 3), ("0", 4), ("-3", 5)] {
            assert_eq!(rank(everybody(), score).unwrap(), (expected, 4), "{score}");
        }
        assert_eq!(rank(scope("", 1, "", 1), "0.3").unwrap(), (2, 2));
        assert_eq!(rank(scope("01", 0, "", 0), "0.3").unwrap(), (1, 0));
        for (scope, score) in [
            (everybody(), "0.33333"),
            (everybody(), "x"),
            (scope("", 9, "", 0), "1"),
        ] {
            let status = rank(scope, score).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
        }
    }

    #[test]
    fn units_are_ranked_among_the_children_of_one_or_in_a_group() {
        let state = state(&log(&exam()));
        let ranked = |group: &str, parent| {
            let request = GetUnitStandingsRequest {
                group: group.to_owned(),
                parent,
                ..GetUnitStandingsRequest::default()
            };
            Ok::<_, Status>(state.unit_standings(&request)?.rows)
        };
        let ranks = |rows: Vec<UnitRow>| -> Vec<_> {
            let short = rows
                .into_iter()
                .map(|row| (row.rank, row.unit, row.mean_score));
            short.collect()
        };
        let row = |rank, unit, mean: &str| (rank, unit, mean.to_owned());
        // 4 has 1 person of 8, below the threshold
        let top = ranked("", 0).unwrap();
        assert_eq!(
            (
                top[0].persons,
                top[0].head_count,
                top[0].attempts,
                top[0].passed
            ),
            (3, 6, 3, 2)
        );
        assert_eq!(ranks(top), [row(1, 1, "0.25"), row(0, 4, "0.50")]);
        assert_eq!(
            ranks(ranked("", 1).unwrap()),
            [row(1, 3, "0.25"), row(2, 2, "0.25")]
        );
        assert_eq!(
            ranks(ranked("B", 0).unwrap()),
            [row(1, 3, "0.25"), row(0, 4, "0.50")]
        );
        assert_eq!(ranks(ranked("", 2).unwrap()), []);
        for (group, parent) in [("C", 0), ("", 9), ("B", 1)] {
            let status = ranked(group, parent).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_board_tells_the_public_nothing_of_what_ended_later() {
        let mut rig = Rig::new();
        let mut parts = exam();
        let mut log = log(&parts);
        rig.add(&log).await;
        rig.caught_up(&log).await;
        let put = async |rig: &Rig, parts: &Parts| {
            let package = Arc::new(parts.load().unwrap());
            let source = LogServiceClient::new(LogServiceServer::new(rig.engine.clone()));
            rig.graders
                .add_exam(ExamState::Open, vec![package], Arc::new(source))
                .await;
        };
        let asked = |public| GetStandingsRequest {
            exam_id: "thi-thu".to_owned(),
            public,
            ..GetStandingsRequest::default()
        };
        decide(&mut parts.exam, board(BoardState::Frozen));
        put(&rig, &parts).await;
        let request = asked(true);
        let mut watched = rig
            .client
            .watch_standings(request)
            .await
            .unwrap()
            .into_inner();
        let before = watched.message().await.unwrap().unwrap();
        assert_eq!(before.n_ranked, 4);

        // a new person, a better attempt of a known one, and one that ended in time and arrives late
        sit(&mut log, candidate(5), 1, (1, 2), 3, 10_000);
        sit(&mut log, candidate(1), 2, (1, 2), 3, 11_000);
        rig.engine.set(&log);
        rig.caught_up(&log).await;
        let quiet = tokio::time::timeout(super::super::WATCH_PERIOD * 5, watched.message()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        let live = rig
            .client
            .get_standings(asked(false))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            first_bytes(&live.rows),
            [(1, 5), (2, 1), (3, 2), (3, 4), (5, 3)]
        );
        let mut own = async |who: CandidateId, attempt, public| {
            let request = GetStandingRequest {
                exam_id: "thi-thu".to_owned(),
                candidate: who.as_bytes().to_vec().into(),
                attempt,
                public,
            };
            let answer = rig.client.get_standing(request).await;
            answer.map(|standing| {
                let standing = standing.into_inner();
                let row = standing.counted.unwrap();
                (
                    row.attempt,
                    row.rank,
                    standing.area_rank,
                    standing.n_ranked,
                    standing.score,
                )
            })
        };
        let first = (1, 3, 3, 4, "0.25".to_owned());
        assert_eq!(own(candidate(1), 0, true).await.unwrap(), first);
        assert_eq!(own(candidate(1), 1, true).await.unwrap(), first);
        for (who, attempt) in [(1, 2), (5, 0), (5, 1)] {
            let status = own(candidate(who), attempt, true).await.unwrap_err();
            let reason = (Code::FailedPrecondition, "RESULT_NOT_READY".to_owned());
            assert_eq!(reason_of(&status), reason);
            own(candidate(who), attempt, false).await.unwrap();
        }
        let winners = GetWinnersRequest {
            exam_id: "thi-thu".to_owned(),
        };
        let winners = rig.client.get_winners(winners).await.unwrap().into_inner();
        assert_eq!(first_bytes(rows(&winners)), [(1, 5), (2, 1)]);

        sit(&mut log, candidate(6), 1, (1, 2), 4, 9_999);
        rig.engine.set(&log);
        let late = watched.message().await.unwrap().unwrap();
        assert_eq!(first_bytes(&late.rows)[0], (1, 6));
        decide(&mut parts.exam, board(BoardState::Live));
        put(&rig, &parts).await;
        let deadline = Instant::now() + super::super::WATCH_PERIOD * 5;
        let thawed = watched.message().await.unwrap().unwrap();
        assert!(Instant::now() < deadline && thawed.n_ranked == 6);
    }
}
