//! A published exam as the grader needs it: checked halves, keys by item, marks in quanta, the ranking rule.
//!
//! Invariant: what [`Package::load`] returns can score any paper of the exam without overflow and pack any
//! attempt's ranking tuple into a [`SortKey`](crate::SortKey). Source: docs/FORMATS.md sections 1, 4 and 5.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use prost::Message;
use proto::{
    bank::v1::{Blueprint, ItemType, MultipleRule, PaperHalf, PaperItem},
    exam::v1::{CountedAttempt, Exam, ExamRules, ExamSpec, RankingKey},
    key::v1::{ItemKey, KeyHalf},
};
use rust_decimal::{Decimal, prelude::ToPrimitive};

use crate::{
    error::{Error, Result},
    id::BuildIdHasher,
    rule::Rule,
    ruling::Rulings,
    standing::{key::KeyLayout, rules::StandingRules},
};

/// Most options of an item: letters end at L, and a shown order fits twelve times four bits.
pub const MAX_OPTIONS: usize = 12;

/// Most partitions of a log: the partition of a person is kept in one byte.
const MAX_PARTITIONS: u32 = 256;

/// D of the format: marks have at most four decimal places.
const MARK_UNIT: i64 = 10_000;

/// The layout of both halves that this software reads.
const FORMAT: u32 = 1;

/// One item as the grader needs it.
#[derive(Clone, Debug)]
pub struct Item {
    /// Number in the bank.
    pub item_id: u32,
    /// Options, 2 to [`MAX_OPTIONS`].
    pub n_options: u8,
    /// Right options in canonical order; bit 0 is the first.
    pub key: u16,
    item_type: ItemType,
}

/// One place of a paper: what its section says about the item that stands there.
#[derive(Clone, Copy, Debug)]
struct Place {
    mark_quanta: i64,
    multiple: MultipleRule,
}

/// The checked package of a published exam.
#[derive(Debug)]
pub struct Package {
    exam_id: String,
    paper_hash: [u8; 32],
    key_hash: [u8; 32],
    key_bytes: Bytes,
    n_partitions: u32,
    rounds: Vec<u32>,
    registered: Vec<(String, u64)>,
    score_decimals: u32,
    counted: CountedAttempt,
    ranking: Vec<RankingKey>,
    layout: KeyLayout,
    quanta_per_point: i64,
    max_quanta: i64,
    places: Vec<Place>,
    items: Vec<Item>,
    idx_by_id: HashMap<u32, u16, BuildIdHasher>,
    rulings: Rulings,
    standing_rules: StandingRules,
}

impl Package {
    /// Checks the two halves against the exam and prepares them for scoring.
    ///
    /// # Errors
    /// [`Error::HashMismatch`], [`Error::KeyOfOtherPaper`], [`Error::Malformed`], [`Error::FormatUnknown`] and
    /// [`Error::OtherExam`] if the halves are not the exam's; [`Error::FieldInvalid`], [`Error::KeyMismatch`],
    /// [`Error::KeyInvalid`] and [`Error::ItemUnsupported`] if their contents cannot be scored;
    /// [`Error::QuantaOverflow`] and [`Error::RankingTooWide`] if scores or ranking tuples do not fit.
    pub fn load(exam: &Exam, paper_bytes: &[u8], key_bytes: &[u8]) -> Result<Self> {
        let paper_hash = checked_hash("paper half", paper_bytes, &exam.paper_hash)?;
        let key_hash = checked_hash("key half", key_bytes, &exam.key_hash)?;
        let paper: PaperHalf = decode("paper half", paper_bytes)?;
        let keys: KeyHalf = decode("key half", key_bytes)?;
        if *keys.paper_hash != paper_hash {
            return Err(Error::KeyOfOtherPaper);
        }
        let spec = field(exam.spec.as_ref(), "spec")?;
        check_halves(spec, &paper, &keys)?;
        let blueprint: Blueprint = decode("blueprint", &paper.blueprint)?;
        let rules = field(spec.rules.as_ref(), "spec.rules")?;
        let items = pair(&paper.items, &keys.keys)?;
        let lcm = key_counts_lcm(&items)?;
        let places = places(&blueprint, lcm)?;
        let max_quanta = max_quanta(&places)?;
        let ranking = ranking(rules)?;
        let layout = KeyLayout::new(&ranking, max_quanta, score_unit(&places, lcm), places.len())?;
        Ok(Self {
            exam_id: spec.exam_id.clone(),
            paper_hash,
            key_hash,
            key_bytes: Bytes::copy_from_slice(key_bytes),
            n_partitions: n_partitions(spec)?,
            rounds: rules.rounds.iter().map(|round| round.round).collect(),
            registered: registered(rules)?,
            score_decimals: score_decimals(rules)?,
            counted: counted(rules)?,
            ranking,
            layout,
            quanta_per_point: MARK_UNIT.checked_mul(lcm).ok_or(Error::QuantaOverflow)?,
            max_quanta,
            places,
            idx_by_id: (0..)
                .zip(&items)
                .map(|(idx, item)| (item.item_id, idx))
                .collect(),
            items,
            rulings: Rulings::read(exam)?,
            standing_rules: StandingRules::load(&spec.exam_id, rules)?,
        })
    }

