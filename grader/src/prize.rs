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

/// Prizes of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prize {
    /// Name as shown.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Round whose standings they are for; none for those of the exam.
    pub round: Option<u32>,
    /// Audience group they are for.
    pub group: Option<String>,
}

impl Prize {
    /// Returns whose standings they are for.
    #[must_use]
    pub fn scope(&self) -> Scope<'_> {
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
    /// The prize.
    pub prize: &'fold Prize,
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

/// Returns who wins, by prize and rank, as the standings are now.
#[must_use]
pub fn winners(fold: &Fold) -> Vec<Winner<'_>> {
    let rules = &fold.package().standing_rules().prizes;
    let mut given = Given {
        cap: rules.cap,
        by_person: HashMap::default(),
    };
    let mut winners = Vec::new();
    for prize in &rules.prizes {
        let first = winners.len();
        give(fold, prize, &given, &mut winners);
        given.note(&winners[first..]);
    }
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
    prize: &'fold Prize,
    given: &Given,
    winners: &mut Vec<Winner<'fold>>,
) {
    let count = u64::from(prize.count);
    // persons who may have it for certain, and with those who perhaps may
    let (mut n_certain, mut n_possible) = (0, 0);
    let mut rows = Rows::new(fold, prize.scope());
    while n_certain < count {
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
                prize,
                row: *row,
                undecided: *may == MayHave::Perhaps || n_possible > count,
            });
        }
        n_certain += tied
            .iter()
            .filter(|(may, _)| *may == MayHave::Yes)
            .count() as u64;
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

    /// Returns all rows of the next rank; none at the end.
    fn next_rank(&mut self) -> Vec<Row<'fold>> {
        let mut rows = Vec::new();
        while let Some(row) = self.peek() {
            if rows.last().is_some_and(|last: &Row<'_>| last.rank != row.rank) {
                break;
            }
            self.ahead.pop_front();
            rows.push(row);
        }
        rows
    }
}
