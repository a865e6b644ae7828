//! Standings of every scope against a plain sort, at every position of random logs in which everything happens:
//! units, rounds, exclusions, control candidates, voids, restores, reopenings, a freeze.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use proptest::prelude::*;
use proto::exam::v1::{
    BoardRuling, BoardState, CountedAttempt, EndedBy, ExamRules, ExamUnit, ExclusionRuling,
    LogEntry, RankingKey, Restored, Round, Ruling, Started, UnitRankingKey, Voided, event::Kind,
    ruling,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Applied, Fold, Person, Place, View};
use crate::{
    CandidateId, Finished, Of, Package, Scope,
    fixture::{Log, Parts, T0_MS, parts, started},
    load, result_file,
    ruling::append,
    save,
    standing::rules::control_candidate,
    state_hash,
    unit::ranking::{Among, UnitFigures, Unranked},
};

const CUTOFF_MS: u64 = T0_MS + 3_500;

/// A log with units and rounds, and what the exam says.
struct Case {
    parts: Parts,
    log: Log,
    lineages: HashMap<u32, Lineage>,
}

/// A unit and all above it, and the nearest group that one of them names.
#[derive(Default)]
struct Lineage {
    units: Vec<u32>,
    group: Option<String>,
}

fn unit(number: u32, parent: u32, head_count: u64, group: &str) -> ExamUnit {
    ExamUnit {
        unit: number,
        parent,
        name: String::new(),
        head_count,
        group: group.to_owned(),
    }
}

/// Two branches, one so wide that it has an order of its own; groups inside groups; a top unit by itself.
fn units() -> Vec<ExamUnit> {
    let mut units = vec![unit(1, 0, 3, ""), unit(2, 1, 0, "A")];
    units.extend((100..170).map(|number| unit(number, 2, u64::from(number % 3), "")));
    units.extend([
        unit(3, 1, 2, "B"),
        unit(4, 3, 2, ""),
        unit(5, 3, 1, "A"),
        unit(6, 5, 1, ""),
        unit(7, 0, 0, "B"),
        unit(101_000, 101, 4, "B"),
    ]);
    units
}

const SAT_IN: [u32; 14] = [0, 999, 1, 2, 100, 101, 102, 150, 3, 4, 5, 6, 7, 101_000];

fn scopes() -> Vec<Of<'static>> {
    let areas = ["01", "79", "99", "00"].map(Of::Area);
    let units = [1, 2, 3, 5, 6, 7, 100, 101, 160, 8, 0].map(Of::Unit);
    let groups = ["A", "B", "C", ""].map(Of::Group);
    let mut scopes = vec![Of::Country];
    scopes.extend(areas.into_iter().chain(units).chain(groups));
    scopes
}

fn person(n: u8) -> CandidateId {
    CandidateId::from([n.wrapping_mul(77); 16])
}

fn rule(parts: &mut Parts, kind: ruling::Kind) {
    let ruling = Ruling {
        kind: Some(kind),
        ..Ruling::default()
    };
    append(&mut parts.exam, ruling);
}

fn exclude(parts: &mut Parts, persons: &[CandidateId]) {
    let mut ids: Vec<_> = persons.iter().map(|id| id.as_bytes().to_vec()).collect();
    ids.sort();
    let candidates = ids.into_iter().map(Into::into).collect();
    rule(
        parts,
        ruling::Kind::Exclusion(ExclusionRuling { candidates }),
    );
}

fn board(parts: &mut Parts, state: BoardState) {
    let board = BoardRuling {
        state: state.into(),
        cutoff_ms: CUTOFF_MS,
        ..BoardRuling::default()
    };
    rule(parts, ruling::Kind::Board(board));
}

