//! Exact scores in quanta, and how one is printed.
//!
//! Quanta are whole: a mark is a multiple of 10^-4 points, a share a fraction of a key count, and a point has
//! 10^4 times the least common multiple of all key counts (docs/FORMATS.md section 4). Decimals appear only in
//! [`decimal`].

use rust_decimal::{Decimal, RoundingStrategy};

use crate::{attempt::Chosen, package::Package};

/// What an attempt earned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Exact score in quanta.
    pub quanta: i64,
    /// Items with the full mark.
    pub n_correct: u16,
    /// Whether it passes; none if the exam has no pass mark.
    pub passed: Option<bool>,
}

impl Score {
    /// Scores a paper; what was chosen stands in paper order.
    #[must_use]
    pub fn of(package: &Package, chosen: &[Chosen]) -> Self {
        let mut score = Self::default();
        for (place_idx, chosen) in chosen.iter().enumerate() {
            let (quanta, full) = package.grade(place_idx, chosen.item_idx, chosen.options);
            score.quanta += quanta;
            score.n_correct += u16::from(full);
        }
        score
    }
}

/// Prints quanta as points, rounded half away from zero, always with `decimals` places.
#[must_use]
pub fn decimal(quanta: i64, quanta_per_point: i64, decimals: u32) -> String {
    // the quotient has 28 digits: no true value lies so near a midpoint that this rounding could move it across
    let points = Decimal::from(quanta) / Decimal::from(quanta_per_point);
    let rounded = points.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero);
    format!("{rounded:.places$}", places = decimals as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(quanta: i64, quanta_per_point: i64, decimals: u32, expected: &str) {
        assert_eq!(decimal(quanta, quanta_per_point, decimals), expected);
    }

    #[test]
    fn a_score_is_rounded_half_away_from_zero() {
        check(25_000, 10_000, 0, "3");
        check(24_999, 10_000, 0, "2");
        check(10_250, 10_000, 1, "1.0");
        check(10_500, 10_000, 1, "1.1");
        check(1_050, 10_000, 2, "0.11");
        check(20_000, 60_000, 4, "0.3333");
        check(40_000, 60_000, 4, "0.6667");
        check(0, 60_000, 2, "0.00");
        check(600_000, 60_000, 2, "10.00");
        check(i64::MAX, 277_200_000, 0, "33273347896");
    }

    proptest! {
        #[test]
        fn printing_equals_rounding_in_whole_numbers(
            quanta in 0..i64::MAX, lcm in 1..=27_720i64, decimals in 0..=4u32,
        ) {
            let per_point = 10_000 * lcm;
            let scale = 10i128.pow(decimals);
            let (n, d) = (i128::from(quanta) * scale, i128::from(per_point));
            let units = (2 * n + d) / (2 * d);
            let expected = if decimals == 0 {
                units.to_string()
            } else {
                let places = decimals as usize;
                format!("{}.{:0places$}", units / scale, units % scale)
            };
            prop_assert_eq!(decimal(quanta, per_point, decimals), expected);
        }
    }
}
