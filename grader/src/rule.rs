//! What share of its mark an answer earns, by item type and section rule.
//!
//! A share is an exact fraction whose denominator follows from the key and the rule alone, so that every score is a
//! whole number of quanta (docs/FORMATS.md section 4).

mod choice;
mod cluster;
mod pairing;
mod text;

use proto::{
    bank::v1::{ItemType, MultipleRule, OrderingRule, PaperItem, Section},
    key::v1::ItemKey,
};

use self::text::Blank;
pub(crate) use self::{
    cluster::Scale,
    text::{BLANK_SEPARATOR, number},
};

/// Most options of an item: letters end at L, and a shown order fits twelve times four bits.
pub const MAX_OPTIONS: usize = 12;
/// Most blanks of a cloze: more is a dictation.
const MAX_BLANKS: usize = 20;
/// Most weight of one blank: it keeps denominators small.
const MAX_WEIGHT: u32 = 100;

/// Share of an item's mark: `right` of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Numerator, never above `of`.
    pub right: u32,
    /// Denominator, never 0.
    pub of: u32,
}

impl Share {
    /// The full mark.
    pub const FULL: Self = Self { right: 1, of: 1 };
    /// Nothing.
    pub const NOTHING: Self = Self { right: 0, of: 1 };

    /// Reports whether the full mark is earned.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.right == self.of
    }

    fn better(self, other: Self) -> Self {
        let (a, b) = (
            u64::from(self.right) * u64::from(other.of),
            u64::from(other.right) * u64::from(self.of),
        );
        if b > a { other } else { self }
    }
}

/// What a candidate gave for an item, in canonical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// Nothing.
    Blank,
    /// Chosen options; bit 0 is the first; not empty.
    Chosen(u16),
    /// Cluster, matching, ordering: as docs/FORMATS.md section 4 says.
    Sequence(&'a [u8]),
    /// Numeric, short text, cloze, prediction.
    Text(&'a str),
}

/// How a section compares answers with keys.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    multiple: MultipleRule,
    ordering: OrderingRule,
    cluster: Scale,
}

impl Rules {
    /// Reads a section's rules; the name of a field that is none of its values else.
    pub(crate) fn new(section: &Section) -> Result<Self, &'static str> {
        Ok(Self {
            multiple: MultipleRule::try_from(section.multiple_rule)
                .map_err(|_| "blueprint.sections.multiple_rule")?,
            ordering: OrderingRule::try_from(section.ordering_rule)
                .map_err(|_| "blueprint.sections.ordering_rule")?,
            cluster: Scale::new(&section.cluster_percent)
                .ok_or("blueprint.sections.cluster_percent")?,
        })
    }

    /// Returns the mean share of a cluster whose statements are judged by chance.
    pub(crate) fn guessed_cluster(&self, n_statements: u8) -> Share {
        self.cluster.guessed(n_statements)
    }

    /// Reports whether an item can be scored in this section.
    pub(crate) fn fit(&self, key: &Key, n_options: u8) -> bool {
        !matches!(key, Key::Cluster(_)) || self.cluster.fits(n_options)
    }
}

/// What is right for an item; an answer earns the most that any alternative gives it.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// One option of each set.
    Single(Box<[u16]>),
    Multiple(Box<[u16]>),
    Cluster(Box<[u16]>),
    Matching(Box<[Box<[u8]>]>),
    Ordering(Box<[Box<[u8]>]>),
    Text(Box<Blank>),
    Cloze(Box<[Blank]>),
    /// Nothing is right: it is never scored.
    Prediction,
}

