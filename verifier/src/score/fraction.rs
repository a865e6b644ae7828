//! Exact rational numbers, and how one is printed.
//!
//! Invariant: always reduced, the denominator positive. Sums and comparisons go over the least common multiple, so that
//! numbers of one exam stay far from the end of 128 bits.

use std::{cmp::Ordering, fmt};

use proto::exam::v1::ScoreRounding;

/// D of the page: marks have at most 4 decimal places.
pub(crate) const MARK_UNITS: i128 = 10_000;

/// A rational number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fraction {
    num: i128,
    den: i128,
}

impl Fraction {
    pub(crate) const ZERO: Self = Self { num: 0, den: 1 };
    pub(crate) const ONE: Self = Self { num: 1, den: 1 };

    /// Returns num/den; `den` is positive.
    pub(crate) fn new(num: i128, den: i128) -> Self {
        let divisor = gcd(num.abs(), den);
        Self {
            num: num / divisor,
            den: den / divisor,
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let (a, b, den) = self.with_one_den(other);
        Self::new(a + b, den)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        let (a, b, den) = self.with_one_den(other);
        Self::new(a - b, den)
    }

    pub(crate) fn times(self, other: Self) -> Self {
        let across = Self::new(self.num, other.den);
        let back = Self::new(other.num, self.den);
        Self {
            num: across.num * back.num,
            den: across.den * back.den,
        }
    }

    /// Returns this divided by a positive number.
    pub(crate) fn over(self, other: Self) -> Self {
        self.times(Self::new(other.den, other.num))
    }

    /// Returns this, or 0 if it is below.
    pub(crate) fn or_zero(self) -> Self {
        self.max(Self::ZERO)
    }

    pub(crate) fn is_zero(self) -> bool {
        self.num == 0
    }

    /// Returns this times `n` if that is a whole number.
    pub(crate) fn whole_times(self, n: i128) -> Option<i128> {
        let product = self.times(Self::new(n, 1));
        (product.den == 1).then_some(product.num)
    }

    /// Returns it with `decimals` places, rounded once.
    pub(crate) fn to_decimal(self, decimals: u32, rounding: ScoreRounding) -> String {
        let unit = 10_i128.pow(decimals);
        let scaled = self.num.abs() * unit;
        let (toward_zero, rest) = (scaled / self.den, scaled % self.den);
        let half = (2 * rest).cmp(&self.den);
        let is_up = match rounding {
            ScoreRounding::Unspecified | ScoreRounding::HalfAwayFromZero => half.is_ge(),
            ScoreRounding::HalfEven => half.is_gt() || half.is_eq() && toward_zero % 2 == 1,
            ScoreRounding::TowardZero => false,
        };
        let rounded = toward_zero + i128::from(is_up);
        let sign = if self.num < 0 && rounded > 0 { "-" } else { "" };
        if decimals == 0 {
            return format!("{sign}{rounded}");
        }
        let width = usize::try_from(decimals).unwrap_or(usize::MAX);
        format!("{sign}{}.{:0width$}", rounded / unit, rounded % unit)
    }

    /// Reads a decimal that is not negative, with at most 4 places: "0.25", "2", "0".
    pub(crate) fn from_decimal(text: &str) -> Option<Self> {
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |part: &str, max_len| {
            (1..=max_len).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        };
        if !is_number(whole, 9) || !is_number(places, 4) {
            return None;
        }
        let units: i128 = format!("{whole}{places:0<4}").parse().ok()?;
        Some(Self::new(units, MARK_UNITS))
    }

    /// Returns both numerators over one denominator.
    fn with_one_den(self, other: Self) -> (i128, i128, i128) {
        let den = lcm(self.den, other.den);
        let a = self.num * (den / self.den);
        let b = other.num * (den / other.den);
        (a, b, den)
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.den {
            1 => write!(f, "{}", self.num),
            den => write!(f, "{}/{den}", self.num),
        }
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b, _) = self.with_one_den(*other);
        a.cmp(&b)
    }
}

/// The greatest common divisor; `b` is positive.
pub(crate) fn gcd(a: i128, b: i128) -> i128 {
    if a == 0 { b } else { gcd(b % a, a) }
}

fn lcm(a: i128, b: i128) -> i128 {
    a / gcd(a, b) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_exact() {
        let third = Fraction::new(1, 3);
        let sum = third.plus(third).plus(third);
        assert_eq!(sum, Fraction::ONE);
        assert_eq!(Fraction::new(6, 4), Fraction::new(3, 2));
        assert_eq!(third.minus(Fraction::ONE), Fraction::new(-2, 3));
        assert_eq!(third.minus(Fraction::ONE).or_zero(), Fraction::ZERO);
        assert_eq!(third.over(Fraction::new(2, 9)), Fraction::new(3, 2));
        assert!(Fraction::new(1, 3) < Fraction::new(34, 100));
        assert!(Fraction::new(-1, 3) < Fraction::ZERO);
        assert_eq!(third.whole_times(60_000), Some(20_000));
        assert_eq!(third.whole_times(10_000), None);
    }

    #[test]
    fn decimals_have_four_places_at_most() {
        assert_eq!(Fraction::from_decimal("0.25"), Some(Fraction::new(1, 4)));
        assert_eq!(Fraction::from_decimal("2"), Some(Fraction::new(2, 1)));
        assert_eq!(Fraction::from_decimal("0"), Some(Fraction::ZERO));
        assert_eq!(
            Fraction::from_decimal("1.0001"),
            Some(Fraction::new(10_001, 10_000))
        );
        for bad in [
            "", "-1", "+1", "1.", ".5", "0,25", "0.12345", "1e3", " 1", "1.2.3",
        ] {
            assert_eq!(Fraction::from_decimal(bad), None, "{bad:?}");
        }
    }
}
