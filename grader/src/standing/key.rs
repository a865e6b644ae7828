//! A ranking tuple in one number: smaller is better.
//!
//! The exam's keys stand from the highest bits down, each as wide as its values need; bits left over hold the first
//! bits of the candidate id, so that sorting rarely has to look an id up. Comparing tuples is comparing the numbers
//! with those spare bits cleared. Source: docs/FORMATS.md section 5.

use proto::exam::v1::RankingKey;

use crate::{
    error::{Error, Result},
    id::CandidateId,
};

/// Net times are below 2^32 ms, 49 days: an attempt takes at most 24 hours plus extensions.
pub(crate) const NET_TIME_BITS: u32 = 32;
/// Unix milliseconds are below 2^42 until the year 2109.
pub(crate) const SUBMITTED_AT_BITS: u32 = 42;
/// Attempts are numbered from 1 to 65,535.
pub(crate) const ATTEMPT_BITS: u32 = 16;
/// A distance below 2^32, a bit for those above the quantity, and room for "none".
const PREDICTION_BITS: u32 = 34;

/// A packed ranking tuple with the first bits of its candidate's id; smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey(u128);

impl SortKey {
    /// No key is greater.
    pub const LAST: Self = Self(u128::MAX);
}

/// What the ranking keys of one attempt are made of.
#[derive(Clone, Copy, Debug)]
pub struct RankFacts {
    /// Score.
    pub quanta: i64,
    /// Items with the full mark.
    pub n_correct: u16,
    /// Milliseconds between start and end, below 2^32.
    pub net_time_ms: u64,
    /// Unix milliseconds of the end, below 2^42.
    pub submitted_at_ms: u64,
    /// Number of the attempt.
    pub attempt: u16,
    /// Number predicted.
    pub prediction: Option<u32>,
}

/// How an exam's ranking tuples are packed.
#[derive(Clone, Debug)]
pub struct KeyLayout {
    fields: Vec<(RankingKey, u32)>,
    spare_bits: u32,
    max_quanta: i64,
    score_unit: i64,
    n_items: u64,
    /// What was to be predicted; none while it is not known.
    quantity: Option<u64>,
}

impl KeyLayout {
    /// Lays out the keys of a ranking rule for papers of `n_items` items and scores from `min_quanta` to `max_quanta`;
    /// every score is a multiple of `score_unit` quanta.
    ///
    /// # Errors
    /// [`Error::RankingTooWide`] if the keys need more than 128 bits.
    pub fn new(
        ranking: &[RankingKey],
        (min_quanta, max_quanta): (i64, i64),
        score_unit: i64,
        n_items: usize,
        quantity: Option<u64>,
    ) -> Result<Self> {
        let n_items = n_items as u64;
        let steps = ((max_quanta - min_quanta) / score_unit).unsigned_abs();
        let width = |key: RankingKey| match key {
            RankingKey::Unspecified => 0,
            RankingKey::Score => u64::BITS - steps.leading_zeros(),
            RankingKey::CorrectCount => u64::BITS - n_items.leading_zeros(),
            RankingKey::NetTime => NET_TIME_BITS,
            RankingKey::SubmittedAt => SUBMITTED_AT_BITS,
            RankingKey::FewestAttempts => ATTEMPT_BITS,
            RankingKey::Prediction | RankingKey::PredictionNotAbove => PREDICTION_BITS,
        };
        let fields: Vec<_> = ranking.iter().map(|&key| (key, width(key))).collect();
        let bits = fields.iter().map(|field| field.1).sum();
        Ok(Self {
            fields,
            spare_bits: u128::BITS
                .checked_sub(bits)
                .ok_or(Error::RankingTooWide { bits })?,
            max_quanta,
            score_unit,
            n_items,
            quantity,
        })
    }

    /// Packs an attempt's ranking tuple for its candidate.
    #[must_use]
    pub fn pack(&self, facts: &RankFacts, candidate: &CandidateId) -> SortKey {
        let mut tuple = 0u128;
        for &(key, bits) in &self.fields {
            let value = match key {
                RankingKey::Unspecified => 0,
                RankingKey::Score => {
                    ((self.max_quanta - facts.quanta) / self.score_unit).unsigned_abs()
                }
                RankingKey::CorrectCount => self.n_items - u64::from(facts.n_correct),
                RankingKey::NetTime => facts.net_time_ms,
                RankingKey::SubmittedAt => facts.submitted_at_ms,
                RankingKey::FewestAttempts => u64::from(facts.attempt),
                RankingKey::Prediction => self.distance(facts.prediction, false),
                RankingKey::PredictionNotAbove => self.distance(facts.prediction, true),
            };
            debug_assert!(
                u64::BITS - value.leading_zeros() <= bits,
                "{key:?} is too wide"
            );
            tuple = tuple << bits | u128::from(value);
        }
        let id = u128::from_be_bytes(*candidate.as_bytes());
        let prefix = id.checked_shr(u128::BITS - self.spare_bits).unwrap_or(0);
        SortKey(tuple << self.spare_bits | prefix)
    }