impl Key {
    /// Reads the key of an item; none if it does not fit the item.
    pub(crate) fn new(item: &PaperItem, key: &ItemKey) -> Option<Self> {
        let n = item.options.len();
        let fits = |sets: &[u16]| sets.iter().all(|set| u32::from(*set) >> n == 0);
        let sets: Option<Vec<u16>> = std::iter::once(&key.right_options)
            .chain(&key.accepted)
            .map(|&bits| u16::try_from(bits).ok())
            .collect();
        let sets = sets.filter(|sets| fits(sets))?;
        let chooses = key.sequences.is_empty() && key.blanks.is_empty();
        let nothing_chosen = sets == [0];
        let pairs = nothing_chosen && key.blanks.is_empty() && !key.sequences.is_empty();
        let writes = nothing_chosen && key.sequences.is_empty();
        Some(match item.r#type() {
            ItemType::SingleChoice | ItemType::TrueFalse if chooses => {
                Self::Single(singles(&sets)?)
            }
            ItemType::MultipleChoice if chooses && !sets.contains(&0) => {
                Self::Multiple(sets.into())
            }
            ItemType::Cluster if chooses => Self::Cluster(sets.into()),
            ItemType::Matching if pairs => {
                let n_targets = item.targets.len();
                let known = |seq: &[u8]| seq.iter().all(|target| usize::from(*target) < n_targets);
                Self::Matching(sequences(key, n, known)?)
            }
            ItemType::Ordering if pairs => Self::Ordering(sequences(key, n, is_permutation)?),
            ItemType::Numeric | ItemType::ShortText if writes => {
                let [blank] = &*key.blanks else { return None };
                (blank.numeric == (item.r#type() == ItemType::Numeric)).then_some(())?;
                Self::Text(Box::new(Blank::new(blank)?))
            }
            ItemType::Cloze if writes && key.blanks.len() == item.n_blanks as usize => {
                let blanks: Option<Box<[Blank]>> = key.blanks.iter().map(Blank::new).collect();
                Self::Cloze(blanks?)
            }
            ItemType::Prediction if writes && key.blanks.is_empty() => Self::Prediction,
            _ => return None,
        })
    }

    /// Returns the option sets that are right, for choices.
    pub(crate) fn sets(&self) -> &[u16] {
        match self {
            Self::Single(sets) | Self::Multiple(sets) => sets,
            Self::Cluster(_)
            | Self::Matching(_)
            | Self::Ordering(_)
            | Self::Text(_)
            | Self::Cloze(_)
            | Self::Prediction => &[],
        }
    }

    /// Calls with every denominator that a share of this item can have in a section.
    pub(crate) fn denominators(&self, rules: &Rules, n_options: u8, mut take: impl FnMut(u32)) {
        let n = usize::from(n_options);
        match self {
            Self::Single(_) | Self::Text(_) | Self::Prediction => take(1),
            Self::Multiple(sets) => sets
                .iter()
                .for_each(|set| take(choice::denominator(rules.multiple, n_options, *set))),
            Self::Cluster(_) => take(rules.cluster.denominator(n_options)),
            Self::Matching(_) => take(u32::from(n_options)),
            Self::Ordering(_) => take(pairing::ordering_denominator(rules.ordering, n)),
            Self::Cloze(blanks) => take(blanks.iter().map(|blank| blank.weight).sum()),
        }
    }

    /// Returns the share of an answer; what was given fits the item.
    pub(crate) fn share(&self, rules: &Rules, n_options: u8, given: Given<'_>) -> Share {
        let best = |shares: &mut dyn Iterator<Item = Share>| {
            shares.reduce(Share::better).unwrap_or(Share::NOTHING)
        };
        match (self, given) {
            (Self::Single(sets), Given::Chosen(chosen)) => {
                if sets.contains(&chosen) {
                    Share::FULL
                } else {
                    Share::NOTHING
                }
            }
            (Self::Multiple(sets), Given::Chosen(chosen)) => best(
                &mut sets
                    .iter()
                    .map(|set| choice::share(rules.multiple, n_options, *set, chosen)),
            ),
            (Self::Cluster(sets), Given::Sequence(marks)) => best(
                &mut sets
                    .iter()
                    .map(|truths| rules.cluster.share(n_options, *truths, marks)),
            ),
            (Self::Matching(keys), Given::Sequence(answer)) => {
                best(&mut keys.iter().map(|key| pairing::matching(key, answer)))
            }
            (Self::Ordering(keys), Given::Sequence(answer)) => best(
                &mut keys
                    .iter()
                    .map(|key| pairing::ordering(rules.ordering, key, answer)),
            ),
            (Self::Text(blank), Given::Text(text)) if blank.is_right(text) => Share::FULL,
            (Self::Cloze(blanks), Given::Text(text)) => cloze(blanks, text),
            _ => Share::NOTHING,
        }
    }
}

/// Returns the right options one by one: each of the first set, and what was accepted later.
fn singles(sets: &[u16]) -> Option<Box<[u16]>> {
    let (first, accepted) = sets.split_first()?;
    let are_single = accepted.iter().all(|set| set.count_ones() == 1);
    (*first != 0 && are_single).then_some(())?;
    let bits = (0..u16::BITS).map(|at| 1 << at);
    let mut options: Vec<u16> = bits.filter(|option| first & option != 0).collect();
    options.extend(accepted);
    options.sort_unstable();
    options.dedup();
    Some(options.into())
}

fn sequences(key: &ItemKey, n: usize, fits: impl Fn(&[u8]) -> bool) -> Option<Box<[Box<[u8]>]>> {
    let whole = |seq: &bytes::Bytes| seq.len() == n && fits(seq);
    key.sequences
        .iter()
        .all(whole)
        .then(|| key.sequences.iter().map(|seq| (&**seq).into()).collect())
}

pub(crate) fn is_permutation(sequence: &[u8]) -> bool {
    let mut seen = 0u32;
    for &element in sequence {
        seen |= 1u32.checked_shl(u32::from(element)).unwrap_or(0);
    }
    sequence.len() < 32 && seen == (1 << sequence.len()) - 1
}

fn cloze(blanks: &[Blank], text: &str) -> Share {
    let texts = text.split(BLANK_SEPARATOR);
    let right = blanks
        .iter()
        .zip(texts)
        .filter(|(blank, text)| !is_empty(text) && blank.is_right(text));
    Share {
        right: right.map(|(blank, _)| blank.weight).sum(),
        of: blanks.iter().map(|blank| blank.weight).sum(),
    }
}

/// Reports whether a text is blank.
pub(crate) fn is_empty(text: &str) -> bool {
    text.chars()
        .all(|letter| letter.is_whitespace() || letter == BLANK_SEPARATOR)
}

/// Reports whether an item has as many options, targets and blanks as its type wants.
pub(crate) fn has_its_parts(item: &PaperItem) -> bool {
    let (n_options, n_targets) = (item.options.len(), item.targets.len());
    let n_blanks = item.n_blanks as usize;
    let pairs = item.r#type() == ItemType::Matching;
    let fills = item.r#type() == ItemType::Cloze;
    let options = match item.r#type() {
        ItemType::SingleChoice
        | ItemType::MultipleChoice
        | ItemType::TrueFalse
        | ItemType::Matching
        | ItemType::Ordering => 2..=MAX_OPTIONS,
        ItemType::Cluster => 1..=MAX_OPTIONS,
        ItemType::Numeric | ItemType::ShortText | ItemType::Cloze | ItemType::Prediction => 0..=0,
        ItemType::Unspecified => return false,
    };
    options.contains(&n_options)
        && (if pairs {
            (2..=MAX_OPTIONS).contains(&n_targets)
        } else {
            n_targets == 0
        })
        && (if fills {
            (1..=MAX_BLANKS).contains(&n_blanks)
        } else {
            n_blanks == 0
        })
}