    /// Returns the exam's name.
    #[must_use]
    pub fn exam_id(&self) -> &str {
        &self.exam_id
    }

    /// Returns the decisions in force.
    #[must_use]
    pub fn rulings(&self) -> &Rulings {
        &self.rulings
    }

    /// Returns who is ranked with whom, and for what.
    #[must_use]
    pub fn standing_rules(&self) -> &StandingRules {
        &self.standing_rules
    }

    /// Returns the hash of the paper half.
    #[must_use]
    pub fn paper_hash(&self) -> &[u8; 32] {
        &self.paper_hash
    }

    /// Returns the hash of the key half.
    #[must_use]
    pub fn key_hash(&self) -> &[u8; 32] {
        &self.key_hash
    }

    /// Returns the key half as stored.
    #[must_use]
    pub fn key_bytes(&self) -> &Bytes {
        &self.key_bytes
    }

    /// Returns the number of log partitions.
    #[must_use]
    pub fn n_partitions(&self) -> u32 {
        self.n_partitions
    }

    /// Returns the expected persons by area code.
    #[must_use]
    pub fn registered(&self) -> &[(String, u64)] {
        &self.registered
    }

    /// Returns the decimal places of a printed score.
    #[must_use]
    pub fn score_decimals(&self) -> u32 {
        self.score_decimals
    }

    /// Prints quanta as points, as the exam's rules say.
    #[must_use]
    pub fn print(&self, quanta: i64) -> String {
        crate::score::decimal(quanta, self.quanta_per_point, self.score_decimals)
    }

    /// Returns which attempt of a person counts; never unspecified.
    #[must_use]
    pub fn counted(&self) -> CountedAttempt {
        self.counted
    }

    /// Returns the keys of the ranking rule, in order.
    #[must_use]
    pub fn ranking(&self) -> &[RankingKey] {
        &self.ranking
    }

    /// Returns how ranking tuples are packed.
    #[must_use]
    pub fn layout(&self) -> &KeyLayout {
        &self.layout
    }

    /// Returns how many quanta one point has.
    #[must_use]
    pub fn quanta_per_point(&self) -> i64 {
        self.quanta_per_point
    }

    /// Returns the highest possible score of a paper, in quanta.
    #[must_use]
    pub fn max_quanta(&self) -> i64 {
        self.max_quanta
    }

    /// Returns the number of items on a paper.
    #[must_use]
    pub fn n_items(&self) -> usize {
        self.places.len()
    }

    /// Returns all items, by rising number in the bank.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Returns the index in [`items`](Self::items) of the item with this number in the bank.
    #[must_use]
    pub fn item_idx(&self, item_id: u32) -> Option<u16> {
        self.idx_by_id.get(&item_id).copied()
    }

    /// Reports whether the exam has this round.
    #[must_use]
    pub fn has_round(&self, round: u32) -> bool {
        self.rounds.contains(&round)
    }