impl Case {
    fn random(seed: u64, n_persons: u8) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut parts = parts();
        let rules = parts.rules_mut();
        rules.units = units();
        rules.counted_attempt = rng.random_range(1..=3);
        rules.ranking = match rng.random_range(0..4) {
            0 => vec![RankingKey::Score.into()],
            1 => vec![RankingKey::Score.into(), RankingKey::NetTime.into()],
            2 => vec![
                RankingKey::CorrectCount.into(),
                RankingKey::SubmittedAt.into(),
            ],
            _ => vec![
                RankingKey::NetTime.into(),
                RankingKey::FewestAttempts.into(),
            ],
        };
        rules.unit_ranking = [vec![], vec![2, 4], vec![3, 5, 1]][rng.random_range(0..3)].clone();
        rules.unit_threshold_percent = [0, 34][rng.random_range(0..2)];
        if rng.random_bool(0.7) {
            rules.rounds.push(Round {
                round: 4,
                ..Round::default()
            });
        }
        exclude(&mut parts, &[person(0), person(1)]);
        if rng.random_bool(0.7) {
            board(&mut parts, BoardState::Frozen);
        }
        let mut log = Log::new(&parts);
        let mut actors: Vec<Actor> = (0..n_persons).map(|n| Actor::new(person(n))).collect();
        actors.push(Actor::new(control_candidate("thi-thu", 1)));
        let rounds: Vec<u32> = parts
            .rules_mut()
            .rounds
            .iter()
            .map(|round| round.round)
            .collect();
        for _ in 0..u32::from(n_persons) * 14 {
            let at = rng.random_range(0..actors.len());
            actors[at].step(&mut log, &rounds, &mut rng);
        }
        let listed = units();
        let numbers = listed.iter().map(|unit| unit.unit).chain(SAT_IN);
        Self {
            lineages: numbers
                .map(|number| (number, lineage(&listed, number)))
                .collect(),
            parts,
            log,
        }
    }

    fn excluded(&self) -> Vec<CandidateId> {
        let mut excluded: Vec<_> = (0..3).map(|n| control_candidate("thi-thu", n)).collect();
        excluded.extend(self.log.package.rulings().excluded.iter());
        excluded
    }

    fn rules(&self) -> &ExamRules {
        let spec = self.parts.exam.spec.as_ref().expect("an exam has it");
        spec.rules.as_ref().expect("an exam has them")
    }
}

struct Actor {
    who: CandidateId,
    attempt: u32,
    running: bool,
    /// Start and idle time since T0.
    gone_ms: u64,
}

impl Actor {
    fn new(who: CandidateId) -> Self {
        Self {
            who,
            attempt: 0,
            running: false,
            gone_ms: 0,
        }
    }

    fn step(&mut self, log: &mut Log, rounds: &[u32], rng: &mut StdRng) {
        let what = rng.random_range(0..20);
        if self.running && what < 10 {
            self.running = false;
            let net_ms = rng.random_range(1..4) * 1_000;
            log.end(
                self.who,
                self.attempt,
                self.gone_ms + net_ms,
                EndedBy::Candidate,
            );
        } else if self.running {
            let position = rng.random_range(0..6);
            log.answer(
                self.who,
                self.attempt,
                position,
                1 << rng.random_range(0..4),
            );
        } else if self.attempt > 0 && what < 8 {
            let attempt = rng.random_range(1..=self.attempt);
            let kind = match what {
                0..4 => Kind::Voided(Voided::default()),
                _ => Kind::Restored(Restored::default()),
            };
            log.push(self.who, attempt, T0_MS, kind);
        } else if self.attempt > 0 && what < 11 {
            log.reopen(self.who, self.attempt, 500);
            self.running = true;
            self.gone_ms += 500;
        } else {
            self.attempt += 1;
            self.running = true;
            self.gone_ms = rng.random_range(0..3) * 1_000;
            let start = Started {
                round: rounds[rng.random_range(0..rounds.len())],
                unit: SAT_IN[rng.random_range(0..SAT_IN.len())],
                ..started(["01", "79", "99"][rng.random_range(0..3)])
            };
            let at_ms = T0_MS + self.gone_ms;
            log.push(self.who, self.attempt, at_ms, Kind::Started(start));
        }
    }
}

/// One row: rank, who, number of the counted attempt.
type PlainRow = (u64, CandidateId, u16);

