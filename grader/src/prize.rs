//! Prizes: who wins what, by the standings of a round, of the exam, or of an audience group.
//!
//! Prizes are given in order. Who has as many as one person may have is passed over, and the next in rank takes the
//! prize. Nobody is cut by chance: all who tie for the last place are listed as undecided, and so is everybody whose
//! prize hangs on how such a tie is decided. Decisions are the organizers'.
//! Source: docs/FORMATS.md section 5.

use std::collections::{HashMap, VecDeque};

use proto::exam::v1::ExamRules;

use crate::{
    error::{Error, Result},
    fold::{Fold, Row},
    id::{BuildIdHasher, CandidateId},
    standing::{Of, Scope},
    unit::Units,
};

/// Rows looked at in one step.
const PAGE_ROWS: usize = 256;
/// Most winners listed: they fit a message of 4 MiB, and a tie that wide is decided by another rule.
pub(crate) const MAX_WINNERS: usize = 20_000;

/// Prizes of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Prize {
    pub(crate) name: String,
    count: u32,
    round: Option<u32>,
    group: Option<String>,
}

impl Prize {
    /// Returns whose standings they are for.
    fn scope(&self) -> Scope<'_> {
        Scope {
            round: self.round,
            of: self.group.as_deref().map_or(Of::Country, Of::Group),
        }
    }
}

/// All prizes of an exam.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prizes {
    pub(crate) prizes: Vec<Prize>,
    /// Most of one person; 0 is no limit.
    pub(crate) cap: u32,
}

/// Who wins a prize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winner<'fold> {
    /// Place of the prize in the exam's rules, from 0.
    pub prize_idx: usize,
    /// Rank and counted attempt in the prize's standings.
    pub row: Row<'fold>,
    /// More persons are listed than there are prizes: a tie has to be decided first.
    pub undecided: bool,
}

pub(crate) fn load_prizes(rules: &ExamRules, units: &Units) -> Result<Prizes> {
    let prizes = rules.prizes.iter().map(|prize| {
        let round_known =
            prize.round == 0 || rules.rounds.iter().any(|round| round.round == prize.round);
        let group_known = prize.group.is_empty() || units.find_group(&prize.group).is_some();
        if !round_known || !group_known {
            return Err(Error::FieldInvalid {
                field: "spec.rules.prizes",
            });
        }
        Ok(Prize {
            name: prize.name.clone(),
            count: prize.count,
            round: (prize.round != 0).then_some(prize.round),
            group: (!prize.group.is_empty()).then(|| prize.group.clone()),
        })
    });
    Ok(Prizes {
        prizes: prizes.collect::<Result<_>>()?,
        cap: rules.prize_cap,
    })
}

/// Returns who wins, by prize and rank, as the standings are now; at most 20,000.
#[must_use]
pub fn winners(fold: &Fold) -> Vec<Winner<'_>> {
    let rules = &fold.package().standing_rules().prizes;
    let mut given = Given {
        cap: rules.cap,
        by_person: HashMap::default(),
    };
    let mut winners = Vec::new();
    for prize_idx in 0..rules.prizes.len() {
        let first = winners.len();
        give(fold, prize_idx, &given, &mut winners);
        given.note(&winners[first..]);
    }
    winners.truncate(MAX_WINNERS);
    winners
}

/// Prizes given so far, by person: decided and undecided ones.
struct Given {
    cap: u32,
    by_person: HashMap<CandidateId, (u32, u32), BuildIdHasher>,
}

/// Whether a person may have one more prize.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MayHave {
    Yes,
    /// If a tie for an earlier prize is lost.
    Perhaps,
    No,
}

impl Given {
    fn may_have(&self, who: &CandidateId) -> MayHave {
        match self.by_person.get(who) {
            Some((decided, _)) if self.cap != 0 && *decided >= self.cap => MayHave::No,
            Some((decided, open)) if self.cap != 0 && decided + open >= self.cap => {
                MayHave::Perhaps
            }
            _ => MayHave::Yes,
        }
    }

    fn note(&mut self, winners: &[Winner<'_>]) {
        for winner in winners {
            let (decided, open) = self.by_person.entry(winner.row.candidate).or_default();
            *(if winner.undecided { open } else { decided }) += 1;
        }
    }
}

/// Lists everybody who wins a prize if ties are decided in the own favour; who wins it in any case is decided.
fn give<'fold>(
    fold: &'fold Fold,
    prize_idx: usize,
    given: &Given,
    winners: &mut Vec<Winner<'fold>>,
) {
    let prize = &fold.package().standing_rules().prizes.prizes[prize_idx];
    let count = u64::from(prize.count);
    // persons who may have it for certain, and with those who perhaps may
    let (mut n_certain, mut n_possible) = (0, 0);
    let mut rows = Rows::new(fold, prize.scope());
    while n_certain < count && winners.len() < MAX_WINNERS {
        let tied = rows.next_rank();
        if tied.is_empty() {
            return;
        }
        let tied: Vec<(MayHave, Row<'fold>)> = tied
            .into_iter()
            .map(|row| (given.may_have(&row.candidate), row))
            .filter(|(may, _)| *may != MayHave::No)
            .collect();
        n_possible += tied.len() as u64;
        for (may, row) in &tied {
            winners.push(Winner {
                prize_idx,
                row: *row,
                undecided: *may == MayHave::Perhaps || n_possible > count,
            });
        }
        n_certain += tied.iter().filter(|(may, _)| *may == MayHave::Yes).count() as u64;
    }
}

/// Reads standings rank by rank.
struct Rows<'fold> {
    fold: &'fold Fold,
    scope: Scope<'fold>,
    offset: u64,
    ahead: VecDeque<Row<'fold>>,
}

