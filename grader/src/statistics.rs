//! Statistics of an exam while it runs: exact counts that any number of sittings enter and leave.
//!
//! A sitting is added when it is graded, removed and added again when a key is corrected; shards are merged. Only
//! whole numbers are kept, so that any order gives the same state; reports turn them into numbers with a fraction.
//! Invariants: [`Statistics::remove`] undoes [`Statistics::add`] exactly; a value that is not defined is none,
//! never NaN. Start at [`Statistics::add`], then [`Statistics::item_reports`] and [`alarms`].
//! Source: the definitions of Moodle's quiz statistics; Lord and Novick, "Statistical Theories of Mental Test
//! Scores".

pub mod alarm;
pub mod bank;
pub mod dif;
pub mod irt;
pub mod item_report;
pub mod test_report;

mod histogram;
mod item_counts;
mod matrix;
mod normal;
mod option_report;
mod quadrature;
mod score_groups;
mod sparse;
mod sums;
mod test_counts;

#[cfg(test)]
mod planted;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod simulation;

pub use alarm::{Alarm, ScoreRange, alarms};
pub use bank::{ItemStatistics, to_bank};
pub use item_report::{Facility, ItemReport};
pub use option_report::OptionReport;
pub use test_report::{Distribution, Reliability, TestReport};

use item_counts::ItemCounts;
use test_counts::TestCounts;

/// What a candidate did with an item, as one small number.
///
/// Of an item with options it is the set of chosen options, bit 0 the first in canonical order. Of any other item
/// it is [`WRONG`](Self::WRONG), [`PARTIAL`](Self::PARTIAL), [`RIGHT`](Self::RIGHT) or a frequent wrong
/// [`text`](Self::text). An item that was not on the paper has no choice at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice(pub u16);

impl Choice {
    /// On the paper, but not answered.
    pub const BLANK: Self = Self(0);
    /// A wrong answer to an item without options.
    pub const WRONG: Self = Self(1);
    /// A partly right answer to an item without options.
    pub const PARTIAL: Self = Self(2);
    /// A right answer to an item without options.
    pub const RIGHT: Self = Self(3);

    /// Returns the code of a wrong text that the caller numbers, because many gave it.
    #[must_use]
    pub const fn text(idx: u16) -> Self {
        Self(idx.saturating_add(Self::RIGHT.0 + 1))
    }

    /// Reports whether an option is among the chosen.
    #[must_use]
    pub const fn has(self, option: u8) -> bool {
        option < 16 && self.0 >> option & 1 == 1
    }
}

/// How an item comes onto papers; it decides what its marks are compared with, as in Moodle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// On every paper: compared with the rest of the paper.
    #[default]
    Fixed,
    /// Drawn onto some papers: compared with the whole total; no effective weight.
    Drawn,
    /// One variant of a question that is on every paper: compared with the rest; no effective weight.
    Variant,
}

/// What the statistics must know of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemInfo {
    /// Number in the bank.
    pub item_id: u32,
    /// Revision in the bank, if it has one.
    pub revision: Option<u32>,
    /// Options; 0 for an item without options.
    pub n_options: u8,
    /// Right options, bit 0 the first; 0 for an item without options.
    pub key: u16,
    /// Whether one option is to be chosen.
    pub single: bool,
    /// What guessing earns, in thousandths of the mark; none for 1 of the options of a single choice.
    pub random_guess_milli: Option<u32>,
    /// How it comes onto papers.
    pub placement: Placement,
}

impl ItemInfo {
    /// Returns the choice that is right by the key.
    #[must_use]
    pub fn right(&self) -> Choice {
        if self.key == 0 {
            Choice::RIGHT
        } else {
            Choice(self.key)
        }
    }
}

/// One graded item of a sitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graded {
    /// Index of the item among those given to [`Statistics::new`].
    pub item_idx: u16,
    /// Section of the paper it stood in.
    pub section: u16,
    /// What was chosen.
    pub choice: Choice,
    /// What it earned, in quanta.
    pub quanta: i64,
    /// What it could earn, in quanta.
    pub mark_quanta: i64,
}

/// One graded sitting.
#[derive(Clone, Copy, Debug)]
pub struct Sitting<'a> {
    /// Score in quanta.
    pub total: i64,
    /// Number of the area.
    pub area: u16,
    /// Hour of its start, since the Unix epoch.
    pub hour: u32,
    /// Score of each section in quanta.
    pub section_totals: &'a [i64],
    /// The items of the paper, blank ones too.
    pub responses: &'a [Graded],
}

/// The counts of one exam.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    infos: Vec<ItemInfo>,
    items: Vec<ItemCounts>,
    test: TestCounts,
}

impl Statistics {
    /// Starts with no sitting.
    #[must_use]
    pub fn new(items: Vec<ItemInfo>) -> Self {
        Self {
            items: vec![ItemCounts::default(); items.len()],
            test: TestCounts::default(),
            infos: items,
        }
    }

    /// Counts a sitting; a response to an item that the exam does not have is left out of the items' counts.
    pub fn add(&mut self, sitting: &Sitting<'_>) {
        self.count(sitting, 1);
    }

    /// Takes a sitting out again.
    pub fn remove(&mut self, sitting: &Sitting<'_>) {
        self.count(sitting, -1);
    }

    /// Adds the counts of another part of the same exam; both must have been made of the same items.
    pub fn merge(&mut self, other: &Self) {
        self.test.merge(&other.test);
        for (mine, theirs) in self.items.iter_mut().zip(&other.items) {
            mine.merge(theirs);
        }
    }

    /// Returns the items, as given to [`new`](Self::new).
    #[must_use]
    pub fn items(&self) -> &[ItemInfo] {
        &self.infos
    }

    fn count(&mut self, sitting: &Sitting<'_>, by: i64) {
        self.test.count(sitting, by);
        for graded in sitting.responses {
            if let Some(item) = self.items.get_mut(usize::from(graded.item_idx)) {
                item.count(sitting, graded, by);
            }
        }
    }
}