fn tuple(package: &Package, attempt: &Finished) -> Vec<i128> {
    let key = |key: &RankingKey| match key {
        RankingKey::Score => -i128::from(attempt.score.quanta),
        RankingKey::CorrectCount => -i128::from(attempt.score.n_correct),
        RankingKey::NetTime => i128::from(attempt.net_time_ms()),
        RankingKey::SubmittedAt => i128::from(attempt.ended_at_ms),
        RankingKey::FewestAttempts => i128::from(attempt.attempt),
        other => unreachable!("{other:?} is in no rule here"),
    };
    package.ranking().iter().map(key).collect()
}

fn lineage(listed: &[ExamUnit], number: u32) -> Lineage {
    let find = |number: u32| listed.iter().find(|unit| unit.unit == number);
    let mut chain = std::iter::successors(find(number), |unit| find(unit.parent));
    Lineage {
        units: chain.clone().map(|unit| unit.unit).collect(),
        group: chain
            .find(|unit| !unit.group.is_empty())
            .map(|unit| unit.group.clone()),
    }
}

impl Case {
    fn lies_in(&self, fold: &Fold, attempt: &Finished, of: Of<'_>) -> bool {
        match of {
            Of::Country => true,
            Of::Area(code) => fold.counts.code(attempt.area) == code,
            Of::Unit(number) => self.lineages[&attempt.unit].units.contains(&number),
            Of::Group(name) => self.lineages[&attempt.unit].group.as_deref() == Some(name),
        }
    }

    /// Returns the counted attempt of everybody who is ranked.
    fn counted<'a>(
        &self,
        fold: &'a Fold,
        round: Option<u32>,
        before_ms: u64,
    ) -> Vec<(CandidateId, &'a Finished)> {
        let excluded = self.excluded();
        let ranked = fold
            .persons
            .iter()
            .filter(|person| !excluded.contains(&person.id));
        let counted = ranked.filter_map(|person| {
            let attempts = person.finished.iter().filter(|attempt| {
                !attempt.voided
                    && attempt.ended_at_ms < before_ms
                    && round.is_none_or(|round| attempt.round == round)
            });
            let counted = match CountedAttempt::try_from(self.rules().counted_attempt).unwrap() {
                CountedAttempt::First => attempts.min_by_key(|attempt| attempt.attempt),
                CountedAttempt::Last => attempts.max_by_key(|attempt| attempt.attempt),
                _ => attempts
                    .min_by_key(|attempt| (tuple(&self.log.package, attempt), attempt.attempt)),
            };
            Some((person.id, counted?))
        });
        counted.collect()
    }

    fn plain_rows(&self, fold: &Fold, scope: Scope<'_>, before_ms: u64) -> Vec<PlainRow> {
        let mut rows: Vec<_> = self
            .counted(fold, scope.round, before_ms)
            .into_iter()
            .filter(|(_, counted)| self.lies_in(fold, counted, scope.of))
            .map(|(id, counted)| (tuple(&self.log.package, counted), id, counted.attempt))
            .collect();
        rows.sort();
        let rank = |tuple: &Vec<i128>| 1 + rows.iter().filter(|row| row.0 < *tuple).count() as u64;
        rows.iter()
            .map(|row| (rank(&row.0), row.1, row.2))
            .collect()
    }

    /// Says which scope differs from a full sort, if one does.
    fn differs(&self, fold: &Fold) -> Option<String> {
        let public_before = match fold.is_frozen() {
            true => CUTOFF_MS,
            false => u64::MAX,
        };
        for (view, before_ms) in [(fold.live(), u64::MAX), (fold.public(), public_before)] {
            let mut persons = fold.persons.iter();
            if persons.any(|person| misses(view, person, before_ms)) {
                return Some(format!("own attempts before {before_ms}"));
            }
            let persons = fold.persons.iter();
            let listed: Vec<_> = persons.map(|person| view.places(&person.id)).collect();
            for round in [None, Some(1), Some(4), Some(9)] {
                for of in scopes() {
                    let scope = Scope { round, of };
                    let rows = self.plain_rows(fold, scope, before_ms);
                    if page(view, scope, 0, usize::MAX) != rows
                        || view.n_ranked(scope) != rows.len() as u64
                        || page(view, scope, 2, 3) != *rows.get(2..rows.len().min(5)).unwrap_or(&[])
                        || !self.places_agree(fold, scope, &rows, &listed)
                    {
                        return Some(format!("{scope:?} before {before_ms}: {rows:?}"));
                    }
                }
            }
        }
        None
    }

    fn places_agree(
        &self,
        fold: &Fold,
        scope: Scope<'_>,
        rows: &[PlainRow],
        listed: &[Vec<Place<'_>>],
    ) -> bool {
        let is_listed = scope.round.is_none() || self.rules().rounds.len() > 1;
        fold.persons.iter().zip(listed).all(|(person, listed)| {
            let row = rows.iter().find(|row| row.1 == person.id && is_listed);
            let place = listed.iter().find(|place| place.scope == scope);
            place.map(|place| (place.rank, place.n_tied, place.n_ranked))
                == row.map(|&(rank, ..)| {
                    let n_tied = rows.iter().filter(|row| row.0 == rank).count() as u64;
                    (rank, n_tied, rows.len() as u64)
                })
        })
    }
}