/// Reports whether the weights of a key's blanks are in range.
pub(crate) fn has_fair_weights(key: &ItemKey) -> bool {
    key.blanks.iter().all(|blank| blank.weight <= MAX_WEIGHT)
}

#[cfg(test)]
mod tests {
    use proto::{bank::v1::Option as ItemOption, key::v1::BlankKey};

    use super::*;

    fn item(item_type: ItemType, n_options: usize) -> PaperItem {
        PaperItem {
            r#type: item_type.into(),
            options: vec![ItemOption::default(); n_options],
            targets: vec![
                ItemOption::default();
                if item_type == ItemType::Matching {
                    3
                } else {
                    0
                }
            ],
            n_blanks: if item_type == ItemType::Cloze { 2 } else { 0 },
            ..PaperItem::default()
        }
    }

    fn rules() -> Rules {
        Rules::new(&Section::default()).unwrap()
    }

    fn text(accepted: &str) -> BlankKey {
        BlankKey {
            accepted: vec![accepted.to_owned()],
            ..BlankKey::default()
        }
    }

    #[track_caller]
    fn check(item: &PaperItem, key: &ItemKey, given: Given<'_>, right: u32, of: u32) {
        let n_options = u8::try_from(item.options.len()).unwrap();
        assert!(has_its_parts(item));
        let key = Key::new(item, key).expect("the key fits");
        let share = key.share(&rules(), n_options, given);
        assert_eq!((share.right, share.of), (right, of), "{given:?}");
    }

