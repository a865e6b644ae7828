//! Rules for clusters: statements that are each true or false, scored together.
//!
//! Source: Vietnam's 2025 examination, Decision 764/QD-BGDDT: 0, 0.1, 0.25, 0.5 and 1 for 0 to 4 statements right.
//! Graded cases: testdata/cluster.json.

use super::Share;

/// Percent of the mark by number of right statements, of four.
const FOUR_STATEMENTS: [u32; 5] = [0, 10, 25, 50, 100];

/// What a cluster's marks earn by number of right statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// As the section says: percent.
    Percent(Vec<u32>),
    /// The usual one: the table of the 2025 examination for four statements, else the share.
    Usual,
}

impl Scale {
    /// Reads a section's percentages; none if they do not rise from 0 to 100.
    pub(crate) fn new(percent: &[u32]) -> Option<Self> {
        match percent {
            [] => Some(Self::Usual),
            [0, .., 100] if percent.is_sorted() => Some(Self::Percent(percent.to_vec())),
            _ => None,
        }
    }

    /// Reports whether the scale tells what every number of right statements of such a cluster earns.
    pub(crate) fn fits(&self, n_statements: u8) -> bool {
        match self {
            Self::Usual => true,
            Self::Percent(percent) => percent.len() > usize::from(n_statements),
        }
    }

    fn table(&self, n_statements: u8) -> Option<&[u32]> {
        match self {
            Self::Percent(percent) => Some(percent),
            Self::Usual if n_statements == 4 => Some(&FOUR_STATEMENTS),
            Self::Usual => None,
        }
    }

    pub(super) fn denominator(&self, n_statements: u8) -> u32 {
        self.table(n_statements)
            .map_or(u32::from(n_statements), |_| 100)
    }

    /// Returns the mean share of all ways to judge the statements.
    pub(super) fn guessed(&self, n_statements: u8) -> Share {
        let table = self.table(n_statements);
        let share = |n_right: u32| table.map_or(n_right, |table| table[n_right as usize]);
        let ways = 0..1u32 << n_statements;
        Share {
            right: ways.map(|way| share(way.count_ones())).sum(),
            of: self.denominator(n_statements) << n_statements,
        }
    }

    /// Returns the share of marks, one byte a statement: 0 nothing, 1 true, 2 false.
    pub(super) fn share(&self, n_statements: u8, truths: u16, marks: &[u8]) -> Share {
        let is_right = |at: &usize| match marks[*at] {
            1 => truths >> at & 1 == 1,
            2 => truths >> at & 1 == 0,
            _ => false,
        };
        let n_right = (0..marks.len()).filter(is_right).count();
        let n_right_u32 = u32::try_from(n_right).unwrap_or(u32::MAX);
        Share {
            right: self
                .table(n_statements)
                .map_or(n_right_u32, |table| table[n_right]),
            of: self.denominator(n_statements),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Table {
        source: String,
        percent: Vec<u32>,
        /// T or F for each statement.
        key: String,
        /// T, F or - for each statement, and the share earned.
        cases: Vec<(String, u32, u32)>,
    }

    #[test]
    fn every_graded_case_earns_its_share() {
        let tables: Vec<Table> =
            serde_json::from_str(include_str!("../../testdata/cluster.json")).unwrap();
        for table in tables {
            let scale = Scale::new(&table.percent).unwrap();
            let n = u8::try_from(table.key.len()).unwrap();
            assert!(scale.fits(n));
            let truths = table
                .key
                .bytes()
                .enumerate()
                .fold(0, |bits, (at, mark)| bits | u16::from(mark == b'T') << at);
            for (marks, right, of) in table.cases {
                let bytes: Vec<u8> = marks
                    .bytes()
                    .map(|mark| match mark {
                        b'T' => 1,
                        b'F' => 2,
                        _ => 0,
                    })
                    .collect();
                let share = scale.share(n, truths, &bytes);
                assert_eq!(share, Share { right, of }, "{}: {marks}", table.source);
            }
        }
    }

    #[test]
    fn who_guesses_earns_the_mean_of_all_ways() {
        let guessed = |percent: &[u32], n| {
            let share = Scale::new(percent).unwrap().guessed(n);
            (share.right, share.of)
        };
        // of 16 ways 1, 4, 6, 4 and 1 have 0 to 4 statements right
        assert_eq!(guessed(&[], 4), (4 * 10 + 6 * 25 + 4 * 50 + 100, 1_600));
        assert_eq!(guessed(&[], 3), (12, 24));
        assert_eq!(guessed(&[0, 30, 100], 2), (2 * 30 + 100, 400));
    }

    #[test]
    fn a_scale_rises_from_nothing_to_everything() {
        assert!(Scale::new(&[0, 50, 40, 100]).is_none());
        assert!(Scale::new(&[10, 50, 100]).is_none());
        assert!(Scale::new(&[0, 50]).is_none());
        assert!(Scale::new(&[100]).is_none());
        let scale = Scale::new(&[0, 30, 100]).unwrap();
        assert!(scale.fits(2) && !scale.fits(3));
        assert!(scale.fits(1), "a shorter cluster earns less");
    }
}