impl<'fold> Rows<'fold> {
    fn new(fold: &'fold Fold, scope: Scope<'fold>) -> Self {
        Self {
            fold,
            scope,
            offset: 0,
            ahead: VecDeque::new(),
        }
    }

    fn peek(&mut self) -> Option<Row<'fold>> {
        if self.ahead.is_empty() {
            let page = self.fold.live().page(self.scope, self.offset, PAGE_ROWS);
            self.offset += page.len() as u64;
            self.ahead.extend(page);
        }
        self.ahead.front().copied()
    }

    /// Returns all rows of the next rank, of a very wide one as many as are listed; none at the end.
    fn next_rank(&mut self) -> Vec<Row<'fold>> {
        let mut rows = Vec::new();
        while let Some(row) = self.peek() {
            let is_next = rows
                .last()
                .is_some_and(|last: &Row<'_>| last.rank != row.rank);
            if is_next || rows.len() == MAX_WINNERS {
                break;
            }
            self.ahead.pop_front();
            rows.push(row);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::{
        Ended, EndedBy, ExamUnit, ExclusionRuling, Prize as ListedPrize, Round, Ruling, Started,
        event::Kind, ruling,
    };

    use super::*;
    use crate::fixture::{Log, Parts, T0_MS, candidate, ended, parts, started};

    fn listed(name: &str, count: u32, round: u32, group: &str) -> ListedPrize {
        ListedPrize {
            name: name.to_owned(),
            count,
            round,
            group: group.to_owned(),
        }
    }

    /// Two rounds; unit 5 is of the group A.
    fn exam(prizes: Vec<ListedPrize>, cap: u32) -> Parts {
        let mut parts = parts();
        let rules = parts.rules_mut();
        rules.rounds.push(Round {
            round: 2,
            ..Round::default()
        });
        rules.units.push(ExamUnit {
            unit: 5,
            group: "A".to_owned(),
            ..ExamUnit::default()
        });
        rules.prizes = prizes;
        rules.prize_cap = cap;
        parts
    }

    /// Everybody sits once, with a paper left blank: (who, round, unit, net time).
    fn log(parts: &Parts, sat: &[(u8, u32, u32, u64)]) -> Log {
        let mut log = Log::new(parts);
        for &(n, round, unit, net_ms) in sat {
            let before = sat
                .iter()
                .take_while(|other| **other != (n, round, unit, net_ms));
            let attempt = 1 + before.filter(|other| other.0 == n).map(|_| 1).sum::<u32>();
            let start = Started {
                round,
                unit,
                ..started("79")
            };
            log.push(candidate(n), attempt, T0_MS, Kind::Started(start));
            let end: Ended = ended(EndedBy::Candidate, 0, T0_MS + net_ms);
            log.push(candidate(n), attempt, T0_MS, Kind::Ended(end));
        }
        log
    }

    /// Compares with (prize, rank, who, undecided).
    #[track_caller]
    fn check(
        prizes: Vec<ListedPrize>,
        cap: u32,
        sat: &[(u8, u32, u32, u64)],
        expected: &[(&str, u64, u8, bool)],
    ) {
        let names: Vec<String> = prizes.iter().map(|prize| prize.name.clone()).collect();
        let fold = log(&exam(prizes, cap), sat).fold();
        assert_eq!(fold.n_quarantined(), 0);
        let found: Vec<_> = winners(&fold)
            .iter()
            .map(|winner| {
                let who = winner.row.candidate.as_bytes()[0];
                (
                    names[winner.prize_idx].as_str(),
                    winner.row.rank,
                    who,
                    winner.undecided,
                )
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn prizes_go_down_the_standings() {
        let sat = [(1, 1, 0, 10), (2, 1, 0, 20), (3, 1, 0, 30), (4, 1, 0, 40)];
        check(
            vec![listed("nhất", 1, 0, ""), listed("nhì", 2, 0, "")],
            1,
            &sat,
            &[
                ("nhất", 1, 1, false),
                ("nhì", 2, 2, false),
                ("nhì", 3, 3, false),
            ],
        );
        check(vec![listed("nhất", 0, 0, "")], 1, &sat, &[]);
        check(
            vec![listed("ba", 9, 0, "")],
            0,
            &sat[..2],
            &[("ba", 1, 1, false), ("ba", 2, 2, false)],
        );
    }

    #[test]
    fn who_has_enough_prizes_is_passed_over() {
        let sat = [
            (1, 1, 0, 10),
            (2, 1, 0, 20),
            (1, 2, 0, 10),
            (2, 2, 0, 20),
            (3, 2, 0, 30),
        ];
        let prizes = || vec![listed("tuần 1", 1, 1, ""), listed("tuần 2", 1, 2, "")];
        check(
            prizes(),
            1,
            &sat,
            &[("tuần 1", 1, 1, false), ("tuần 2", 2, 2, false)],
        );
        for cap in [0, 2] {
            check(
                prizes(),
                cap,
                &sat,
                &[("tuần 1", 1, 1, false), ("tuần 2", 1, 1, false)],
            );
        }
    }

    #[test]
    fn all_who_tie_for_the_last_place_are_listed() {
        let sat = [
            (1, 1, 0, 10),
            (2, 1, 0, 20),
            (3, 1, 0, 20),
            (4, 1, 0, 20),
            (5, 1, 0, 30),
        ];
        check(
            vec![listed("nhất", 2, 0, "")],
            1,
            &sat,
            &[
                ("nhất", 1, 1, false),
                ("nhất", 2, 2, true),
                ("nhất", 2, 3, true),
                ("nhất", 2, 4, true),
            ],
        );
        // a tie that the places suffice for needs no decision
        check(
            vec![listed("nhất", 3, 0, "")],
            1,
            &sat[..3],
            &[
                ("nhất", 1, 1, false),
                ("nhất", 2, 2, false),
                ("nhất", 2, 3, false),
            ],
        );
    }

    #[test]
    fn what_hangs_on_an_open_tie_is_open_too() {
        let sat = [(1, 1, 0, 10), (2, 1, 0, 10), (3, 1, 0, 20), (4, 1, 0, 30)];
        let prizes = || vec![listed("nhất", 1, 0, ""), listed("nhì", 1, 0, "")];
        check(
            prizes(),
            1,
            &sat,
            &[
                ("nhất", 1, 1, true),
                ("nhất", 1, 2, true),
                ("nhì", 1, 1, true),
                ("nhì", 1, 2, true),
                ("nhì", 3, 3, true),
            ],
        );
        // with places enough for everybody, the third is sure of one
        check(
            vec![listed("nhất", 1, 0, ""), listed("nhì", 3, 0, "")],
            1,
            &sat,
            &[
                ("nhất", 1, 1, true),
                ("nhất", 1, 2, true),
                ("nhì", 1, 1, true),
                ("nhì", 1, 2, true),
                ("nhì", 3, 3, false),
                ("nhì", 4, 4, true),
            ],
        );
    }

    #[test]
    fn a_prize_of_a_group_goes_to_the_best_of_the_group() {
        let sat = [(1, 1, 0, 10), (2, 1, 5, 20), (3, 2, 5, 30), (4, 2, 5, 25)];
        check(
            vec![
                listed("khối A", 1, 0, "A"),
                listed("khối A, tuần 2", 1, 2, "A"),
            ],
            1,
            &sat,
            &[("khối A", 1, 2, false), ("khối A, tuần 2", 1, 4, false)],
        );
    }

    #[test]
    fn a_tie_wider_than_a_message_is_cut() {
        let parts = exam(vec![listed("nhất", 1, 0, ""), listed("nhì", 1, 0, "")], 0);
        let mut log = Log::new(&parts);
        for n in 0..=u32::try_from(MAX_WINNERS).unwrap() {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            log.sit(CandidateId::from(id), 1, "79", &[], 10, EndedBy::Candidate);
        }
        let fold = log.fold();
        let winners = winners(&fold);
        assert_eq!(winners.len(), MAX_WINNERS);
        assert!(
            winners
                .iter()
                .all(|winner| winner.undecided && winner.prize_idx == 0)
        );
    }

    #[test]
    fn who_is_left_out_wins_nothing() {
        let mut parts = exam(vec![listed("nhất", 1, 0, "")], 0);
        let ruling = Ruling {
            kind: Some(ruling::Kind::Exclusion(ExclusionRuling {
                candidates: vec![candidate(1).as_bytes().to_vec().into()],
            })),
            ..Ruling::default()
        };
        crate::ruling::append(&mut parts.exam, ruling);
        let fold = log(&parts, &[(1, 1, 0, 10), (2, 1, 0, 20)]).fold();
        let won: Vec<_> = winners(&fold)
            .iter()
            .map(|winner| winner.row.candidate)
            .collect();
        assert_eq!((won, fold.n_excluded()), (vec![candidate(2)], 1));
    }

    #[test]
    fn a_prize_of_a_round_or_group_that_is_not_there_is_refused() {
        assert!(exam(vec![listed("x", 1, 2, "A")], 1).load().is_ok());
        assert!(exam(vec![listed("x", 1, 3, "")], 1).load().is_err());
        assert!(exam(vec![listed("x", 1, 0, "B")], 1).load().is_err());
    }
}