    #[test]
    fn every_type_has_its_rule_and_blank_earns_nothing() {
        let choice = |bits| ItemKey {
            right_options: bits,
            ..ItemKey::default()
        };
        let single = item(ItemType::SingleChoice, 4);
        check(&single, &choice(0b10), Given::Chosen(0b10), 1, 1);
        check(&single, &choice(0b10), Given::Chosen(0b11), 0, 1);
        check(&single, &choice(0b110), Given::Chosen(0b100), 1, 1);
        let both = ItemKey {
            accepted: vec![0b1000],
            ..choice(0b1)
        };
        check(&single, &both, Given::Chosen(0b1000), 1, 1);
        check(&single, &both, Given::Chosen(0b1001), 0, 1);
        check(&single, &both, Given::Blank, 0, 1);
        let multiple = item(ItemType::MultipleChoice, 4);
        let sets = ItemKey {
            accepted: vec![0b0011],
            ..choice(0b0111)
        };
        check(&multiple, &sets, Given::Chosen(0b0011), 2, 2);
        check(&multiple, &sets, Given::Chosen(0b0111), 3, 3);
        let cluster = item(ItemType::Cluster, 4);
        check(
            &cluster,
            &choice(0),
            Given::Sequence(&[2, 2, 2, 1]),
            50,
            100,
        );
        let sequences = |seq: &[u8]| ItemKey {
            sequences: vec![seq.to_vec().into()],
            ..ItemKey::default()
        };
        let matching = item(ItemType::Matching, 2);
        check(
            &matching,
            &sequences(&[2, 0]),
            Given::Sequence(&[3, 2]),
            1,
            2,
        );
        let ordering = item(ItemType::Ordering, 3);
        check(
            &ordering,
            &sequences(&[2, 0, 1]),
            Given::Sequence(&[2, 0, 1]),
            1,
            1,
        );
        let short = ItemKey {
            blanks: vec![text("Huế")],
            ..ItemKey::default()
        };
        check(
            &item(ItemType::ShortText, 0),
            &short,
            Given::Text("huế"),
            1,
            1,
        );
        let cloze = ItemKey {
            blanks: vec![
                text("a"),
                BlankKey {
                    weight: 3,
                    ..text("b")
                },
            ],
            ..ItemKey::default()
        };
        check(
            &item(ItemType::Cloze, 0),
            &cloze,
            Given::Text("x\u{1f}B"),
            3,
            4,
        );
        check(&item(ItemType::Cloze, 0), &cloze, Given::Text("a"), 1, 4);
        check(
            &item(ItemType::Prediction, 0),
            &choice(0),
            Given::Text("12"),
            0,
            1,
        );
    }

    #[test]
    fn the_set_that_gives_most_counts_wherever_it_stands() {
        let rules = Rules::new(&Section {
            multiple_rule: MultipleRule::Ripkey.into(),
            ..Section::default()
        })
        .unwrap();
        // of the chosen three, one of two is right by one set and three of four by the other
        for (first, second) in [(0b1_0001, 0b0_1111), (0b0_1111, 0b1_0001)] {
            let key = Key::new(
                &item(ItemType::MultipleChoice, 5),
                &ItemKey {
                    right_options: first,
                    accepted: vec![second],
                    ..ItemKey::default()
                },
            );
            let share = key.unwrap().share(&rules, 5, Given::Chosen(0b0_0110));
            assert_eq!((share.right, share.of), (2, 4));
            assert!(!share.is_full());
        }
        let better = |a: (u32, u32), b: (u32, u32)| {
            let share = |(right, of)| Share { right, of };
            let best = share(a).better(share(b));
            (best.right, best.of)
        };
        assert_eq!(better((1, 2), (3, 4)), (3, 4));
        assert_eq!(better((3, 4), (1, 2)), (3, 4));
        assert_eq!(better((2, 2), (3, 4)), (2, 2));
    }