    /// Returns the quanta that the chosen options of an item earn at a place of the paper, and whether that is the
    /// full mark.
    pub(crate) fn grade(&self, place_idx: usize, item_idx: u16, chosen: u16) -> (i64, bool) {
        let (place, item) = (&self.places[place_idx], &self.items[usize::from(item_idx)]);
        let share = Rule::of(item.item_type, place.multiple)
            .expect("items without a rule are refused at load")
            .share(item.key, chosen);
        let quanta = place.mark_quanta / i64::from(share.of) * i64::from(share.right);
        (quanta, share.is_full())
    }
}

fn field<T>(value: Option<T>, field: &'static str) -> Result<T> {
    value.ok_or(Error::FieldInvalid { field })
}

fn checked_hash(what: &'static str, bytes: &[u8], expected: &[u8]) -> Result<[u8; 32]> {
    let hash = *blake3::hash(bytes).as_bytes();
    if hash == *expected {
        Ok(hash)
    } else {
        Err(Error::HashMismatch { what })
    }
}

fn decode<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|source| Error::Malformed { what, source })
}

/// The name becomes a file name, so it is checked here too.
fn check_exam_id(exam_id: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=40).contains(&exam_id.len()) && exam_id.bytes().all(plain) {
        Ok(())
    } else {
        Err(Error::FieldInvalid {
            field: "spec.exam_id",
        })
    }
}

fn check_halves(spec: &ExamSpec, paper: &PaperHalf, keys: &KeyHalf) -> Result<()> {
    check_exam_id(&spec.exam_id)?;
    for (what, format, exam_id) in [
        ("paper half", paper.format, &paper.exam_id),
        ("key half", keys.format, &keys.exam_id),
    ] {
        if format != FORMAT {
            return Err(Error::FormatUnknown { what, format });
        }
        if *exam_id != spec.exam_id {
            return Err(Error::OtherExam {
                what,
                expected: spec.exam_id.clone(),
                found: exam_id.clone(),
            });
        }
    }
    Ok(())
}

/// Joins items and keys, both by rising number, one to one.
fn pair(items: &[PaperItem], keys: &[ItemKey]) -> Result<Vec<Item>> {
    if items.is_empty() || u16::try_from(items.len()).is_err() {
        return Err(Error::FieldInvalid { field: "items" });
    }
    if let Some(extra) = keys.get(items.len()) {
        return Err(Error::KeyMismatch {
            item_id: extra.item_id,
        });
    }
    let mut previous = 0;
    let mut joined = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let item_id = item.item_id;
        let key = keys.get(at).ok_or(Error::KeyMismatch { item_id })?;
        if item_id <= previous || key.item_id != item_id || key.revision != item.revision {
            return Err(Error::KeyMismatch { item_id });
        }
        previous = item_id;
        joined.push(join(item, key)?);
    }
    Ok(joined)
}

fn join(item: &PaperItem, key: &ItemKey) -> Result<Item> {
    let item_id = item.item_id;
    let unsupported = Error::ItemUnsupported { item_id };
    let item_type = item.r#type();
    let n_options = item.options.len();
    if Rule::of(item_type, MultipleRule::Unspecified).is_none()
        || !(2..=MAX_OPTIONS).contains(&n_options)
    {
        return Err(unsupported);
    }
    let n_options = u8::try_from(n_options).map_err(|_| unsupported)?;
    let n_right = key.right_options.count_ones();
    let one_key = item_type != ItemType::MultipleChoice;
    if key.right_options >> n_options != 0 || n_right == 0 || (one_key && n_right != 1) {
        return Err(Error::KeyInvalid { item_id });
    }
    Ok(Item {
        item_id,
        n_options,
        key: u16::try_from(key.right_options).map_err(|_| Error::KeyInvalid { item_id })?,
        item_type,
    })
}

/// L of the format.
fn key_counts_lcm(items: &[Item]) -> Result<i64> {
    items.iter().try_fold(1i64, |lcm, item| {
        let count = i64::from(item.key.count_ones());
        lcm.checked_mul(count / gcd(lcm, count))
            .ok_or(Error::QuantaOverflow)
    })
}