/// Reports whether an own attempt is told that ended too late, or kept back though it did not.
fn misses(view: View<'_>, person: &Person, before_ms: u64) -> bool {
    person.finished.iter().any(|attempt| {
        let shown = view.attempt(&person.id, attempt.attempt.into()).is_some();
        shown != (attempt.ended_at_ms < before_ms)
    })
}

fn page(view: View<'_>, scope: Scope<'_>, offset: u64, limit: usize) -> Vec<PlainRow> {
    let rows = view.page(scope, offset, limit);
    rows.iter()
        .map(|row| (row.rank, row.candidate, row.counted.attempt))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn every_scope_equals_a_full_sort_at_every_position(seed in any::<u64>()) {
        let case = Case::random(seed, 9);
        let mut fold = Fold::new(Arc::clone(&case.log.package));
        for entry in &case.log.entries {
            fold.apply_entry(entry).unwrap();
            prop_assert_eq!(case.differs(&fold), None);
        }
        let read = load(&save(&fold), fold.package()).unwrap();
        prop_assert_eq!(case.differs(&read), None);
        prop_assert_eq!(state_hash(&read), state_hash(&fold));
        prop_assert_eq!(read.n_excluded(), fold.n_excluded());
    }

    #[test]
    fn arrival_repeats_and_restarts_change_no_standing(seed in any::<u64>()) {
        let case = Case::random(seed, 14);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut queues: HashMap<u32, VecDeque<&LogEntry>> = HashMap::new();
        for entry in &case.log.entries {
            queues.entry(entry.partition).or_default().push_back(entry);
        }
        let mut fold = Fold::new(Arc::clone(&case.log.package));
        let mut taken = Vec::new();
        while taken.len() < case.log.entries.len() {
            let queue = queues.get_mut(&rng.random_range(0..4));
            let Some(entry) = queue.and_then(VecDeque::pop_front) else { continue };
            taken.push(entry);
            fold.apply_entry(entry).unwrap();
            let again = taken[rng.random_range(0..taken.len())];
            prop_assert_eq!(fold.apply_entry(again).unwrap(), Applied::Repeated);
            if rng.random_bool(0.05) {
                fold = load(&save(&fold), &case.log.package).unwrap();
                prop_assert_eq!(case.differs(&fold), None);
                prop_assert_eq!(case.units_differ(&fold), None);
            }
        }
        let straight = case.log.fold();
        prop_assert_eq!(case.differs(&fold), None);
        prop_assert_eq!(case.units_differ(&fold), None);
        prop_assert_eq!(state_hash(&fold), state_hash(&straight));
        prop_assert_eq!(result_file(&fold), result_file(&straight));
        prop_assert_eq!(fold.progress(), straight.progress());
    }

    #[test]
    fn a_sort_for_the_final_equals_the_live_order(seed in any::<u64>()) {
        let fold = Case::random(seed, 20).log.fold();
        let sorted: Vec<_> = fold.rows().map(|(_, _, row)| (row.candidate, row.counted)).collect();
        let live = fold.page(None, 0, usize::MAX);
        let live: Vec<_> = live.iter().map(|row| (row.candidate, row.counted)).collect();
        prop_assert_eq!(sorted, live);
    }

    #[test]
    fn rulings_taken_over_later_give_what_they_give_from_the_start(seed in any::<u64>()) {
        let case = Case::random(seed, 12);
        let mut parts = Case::random(seed, 1).parts;
        parts.exam.rulings.clear();
        let bare = Arc::new(parts.load().unwrap());
        board(&mut parts, BoardState::Frozen);
        let frozen = Arc::new(parts.load().unwrap());
        let mut fold = Fold::new(bare);
        let (first, rest) = case.log.entries.split_at(case.log.entries.len() / 2);
        for entry in first {
            fold.apply_entry(entry).unwrap();
        }
        // a decision on the board grades nothing anew, one on persons does
        let shown = fold.shown_by(&frozen);
        fold.show(shown.expect("only the board differs"));
        prop_assert!(fold.is_frozen() && fold.shown_by(&case.log.package).is_none());
        fold = fold.graded_by(&case.log.package).unwrap();
        for entry in rest {
            fold.apply_entry(entry).unwrap();
        }
        prop_assert_eq!(case.differs(&fold), None);
        prop_assert_eq!(fold.n_excluded(), case.log.fold().n_excluded());
    }

    #[test]
    fn a_score_ranks_behind_all_that_are_higher(seed in any::<u64>()) {
        let case = Case::random(seed, 20);
        let fold = case.log.fold();
        for scope in scopes().into_iter().flat_map(|of| [of.overall(), of.in_round(4)]) {
            let known = scope.round.is_none() || case.rules().rounds.len() > 1;
            let rows = fold.live().page(scope, 0, usize::MAX);
            for quanta in [i64::MIN, -1, 0, 1, 14_999, 15_000, 15_001, 45_000, 135_000, 200_000, i64::MAX] {
                let n_higher = rows.iter().filter(|row| row.counted.score.quanta > quanta).count() as u64;
                let rank = fold.live().rank_of_score(scope, quanta);
                let by_score = fold.package().ranking()[0] == RankingKey::Score;
                match rank {
                    Some(rank) => prop_assert!(by_score && known && rank == 1 + n_higher, "{scope:?} {quanta}: {rank}"),
                    None => prop_assert!(!by_score || rows.is_empty()),
                }
                if fold.is_frozen() {
                    prop_assert_eq!(fold.public().rank_of_score(scope, quanta), None);
                }
            }
        }
    }

    #[test]
    fn units_are_ranked_as_a_plain_count_ranks_them(seed in any::<u64>()) {
        let case = Case::random(seed, 30);
        let mut fold = Fold::new(Arc::clone(&case.log.package));
        for (at, entry) in case.log.entries.iter().enumerate() {
            fold.apply_entry(entry).unwrap();
            if at % 20 == 0 {
                prop_assert_eq!(case.units_differ(&fold), None);
            }
        }
        prop_assert_eq!(case.units_differ(&fold), None);
        let read = load(&save(&fold), fold.package()).unwrap();
        prop_assert_eq!(case.units_differ(&read), None);
    }
}

