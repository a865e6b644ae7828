//! What a question is: an item, its options and its key, and the canonical bytes that name a revision.
//!
//! Invariant: two items with the same canonical JSON are the same revision, on any version of this
//! software; so field order here is a format (docs/FORMATS.md), and new fields are optional and left out
//! when absent. Start at [`Item`].

use proto::bank::v1::{Band as WireBand, ItemType as WireItemType};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Longest stem, characters: a long reading text still fits, a whole document pasted by mistake does not.
pub const MAX_TEXT_CHARS: usize = 8_000;
/// Longest option, characters.
pub const MAX_OPTION_CHARS: usize = 2_000;
/// Most options of an item: keys are bits of a u32 and letters end at L.
pub const MAX_OPTIONS: usize = 12;

/// Number of an item in its bank, from 1, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub u32);

/// What kind of response an item asks for. Importers make the first two; the others have their room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemType {
    /// Exactly one option is to be chosen.
    SingleChoice,
    /// One or more options are to be chosen.
    MultipleChoice,
    /// One statement, true or false.
    TrueFalse,
    /// Four statements, each true or false, scored together.
    Cluster,
    /// Pairs are to be found.
    Matching,
    /// Options are to be put in order.
    Ordering,
    /// A number is to be given.
    Numeric,
    /// A short text is to be given.
    ShortText,
    /// Blanks in a text are to be filled.
    Cloze,
    /// A quantity known only after the close; never scored.
    Prediction,
}

/// How hard an item is, by its author's judgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// Not stated.
    #[default]
    Unstated,
    /// Nhận biết (NB).
    Recognition,
    /// Thông hiểu (TH).
    Comprehension,
    /// Vận dụng (VD).
    Application,
    /// Vận dụng cao (VDC).
    HighApplication,
}

/// One option of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemOption {
    /// Plain text, NFC.
    pub text: String,
    /// Stays in its place when options are shuffled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pinned: bool,
}

/// One item with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What kind of response it asks for.
    #[serde(rename = "type")]
    pub item_type: ItemType,
    /// Stem: plain text, NFC.
    pub text: String,
    /// In canonical order.
    pub options: Vec<ItemOption>,
    /// Right options, canonical indices from 0, rising.
    pub key: Vec<u8>,
    /// Topic; "" where the source names none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// Difficulty band.
    #[serde(default, skip_serializing_if = "is_unstated")]
    pub band: Band,
    /// Why the key is right; "" for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub explanation: String,
    /// Names of the exclusion sets (enemies, families) it belongs to, rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusion_sets: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_unstated(band: &Band) -> bool {
    *band == Band::Unstated
}

impl Item {
    /// Returns the canonical JSON, the bytes that a revision hash is made of.
    #[must_use]
    pub fn canonical_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an item has only strings, numbers and lists")
    }

    /// Returns the revision hash: BLAKE3 of the canonical JSON.
    #[must_use]
    pub fn revision(&self) -> [u8; 32] {
        *blake3::hash(&self.canonical_json()).as_bytes()
    }

    /// Returns the key as bits of canonical options; bit 0 is the first option.
    #[must_use]
    pub fn key_bits(&self) -> u32 {
        self.key.iter().fold(0, |bits, &index| bits | 1 << index)
    }
}

impl Band {
    /// Expected share of right answers, thousandths, until statistics know better. The values only order papers
    /// by difficulty; they are the author's band turned into a number, not a measurement.
    #[must_use]
    pub fn facility_milli(self) -> u32 {
        match self {
            Self::Recognition => 800,
            Self::Unstated | Self::Comprehension => 650,
            Self::Application => 500,
            Self::HighApplication => 350,
        }
    }

    /// Reads the abbreviations and words that Vietnamese sheets use, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match clean_text(text).to_lowercase().as_str() {
            "nb" | "nhận biết" | "dễ" | "1" => Some(Self::Recognition),
            "th" | "thông hiểu" | "trung bình" | "2" => Some(Self::Comprehension),
            "vd" | "vận dụng" | "khó" | "3" => Some(Self::Application),
            "vdc" | "vận dụng cao" | "rất khó" | "4" => Some(Self::HighApplication),
            _ => None,
        }
    }
}

impl From<Band> for WireBand {
    fn from(band: Band) -> Self {
        match band {
            Band::Unstated => Self::Unspecified,
            Band::Recognition => Self::Recognition,
            Band::Comprehension => Self::Comprehension,
            Band::Application => Self::Application,
            Band::HighApplication => Self::HighApplication,
        }
    }
}

impl From<ItemType> for WireItemType {
    fn from(item_type: ItemType) -> Self {
        match item_type {
            ItemType::SingleChoice => Self::SingleChoice,
            ItemType::MultipleChoice => Self::MultipleChoice,
            ItemType::TrueFalse => Self::TrueFalse,
            ItemType::Cluster => Self::Cluster,
            ItemType::Matching => Self::Matching,
            ItemType::Ordering => Self::Ordering,
            ItemType::Numeric => Self::Numeric,
            ItemType::ShortText => Self::ShortText,
            ItemType::Cloze => Self::Cloze,
            ItemType::Prediction => Self::Prediction,
        }
    }
}

