//! Ranks: every person's counted attempt in the orders of every scope it lies in.
//!
//! An exam has one table of orders, and with several rounds one more for each round, in which the counted attempt is
//! chosen among those of the round. A table holds the country's order and those of areas, units and groups.
//! Invariant: at every log position each scope equals a full sort by (ranking tuple, candidate id); rank = 1 +
//! number of persons with a strictly better tuple, so ties share a rank (1, 2, 2, 4).
//! Start at [`Standings::replace`]. Source: docs/FORMATS.md section 5.

pub(crate) mod key;
pub(crate) mod order;
pub(crate) mod rules;
pub(crate) mod table;
pub(crate) mod union;

use self::{key::SortKey, table::Table};
use crate::{id::CandidateId, unit::Units};

/// Who is ranked with whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Attempts of one round only; none for all rounds.
    pub round: Option<u32>,
    /// Among whom.
    pub of: Of<'a>,
}

/// Among whom a person is ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Of<'a> {
    /// Everybody.
    #[default]
    Country,
    /// An area, by its code.
    Area(&'a str),
    /// A unit with all units below it, by its number.
    Unit(u32),
    /// An audience group or block of units, by its name.
    Group(&'a str),
}

impl<'a> Of<'a> {
    /// Returns the scope of all rounds.
    #[must_use]
    pub fn overall(self) -> Scope<'a> {
        Scope {
            round: None,
            of: self,
        }
    }

    /// Returns the scope of one round.
    #[must_use]
    pub fn in_round(self, round: u32) -> Scope<'a> {
        Scope {
            round: Some(round),
            of: self,
        }
    }
}

/// A row of a table, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) key: SortKey,
    pub(crate) who: u32,
    pub(crate) area: u16,
    /// [`NO_UNIT`](Self::NO_UNIT) for none: ten million rows are sorted at once, so they are small.
    pub(crate) unit: u16,
}

impl Spot {
    pub(crate) const NO_UNIT: u16 = u16::MAX;

    /// Returns the place of the unit.
    pub(crate) fn unit(&self) -> Option<u16> {
        (self.unit != Self::NO_UNIT).then_some(self.unit)
    }
}

/// A person's row in one table, with what its unit adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) spot: Spot,
    pub(crate) quanta: i64,
    pub(crate) passed: bool,
}

/// The tables of an exam, over all attempts that ended before an instant.
#[derive(Debug)]
pub(crate) struct Standings {
    /// Unix milliseconds; attempts that ended at it or later are not in.
    pub(crate) before_ms: u64,
    tables: Vec<Table>,
}

impl Standings {
    pub(crate) fn new(before_ms: u64, tables: Vec<Table>) -> Self {
        Self { before_ms, tables }
    }

    pub(crate) fn table(&self, at: usize) -> &Table {
        &self.tables[at]
    }

    pub(crate) fn table_mut(&mut self, at: usize) -> &mut Table {
        &mut self.tables[at]
    }

    /// Moves a person within a table from an old row to a new one.
    pub(crate) fn replace(
        &mut self,
        table: usize,
        old: Option<Seat>,
        new: Option<Seat>,
        units: &Units,
        id_of: &impl Fn(u32) -> CandidateId,
    ) {
        if old == new {
            return;
        }
        let table = &mut self.tables[table];
        if let Some(seat) = old {
            table.remove(&seat.spot, units, id_of);
            table.uncount(&seat);
        }
        if let Some(seat) = new {
            table.insert(&seat.spot, units, id_of);
            table.count(&seat);
        }
    }
}