/// What a unit has done as a plain count has it: persons, attempts, quanta, passed, heads.
type PlainFigures = (u64, u64, i128, u64, u64);

impl Case {
    fn plain_figures(&self, fold: &Fold, round: Option<u32>, number: u32) -> PlainFigures {
        let excluded = self.excluded();
        let of = Of::Unit(number);
        let counted = self.counted(fold, round, u64::MAX);
        let counted: Vec<_> = counted
            .iter()
            .filter(|(_, counted)| self.lies_in(fold, counted, of))
            .collect();
        let attempts = fold
            .persons
            .iter()
            .filter(|person| !excluded.contains(&person.id))
            .flat_map(|person| &person.finished)
            .filter(|attempt| !attempt.voided && round.is_none_or(|round| attempt.round == round))
            .filter(|attempt| self.lies_in(fold, attempt, of));
        let listed = self.rules().units.iter();
        let heads = listed.filter(|unit| self.lineages[&unit.unit].units.contains(&number));
        (
            counted.len() as u64,
            attempts.count() as u64,
            counted
                .iter()
                .map(|row| i128::from(row.1.score.quanta))
                .sum(),
            counted
                .iter()
                .filter(|row| row.1.score.passed == Some(true))
                .count() as u64,
            heads.map(|unit| unit.head_count).sum(),
        )
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "small numbers: equal shares give equal floats, as division rounds correctly"
    )]
    fn sort_key(&self, figures: PlainFigures) -> Vec<f64> {
        let (persons, attempts, quanta, passed, heads) = figures;
        let keys = &self.rules().unit_ranking;
        let keys = if keys.is_empty() { &vec![1, 2] } else { keys };
        keys.iter()
            .map(|&key| match UnitRankingKey::try_from(key).unwrap() {
                UnitRankingKey::Turnout => persons as f64 / heads as f64,
                UnitRankingKey::MeanScore => quanta as f64 / persons as f64,
                UnitRankingKey::Persons => persons as f64,
                UnitRankingKey::Attempts => attempts as f64,
                UnitRankingKey::Passed => passed as f64,
                UnitRankingKey::Unspecified => unreachable!(),
            })
            .map(|key: f64| -key)
            .collect()
    }

    fn units_differ(&self, fold: &Fold) -> Option<String> {
        let rules = self.rules();
        let rounds = [None, Some(4)].into_iter().take(rules.rounds.len());
        for round in rounds {
            for (among, numbers) in [
                (Among::Below(0), vec![1, 7]),
                (Among::Below(1), vec![2, 3]),
                (Among::Below(2), (100..170).collect()),
                (Among::Below(6), vec![]),
                (Among::Group("A"), vec![2, 5]),
                (Among::Group("B"), vec![3, 7, 101_000]),
                (Among::Group("C"), vec![]),
            ] {
                let ranking = fold.live().unit_ranking(round, among)?;
                let all = ranking.ranked.iter().map(|row| row.1);
                let all = all.chain(ranking.unranked.iter().map(|row| row.1));
                let mut found: Vec<u32> = all.map(|figures| figures.unit.number).collect();
                found.sort_unstable();
                let ranked: Vec<_> = ranking
                    .ranked
                    .iter()
                    .map(|(_, figures)| self.sort_key(plain(figures)))
                    .collect();
                let ranks_agree =
                    ranking
                        .ranked
                        .iter()
                        .zip(&ranked)
                        .all(|((rank, figures), key)| {
                            let n_better =
                                ranked.iter().filter(|other| *other < key).count() as u64;
                            *rank == 1 + n_better
                                && plain(figures)
                                    == self.plain_figures(fold, round, figures.unit.number)
                        });
                let why_agrees = ranking.unranked.iter().all(|(why, figures)| {
                    let figures = self.plain_figures(fold, round, figures.unit.number);
                    Some(*why) == self.why_unranked(figures)
                });
                let none_missing = ranking
                    .ranked
                    .iter()
                    .all(|(_, figures)| self.why_unranked(plain(figures)).is_none());
                let sorted = ranking
                    .ranked
                    .is_sorted_by_key(|(rank, figures)| (*rank, figures.unit.number));
                if found != numbers || !(ranks_agree && why_agrees && none_missing && sorted) {
                    return Some(format!("{round:?} {among:?}: {ranking:?}"));
                }
            }
        }
        None
    }

    fn why_unranked(&self, (persons, _, _, _, heads): PlainFigures) -> Option<Unranked> {
        let keys = &self.rules().unit_ranking;
        let percent = u64::from(self.rules().unit_threshold_percent);
        match (persons, heads) {
            (0, _) => Some(Unranked::Nobody),
            (_, 0) if percent > 0 || keys.is_empty() || keys.contains(&1) => {
                Some(Unranked::NoHeadCount)
            }
            (persons, heads) if persons * 100 < percent * heads => Some(Unranked::BelowThreshold),
            _ => None,
        }
    }
}

