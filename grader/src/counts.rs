//! Where everybody is: attempts and persons by area.
//!
//! An attempt counts in the area it was started in, a person in the area of the first attempt; the country is the
//! sum of its areas, so that the columns of a table add up.

use std::collections::HashMap;

use proto::exam::v1::{AreaProgress, EndedBy};

/// Longest area code; codes of provinces and communes have 2 to 5 digits.
const MAX_CODE_BYTES: usize = 16;
/// Most areas: five times the communes of Vietnam since 2025.
const MAX_AREAS: usize = 16_384;

/// Reports whether a text can be an area code: it stands in the result file, so it has no tab and no line end.
pub(crate) fn is_area_code(code: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_CODE_BYTES).contains(&code.len()) && code.bytes().all(plain)
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    registered: u64,
    working: u64,
    submitted: u64,
    expired: u64,
    persons: u64,
}

/// Area codes as small numbers, and the counts of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    codes: Vec<String>,
    idx_by_code: HashMap<String, u16>,
    tallies: Vec<Tally>,
}

impl Counts {
    /// Starts with nobody, in the areas where somebody is expected.
    pub(crate) fn new(registered: &[(String, u64)]) -> Self {
        let mut counts = Self::default();
        for (code, n_persons) in registered {
            if let Some(area) = counts.intern(code) {
                counts.tallies[usize::from(area)].registered = *n_persons;
            }
        }
        counts
    }

    /// Returns the number of an area, a new one for a new code; none if the code cannot be one.
    pub(crate) fn intern(&mut self, code: &str) -> Option<u16> {
        if let Some(&area) = self.idx_by_code.get(code) {
            return Some(area);
        }
        if !is_area_code(code) || self.codes.len() == MAX_AREAS {
            return None;
        }
        let area = u16::try_from(self.codes.len()).ok()?;
        self.codes.push(code.to_owned());
        self.idx_by_code.insert(code.to_owned(), area);
        self.tallies.push(Tally::default());
        Some(area)
    }

    pub(crate) fn find(&self, code: &str) -> Option<u16> {
        self.idx_by_code.get(code).copied()
    }

    pub(crate) fn code(&self, area: u16) -> &str {
        &self.codes[usize::from(area)]
    }

    pub(crate) fn codes(&self) -> &[String] {
        &self.codes
    }

    pub(crate) fn person_came(&mut self, area: u16) {
        self.tallies[usize::from(area)].persons += 1;
    }

    pub(crate) fn attempt_started(&mut self, area: u16) {
        self.tallies[usize::from(area)].working += 1;
    }

    /// Moves an attempt from running to ended.
    pub(crate) fn attempt_ended(&mut self, area: u16, by: EndedBy) {
        let tally = &mut self.tallies[usize::from(area)];
        tally.working -= 1;
        if by == EndedBy::Candidate {
            tally.submitted += 1;
        } else {
            tally.expired += 1;
        }
    }

    /// Moves an attempt from ended to running.
    pub(crate) fn attempt_reopened(&mut self, area: u16, by: EndedBy) {
        let tally = &mut self.tallies[usize::from(area)];
        tally.working += 1;
        if by == EndedBy::Candidate {
            tally.submitted -= 1;
        } else {
            tally.expired -= 1;
        }
    }

    /// Returns the number of running attempts.
    pub(crate) fn n_working(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.working).sum()
    }

    /// Returns the counts of the areas where somebody is expected or was, by code.
    pub(crate) fn areas(&self) -> Vec<AreaProgress> {
        let mut rows: Vec<AreaProgress> = self
            .codes
            .iter()
            .zip(&self.tallies)
            .filter(|(_, tally)| tally.registered + tally.persons + tally.working > 0)
            .map(|(code, tally)| AreaProgress {
                area: code.clone(),
                not_started: tally.registered.saturating_sub(tally.persons),
                working: tally.working,
                submitted: tally.submitted,
                expired: tally.expired,
                persons: tally.persons,
            })
            .collect();
        rows.sort_unstable_by(|a, b| a.area.cmp(&b.area));
        rows
    }
}

/// Returns the sum of some areas.
pub(crate) fn total(areas: &[AreaProgress]) -> AreaProgress {
    areas
        .iter()
        .fold(AreaProgress::default(), |sum, area| AreaProgress {
            area: String::new(),
            not_started: sum.not_started + area.not_started,
            working: sum.working + area.working,
            submitted: sum.submitted + area.submitted,
            expired: sum.expired + area.expired,
            persons: sum.persons + area.persons,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        Counts::new(&[
            ("79".to_owned(), 3),
            ("01".to_owned(), 1),
            ("02".to_owned(), 0),
        ])
    }

    #[test]
    fn more_persons_than_expected_leave_nobody_missing() {
        let mut counts = counts();
        let area = counts.intern("01").unwrap();
        counts.person_came(area);
        counts.person_came(area);
        let rows = counts.areas();
        assert_eq!(rows[0].area, "01");
        assert_eq!((rows[0].not_started, rows[0].persons), (0, 2));
        assert_eq!((rows[1].not_started, rows[1].persons), (3, 0));
        assert_eq!(total(&rows).not_started, 3, "the columns add up");
    }

    #[test]
    fn areas_with_nobody_are_left_out() {
        let codes: Vec<_> = counts().areas().into_iter().map(|row| row.area).collect();
        assert_eq!(codes, ["01", "79"]);
    }

    #[test]
    fn an_attempt_is_working_then_submitted_or_expired() {
        let mut counts = counts();
        let area = counts.intern("99").unwrap();
        for by in [EndedBy::Candidate, EndedBy::Deadline, EndedBy::Organizer] {
            counts.attempt_started(area);
            assert_eq!(counts.n_working(), 1);
            counts.attempt_ended(area, by);
        }
        counts.person_came(area);
        let rows = counts.areas();
        let row = rows.iter().find(|row| row.area == "99").unwrap();
        assert_eq!((row.working, row.submitted, row.expired), (0, 1, 2));
    }

    #[test]
    fn a_code_that_would_break_the_result_file_is_none() {
        let mut counts = counts();
        for code in ["", "0\t1", "0\n1", "Hà Nội", "12345678901234567"] {
            assert_eq!(counts.intern(code), None, "{code:?}");
        }
        assert_eq!(counts.find("99"), None);
    }
}
