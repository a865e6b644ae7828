//! Rules for texts and numbers: numeric and short-text items, blanks of a cloze.
//!
//! Invariant: key and answer go through the same normalisation, numbers are compared exactly.
//! Source: docs/FORMATS.md section 4. Graded cases: testdata/text.json.

use proto::key::v1::BlankKey;
use rust_decimal::Decimal;
use unicode_normalization::UnicodeNormalization;

/// Separates the blanks of a cloze in one text.
pub(crate) const BLANK_SEPARATOR: char = '\u{1f}';
/// Most digits before the decimal sign: with those behind it, they fit a decimal.
const MAX_WHOLE_DIGITS: usize = 15;
/// Most digits behind it.
const MAX_PLACES: usize = 12;

/// Units of 1.
const UNIT: u128 = 10u128.pow(12);

/// What is right in one blank.
#[derive(Clone, Debug)]
pub(crate) struct Blank {
    accepts: Accepts,
    pub(crate) weight: u32,
}

#[derive(Clone, Debug)]
enum Accepts {
    Texts { policy: Policy, texts: Vec<String> },
    Numbers(Vec<Target>),
}

#[derive(Clone, Copy, Debug)]
struct Policy {
    case_sensitive: bool,
    ignore_diacritics: bool,
}

/// A right number and how far from it is right as well, both in units of 10^-12.
#[derive(Clone, Copy, Debug)]
struct Target {
    value: i128,
    within: u128,
}

impl Blank {
    /// Reads a key; none if it accepts nothing, or its numbers are none.
    pub(crate) fn new(key: &BlankKey) -> Option<Self> {
        let accepts = if key.numeric {
            Accepts::Numbers(targets(key)?)
        } else {
            let policy = Policy {
                case_sensitive: key.case_sensitive,
                ignore_diacritics: key.ignore_diacritics,
            };
            let texts: Vec<String> = key
                .accepted
                .iter()
                .map(|text| policy.normalize(text))
                .collect();
            if texts.iter().any(String::is_empty) {
                return None; // a blank would be right
            }
            Accepts::Texts { policy, texts }
        };
        (!key.accepted.is_empty()).then_some(Self {
            accepts,
            weight: key.weight.max(1),
        })
    }

    /// Reports whether a text is right.
    pub(crate) fn is_right(&self, text: &str) -> bool {
        match &self.accepts {
            Accepts::Texts { policy, texts } => {
                let text = policy.normalize(text);
                texts.contains(&text)
            }
            Accepts::Numbers(targets) => number(text).map(units).is_some_and(|x| {
                targets
                    .iter()
                    .any(|target| x.abs_diff(target.value) <= target.within)
            }),
        }
    }
}

fn targets(key: &BlankKey) -> Option<Vec<Target>> {
    let amount = |text: &str| match text {
        "" => Some(Decimal::ZERO),
        text => key_number(text).filter(|amount| !amount.is_sign_negative()),
    };
    let (absolute, relative) = (amount(&key.tolerance)?, amount(&key.relative_tolerance)?);
    let (absolute, relative) = (units(absolute), units(relative));
    let target = |text: &String| {
        let value = units(key_number(text)?);
        let share = product(relative.unsigned_abs(), value.unsigned_abs());
        let within = absolute.unsigned_abs().max(share);
        Some(Target { value, within })
    };
    key.accepted.iter().map(target).collect()
}

/// Returns a number that was read here in units of 10^-12: exact, as it has no more places.
fn units(number: Decimal) -> i128 {
    let number = number.normalize();
    let n_missing = u32::try_from(MAX_PLACES).unwrap_or(u32::MAX) - number.scale();
    number.mantissa() * 10i128.pow(n_missing)
}

/// Returns the whole units of a product, the largest number if it is beyond all: distances are whole units too, so
/// that comparing with it is exact.
fn product(a: u128, b: u128) -> u128 {
    let parts = |x: u128| (x / UNIT, x % UNIT);
    let ((a_whole, a_rest), (b_whole, b_rest)) = (parts(a), parts(b));
    let low = a_rest * b_whole + a_rest * b_rest / UNIT;
    let whole = a_whole
        .checked_mul(b)
        .and_then(|high| high.checked_add(low));
    whole.unwrap_or(u128::MAX)
}

impl Policy {
    fn normalize(self, text: &str) -> String {
        let composed: String = text.nfc().collect();
        let mut text = composed.split_whitespace().collect::<Vec<_>>().join(" ");
        if !self.case_sensitive {
            text = text.to_lowercase();
        }
        if self.ignore_diacritics {
            text = text.nfd().filter_map(without_diacritic).collect();
        }
        text
    }
}

fn without_diacritic(letter: char) -> Option<char> {
    match letter {
        '\u{300}'..='\u{36f}' => None,
        'đ' => Some('d'),
        'Đ' => Some('D'),
        letter => Some(letter),
    }
}

/// Reads a decimal as keys write it: a point, nothing between thousands.
fn key_number(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, places) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str, most| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    (plain(whole, MAX_WHOLE_DIGITS) && plain(places, MAX_PLACES))
        .then(|| Decimal::from_str_exact(text).ok())
        .flatten()
}

