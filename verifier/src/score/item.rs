//! One item's key, and the share of the mark that an answer earns under it.
//!
//! Source: `docs/FORMATS.md`, section 4, "Answers by type" and "Share".

use proto::{
    bank::v1::{ItemType, MultipleRule, OrderingRule, PaperItem},
    exam::v1::response::Value,
    key::v1::{ItemKey, Treatment},
};

use crate::{
    Error,
    score::{
        blank::{Blank, SEPARATOR, is_blank},
        choice::{
            cluster, cluster_denominator, cluster_share, if_right, multiple, multiple_denominator,
            to_canonical,
        },
        fraction::Fraction,
        sequence::{matching, ordering, ordering_denominator},
    },
};

/// How a section scores its items.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) multiple: MultipleRule,
    pub(crate) ordering: OrderingRule,
    pub(crate) cluster_percent: Vec<u32>,
}

/// What is right, by type.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// Single choice, true/false: sets of one option each.
    One(Vec<u32>),
    Multiple(Vec<u32>),
    Cluster(Vec<u32>),
    Matching(Vec<Vec<u8>>),
    Ordering(Vec<Vec<u8>>),
    /// Numeric, short text: the only blank; none for a key that its item cannot have.
    Text(Option<Blank>),
    Cloze(Vec<Blank>),
    Prediction,
}

/// An item as it is scored.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) key: Key,
    /// Number of options.
    pub(crate) n: usize,
    pub(crate) treatment: Treatment,
    /// 1 for 100 percent.
    pub(crate) weight: Fraction,
    pub(crate) fatal: bool,
}

