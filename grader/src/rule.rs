//! What share of its mark an answer earns, by item type and section rule.
//!
//! A share is an exact fraction whose denominator is the number of right options, so that it turns into whole
//! quanta (docs/FORMATS.md section 4).

mod choice;

use proto::bank::v1::{ItemType, MultipleRule};

/// Share of an item's mark: `right` of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Numerator, never above `of`.
    pub right: u32,
    /// Denominator: the number of right options.
    pub of: u32,
}

impl Share {
    /// Reports whether the full mark is earned.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.right == self.of
    }
}

/// How an answer is compared with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The full mark if the chosen set equals the key set, else nothing; number right for a single key.
    AllOrNothing,
    /// r/k of the mark; nothing if more than k are chosen.
    Ripkey,
    /// max(0, r-w)/k of the mark.
    PlusMinus,
}

impl Rule {
    /// Returns the rule of an item of this type in a section with this rule for several keys; none for a type that
    /// cannot be scored here.
    #[must_use]
    pub fn of(item_type: ItemType, multiple: MultipleRule) -> Option<Self> {
        match item_type {
            ItemType::SingleChoice | ItemType::TrueFalse => Some(Self::AllOrNothing),
            ItemType::MultipleChoice => Some(match multiple {
                MultipleRule::Unspecified | MultipleRule::AllOrNothing => Self::AllOrNothing,
                MultipleRule::Ripkey => Self::Ripkey,
                MultipleRule::PlusMinus => Self::PlusMinus,
                MultipleRule::Balanced | MultipleRule::EachOption | MultipleRule::Half => {
                    return None;
                }
            }),
            ItemType::Unspecified
            | ItemType::Cluster
            | ItemType::Matching
            | ItemType::Ordering
            | ItemType::Numeric
            | ItemType::ShortText
            | ItemType::Cloze
            | ItemType::Prediction => None,
        }
    }

    /// Returns the share that the chosen options earn; bit i is option i in canonical order. Blank earns nothing.
    #[must_use]
    pub fn share(self, key: u16, chosen: u16) -> Share {
        let of = key.count_ones();
        let right = if chosen == 0 {
            0
        } else {
            match self {
                Self::AllOrNothing => choice::all_or_nothing(key, chosen),
                Self::Ripkey => choice::ripkey(key, chosen),
                Self::PlusMinus => choice::plus_minus(key, chosen),
            }
        };
        Share { right, of }
    }
}