/// Brings a text to the form in which it is stored and compared: NFC, no-break and zero-width characters and runs of
/// white space turned into single spaces, trimmed.
#[must_use]
pub fn clean_text(text: &str) -> String {
    let kept = text.nfc().filter(|c| {
        !matches!(
            c,
            '\u{200b}' | '\u{200c}' | '\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}'
        )
    });
    let mut cleaned = String::with_capacity(text.len());
    for c in kept {
        if c.is_whitespace() {
            if !cleaned.ends_with(' ') {
                cleaned.push(' ');
            }
        } else {
            cleaned.push(c);
        }
    }
    let end = cleaned.trim_end().len();
    cleaned.truncate(end);
    cleaned.trim_start().to_owned()
}

/// Reports whether an option speaks of the options before it ("Cả ba đáp án trên", "Cả A và B", "Tất cả đều sai"), so
/// that it must not move.
#[must_use]
pub fn refers_to_options(text: &str) -> bool {
    let lower = clean_text(text).to_lowercase();
    let words = words(&lower);
    let opens = lower.starts_with("cả ")
        || lower.starts_with("tất cả")
        || lower.starts_with("không có")
        || lower.starts_with("không phương án")
        || lower.starts_with("không đáp án")
        || lower.starts_with("không phải");
    let names_options = [
        "đáp án",
        "phương án",
        "câu trên",
        "ý trên",
        "đều đúng",
        "đều sai",
        "nêu trên",
    ]
    .iter()
    .any(|phrase| lower.contains(phrase));
    let points_up = words.iter().enumerate().any(|(at, word)| {
        // "trên cơ sở" says where something rests, not which options are meant.
        let next = words.get(at + 1);
        *word == "trên" && next.is_none_or(|next| matches!(*next, "đều" | "là" | "đúng" | "sai"))
    });
    let is_plural = words.first().is_some_and(|word| {
        matches!(
            *word,
            "các" | "những" | "mọi" | "hai" | "ba" | "bốn" | "2" | "3" | "4"
        )
    });
    (opens && (names_options || words.last() == Some(&"trên")))
        || (is_plural && points_up)
        || refers_to_letters(text)
}

/// Reports whether an option names others by their letters ("Cả A và B"): then none of the item's options may move.
#[must_use]
pub fn refers_to_letters(text: &str) -> bool {
    let lower = clean_text(text).to_lowercase();
    let words = words(&lower);
    let is_letter = |word: &&str| matches!(*word, "a" | "b" | "c" | "d" | "e");
    let introduces = |word: &&&str| {
        matches!(
            **word,
            "cả" | "chỉ" | "các" | "hai" | "ba" | "câu" | "ý" | "đáp" | "án" | "phương"
        )
    };
    let n_introducing = words.iter().take_while(introduces).count();
    let named = words[n_introducing..]
        .iter()
        .filter(|word| !matches!(**word, "và" | "hoặc"));
    let begins_with_letters = named.take(2).filter(|word| is_letter(word)).count() == 2;
    let all_fit = words.iter().all(|word| {
        word.chars().count() == 1
            || matches!(
                *word,
                "cả" | "và" | "đều" | "đúng" | "sai" | "hoặc" | "đáp" | "án" | "câu" | "phương"
            )
    });
    let n_letters = words.iter().filter(|word| is_letter(word)).count();
    (n_introducing > 0 && begins_with_letters) || (n_letters >= 2 && all_fit)
}

fn words(lower: &str) -> Vec<&str> {
    lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decomposed_text_and_odd_spaces_become_one_form() {
        assert_eq!(
            clean_text(" Hu\u{65}\u{302}\u{301}\u{a0} \u{200b}xưa\n"),
            "Huế xưa"
        );
    }

    #[test]
    fn options_that_speak_of_others_are_pinned() {
        for text in [
            "Cả ba đáp án trên",
            "Cả 3 phương án trên đều đúng.",
            "Tất cả các phương án trên",
            "Cả A và B",
            "A và C đều đúng",
            "Cả a, b và c đều sai",
            "Không có đáp án nào đúng",
            "Tất cả các ý trên",
            "Cả ba địa danh trên",
            "Các phương án trên đều sai",
            "Hai đáp án trên là đúng.",
            "Các trường hợp nêu trên",
            "Không phương án nào đúng",
            "Đáp án A và C là đúng",
            "Phương án A, B đều không phù hợp",
        ] {
            assert!(refers_to_options(text), "{text}");
        }
        for text in [
            "Cả nước có 34 tỉnh, thành phố",
            "Tất cả công dân từ đủ 18 tuổi",
            "Vitamin A và vitamin C",
            "Các phương án trên cơ sở đề xuất của tổ chuyên gia",
            "Tất cả thành viên của liên danh A-B",
            "Đèn đỏ",
        ] {
            assert!(!refers_to_options(text), "{text}");
        }
    }

    #[test]
    fn the_canonical_bytes_of_an_item_stay_as_they_are() {
        let item = Item {
            item_type: ItemType::SingleChoice,
            text: "1 + 1 = ?".to_owned(),
            options: ["2", "3"]
                .map(|text| ItemOption {
                    text: text.to_owned(),
                    pinned: false,
                })
                .to_vec(),
            key: vec![0],
            topic: "Toán".to_owned(),
            band: Band::Unstated,
            explanation: String::new(),
            exclusion_sets: vec![],
        };
        assert_eq!(
            String::from_utf8(item.canonical_json()).unwrap(),
            r#"{"type":"single_choice","text":"1 + 1 = ?","options":[{"text":"2"},{"text":"3"}],"key":[0],"topic":"Toán"}"#
        );
    }
}