fn gcd(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Sections take as many places as their quotas sum up to, one after the other.
fn places(blueprint: &Blueprint, lcm: i64) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for section in &blueprint.sections {
        let place = Place {
            mark_quanta: mark_units(&section.mark)?
                .checked_mul(lcm)
                .ok_or(Error::QuantaOverflow)?,
            multiple: MultipleRule::try_from(section.multiple_rule).map_err(|_| {
                Error::FieldInvalid {
                    field: "blueprint.sections.multiple_rule",
                }
            })?,
        };
        let quotas = section
            .strata
            .iter()
            .map(|stratum| u64::from(stratum.quota));
        let n_places = usize::try_from(quotas.sum::<u64>()).unwrap_or(usize::MAX);
        if n_places.saturating_add(places.len()) > usize::from(u16::MAX) {
            return Err(Error::FieldInvalid {
                field: "blueprint.sections.strata.quota",
            });
        }
        places.extend(std::iter::repeat_n(place, n_places));
    }
    if places.is_empty() {
        return Err(Error::FieldInvalid {
            field: "blueprint.sections",
        });
    }
    Ok(places)
}

/// Returns a mark in ten-thousandths of a point.
fn mark_units(mark: &str) -> Result<i64> {
    let invalid = Error::FieldInvalid {
        field: "blueprint.sections.mark",
    };
    let Ok(mark) = Decimal::from_str_exact(mark) else {
        return Err(invalid);
    };
    let units = mark
        .checked_mul(Decimal::from(MARK_UNIT))
        .ok_or(Error::QuantaOverflow)?;
    if !units.is_integer() || units <= Decimal::ZERO {
        return Err(invalid);
    }
    units.to_i64().ok_or(Error::QuantaOverflow)
}

fn max_quanta(places: &[Place]) -> Result<i64> {
    places
        .iter()
        .try_fold(0i64, |sum, place| sum.checked_add(place.mark_quanta))
        .ok_or(Error::QuantaOverflow)
}

/// Returns a number of quanta that divides every possible score: r/k of a mark is a multiple of the mark's
/// ten-thousandths, whatever k.
fn score_unit(places: &[Place], lcm: i64) -> i64 {
    places
        .iter()
        .fold(0, |unit, place| gcd(unit, place.mark_quanta / lcm))
}

fn ranking(rules: &ExamRules) -> Result<Vec<RankingKey>> {
    let keys: Vec<RankingKey> = rules.ranking().collect();
    let distinct: HashSet<_> = keys.iter().collect();
    let whole = keys.len() == rules.ranking.len() && distinct.len() == keys.len();
    if keys.is_empty() || !whole || keys.contains(&RankingKey::Unspecified) {
        return Err(Error::FieldInvalid {
            field: "spec.rules.ranking",
        });
    }
    Ok(keys)
}

fn counted(rules: &ExamRules) -> Result<CountedAttempt> {
    match CountedAttempt::try_from(rules.counted_attempt) {
        Ok(CountedAttempt::Unspecified) => Ok(CountedAttempt::Best),
        Ok(counted) => Ok(counted),
        Err(_) => Err(Error::FieldInvalid {
            field: "spec.rules.counted_attempt",
        }),
    }
}

fn score_decimals(rules: &ExamRules) -> Result<u32> {
    let decimals = (rules.score_decimals <= 4).then_some(rules.score_decimals);
    field(decimals, "spec.rules.score_decimals")
}

fn n_partitions(spec: &ExamSpec) -> Result<u32> {
    let whole = (1..=MAX_PARTITIONS).contains(&spec.n_partitions);
    field(whole.then_some(spec.n_partitions), "spec.n_partitions")
}

