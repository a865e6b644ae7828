//! A published exam as the grader needs it: checked halves, keys by item, marks in quanta, the ranking rule.
//!
//! Invariant: what [`Package::load`] returns can score any paper of the exam without overflow and pack any
//! attempt's ranking tuple into a [`SortKey`](crate::SortKey). Source: docs/FORMATS.md sections 1, 4 and 5.

mod marks;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use prost::Message;
use proto::{
    bank::v1::{Blueprint, ItemType, PaperHalf, PaperItem},
    exam::v1::{
        CountedAttempt, Exam, ExamRules, ExamSpec, RankingKey, Ruling, ScoreRounding, ruling::Kind,
    },
    key::v1::{ItemKey, KeyHalf, Treatment},
};
use rust_decimal::RoundingStrategy;

pub(crate) use self::marks::Marks;
pub use crate::rule::MAX_OPTIONS;
use crate::{
    attempt::{Answers, Chosen},
    error::{Error, Result},
    id::BuildIdHasher,
    rule::{self, Key},
    ruling::Rulings,
    score::{self, Grade, Score},
    standing::{key::KeyLayout, rules::StandingRules},
};

/// Most partitions of a log: the partition of a person is kept in one byte.
const MAX_PARTITIONS: u32 = 256;
/// Most weight of an item, percent: ten times the section's mark.
const MAX_WEIGHT_PERCENT: u32 = 1_000;

/// The layout of both halves that this software reads.
const FORMAT: u32 = 1;

/// One item as the grader needs it.
#[derive(Clone, Debug)]
pub struct Item {
    /// Number in the bank.
    pub item_id: u32,
    /// Hash of its revision in the bank.
    pub revision: [u8; 32],
    /// Options, 2 to [`MAX_OPTIONS`] of a choice; statements, elements or stems of other types.
    pub n_options: u8,
    /// Kind of response.
    pub item_type: ItemType,
    /// What a correction does with it.
    pub treatment: Treatment,
    /// Whoever does not earn the full mark here does not pass.
    pub fatal: bool,
    /// Percent of the section's mark.
    pub weight_percent: u32,
    /// The one section whose papers draw it; none if there are several.
    pub(crate) section: Option<u16>,
    pub(crate) n_targets: u8,
    pub(crate) n_blanks: u8,
    pub(crate) key: Key,
}

impl Item {
    /// Returns the sets of options that are right, in canonical order, bit 0 the first; empty if it is no choice.
    #[must_use]
    pub fn key_sets(&self) -> &[u16] {
        self.key.sets()
    }

    /// Reports whether it can earn marks.
    #[must_use]
    pub fn is_scored(&self) -> bool {
        self.item_type != ItemType::Prediction
    }
}

/// The checked package of a published exam, with the decisions in force.
#[derive(Debug)]
pub struct Package {
    exam_id: String,
    release_no: u32,
    paper_hash: [u8; 32],
    key_hash: [u8; 32],
    key_version: u32,
    key_bytes: Bytes,
    paper_bytes: Bytes,
    /// The decision that brought this version of the key; none for the first.
    key_ruling: Option<Ruling>,
    n_partitions: u32,
    rounds: Vec<u32>,
    window_ms: (u64, u64),
    registered: Vec<(String, u64)>,
    score_decimals: u32,
    rounding: RoundingStrategy,
    counted: CountedAttempt,
    ranking: Vec<RankingKey>,
    layout: KeyLayout,
    marks: Marks,
    items: Vec<Item>,
    idx_by_id: HashMap<u32, u16, BuildIdHasher>,
    rulings: Rulings,
    standing_rules: StandingRules,
}

