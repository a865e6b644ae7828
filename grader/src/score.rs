//! Exact scores in quanta, and how one is printed.
//!
//! Quanta are whole: a mark is a multiple of 10^-4 points, a share a fraction of a key count, and a point has
//! 10^4 times the least common multiple of all key counts (docs/FORMATS.md section 4). Decimals appear only in
//! [`decimal`] and [`quanta`].

use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive};

/// Most decimal places of a score that is asked for; every mark has so few.
const MAX_PLACES: u32 = 4;

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

/// What one answer earned by itself, before floors and stretching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grade {
    /// Quanta, negative for a wrong answer that loses marks.
    pub quanta: i64,
    /// Quanta of the full mark; 0 for what is not scored.
    pub mark_quanta: i64,
    /// The full mark was earned.
    pub is_full: bool,
    /// Nothing was answered.
    pub blank: bool,
}

impl Grade {
    pub(crate) fn scaled(self, factor: i64) -> Self {
        Self {
            quanta: self.quanta * factor,
            mark_quanta: self.mark_quanta * factor,
            ..self
        }
    }
}

/// Prints quanta as points, rounded once as the exam's rules say, always with `decimals` places.
///
/// # Panics
/// If a number is not below 2^96.
#[must_use]
pub fn decimal(
    quanta: impl Into<i128>,
    quanta_per_point: impl Into<i128>,
    decimals: u32,
    rounding: RoundingStrategy,
) -> String {
    let whole = |number| Decimal::from_i128_with_scale(number, 0);
    // the quotient has 28 digits: no true value lies so near a midpoint that this rounding could move it across
    let points = whole(quanta.into()) / whole(quanta_per_point.into());
    let mut rounded = points.round_dp_with_strategy(decimals, rounding);
    if rounded.is_zero() {
        rounded.set_sign_positive(true);
    }
    format!("{rounded:.places$}", places = decimals as usize)
}

/// Reads a decimal of at most 4 places as quanta; none if it is another text or far beyond any score.
pub(crate) fn quanta(points: &str, quanta_per_point: i64) -> Option<i64> {
    let points = Decimal::from_str_exact(points).ok()?.normalize();
    (points.scale() <= MAX_PLACES).then_some(())?;
    points.checked_mul(quanta_per_point.into())?.to_i64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(quanta: i64, quanta_per_point: i64, decimals: u32, expected: &str) {
        let rounding = RoundingStrategy::MidpointAwayFromZero;
        assert_eq!(
            decimal(quanta, quanta_per_point, decimals, rounding),
            expected
        );
    }

    #[test]
    fn every_way_of_rounding_is_the_named_one() {
        use RoundingStrategy::{MidpointAwayFromZero, MidpointNearestEven, ToZero};
        // verified numbers: 7.125, 7.135, 8.25, -2.5
        for (quanta, places, away, even, zero) in [
            (71_250, 2, "7.13", "7.12", "7.12"),
            (71_350, 2, "7.14", "7.14", "7.13"),
            (82_500, 1, "8.3", "8.2", "8.2"),
            (-25_000, 0, "-3", "-2", "-2"),
            (-4_000, 0, "0", "0", "0"),
            (-2_500, 2, "-0.25", "-0.25", "-0.25"),
        ] {
            assert_eq!(decimal(quanta, 10_000, places, MidpointAwayFromZero), away);
            assert_eq!(decimal(quanta, 10_000, places, MidpointNearestEven), even);
            assert_eq!(decimal(quanta, 10_000, places, ToZero), zero);
        }
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

    #[test]
    fn a_grade_is_brought_to_another_scale_as_a_whole() {
        let grade = Grade {
            quanta: -3,
            mark_quanta: 12,
            is_full: false,
            blank: false,
        };
        let scaled = grade.scaled(5);
        assert_eq!((scaled.quanta, scaled.mark_quanta), (-15, 60));
        assert_eq!((scaled.is_full, scaled.blank), (false, false));
    }

    #[test]
    fn a_score_asked_for_is_read_exactly_or_refused() {
        for (points, expected) in [
            ("7.125", Some(427_500)),
            ("-0.50000", Some(-30_000)),
            ("0.0001", Some(6)),
            ("0.00001", None),
            ("", None),
            ("7,5", None),
            ("1e3", None),
            ("99999999999999999", None),
        ] {
            assert_eq!(quanta(points, 60_000), expected, "{points}");
        }
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
            let rounding = RoundingStrategy::MidpointAwayFromZero;
            prop_assert_eq!(decimal(quanta, per_point, decimals, rounding), expected);
        }
    }
}