fn registered(rules: &ExamRules) -> Result<Vec<(String, u64)>> {
    let mut seen = HashSet::new();
    let counts = rules.registered.iter();
    counts
        .map(|count| {
            if crate::counts::is_area_code(&count.area) && seen.insert(&count.area) {
                Ok((count.area.clone(), count.registered))
            } else {
                Err(Error::FieldInvalid {
                    field: "spec.rules.registered",
                })
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Parts, parts};

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Parts)) -> Error {
        let mut parts = parts();
        change(&mut parts);
        parts.load().expect_err("must be refused")
    }

    #[test]
    fn a_whole_package_loads_with_exact_quanta() {
        let package = parts().load().unwrap();
        // keys of 1, 2 and 3 options: L = 6; marks 0.25 x 3 and 0.5 x 3
        assert_eq!(package.quanta_per_point(), 60_000);
        assert_eq!(package.max_quanta(), 135_000);
        assert_eq!(package.n_items(), 6);
        assert!(package.item_idx(parts().paper.items[1].item_id) == Some(1));
        assert_eq!(package.item_idx(999_999), None);
    }

    #[test]
    fn other_bytes_than_the_exam_names_are_refused() {
        let (exam, mut paper, mut key) = parts().encode();
        paper[10] ^= 1;
        let error = Package::load(&exam, &paper, &key).unwrap_err();
        assert!(matches!(error, Error::HashMismatch { what: "paper half" }));
        paper[10] ^= 1;
        key[10] ^= 1;
        let error = Package::load(&exam, &paper, &key).unwrap_err();
        assert!(matches!(error, Error::HashMismatch { what: "key half" }));
    }

    #[test]
    fn a_key_half_of_another_paper_is_refused() {
        let error = refused(|parts| parts.foreign_key = true);
        assert!(matches!(error, Error::KeyOfOtherPaper), "{error}");
    }

    #[test]
    fn formats_and_exams_must_be_the_known_ones() {
        let error = refused(|parts| parts.paper.format = 2);
        assert!(matches!(error, Error::FormatUnknown { format: 2, .. }));
        let error = refused(|parts| parts.key.exam_id = "khac".to_owned());
        assert!(matches!(
            error,
            Error::OtherExam {
                what: "key half",
                ..
            }
        ));
    }

    #[test]
    fn every_item_has_one_key_of_its_revision() {
        let error = refused(|parts| drop(parts.key.keys.pop()));
        assert!(matches!(error, Error::KeyMismatch { .. }));
        let error = refused(|parts| parts.key.keys[2].revision = vec![9; 32].into());
        assert!(matches!(error, Error::KeyMismatch { .. }));
        let error = refused(|parts| parts.key.keys.push(parts.key.keys[0].clone()));
        assert!(matches!(error, Error::KeyMismatch { .. }));
        let error = refused(|parts| parts.paper.items.swap(0, 1));
        assert!(matches!(error, Error::KeyMismatch { .. }));
    }

    #[test]
    fn a_key_fits_its_item() {
        for bits in [0, 0b11, 1 << 12] {
            let error = refused(|parts| parts.key.keys[0].right_options = bits);
            assert!(matches!(error, Error::KeyInvalid { .. }), "{bits:b}");
        }
        let error = refused(|parts| parts.paper.items[0].r#type = ItemType::Numeric.into());
        assert!(matches!(error, Error::ItemUnsupported { .. }));
    }

    #[test]
    fn rules_out_of_range_are_refused() {
        for mark in ["", "0", "-1", "0.00001", "ba", "0,25"] {
            let error = refused(|parts| parts.blueprint.sections[0].mark = mark.to_owned());
            assert!(
                matches!(
                    error,
                    Error::FieldInvalid {
                        field: "blueprint.sections.mark"
                    }
                ),
                "{mark}: {error}"
            );
        }
        let error = refused(|parts| parts.rules_mut().score_decimals = 5);
        assert!(matches!(error, Error::FieldInvalid { .. }));
        let error = refused(|parts| parts.rules_mut().ranking = vec![1, 1]);
        assert!(matches!(error, Error::FieldInvalid { .. }));
        let error = refused(|parts| parts.rules_mut().ranking = vec![]);
        assert!(matches!(error, Error::FieldInvalid { .. }));
        let error = refused(|parts| parts.rules_mut().ranking = vec![1, 77]);
        assert!(matches!(error, Error::FieldInvalid { .. }));
    }

    #[test]
    fn marks_beyond_64_bits_are_refused() {
        let huge = "900000000000000";
        let error = refused(|parts| parts.blueprint.sections[1].mark = huge.to_owned());
        assert!(matches!(error, Error::QuantaOverflow), "{error}");
    }

    #[test]
    fn an_exam_id_that_is_no_file_name_is_refused() {
        let error = refused(|parts| {
            let id = "../x".to_owned();
            parts.spec_mut().exam_id.clone_from(&id);
            parts.paper.exam_id.clone_from(&id);
            parts.key.exam_id = id;
        });
        assert!(matches!(
            error,
            Error::FieldInvalid {
                field: "spec.exam_id"
            }
        ));
    }
}