impl Package {
    /// Checks the two halves against the exam and prepares them for scoring by this version of the key.
    ///
    /// # Errors
    /// [`Error::HashMismatch`], [`Error::KeyOfOtherPaper`], [`Error::Malformed`], [`Error::FormatUnknown`] and
    /// [`Error::OtherExam`] if the halves are not the exam's; [`Error::RulingInvalid`] if its decisions contradict each
    /// other; [`Error::FieldInvalid`], [`Error::KeyMismatch`],
    /// [`Error::KeyInvalid`] and [`Error::ItemUnsupported`] if their contents cannot be scored;
    /// [`Error::QuantaOverflow`] and [`Error::RankingTooWide`] if scores or ranking tuples do not fit.
    pub fn load(exam: &Exam, paper_bytes: &[u8], key_bytes: &[u8]) -> Result<Self> {
        let rulings = Rulings::read(exam)?;
        let paper_hash = checked_hash("paper half", paper_bytes, &[&exam.paper_hash])?;
        let key_hash = checked_hash("key half", key_bytes, &rulings.key_hashes)?;
        let paper: PaperHalf = decode("paper half", paper_bytes)?;
        let keys: KeyHalf = decode("key half", key_bytes)?;
        if *keys.paper_hash != paper_hash {
            return Err(Error::KeyOfOtherPaper);
        }
        let spec = field(exam.spec.as_ref(), "spec")?;
        check_halves(spec, &paper, &keys)?;
        let blueprint: Blueprint = decode("blueprint", &paper.blueprint)?;
        let rules = field(spec.rules.as_ref(), "spec.rules")?;
        let mut items = pair(&paper.items, &keys.keys)?;
        for (item, of_paper) in items.iter_mut().zip(&paper.items) {
            item.section = marks::only_section(&blueprint, of_paper);
        }
        let marks = Marks::new(&blueprint, &paper.items, &items, &rules.pass_mark)?;
        let ranking = ranking(rules)?;
        let quantity = rulings.prediction.as_ref().map(|prediction| prediction.0);
        let layout = KeyLayout::new(
            &ranking,
            marks.range(),
            marks.unit(),
            marks.n_places(),
            quantity,
        )?;
        Ok(Self {
            exam_id: spec.exam_id.clone(),
            release_no: paper.release_no,
            paper_hash,
            key_hash,
            key_version: keys.key_version,
            key_bytes: Bytes::copy_from_slice(key_bytes),
            paper_bytes: Bytes::copy_from_slice(paper_bytes),
            key_ruling: key_ruling(exam, &key_hash),
            n_partitions: n_partitions(spec)?,
            rounds: rules.rounds.iter().map(|round| round.round).collect(),
            window_ms: window_ms(rules),
            registered: registered(rules)?,
            score_decimals: score_decimals(rules)?,
            rounding: rounding(rules)?,
            counted: counted(rules)?,
            ranking,
            layout,
            marks,
            idx_by_id: (0..)
                .zip(&items)
                .map(|(idx, item)| (item.item_id, idx))
                .collect(),
            items,
            rulings,
            standing_rules: StandingRules::load(&spec.exam_id, rules)?,
        })
    }