fn plain(figures: &UnitFigures<'_>) -> PlainFigures {
    let tally = figures.tally;
    (
        tally.persons,
        tally.attempts,
        tally.quanta,
        tally.passed,
        figures.head_count,
    )
}

#[test]
fn the_check_of_scopes_sees_a_row_that_is_missing_doubled_or_elsewhere() {
    let case = Case::random(11, 14);
    let whole = case.log.fold();
    assert_eq!(case.differs(&whole), None);
    let units = case.log.package.standing_rules().units();
    let n_tables = case.log.package.standing_rules().n_tables();
    let mut n_seen = 0;
    for table in 0..n_tables {
        for row in page(whole.live(), Of::Country.overall(), 0, usize::MAX) {
            let mut fold = case.log.fold();
            let who = fold.idx_by_id[&row.1];
            let round = (table > 0).then(|| case.rules().rounds[table - 1].round);
            let window = super::seats::Window {
                round,
                before_ms: u64::MAX,
            };
            let Some(seat) = fold.seat(who, window) else {
                continue;
            };
            let ids: Vec<_> = fold.persons.iter().map(|person| person.id).collect();
            let id_of = |who: u32| ids[who as usize];
            fold.live.replace(table, Some(seat), None, units, &id_of);
            assert!(case.differs(&fold).is_some(), "a missing row must be seen");
            let mut moved = seat;
            moved.spot.unit = units.place(160).unwrap();
            fold.live.replace(table, None, Some(moved), units, &id_of);
            assert!(
                case.differs(&fold).is_some(),
                "a row of another unit must be seen"
            );
            assert!(table > 0 || case.units_differ(&fold).is_some());
            n_seen += 1;
        }
    }
    assert!(n_seen > 4);
}