    /// Returns the greatest key with the same ranking tuple.
    #[must_use]
    pub fn ceiling(&self, key: SortKey) -> SortKey {
        SortKey(key.0 | !(u128::MAX.checked_shl(self.spare_bits).unwrap_or(0)))
    }

    /// Returns the key that exactly the attempts with a higher score stand before; none if the rule does not take the
    /// score first, [`SortKey::LAST`] for a score below all.
    #[must_use]
    pub fn score_floor(&self, quanta: i64) -> Option<SortKey> {
        let &(RankingKey::Score, bits) = self.fields.first()? else {
            return None;
        };
        let missing = i128::from(self.max_quanta) - i128::from(quanta);
        let unit = i128::from(self.score_unit);
        // a score between two possible ones is beaten by those from the next possible one on
        let steps = missing.max(0).unsigned_abs().div_ceil(unit.unsigned_abs());
        let fits = u128::BITS - steps.leading_zeros() <= bits;
        let shifted = steps.checked_shl(u128::BITS - bits).unwrap_or(0);
        Some(if fits {
            SortKey(shifted)
        } else {
            SortKey::LAST
        })
    }

    /// Returns how far a prediction is from the quantity, smaller is better; all are alike while it is not known.
    fn distance(&self, prediction: Option<u32>, above_is_worse: bool) -> u64 {
        let Some(quantity) = self.quantity else {
            return 0;
        };
        let Some(prediction) = prediction.map(u64::from) else {
            return (1 << PREDICTION_BITS) - 1;
        };
        // far beyond any prediction, so that the distance fits its bits
        let quantity = quantity.min(u64::from(u32::MAX));
        let above = above_is_worse && prediction > quantity;
        prediction.abs_diff(quantity) | u64::from(above) << u32::BITS
    }

    /// Returns the smallest key with the same ranking tuple: equal for two attempts exactly if they tie.
    #[must_use]
    pub fn floor(&self, key: SortKey) -> SortKey {
        SortKey(key.0 >> self.spare_bits << self.spare_bits)
    }
}

#[cfg(test)]
impl SortKey {
    pub(crate) fn raw(bits: u128) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;

    const ALL: [RankingKey; 5] = [
        RankingKey::Score,
        RankingKey::CorrectCount,
        RankingKey::NetTime,
        RankingKey::SubmittedAt,
        RankingKey::FewestAttempts,
    ];

    fn facts() -> impl Strategy<Value = RankFacts> {
        (
            0..=40i64,
            0..=40u16,
            prop_oneof![0..3u64, Just(u64::from(u32::MAX))],
            prop_oneof![0..3u64, Just((1 << 42) - 1)],
            1..4u16,
        )
            .prop_map(
                |(score, n_correct, net_time_ms, submitted_at_ms, attempt)| RankFacts {
                    quanta: score * 2_500,
                    n_correct,
                    net_time_ms,
                    submitted_at_ms,
                    attempt,
                    prediction: None,
                },
            )
    }