/// Reads a number as people write it, with a comma or a point.
pub(crate) fn number(text: &str) -> Option<Decimal> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (negative, digits) = match text.chars().next()? {
        '-' | '\u{2212}' => (true, text.trim_start_matches(['-', '\u{2212}'])),
        '+' => (false, &text[1..]),
        _ => (false, text.as_str()),
    };
    // only one sign was taken off
    if text.chars().count() - digits.chars().count() > 1 {
        return None;
    }
    let (whole, places) = split_at_decimal_sign(digits)?;
    if whole.len() > MAX_WHOLE_DIGITS || places.len() > MAX_PLACES {
        return None;
    }
    if whole.is_empty() && places.is_empty() {
        return None;
    }
    let plain = format!("{}0{whole}.{places}0", if negative { "-" } else { "" });
    Decimal::from_str_exact(&plain).ok()
}

/// Splits digits at their decimal sign and takes thousands separators out.
fn split_at_decimal_sign(digits: &str) -> Option<(String, String)> {
    let count = |sign: char| digits.matches(sign).count();
    let (decimal, thousands) = match (count('.'), count(',')) {
        (0, 0) => (None, None),
        (1, 0) => (Some('.'), None),
        (0, 1) => (Some(','), None),
        (_, 0) => (None, Some('.')),
        (0, _) => (None, Some(',')),
        (points, commas) => {
            let comma_last = digits.rfind(',') > digits.rfind('.');
            match (points, commas) {
                (_, 1) if comma_last => (Some(','), Some('.')),
                (1, _) if !comma_last => (Some('.'), Some(',')),
                _ => return None,
            }
        }
    };
    let (whole, places) = match decimal {
        Some(sign) => digits.split_once(sign)?,
        None => (digits, ""),
    };
    let whole = match thousands {
        Some(sign) => ungrouped(whole, sign)?,
        None => whole.to_owned(),
    };
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    (plain(&whole) && plain(places)).then(|| (whole, places.to_owned()))
}

fn ungrouped(whole: &str, sign: char) -> Option<String> {
    let mut groups = whole.split(sign);
    let first = groups.next()?;
    let well_formed = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
    well_formed.then(|| whole.replace(sign, ""))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Table {
        source: String,
        accepted: Vec<String>,
        #[serde(default)]
        numeric: bool,
        #[serde(default)]
        tolerance: String,
        #[serde(default)]
        relative_tolerance: String,
        #[serde(default)]
        case_sensitive: bool,
        #[serde(default)]
        ignore_diacritics: bool,
        right: Vec<String>,
        wrong: Vec<String>,
    }

    #[test]
    fn every_graded_text_is_right_or_wrong_as_written() {
        let tables: Vec<Table> =
            serde_json::from_str(include_str!("../../testdata/text.json")).unwrap();
        assert!(tables.len() >= 8, "the file lost its cases");
        for table in tables {
            let blank = Blank::new(&BlankKey {
                accepted: table.accepted,
                numeric: table.numeric,
                tolerance: table.tolerance,
                relative_tolerance: table.relative_tolerance,
                case_sensitive: table.case_sensitive,
                ignore_diacritics: table.ignore_diacritics,
                weight: 0,
            })
            .unwrap();
            for (texts, expected) in [(&table.right, true), (&table.wrong, false)] {
                assert!(!texts.is_empty(), "{}", table.source);
                for text in texts {
                    assert_eq!(blank.is_right(text), expected, "{}: {text:?}", table.source);
                }
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let expected = expected.map(|text| Decimal::from_str_exact(text).unwrap());
        assert_eq!(number(text), expected, "{text:?}");
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        check("3,14", Some("3.14"));
        check("3.14", Some("3.14"));
        check(" - 3,5 ", Some("-3.5"));
        check("\u{2212}2", Some("-2"));
        check("+7", Some("7"));
        check("1.234.567,89", Some("1234567.89"));
        check("1,234,567.89", Some("1234567.89"));
        check("1,234.5", Some("1234.5"));
        check("1.234,5", Some("1234.5"));
        check("1.234.567", Some("1234567"));
        check("1.234", Some("1.234"));
        check("1 000 000", Some("1000000"));
        check(",5", Some("0.5"));
        check("5,", Some("5"));
        check("007", Some("7"));
        for text in [
            "",
            " ",
            ",",
            "--1",
            "+-1",
            "1e5",
            "0x10",
            "1.23.456",
            "1.234,567,8",
            "1,2.3,4",
            "12a",
            "1_0",
            "1,2_5",
            "٣",
            "1234567890123456",
            "0,1234567890123",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_key_that_accepts_nothing_or_no_number_is_none() {
        let key = |accepted: &[&str], numeric| BlankKey {
            accepted: accepted.iter().map(|&text| text.to_owned()).collect(),
            numeric,
            ..BlankKey::default()
        };
        assert!(Blank::new(&key(&[], false)).is_none());
        assert!(Blank::new(&key(&["  "], false)).is_none());
        assert!(
            Blank::new(&key(&["3,5"], true)).is_none(),
            "keys have a point"
        );
        for right in ["3.5", "-3.5", "123456789012345.123456789012", "007"] {
            assert!(Blank::new(&key(&[right], true)).is_some(), "{right}");
        }
        for wrong in [
            "1_0",
            "1.5_0",
            "+1",
            " 1",
            "1.",
            ".5",
            "--1",
            "1e1",
            "1.2.3",
            "",
            "1234567890123456",
            "1.1234567890123",
        ] {
            assert!(Blank::new(&key(&[wrong], true)).is_none(), "{wrong}");
        }
        assert!(
            Blank::new(&BlankKey {
                tolerance: "-1".to_owned(),
                ..key(&["3"], true)
            })
            .is_none()
        );
    }
}