#[test]
fn the_check_of_a_freeze_sees_a_public_row_that_should_not_be_there() {
    let mut case = Case::random(5, 10);
    case.parts.exam.rulings.clear();
    exclude(&mut case.parts, &[person(0), person(1)]);
    board(&mut case.parts, BoardState::Frozen);
    case.log.package = Arc::new(case.parts.load().unwrap());
    let mut fold = case.log.fold();
    assert_eq!(case.differs(&fold), None);
    let live = fold.live().n_ranked(Of::Country.overall());
    let shown = fold.public().n_ranked(Of::Country.overall());
    assert!(0 < shown && shown < live, "{shown} of {live}");
    fold.public = Some(fold.standings_before(u64::MAX - 1));
    assert!(case.differs(&fold).is_some());
    fold.public = Some(fold.standings_before(CUTOFF_MS - 1_000));
    assert!(case.differs(&fold).is_some());
}

#[test]
fn random_logs_reach_all_that_is_checked() {
    let (mut n_public, mut n_excluded, mut n_round, mut n_block, mut n_rows) = (0, 0, 0, 0, 0);
    for seed in 0..20 {
        let fold = Case::random(seed, 20).log.fold();
        let n_ranked = |scope| fold.live().n_ranked(scope);
        assert_eq!(fold.n_quarantined(), 0);
        n_rows += n_ranked(Of::Country.overall());
        n_excluded += fold.n_excluded();
        n_round += n_ranked(Of::Unit(1).in_round(4));
        n_block += n_ranked(Of::Unit(2).overall());
        n_public += u64::from(fold.is_frozen()) * fold.public().n_ranked(Of::Country.overall());
    }
    for n in [n_rows, n_public, n_excluded, n_round, n_block] {
        assert!(
            n > 20,
            "{n_rows} {n_public} {n_excluded} {n_round} {n_block}"
        );
    }
}