    /// The tuple as the format says it, smaller is better.
    fn tuple(ranking: &[RankingKey], facts: &RankFacts) -> Vec<(Reverse<i64>, u64)> {
        ranking
            .iter()
            .map(|key| match key {
                RankingKey::Score => (Reverse(facts.quanta), 0),
                RankingKey::CorrectCount => (Reverse(i64::from(facts.n_correct)), 0),
                RankingKey::NetTime => (Reverse(0), facts.net_time_ms),
                RankingKey::SubmittedAt => (Reverse(0), facts.submitted_at_ms),
                RankingKey::FewestAttempts => (Reverse(0), u64::from(facts.attempt)),
                RankingKey::Prediction | RankingKey::PredictionNotAbove => unreachable!(),
                RankingKey::Unspecified => unreachable!("never in a rule"),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn packed_keys_sort_as_the_tuples_of_the_rule(
            ranking in Just(ALL.to_vec()).prop_shuffle(),
            n_keys in 1..=5usize,
            a in facts(), b in facts(),
            ids in any::<([u8; 16], [u8; 16])>(),
        ) {
            let ranking = &ranking[..n_keys];
            let layout = KeyLayout::new(ranking, (0, 100_000), 2_500, 40, None).unwrap();
            let (id_a, id_b) = (CandidateId::from(ids.0), CandidateId::from(ids.1));
            let (key_a, key_b) = (layout.pack(&a, &id_a), layout.pack(&b, &id_b));
            let expected = tuple(ranking, &a).cmp(&tuple(ranking, &b));
            prop_assert_eq!(layout.floor(key_a).cmp(&layout.floor(key_b)), expected);
            if key_a != key_b {
                prop_assert_eq!(key_a.cmp(&key_b), expected.then(id_a.cmp(&id_b)));
            }
        }
    }

    #[track_caller]
    fn check_predictions(key: RankingKey, quantity: Option<u64>, best_first: &[Option<u32>]) {
        let layout = KeyLayout::new(&[key], (0, 10), 1, 10, quantity).unwrap();
        let id = CandidateId::from([0; 16]);
        let packed = |prediction: &Option<u32>| {
            layout.pack(
                &RankFacts {
                    quanta: 5,
                    n_correct: 5,
                    net_time_ms: 1,
                    submitted_at_ms: 1,
                    attempt: 1,
                    prediction: *prediction,
                },
                &id,
            )
        };
        let keys: Vec<_> = best_first.iter().map(packed).collect();
        let rising = |pair: &[SortKey]| match quantity {
            Some(_) => pair[0] < pair[1],
            None => pair[0] == pair[1],
        };
        assert!(keys.windows(2).all(rising), "{key:?} {keys:x?}");
    }

    #[test]
    fn the_nearest_prediction_is_best_in_both_readings_of_nearest() {
        let (some, none) = (Some::<u32>, None::<u32>);
        check_predictions(
            RankingKey::Prediction,
            Some(1_000),
            &[
                some(1_000),
                some(1_001),
                some(998),
                some(0),
                some(u32::MAX),
                none,
            ],
        );
        check_predictions(
            RankingKey::PredictionNotAbove,
            Some(1_000),
            &[
                some(1_000),
                some(998),
                some(0),
                some(1_001),
                some(u32::MAX),
                none,
            ],
        );
        check_predictions(RankingKey::Prediction, None, &[some(7), some(1_000), none]);
        check_predictions(
            RankingKey::Prediction,
            Some(u64::MAX),
            &[some(u32::MAX), some(0), none],
        );
    }

    #[test]
    fn the_floor_of_a_score_lies_behind_exactly_the_higher_scores() {
        let ranking = [RankingKey::Score, RankingKey::NetTime];
        let layout = KeyLayout::new(&ranking, (0, 100_000), 2_500, 40, None).unwrap();
        let key = |quanta: i64| {
            let facts = RankFacts {
                quanta,
                n_correct: 0,
                net_time_ms: 0,
                submitted_at_ms: 0,
                attempt: 1,
                prediction: None,
            };
            layout.pack(&facts, &CandidateId::from([0; 16]))
        };
        for asked in [100_001, 100_000, 99_999, 50_000, 49_999, 2_501, 2_500, 1, 0] {
            let floor = layout.score_floor(asked).unwrap();
            for quanta in (0..=100_000).step_by(2_500) {
                assert_eq!(key(quanta) < floor, quanta > asked, "{quanta} {asked}");
            }
        }
        assert_eq!(layout.score_floor(-2_500 * 100), Some(SortKey::LAST));
        assert_eq!(layout.score_floor(i64::MIN), Some(SortKey::LAST));
        let (low, high) = (key(5_000), layout.ceiling(key(5_000)));
        assert!(low <= high && layout.floor(high) == low && high < key(2_500));
        assert_eq!(layout.ceiling(high), high);
        let other = KeyLayout::new(&ranking[1..], (0, 100_000), 2_500, 40, None).unwrap();
        assert_eq!(other.score_floor(0), None);
    }

    #[test]
    fn the_widest_useful_exam_fits() {
        // 100 items, 100 points in quarters, key counts up to 12: L = 27,720
        KeyLayout::new(&ALL, (0, 100 * 10_000 * 27_720), 2_500, 100, None).unwrap();
    }

    #[test]
    fn a_rule_that_does_not_fit_is_refused() {
        let error = KeyLayout::new(&ALL, (0, i64::MAX), 1, 100, None).unwrap_err();
        assert!(
            matches!(error, Error::RankingTooWide { bits: 160 }),
            "{error}"
        );
    }
}
