//! Numbers as candidates write them and as keys hold them.
//!
//! Invariant: exact; a number is a whole count of units of 10^-12. Source: `docs/FORMATS.md`, section 4, "Numbers".

/// Digits behind the decimal sign at most.
const MAX_PLACES: usize = 12;
/// Digits before the decimal sign at most.
const MAX_WHOLE: usize = 15;
/// Units of 1.
const UNITS: i128 = 1_000_000_000_000;

/// A decimal number, in units of 10^-12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(i128);

impl Number {
    /// Reads what a candidate wrote: a point or a comma is the decimal sign or separates thousands.
    pub(crate) fn from_answer(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (is_negative, digits) = sign(&text);
        let (whole, places) = split(digits)?;
        Self::from_parts(is_negative, &whole, places)
    }

    /// Reads a number of a key: digits, a point with digits behind it or none, and a minus before it or none.
    pub(crate) fn from_key(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, places) = digits.split_once('.').unwrap_or((digits, "0"));
        if whole.is_empty() || places.is_empty() {
            return None;
        }
        Self::from_parts(digits != text, whole, places)
    }

    /// Reads a tolerance of a key: not negative, empty for 0.
    pub(crate) fn from_tolerance(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(0));
        }
        Self::from_key(text).filter(|number| number.0 >= 0)
    }

    /// Returns it if it is whole and fits: a prediction.
    pub(crate) fn to_count(self) -> Option<u32> {
        let is_whole = self.0 % UNITS == 0;
        is_whole.then(|| u32::try_from(self.0 / UNITS).ok())?
    }

    /// Tells whether |x - c| <= max(tolerance, relative * |c|).
    pub(crate) fn is_near(self, key: Self, tolerance: Self, relative: Self) -> bool {
        let distance = self.0.abs_diff(key.0);
        let scaled = product(distance, UNITS.unsigned_abs());
        let share = product(relative.0.unsigned_abs(), key.0.unsigned_abs());
        distance <= tolerance.0.unsigned_abs() || scaled <= share
    }

    fn from_parts(is_negative: bool, whole: &str, places: &str) -> Option<Self> {
        let are_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let fits = whole.len() <= MAX_WHOLE
            && places.len() <= MAX_PLACES
            && whole.len() + places.len() > 0
            && are_digits(whole)
            && are_digits(places);
        if !fits {
            return None;
        }
        let units: i128 = format!("{whole}{places:0<MAX_PLACES$}").parse().ok()?;
        Some(Self(if is_negative { -units } else { units }))
    }
}

fn sign(text: &str) -> (bool, &str) {
    if let Some(digits) = text.strip_prefix(['-', '\u{2212}']) {
        return (true, digits);
    }
    (false, text.strip_prefix('+').unwrap_or(text))
}

/// Returns the digits before the decimal sign, without separators, and those behind it.
fn split(digits: &str) -> Option<(String, &str)> {
    let count = |sign| digits.matches(sign).count();
    let last = digits.rfind(['.', ',']);
    let (decimal, thousands) = match (count('.'), count(','), last) {
        (0, 0, _) | (_, _, None) => (None, None),
        (1, 0, at) | (0, 1, at) => (at, None),
        (_, 0, _) => (None, Some('.')),
        (0, _, _) => (None, Some(',')),
        (points, commas, Some(at)) => {
            let is_comma = digits[at..].starts_with(',');
            let n_decimal = if is_comma { commas } else { points };
            if n_decimal > 1 {
                return None;
            }
            (Some(at), Some(if is_comma { '.' } else { ',' }))
        }
    };
    let (whole, places) = match decimal {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, ""),
    };
    let Some(thousands) = thousands else {
        return Some((whole.to_owned(), places));
    };
    let mut groups = whole.split(thousands);
    let first = groups
        .next()
        .is_some_and(|group| (1..=3).contains(&group.len()));
    (first && groups.all(|group| group.len() == 3)).then(|| (whole.replace(thousands, ""), places))
}

/// Returns a product of any two numbers as its high and low 128 bits.
fn product(a: u128, b: u128) -> (u128, u128) {
    const HALF: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & HALF, b >> 64, b & HALF);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let other = a0 * b1 + (middle & HALF);
    (
        a1 * b1 + (middle >> 64) + (other >> 64),
        other << 64 | low & HALF,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_have_all_their_bits() {
        assert_eq!(product(3, 5), (0, 15));
        assert_eq!(product(u128::MAX, 2), (1, u128::MAX - 1));
        assert_eq!(product(u128::MAX, u128::MAX), (u128::MAX - 1, 1));
        assert_eq!(product(1 << 100, 1 << 100), (1 << 72, 0));
    }

    #[test]
    fn predictions_are_whole_and_fit() {
        let count = |text| Number::from_answer(text)?.to_count();
        assert_eq!(count("1.234.567"), Some(1_234_567));
        assert_eq!(count("12,0"), Some(12));
        assert_eq!(count("-0"), Some(0));
        assert_eq!(count("4294967295"), Some(u32::MAX));
        assert_eq!(count("4294967296"), None);
        assert_eq!(count("-1"), None);
        assert_eq!(count("12,5"), None);
        assert_eq!(count("1.234"), None, "a single point is the decimal sign");
    }

    #[test]
    fn keys_have_a_point_and_no_thousands() {
        let equal = |key, answer| Number::from_key(key) == Number::from_answer(answer);
        assert!(equal("-1234.5", "\u{2212}1 234,5"));
        assert!(equal("0.000000000001", ",000000000001"));
        for bad in [
            "",
            "1,5",
            "1.2.3",
            "1e3",
            " 1",
            ".",
            "--1",
            "1234567890123456",
        ] {
            assert_eq!(Number::from_key(bad), None, "{bad:?}");
        }
        assert_eq!(Number::from_tolerance(""), Some(Number(0)));
        assert_eq!(Number::from_tolerance("-1"), None);
    }
}
