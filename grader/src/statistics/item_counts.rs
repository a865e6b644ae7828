//! Exact counts of one item: who chose what, with which total, where and when.
//!
//! A cell is a combination of choice, mark earned and total with its number: every statistic of the item follows
//! from the cells. An item has as many cells as choices times distinct totals, about 2,000 in an exam of ten points
//! by quarters of a tenth, whatever the number of candidates.

use std::hash::{Hash, Hasher};

use super::{Choice, Graded, Sitting, sparse::Sparse, sums::Sums};

/// What responses of one cell have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) total: i64,
    pub(super) quanta: i64,
    pub(super) choice: Choice,
    pub(super) mark: i64,
}

impl Cell {
    /// Returns the score of the rest of the paper.
    pub(super) fn rest(&self) -> i64 {
        self.total - self.quanta
    }
}

impl Hash for Cell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // the mark is left out: it is the same in nearly all cells of an item
        let total = u128::from(self.total.cast_unsigned());
        let quanta = u128::from(self.quanta.cast_unsigned());
        state.write_u128(total | quanta << 64);
        state.write_u32(u32::from(self.choice.0));
    }
}

/// Counts of one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ItemCounts {
    cells: Sparse<Cell, i64>,
    sections: Sparse<u16, i64>,
    areas: Sparse<u16, Sums>,
    hours: Sparse<u32, Sums>,
}

impl ItemCounts {
    pub(super) fn count(&mut self, sitting: &Sitting<'_>, graded: &Graded, by: i64) {
        let cell = Cell {
            total: sitting.total,
            quanta: graded.quanta,
            choice: graded.choice,
            mark: graded.mark_quanta,
        };
        let sum = |sums: &mut Sums| sums.count(cell.quanta, cell.total, cell.mark, by);
        self.cells.change(cell, |n| *n += by);
        self.sections.change(graded.section, |n| *n += by);
        self.areas.change(sitting.area, sum);
        self.hours.change(sitting.hour, sum);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.cells.merge(&other.cells, |mine, n| *mine += n);
        self.sections.merge(&other.sections, |mine, n| *mine += n);
        self.areas.merge(&other.areas, Sums::merge);
        self.hours.merge(&other.hours, Sums::merge);
    }

    /// Returns the cells by rising total, with the number of responses in each.
    pub(super) fn cells(&self) -> Vec<(Cell, i64)> {
        let mut cells = self.cells.sorted();
        cells.retain(|&(_, n)| n > 0);
        cells
    }

    /// Returns the section of all responses; none if there are several or none.
    pub(super) fn section(&self) -> Option<u16> {
        match *self.sections.sorted() {
            [(section, _)] => Some(section),
            _ => None,
        }
    }

    pub(super) fn areas(&self) -> Vec<(u16, Sums)> {
        self.areas.sorted()
    }

    pub(super) fn hours(&self) -> Vec<(u32, Sums)> {
        self.hours.sorted()
    }
}

/// Returns the sums of marks and totals over some cells.
pub(super) fn sums(cells: &[(Cell, i64)]) -> Sums {
    let mut sums = Sums::default();
    for (cell, n) in cells {
        sums.count(cell.quanta, cell.total, cell.mark, *n);
    }
    sums
}
