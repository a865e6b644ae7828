//! What the persons of a unit have done, added up while the log is folded.
//!
//! Invariant: each number equals what a count over all ranked persons gives. Source: docs/FORMATS.md section 5.

use std::ops::Range;

/// Counts of some units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Persons with a counted attempt.
    pub persons: u64,
    /// Attempts that have ended and are not voided, each in the unit it was started in.
    pub attempts: u64,
    /// Sum of the counted scores.
    pub quanta: i128,
    /// Persons whose counted attempt passes.
    pub passed: u64,
}

impl Tally {
    /// Returns the tally of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            persons: self.persons + other.persons,
            attempts: self.attempts + other.attempts,
            quanta: self.quanta + other.quanta,
            passed: self.passed + other.passed,
        }
    }
}

/// The tally of each unit by itself, by place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tallies {
    tallies: Vec<Tally>,
}

impl Tallies {
    pub(crate) fn new(n_units: usize) -> Self {
        Self {
            tallies: vec![Tally::default(); n_units],
        }
    }

    pub(crate) fn person_came(&mut self, place: u16, quanta: i64, passed: bool) {
        let tally = &mut self.tallies[usize::from(place)];
        tally.persons += 1;
        tally.quanta += i128::from(quanta);
        tally.passed += u64::from(passed);
    }

    pub(crate) fn person_left(&mut self, place: u16, quanta: i64, passed: bool) {
        let tally = &mut self.tallies[usize::from(place)];
        tally.persons -= 1;
        tally.quanta -= i128::from(quanta);
        tally.passed -= u64::from(passed);
    }

    pub(crate) fn attempt_came(&mut self, place: u16) {
        self.tallies[usize::from(place)].attempts += 1;
    }

    pub(crate) fn attempt_left(&mut self, place: u16) {
        self.tallies[usize::from(place)].attempts -= 1;
    }

    /// Returns the sum over a range of places.
    pub(crate) fn sum(&self, places: Range<u16>) -> Tally {
        self.tallies[usize::from(places.start)..usize::from(places.end)]
            .iter()
            .fold(Tally::default(), |sum, tally| sum.plus(*tally))
    }
}