    /// Returns the package of the same papers under other decisions; an empty key is the one in force.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn decided(&self, exam: &Exam, key_bytes: &[u8]) -> Result<Self> {
        let key: &[u8] = if key_bytes.is_empty() {
            &self.key_bytes
        } else {
            key_bytes
        };
        Self::load(exam, &self.paper_bytes, key)
    }

    /// Returns the decision that brought this version of the key; none for the first.
    #[must_use]
    pub fn key_ruling(&self) -> Option<&Ruling> {
        self.key_ruling.as_ref()
    }

    /// Returns the exam's name.
    #[must_use]
    pub fn exam_id(&self) -> &str {
        &self.exam_id
    }

    /// Returns the number of the bank's release that papers are drawn from.
    #[must_use]
    pub fn release_no(&self) -> u32 {
        self.release_no
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

    /// Returns the version of the key, from 1.
    #[must_use]
    pub fn key_version(&self) -> u32 {
        self.key_version
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
        self.print_mean(quanta.into(), 1)
    }

    /// Prints the mean of some scores as points; there is at least one.
    #[must_use]
    pub fn print_mean(&self, sum_quanta: i128, n_scores: u64) -> String {
        let per_point = i128::from(self.quanta_per_point()) * i128::from(n_scores);
        score::decimal(sum_quanta, per_point, self.score_decimals, self.rounding)
    }

    /// Reads points, a decimal of at most 4 places, as quanta; none for anything else.
    #[must_use]
    pub fn quanta(&self, points: &str) -> Option<i64> {
        score::quanta(points, self.quanta_per_point())
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
        self.marks.quanta_per_point()
    }

    /// Returns the highest possible score of a paper, in quanta.
    #[must_use]
    pub fn max_quanta(&self) -> i64 {
        self.marks.range().1
    }

    /// Returns the number of items on a paper.
    #[must_use]
    pub fn n_items(&self) -> usize {
        self.marks.n_places()
    }

    /// Returns the number of sections of a paper.
    #[must_use]
    pub fn n_sections(&self) -> usize {
        self.marks.n_sections()
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

    /// Returns when the first round opens and the last one closes, Unix milliseconds.
    #[must_use]
    pub fn window_ms(&self) -> (u64, u64) {
        self.window_ms
    }

    /// Returns the marks of the papers' places.
    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Returns the exact score of a paper; what was answered stands in paper order.
    #[must_use]
    pub fn score(&self, answers: &Answers) -> Score {
        self.marks.score(&self.items, answers)
    }

    /// Returns what the answer at one place earns by itself.
    #[must_use]
    pub fn grade(&self, place_idx: usize, chosen: Chosen, answers: &Answers) -> Grade {
        let item = &self.items[usize::from(chosen.item_idx)];
        self.marks
            .grade(place_idx, item, answers.given(item, chosen))
    }
}

fn key_ruling(exam: &Exam, key_hash: &[u8]) -> Option<Ruling> {
    let names = |ruling: &&Ruling| matches!(&ruling.kind, Some(Kind::Key(key)) if *key.key_hash == *key_hash);
    exam.rulings.iter().find(names).cloned()
}

fn field<T>(value: Option<T>, field: &'static str) -> Result<T> {
    value.ok_or(Error::FieldInvalid { field })
}

fn checked_hash(
    what: &'static str,
    bytes: &[u8],
    expected: &[impl AsRef<[u8]>],
) -> Result<[u8; 32]> {
    let hash = *blake3::hash(bytes).as_bytes();
    if expected.iter().any(|expected| expected.as_ref() == hash) {
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
    if !rule::has_its_parts(item) {
        return Err(Error::ItemUnsupported { item_id });
    }
    let invalid = Error::KeyInvalid { item_id };
    let count = |n: usize| u8::try_from(n).map_err(|_| Error::ItemUnsupported { item_id });
    let weight_percent = match key.weight_percent {
        0 => 100,
        percent => percent,
    };
    if weight_percent > MAX_WEIGHT_PERCENT || !rule::has_fair_weights(key) {
        return Err(invalid);
    }
    Ok(Item {
        item_id,
        revision: <[u8; 32]>::try_from(&*item.revision).unwrap_or_default(),
        n_options: count(item.options.len())?,
        item_type: item.r#type(),
        treatment: Treatment::try_from(key.treatment).map_err(|_| Error::KeyInvalid { item_id })?,
        fatal: key.fatal,
        weight_percent,
        section: None,
        n_targets: count(item.targets.len())?,
        n_blanks: count(item.n_blanks as usize)?,
        key: Key::new(item, key).ok_or(invalid)?,
    })
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

fn rounding(rules: &ExamRules) -> Result<RoundingStrategy> {
    match ScoreRounding::try_from(rules.score_rounding) {
        Ok(ScoreRounding::Unspecified | ScoreRounding::HalfAwayFromZero) => {
            Ok(RoundingStrategy::MidpointAwayFromZero)
        }
        Ok(ScoreRounding::HalfEven) => Ok(RoundingStrategy::MidpointNearestEven),
        Ok(ScoreRounding::TowardZero) => Ok(RoundingStrategy::ToZero),
        Err(_) => Err(Error::FieldInvalid {
            field: "spec.rules.score_rounding",
        }),
    }
}

fn window_ms(rules: &ExamRules) -> (u64, u64) {
    let opens = rules.rounds.iter().map(|round| round.opens_at_ms).min();
    let closes = rules.rounds.iter().map(|round| round.closes_at_ms).max();
    (opens.unwrap_or(0), closes.unwrap_or(0))
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
        for bits in [0, 1 << 4, 1 << 12] {
            let error = refused(|parts| parts.key.keys[0].right_options = bits);
            assert!(matches!(error, Error::KeyInvalid { .. }), "{bits:b}");
        }
        for bits in [0, 0b11, 1 << 4] {
            let error = refused(|parts| parts.key.keys[0].accepted = vec![bits]);
            assert!(
                matches!(error, Error::KeyInvalid { .. }),
                "one option each: {bits:b}"
            );
        }
        let error = refused(|parts| parts.paper.items[0].r#type = ItemType::Numeric.into());
        assert!(matches!(error, Error::ItemUnsupported { .. }));
    }

    #[test]
    fn rules_out_of_range_are_refused() {
        for mark in [
            "",
            "0",
            "0.0",
            "-1",
            "+1",
            "1.",
            ".5",
            "0.00001",
            "0.25000",
            "1_0",
            "1e1",
            "ba",
            "0,25",
            "1000000000",
        ] {
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
        for mark in ["-1", "0.", "0.00000", "1e1"] {
            let error = refused(|parts| parts.blueprint.sections[0].wrong_mark = mark.to_owned());
            assert!(matches!(error, Error::FieldInvalid { .. }), "{mark}");
        }
        for mark in ["-", "--1", "+1", "1.00000"] {
            let error = refused(|parts| parts.rules_mut().pass_mark = mark.to_owned());
            assert!(matches!(error, Error::FieldInvalid { .. }), "{mark}");
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
        let error = refused(|parts| {
            let section = &mut parts.blueprint.sections[1];
            section.mark = "900000000".to_owned();
            section.strata[0].quota = 60_000;
            parts.key.keys[0].weight_percent = 1_000;
        });
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