    #[test]
    fn a_wrong_text_and_an_empty_blank_earn_nothing() {
        let short = ItemKey {
            blanks: vec![text("Huế")],
            ..ItemKey::default()
        };
        let short_text = item(ItemType::ShortText, 0);
        check(&short_text, &short, Given::Text("Hà Nội"), 0, 1);
        for blank in ["", " ", "\u{1f}", " \u{1f}\u{3000}"] {
            assert!(is_empty(blank), "{blank:?}");
        }
        for answer in ["0", "\u{1f}x", "\u{301}"] {
            assert!(!is_empty(answer), "{answer:?}");
        }
    }

    #[test]
    fn denominators_are_those_of_every_set_under_the_rules_of_the_section() {
        let of = |item_type, n: usize, key: &ItemKey, section: Section| {
            let key = Key::new(&item(item_type, n), key).expect("the key fits");
            let rules = Rules::new(&section).unwrap();
            let mut found = Vec::new();
            key.denominators(&rules, u8::try_from(n).unwrap(), |of| found.push(of));
            found
        };
        let usual = Section::default;
        let bits = |right_options| ItemKey {
            right_options,
            ..ItemKey::default()
        };
        assert_eq!(of(ItemType::SingleChoice, 4, &bits(0b11), usual()), [1]);
        let sets = ItemKey {
            accepted: vec![0b1],
            ..bits(0b111)
        };
        assert_eq!(of(ItemType::MultipleChoice, 4, &sets, usual()), [3, 1]);
        let balanced = Section {
            multiple_rule: MultipleRule::Balanced.into(),
            ..usual()
        };
        assert_eq!(of(ItemType::MultipleChoice, 4, &sets, balanced), [3, 3]);
        assert_eq!(of(ItemType::Cluster, 4, &bits(0), usual()), [100]);
        assert_eq!(of(ItemType::Cluster, 3, &bits(0), usual()), [3]);
        let sequence = |sequence: &[u8]| ItemKey {
            sequences: vec![sequence.to_vec().into()],
            ..ItemKey::default()
        };
        assert_eq!(of(ItemType::Matching, 4, &sequence(&[0; 4]), usual()), [4]);
        for (rule, expected) in [
            (OrderingRule::Unspecified, 1),
            (OrderingRule::Exact, 1),
            (OrderingRule::Positions, 4),
            (OrderingRule::Adjacent, 3),
            (OrderingRule::Inversions, 6),
        ] {
            let section = Section {
                ordering_rule: rule.into(),
                ..usual()
            };
            let key = sequence(&[3, 1, 0, 2]);
            assert_eq!(of(ItemType::Ordering, 4, &key, section), [expected]);
        }
        let heavy = BlankKey {
            weight: 6,
            ..text("a")
        };
        let cloze = ItemKey {
            blanks: vec![heavy.clone(), text("b")],
            ..ItemKey::default()
        };
        assert_eq!(of(ItemType::Cloze, 0, &cloze, usual()), [7]);
        let short = ItemKey {
            blanks: vec![heavy],
            ..ItemKey::default()
        };
        assert_eq!(of(ItemType::ShortText, 0, &short, usual()), [1]);
        assert_eq!(of(ItemType::Prediction, 0, &bits(0), usual()), [1]);
    }

    #[test]
    fn choices_tell_their_right_options() {
        let sets = |item_type, right_options, accepted: &[u32]| {
            let key = ItemKey {
                right_options,
                accepted: accepted.to_vec(),
                ..ItemKey::default()
            };
            Key::new(&item(item_type, 4), &key).unwrap().sets().to_vec()
        };
        assert_eq!(
            sets(ItemType::SingleChoice, 0b1010, &[0b1, 0b10]),
            [1, 2, 8]
        );
        assert_eq!(sets(ItemType::MultipleChoice, 0b1010, &[0b1]), [0b1010, 1]);
        assert!(sets(ItemType::Cluster, 0b1010, &[]).is_empty());
    }

    #[test]
    fn a_table_of_clusters_must_serve_them_and_nobody_else() {
        let rules = Rules::new(&Section {
            cluster_percent: vec![0, 50, 100],
            ..Section::default()
        })
        .unwrap();
        let cluster = |n| Key::new(&item(ItemType::Cluster, n), &ItemKey::default()).unwrap();
        assert!(rules.fit(&cluster(2), 2) && !rules.fit(&cluster(3), 3));
        let single = ItemKey {
            right_options: 1,
            ..ItemKey::default()
        };
        let single = Key::new(&item(ItemType::SingleChoice, 4), &single).unwrap();
        assert!(rules.fit(&single, 4));
    }

