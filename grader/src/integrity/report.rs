//! What the analysis found, for a person to look at.
//!
//! A flag is a reason to look, never a verdict: no type here carries a score, a rank or a way to change one.
//! Invariant: equal inputs give equal bytes, in whatever order they came.

use std::cmp::Ordering;

use super::{collect::Collector, limits::Limits};
use crate::id::CandidateId;

/// Most attempts written out for one flag; all of them are counted.
pub(crate) const MAX_LISTED: usize = 100;
/// Most shared answers written out for one flag, the rarest first.
pub(crate) const MAX_SHARED: usize = 20;
/// Most cut blocks written out; all of them are counted.
pub(crate) const MAX_CUT_LISTED: usize = 1_000;

/// What a flag is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two attempts agree more than persons of their scores do.
    Similar,
    /// Several attempts are the same answer for answer, wrong ones included.
    Double,
    /// More persons on one device than may be there.
    SharedDevice,
    /// More persons behind one address than may be there.
    SharedAddress,
    /// Many answers came faster than the item can be read.
    RapidGuessing,
    /// Right and wrong answers do not fit any ability.
    Misfit,
}

impl Kind {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 6] = [
        Self::Similar,
        Self::Double,
        Self::SharedDevice,
        Self::SharedAddress,
        Self::RapidGuessing,
        Self::Misfit,
    ];

    /// Returns its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Similar => "similar",
            Self::Double => "double",
            Self::SharedDevice => "shared_device",
            Self::SharedAddress => "shared_address",
            Self::RapidGuessing => "rapid_guessing",
            Self::Misfit => "misfit",
        }
    }
}

/// Where attempts were looked for together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Behind one address.
    Address,
    /// In one unit.
    Unit,
    /// In one area.
    Area,
    /// In the whole exam.
    Exam,
}

impl Scope {
    /// Returns its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Unit => "unit",
            Self::Area => "area",
            Self::Exam => "exam",
        }
    }
}

/// One attempt of one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptId {
    /// Who.
    pub candidate: CandidateId,
    /// Number of the attempt, from 1.
    pub attempt: u16,
}

/// A rare wrong answer that both gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharedAnswer {
    /// Number of the item in the bank.
    pub item_id: u32,
    /// Chosen options in canonical order; bit 0 is the first. 0 if it is no choice.
    pub chosen: u16,
    /// Share of all answers to the item that are this one.
    pub share: f64,
    /// Positions on the two papers, from 0.
    pub positions: [u16; 2],
    /// When each gave it, Unix milliseconds, exact to the second.
    pub at_ms: [u64; 2],
}

/// A number that a person reads with a flag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fact {
    /// What is told.
    pub name: &'static str,
    /// The number.
    pub value: f64,
}

/// A reason to look at some attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// What about.
    pub kind: Kind,
    /// Where they were looked for.
    pub scope: Scope,
    /// The attempts, by candidate and number; at most 100.
    pub attempts: Vec<AttemptId>,
    /// How many attempts there are.
    pub n_attempts: u64,
    /// Probability of this much by chance in one test; none where there is only a count.
    pub p_value: Option<f64>,
    /// The same in any of the tests of its scope (Bonferroni).
    pub p_any: Option<f64>,
    /// Least share of false flags among those told (Benjamini-Hochberg).
    pub false_share: Option<f64>,
    /// Further numbers.
    pub facts: Vec<Fact>,
    /// Rare wrong answers in common, the rarest first; at most 20.
    pub shared: Vec<SharedAnswer>,
}

/// How many pairs of a scope were tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Where.
    pub scope: Scope,
    /// Pairs that sat at the same time in one place: the number that p-values are corrected for.
    pub n_pairs: u64,
    /// Pairs of them that shared enough rare wrong answers and were compared exactly.
    pub n_evaluated: u64,
}

/// A place in which the work was cut short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutBlock {
    /// Which kind of place.
    pub scope: Scope,
    /// Address tag in hexadecimal, unit number or area code.
    pub name: String,
    /// How many attempts it has.
    pub n_attempts: u64,
    /// Rare wrong answers whose sharers were not followed, and how many there were.
    pub n_left_out: u64,
    /// How many rare wrong answers two or more of the place share.
    pub n_answers: u64,
}

/// What the analysis of an exam found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The exam.
    pub exam_id: String,
    /// Version of the key that told right from wrong.
    pub key_version: u32,
    /// What was asked for.
    pub limits: Limits,
    /// False if the caller ended the analysis: nothing is told then.
    pub is_complete: bool,
    /// Reasons to look: by kind, p-value, how many attempts, attempts.
    pub flags: Vec<Flag>,
    /// Flags that are not listed because there are too many of their kind.
    pub n_flags_left_out: u64,
    /// Ended attempts that were looked at.
    pub n_attempts: u64,
    /// Times that half of the sites were let go to save memory; 0 if everybody was looked at.
    pub n_halvings: u32,
    /// Pairs of attempts tested, over all scopes.
    pub n_pairs_tested: u64,
    /// The same by scope.
    pub families: Vec<Family>,
    /// Places in which the work was cut short; at most 1,000.
    pub cut_blocks: Vec<CutBlock>,
    /// How many such places there are.
    pub n_cut_blocks: u64,
}

impl Report {
    /// Starts with nothing found.
    pub(crate) fn new(collector: &Collector, limits: &Limits) -> Self {
        Self {
            exam_id: collector.package.exam_id().to_owned(),
            key_version: collector.package.key_version(),
            limits: limits.clone(),
            is_complete: false,
            flags: Vec::new(),
            n_flags_left_out: 0,
            n_attempts: 0,
            n_halvings: collector.n_halvings(),
            n_pairs_tested: 0,
            families: Vec::new(),
            cut_blocks: Vec::new(),
            n_cut_blocks: 0,
        }
    }

    /// Adds the flags of one kind, the smallest p-values first, as many as are listed.
    pub(crate) fn add(&mut self, mut flags: Vec<Flag>, max_flags: usize) {
        flags.sort_by(Flag::order);
        self.n_flags_left_out += flags.len().saturating_sub(max_flags) as u64;
        flags.truncate(max_flags);
        self.flags.extend(flags);
    }
}

impl Flag {
    /// Starts a flag about the whole exam, with nothing told yet of its one attempt.
    pub(crate) fn of(kind: Kind) -> Self {
        Self {
            kind,
            scope: Scope::Exam,
            attempts: Vec::new(),
            n_attempts: 1,
            p_value: None,
            p_any: None,
            false_share: None,
            facts: Vec::new(),
            shared: Vec::new(),
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        let p = |flag: &Self| flag.p_value.unwrap_or(1.0);
        self.kind
            .cmp(&other.kind)
            .then(p(self).total_cmp(&p(other)))
            .then(other.n_attempts.cmp(&self.n_attempts))
            .then_with(|| self.attempts.cmp(&other.attempts))
            .then(self.scope.cmp(&other.scope))
    }
}

impl SharedAnswer {
    /// Returns the options as letters; empty if it is no choice.
    pub(crate) fn letters(&self) -> String {
        let chosen = (0u8..12).filter(|at| self.chosen >> at & 1 == 1);
        chosen.map(|at| char::from(b'A' + at)).collect()
    }
}
