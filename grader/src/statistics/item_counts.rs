//! Exact counts of one item: who chose what, with which total, where and when.
//!
//! A cell is a combination of choice, mark earned and total with its number: whatever needs an order of the
//! candidates follows from the cells, the rest from exact sums. Memory is bounded whatever the number of
//! candidates: at most 2^16 cells (64 choices times [`MAX_TOTALS`](super::MAX_TOTALS)), of which some hundreds
//! occur, and one sum for each area and cohort.

use std::hash::{Hash, Hasher};

use super::{
    Choice, Graded, ItemInfo, ScoreRange, Sitting, dense::Dense, sparse::Sparse, sums::Sums,
};

/// Bits of a choice that cost no resolution of the total.
const FINE_CHOICE_BITS: u8 = 6;
/// Areas told apart by item; those behind share the last number.
const MAX_AREAS: u16 = 128;
/// The number of all areas that are not told apart.
pub(super) const OTHER_AREAS: u16 = MAX_AREAS - 1;

/// What responses of one cell have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) total: i64,
    pub(super) quanta: i64,
    pub(super) choice: Choice,
}

impl Cell {
    /// Returns the score of the rest of the paper.
    pub(super) fn rest(&self) -> i64 {
        self.total - self.quanta
    }
}

/// A cell as it is kept: its total in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    total: i32,
    choice: Choice,
    quanta: i64,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let total = u64::from(self.total.cast_unsigned()) << 16 | u64::from(self.choice.0);
        state.write_u128(u128::from(total) << 64 | u128::from(self.quanta.cast_unsigned()));
    }
}

/// Returns how many quanta of a total are one step for an item.
pub(super) fn step(info: &ItemInfo, range: ScoreRange) -> i64 {
    let wide = if info.single { 0 } else { info.n_options };
    range.step_quanta.max(1) << wide.saturating_sub(FINE_CHOICE_BITS).min(16)
}

/// Counts of one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ItemCounts {
    cells: Sparse<Key, i64>,
    areas: Dense<Sums>,
    cohorts: Dense<Sums>,
}

impl ItemCounts {
    pub(super) fn count(&mut self, sitting: &Sitting<'_>, graded: &Graded, step: i64, by: i64) {
        let in_steps = sitting.total.div_euclid(step);
        let key = Key {
            total: i32::try_from(in_steps).unwrap_or(if in_steps < 0 {
                i32::MIN
            } else {
                i32::MAX
            }),
            choice: graded.choice,
            quanta: graded.quanta,
        };
        let mut sums = Sums::default();
        sums.count(graded.quanta, sitting.total, graded.mark_quanta, by);
        self.cells.change(key, |n| *n += by);
        self.areas
            .change(sitting.area.min(OTHER_AREAS), |it| it.merge(sums));
        self.cohorts.change(sitting.cohort, |it| it.merge(sums));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.cells.merge(&other.cells, |mine, n| *mine += n);
        self.areas.merge(&other.areas, Sums::merge);
        self.cohorts.merge(&other.cohorts, Sums::merge);
    }

    /// Returns the cells by rising total, with the number of responses in each.
    pub(super) fn cells(&self, step: i64) -> Vec<(Cell, i64)> {
        let cell = |(key, n): (Key, i64)| {
            let cell = Cell {
                total: i64::from(key.total) * step,
                quanta: key.quanta,
                choice: key.choice,
            };
            (cell, n)
        };
        let cells = self.cells.sorted().into_iter();
        cells.filter(|&(_, n)| n > 0).map(cell).collect()
    }

    /// Returns the sums over all responses.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for (_, of_area) in self.areas.entries() {
            sums.merge(of_area);
        }
        sums
    }

    /// Returns the mark, if it is the same for all and was earned as a whole or not at all.
    pub(super) fn whole_mark(&self) -> Option<i64> {
        let sums = self.sums();
        let mark = i64::try_from(sums.mark.checked_div(sums.n.into())?).ok()?;
        let whole = |key: Key| key.quanta == 0 || key.quanta == mark;
        let one_mark = i128::from(mark) * i128::from(sums.n) == sums.mark && mark > 0;
        (one_mark && self.cells.sorted().into_iter().all(|(key, _)| whole(key))).then_some(mark)
    }

    pub(super) fn areas(&self) -> Vec<(u16, Sums)> {
        self.areas.entries().collect()
    }

    pub(super) fn cohorts(&self) -> Vec<(u16, Sums)> {
        self.cohorts.entries().collect()
    }
}

/// Returns the sums of marks and totals over some cells.
pub(super) fn sums(cells: &[(Cell, i64)]) -> Sums {
    let mut sums = Sums::default();
    for (cell, n) in cells {
        sums.count(cell.quanta, cell.total, 0, *n);
    }
    sums
}
