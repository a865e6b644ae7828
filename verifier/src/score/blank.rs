//! One blank of a text answer: what is right in it.
//!
//! Source: `docs/FORMATS.md`, section 4, "Texts" and "Numbers".

use proto::key::v1::BlankKey;
use unicode_normalization::UnicodeNormalization;

use crate::score::number::Number;

/// Between the blanks of a cloze.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// What is right in one blank.
#[derive(Clone, Debug)]
pub(crate) struct Blank {
    /// The blank's share of the sum of all weights.
    pub(crate) weight: i128,
    accepted: Accepted,
}

#[derive(Clone, Debug)]
enum Accepted {
    Texts {
        how: Folding,
        texts: Vec<String>,
    },
    Numbers {
        numbers: Vec<Number>,
        tolerance: Number,
        relative: Number,
    },
}

/// Which differences between texts do not matter.
#[derive(Clone, Copy, Debug)]
struct Folding {
    case_sensitive: bool,
    ignore_diacritics: bool,
}

impl Blank {
    /// Reads a key; none if one of its texts is blank or one of its numbers is none.
    pub(crate) fn new(key: &BlankKey, is_number: bool) -> Option<Self> {
        let accepted = if is_number {
            let numbers = key.accepted.iter().map(|text| Number::from_key(text));
            Accepted::Numbers {
                numbers: numbers.collect::<Option<_>>()?,
                tolerance: Number::from_tolerance(&key.tolerance)?,
                relative: Number::from_tolerance(&key.relative_tolerance)?,
            }
        } else {
            let how = Folding {
                case_sensitive: key.case_sensitive,
                ignore_diacritics: key.ignore_diacritics,
            };
            let texts: Vec<String> = key.accepted.iter().map(|text| fold(text, how)).collect();
            if texts.iter().any(String::is_empty) {
                return None;
            }
            Accepted::Texts { how, texts }
        };
        Some(Self {
            weight: i128::from(key.weight.max(1)),
            accepted,
        })
    }

    /// Tells whether a text is right in the blank; an empty one never is.
    pub(crate) fn is_right(&self, text: &str) -> bool {
        match &self.accepted {
            Accepted::Texts { how, texts } => !is_blank(text) && texts.contains(&fold(text, *how)),
            Accepted::Numbers {
                numbers,
                tolerance,
                relative,
            } => {
                let near = |x: Number| {
                    numbers
                        .iter()
                        .any(|key| x.is_near(*key, *tolerance, *relative))
                };
                Number::from_answer(text).is_some_and(near)
            }
        }
    }
}

/// Tells whether nothing is left of a text once white space is taken off.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// Returns a text without the differences that do not matter.
fn fold(text: &str, how: Folding) -> String {
    let composed: String = text.nfc().collect();
    let words: Vec<&str> = composed.split_whitespace().collect();
    let mut text = words.join(" ");
    if !how.case_sensitive {
        text = text.to_lowercase();
    }
    if !how.ignore_diacritics {
        return text;
    }
    let bare = text.nfd().filter(|c| !('\u{300}'..='\u{36f}').contains(c));
    let plain = bare.map(|c| match c {
        'đ' => 'd',
        'Đ' => 'D',
        other => other,
    });
    plain.collect()
}