impl Item {
    pub(crate) fn new(item: &PaperItem, key: &ItemKey) -> Result<Self, Error> {
        let treatment = Treatment::try_from(key.treatment)
            .map_err(|_| Error::invalid("treatment of an item", key.treatment))?;
        let percent = match key.weight_percent {
            0 => 100,
            percent => percent,
        };
        Ok(Self {
            key: Key::new(item.r#type(), key),
            n: item.options.len(),
            treatment,
            weight: Fraction::new(percent.into(), 100),
            fatal: key.fatal,
        })
    }

    /// Tells whether the item is neither dropped nor a prediction.
    pub(crate) fn is_scored(&self) -> bool {
        self.treatment != Treatment::Dropped && !matches!(self.key, Key::Prediction)
    }

    /// Returns the greatest share that any set, sequence or text gives to an answer that is not blank.
    pub(crate) fn share(&self, rules: &Rules, option_order: &[u8], answer: &Value) -> Fraction {
        let n = self.n_options();
        match (&self.key, answer) {
            (Key::One(sets), Value::Chosen(shown)) => {
                let chosen = to_canonical(*shown, option_order);
                best(sets, |set| if_right(chosen == *set))
            }
            (Key::Multiple(sets), Value::Chosen(shown)) => {
                let chosen = to_canonical(*shown, option_order);
                let sets = sets.iter().filter(|set| **set != 0); // reported with the package
                best(sets, |set| multiple(rules.multiple, n, chosen, *set))
            }
            (Key::Cluster(sets), Value::Sequence(marks)) => {
                best(sets, |set| cluster(&rules.cluster_percent, n, marks, *set))
            }
            (Key::Matching(keys), Value::Sequence(pairs)) => {
                best(keys, |key| matching(self.n, pairs, key))
            }
            (Key::Ordering(keys), Value::Sequence(order)) => {
                best(keys, |key| ordering(rules.ordering, order, key))
            }
            (Key::Text(blank), Value::Text(text)) => {
                best(blank, |blank| if_right(blank.is_right(text)))
            }
            (Key::Cloze(blanks), Value::Text(text)) => cloze(blanks, text),
            _ => Fraction::ZERO, // a response of another kind is reported where answers are checked
        }
    }

    /// Returns the share of an answer with everything right.
    pub(crate) fn full_share(&self, rules: &Rules) -> Fraction {
        match self.key {
            Key::Cluster(_) => cluster_share(&rules.cluster_percent, self.n_options(), self.n),
            _ => Fraction::ONE,
        }
    }

    /// Returns what all shares are whole multiples of one over: one for each set.
    pub(crate) fn denominators(&self, rules: &Rules) -> Vec<i128> {
        let n = self.n_options();
        match &self.key {
            Key::One(_) | Key::Text(_) | Key::Prediction => Vec::new(), // 1
            Key::Multiple(sets) => {
                let denominator = |set: &u32| multiple_denominator(rules.multiple, n, *set);
                sets.iter()
                    .filter(|set| **set != 0)
                    .map(denominator)
                    .collect()
            }
            Key::Cluster(_) => vec![cluster_denominator(&rules.cluster_percent, n)],
            Key::Matching(_) => vec![n],
            Key::Ordering(_) => vec![ordering_denominator(rules.ordering, self.n)],
            Key::Cloze(blanks) => vec![sum_of_weights(blanks)],
        }
    }

    /// Tells whether some answer that leaves nothing out does not earn the full share: always, but where
    /// everything that can be chosen is right.
    pub(crate) fn can_be_wrong(&self, rules: &Rules) -> bool {
        let all = (1_u64 << self.n.min(31)) - 1;
        let is_full = |share: Fraction| share == Fraction::ONE;
        let canonical: Vec<u8> = (0..=u8::MAX).take(self.n).collect();
        let chosen = |bits: u32| is_full(self.share(rules, &canonical, &Value::Chosen(bits)));
        match (&self.key, self.treatment) {
            (_, Treatment::FullToAll | Treatment::FullToAttempted) => false,
            (Key::One(_), _) => !(0..self.n).all(|option| chosen(1 << option.min(31))),
            (Key::Multiple(_), _) if self.n <= 12 => {
                !(1..=all).all(|bits| u32::try_from(bits).is_ok_and(chosen))
            }
            (Key::Cluster(_), _) => (0..=self.n).any(|n_right| {
                !is_full(cluster_share(
                    &rules.cluster_percent,
                    self.n_options(),
                    n_right,
                ))
            }),
            _ => true,
        }
    }

    fn n_options(&self) -> i128 {
        i128::try_from(self.n).expect("a usize has at most 64 bits")
    }
}

impl Key {
    fn new(item_type: ItemType, key: &ItemKey) -> Self {
        let sets = || [&[key.right_options], key.accepted.as_slice()].concat();
        let sequences = || {
            key.sequences
                .iter()
                .map(|sequence| sequence.to_vec())
                .collect()
        };
        match item_type {
            ItemType::SingleChoice | ItemType::TrueFalse => {
                let bits = (0..u32::BITS).map(|bit| 1 << bit);
                let right = bits.filter(|bit| key.right_options & bit != 0);
                Self::One(right.chain(key.accepted.iter().copied()).collect())
            }
            ItemType::MultipleChoice => Self::Multiple(sets()),
            ItemType::Cluster => Self::Cluster(sets()),
            ItemType::Matching => Self::Matching(sequences()),
            ItemType::Ordering => Self::Ordering(sequences()),
            // Bad keys are reported with the package.
            ItemType::Numeric | ItemType::ShortText => {
                Self::Text(blanks(item_type, key).and_then(|blanks| blanks.into_iter().next()))
            }
            ItemType::Cloze => Self::Cloze(blanks(item_type, key).unwrap_or_default()),
            ItemType::Prediction | ItemType::Unspecified => Self::Prediction, // the latter is refused by the draw
        }
    }
}

/// Returns the blanks of a key; none if one of them is no key.
pub(crate) fn blanks(item_type: ItemType, key: &ItemKey) -> Option<Vec<Blank>> {
    let is_numeric = item_type == ItemType::Numeric;
    let blanks = key.blanks.iter();
    blanks
        .map(|blank| Blank::new(blank, is_numeric || blank.numeric))
        .collect()
}

/// Tells whether a response answers nothing.
pub(crate) fn is_blank_response(key: &Key, value: Option<&Value>) -> bool {
    match value {
        None => true,
        Some(Value::Chosen(bits)) => *bits == 0,
        Some(Value::Sequence(sequence)) => {
            let is_zero = |byte: &u8| *byte == 0 && !matches!(key, Key::Ordering(_));
            sequence.iter().all(is_zero)
        }
        Some(Value::Text(text)) => match key {
            Key::Cloze(_) => text.split(SEPARATOR).all(is_blank),
            _ => is_blank(text),
        },
    }
}

/// Blanks that are missing at the end are empty, and empty ones are never right.
fn cloze(blanks: &[Blank], text: &str) -> Fraction {
    let answered = blanks.iter().zip(text.split(SEPARATOR));
    let right = answered.filter(|(blank, text)| blank.is_right(text));
    let earned = right.map(|(blank, _)| blank.weight).sum();
    Fraction::new(earned, sum_of_weights(blanks))
}

fn sum_of_weights(blanks: &[Blank]) -> i128 {
    let sum: i128 = blanks.iter().map(|blank| blank.weight).sum();
    sum.max(1)
}

fn best<T>(keys: impl IntoIterator<Item = T>, share: impl Fn(T) -> Fraction) -> Fraction {
    keys.into_iter().map(share).max().unwrap_or(Fraction::ZERO)
}