    #[test]
    fn a_permutation_has_each_element_once_and_any_length_is_safe() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert!(is_permutation(&all[..12]) && is_permutation(&[1, 0]));
        for n in [31, 32, 33, 200] {
            assert_eq!(is_permutation(&all[..n]), n < 32, "{n}");
        }
        assert!(!is_permutation(&[1, 2]) && !is_permutation(&[0, 200]));
    }

    #[test]
    fn the_weight_of_a_blank_is_at_most_100() {
        let weighs = |weight| {
            let blank = BlankKey {
                weight,
                ..text("a")
            };
            has_fair_weights(&ItemKey {
                blanks: vec![text("b"), blank],
                ..ItemKey::default()
            })
        };
        assert!(weighs(0) && weighs(100) && !weighs(101));
    }

    #[test]
    fn a_key_that_does_not_fit_is_none() {
        let bits = |right_options| ItemKey {
            right_options,
            ..ItemKey::default()
        };
        let none = |item_type, n, key: &ItemKey| {
            assert!(
                Key::new(&item(item_type, n), key).is_none(),
                "{item_type:?} {key:?}"
            );
        };
        none(ItemType::SingleChoice, 4, &bits(0));
        none(ItemType::SingleChoice, 4, &bits(0b1_0000));
        none(
            ItemType::MultipleChoice,
            4,
            &ItemKey {
                accepted: vec![0],
                ..bits(1)
            },
        );
        none(ItemType::Cluster, 2, &bits(0b100));
        none(ItemType::ShortText, 0, &ItemKey::default());
        none(ItemType::ShortText, 0, &bits(1));
        none(
            ItemType::Numeric,
            0,
            &ItemKey {
                blanks: vec![text("1")],
                ..bits(0)
            },
        );
        none(
            ItemType::Cloze,
            0,
            &ItemKey {
                blanks: vec![text("1")],
                ..bits(0)
            },
        );
        for (item_type, sequence) in [
            (ItemType::Ordering, vec![0, 0, 1]),
            (ItemType::Ordering, vec![0, 1]),
            (ItemType::Ordering, vec![0, 1, 3]),
            (ItemType::Matching, vec![0, 1, 3]),
        ] {
            let key = ItemKey {
                sequences: vec![sequence.into()],
                ..bits(0)
            };
            none(item_type, 3, &key);
        }
    }

    #[test]
    fn items_have_the_parts_of_their_type() {
        assert!(has_its_parts(&item(ItemType::Matching, 2)));
        assert!(!has_its_parts(&item(ItemType::Matching, 13)));
        assert!(has_its_parts(&item(ItemType::SingleChoice, 12)));
        assert!(!has_its_parts(&item(ItemType::SingleChoice, 1)));
        assert!(has_its_parts(&item(ItemType::Cluster, 1)));
        assert!(!has_its_parts(&item(ItemType::Cluster, 0)));
        let with_targets = |n_targets, item_type| PaperItem {
            targets: vec![ItemOption::default(); n_targets],
            ..item(item_type, 2)
        };
        for (n_targets, expected) in [(1, false), (2, true), (12, true), (13, false)] {
            let matching = with_targets(n_targets, ItemType::Matching);
            assert_eq!(has_its_parts(&matching), expected, "{n_targets}");
        }
        assert!(!has_its_parts(&with_targets(2, ItemType::SingleChoice)));
        assert!(!has_its_parts(&item(ItemType::ShortText, 2)));
        assert!(!has_its_parts(&item(ItemType::Unspecified, 2)));
        for (n_blanks, expected) in [(0, false), (1, true), (20, true), (21, false)] {
            let with_blanks = |item_type| PaperItem {
                n_blanks,
                ..item(item_type, 0)
            };
            assert_eq!(has_its_parts(&with_blanks(ItemType::Cloze)), expected);
            let short = has_its_parts(&with_blanks(ItemType::ShortText));
            assert_eq!(short, n_blanks == 0);
        }
    }
}
