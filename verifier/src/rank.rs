//! Which attempt counts, and who stands where.
//!
//! Invariant: a rank is 1 plus the number of persons with a strictly better tuple (1, 2, 2, 4).
//! Start at [`ranked`]. Source: `docs/FORMATS.md`, section 5.

use std::{
    cmp::{Ordering, Reverse},
    collections::{HashMap, HashSet},
};

use proto::exam::v1::{CountedAttempt, ExamRules, RankingKey, UnitRankingKey};

use crate::{Error, score::Score};

/// One ended attempt, ready to be ranked.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) candidate: [u8; 16],
    pub(crate) attempt: u32,
    pub(crate) area: String,
    /// 0 for none.
    pub(crate) unit: u32,
    pub(crate) round: u32,
    pub(crate) score: Score,
    pub(crate) prediction: Option<u32>,
    pub(crate) net_time_ms: u64,
    pub(crate) submitted_at_ms: u64,
    pub(crate) ended_by: &'static str,
    pub(crate) form_code: [u8; 8],
}

/// One person's place.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) rank: u64,
    pub(crate) area_rank: u64,
    pub(crate) standing: Standing,
}

/// The ranking rule of an exam.
pub(crate) struct Ranking {
    pub(crate) keys: Vec<RankingKey>,
    pub(crate) counted: CountedAttempt,
    /// What predictions are compared with; none until it is known.
    pub(crate) quantity: Option<u64>,
}

impl Ranking {
    pub(crate) fn new(rules: &ExamRules, quantity: Option<u64>) -> Result<Self, Error> {
        let known = |&key: &i32| match RankingKey::try_from(key) {
            Err(_) | Ok(RankingKey::Unspecified) => Err(Error::invalid("ranking key", key)),
            Ok(key) => Ok(key),
        };
        let counted = rules.counted_attempt;
        let keys = &rules.ranking;
        if keys.is_empty() || !are_distinct(keys) {
            return Err(Error::invalid("ranking keys", format!("{keys:?}")));
        }
        check_unit_rule(rules)?;
        Ok(Self {
            keys: keys.iter().map(known).collect::<Result<_, _>>()?,
            counted: CountedAttempt::try_from(counted)
                .map_err(|_| Error::invalid("counted attempt", counted))?,
            quantity,
        })
    }

    /// Compares two ranking tuples: less is better.
    fn compare(&self, a: &Standing, b: &Standing) -> Ordering {
        let by_key = |key: &RankingKey| match key {
            RankingKey::Unspecified => Ordering::Equal, // refused in `new`
            RankingKey::Score => b.score.points.cmp(&a.score.points),
            RankingKey::CorrectCount => b.score.n_correct.cmp(&a.score.n_correct),
            RankingKey::NetTime => a.net_time_ms.cmp(&b.net_time_ms),
            RankingKey::SubmittedAt => a.submitted_at_ms.cmp(&b.submitted_at_ms),
            RankingKey::FewestAttempts => a.attempt.cmp(&b.attempt),
            RankingKey::Prediction => self.distance(a).cmp(&self.distance(b)),
            RankingKey::PredictionNotAbove => {
                let key = |standing| (self.is_above(standing), self.distance(standing));
                key(a).cmp(&key(b))
            }
        };
        let orders = self.keys.iter().map(by_key);
        orders.fold(Ordering::Equal, Ordering::then)
    }

    /// Returns how far a prediction is from the quantity; no prediction is farthest, and all are alike until it is known.
    fn distance(&self, standing: &Standing) -> u128 {
        match (self.quantity, standing.prediction) {
            (None, _) => 0,
            (Some(_), None) => u128::MAX,
            (Some(quantity), Some(prediction)) => quantity.abs_diff(prediction.into()).into(),
        }
    }

    fn is_above(&self, standing: &Standing) -> bool {
        match (self.quantity, standing.prediction) {
            (None, _) => false,
            (Some(_), None) => true, // and farthest
            (Some(quantity), Some(prediction)) => u64::from(prediction) > quantity,
        }
    }

    /// Compares two attempts of one person: less is the one that counts.
    fn compare_attempts(&self, a: &Standing, b: &Standing) -> Ordering {
        match self.counted {
            CountedAttempt::Unspecified | CountedAttempt::Best => {
                self.compare(a, b).then(a.attempt.cmp(&b.attempt))
            }
            CountedAttempt::Last => Reverse(a.attempt).cmp(&Reverse(b.attempt)),
            CountedAttempt::First => a.attempt.cmp(&b.attempt),
        }
    }
}

fn are_distinct(keys: &[i32]) -> bool {
    keys.iter().collect::<HashSet<_>>().len() == keys.len()
}

/// Units are ranked by known keys, none twice; a threshold is a share.
fn check_unit_rule(rules: &ExamRules) -> Result<(), Error> {
    let keys = &rules.unit_ranking;
    let is_known = |&key: &i32| {
        UnitRankingKey::try_from(key).is_ok_and(|key| key != UnitRankingKey::Unspecified)
    };
    if !keys.iter().all(is_known) || !are_distinct(keys) {
        return Err(Error::invalid("ranking keys of units", format!("{keys:?}")));
    }
    let percent = rules.unit_threshold_percent;
    if percent > 100 {
        return Err(Error::invalid("threshold of units in percent", percent));
    }
    Ok(())
}

/// Returns one row a person, by rank, then candidate.
pub(crate) fn ranked(ranking: &Ranking, attempts: impl IntoIterator<Item = Standing>) -> Vec<Row> {
    let persons = in_order(ranking, counted(ranking, attempts));
    let mut country = Ladder::default();
    let mut areas: HashMap<String, Ladder> = HashMap::new();
    let mut rows: Vec<Row> = Vec::with_capacity(persons.len());
    for standing in persons {
        let is_tie = |before: usize| ranking.compare(&rows[before].standing, &standing).is_eq();
        let area = areas.entry(standing.area.clone()).or_default();
        let rank = country.place(rows.len(), is_tie);
        let area_rank = area.place(rows.len(), is_tie);
        rows.push(Row {
            rank,
            area_rank,
            standing,
        });
    }
    rows
}

/// Returns the counted attempts that lie in a scope with their ranks in it, by rank, then candidate.
pub(crate) fn ranked_in(
    ranking: &Ranking,
    attempts: impl IntoIterator<Item = Standing>,
    is_inside: impl Fn(&Standing) -> bool,
) -> Vec<(u64, Standing)> {
    let mut persons = counted(ranking, attempts);
    persons.retain(is_inside);
    let mut ladder = Ladder::default();
    let mut placed: Vec<(u64, Standing)> = Vec::with_capacity(persons.len());
    for standing in in_order(ranking, persons) {
        let is_tie = |before: usize| ranking.compare(&placed[before].1, &standing).is_eq();
        let rank = ladder.place(placed.len(), is_tie);
        placed.push((rank, standing));
    }
    placed
}

/// Returns the attempt that counts of each person.
fn counted(ranking: &Ranking, attempts: impl IntoIterator<Item = Standing>) -> Vec<Standing> {
    let mut persons: HashMap<[u8; 16], Standing> = HashMap::new();
    for attempt in attempts {
        match persons.get_mut(&attempt.candidate) {
            Some(best) if ranking.compare_attempts(&attempt, best).is_lt() => *best = attempt,
            Some(_) => {}
            None => {
                persons.insert(attempt.candidate, attempt);
            }
        }
    }
    persons.into_values().collect()
}

fn in_order(ranking: &Ranking, mut persons: Vec<Standing>) -> Vec<Standing> {
    persons.sort_unstable_by(|a, b| ranking.compare(a, b).then(a.candidate.cmp(&b.candidate)));
    persons
}

/// Ranks of one scope while its persons come in order.
#[derive(Default)]
struct Ladder {
    n_placed: u64,
    rank: u64,
    /// Row of the person before.
    before: Option<usize>,
}

impl Ladder {
    /// Returns the rank of the next person, who will stand in row `row`.
    fn place(&mut self, row: usize, is_tie: impl Fn(usize) -> bool) -> u64 {
        if !self.before.is_some_and(is_tie) {
            self.rank = self.n_placed + 1;
        }
        self.n_placed += 1;
        self.before = Some(row);
        self.rank
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Fraction;

    fn standing(
        candidate: u8,
        attempt: u32,
        area: &str,
        points: i128,
        net_time_ms: u64,
    ) -> Standing {
        Standing {
            candidate: [candidate; 16],
            attempt,
            area: area.to_owned(),
            unit: 0,
            round: 1,
            score: Score {
                points: Fraction::new(points, 3),
                n_correct: 0,
                passed: None,
            },
            prediction: None,
            net_time_ms,
            submitted_at_ms: 1_000 + net_time_ms,
            ended_by: "candidate",
            form_code: [0; 8],
        }
    }

    /// Candidate, attempt, rank, rank in the area.
    fn table(ranking: &Ranking, attempts: Vec<Standing>) -> Vec<(u8, u32, u64, u64)> {
        let row = |row: Row| {
            let standing = row.standing;
            (
                standing.candidate[0],
                standing.attempt,
                row.rank,
                row.area_rank,
            )
        };
        ranked(ranking, attempts).into_iter().map(row).collect()
    }

    fn ranking(keys: &[RankingKey], counted: CountedAttempt) -> Ranking {
        let keys = keys.to_vec();
        Ranking {
            keys,
            counted,
            quantity: None,
        }
    }

    #[test]
    fn ties_share_a_rank_and_the_next_rank_is_skipped() {
        let ranking = ranking(&[RankingKey::Score], CountedAttempt::Best);
        let attempts = vec![
            standing(4, 1, "01", 1, 10),
            standing(3, 1, "01", 5, 10),
            standing(2, 1, "79", 5, 99),
            standing(1, 1, "79", 9, 10),
            standing(5, 1, "79", 5, 10),
        ];
        let expected = [
            (1, 1, 1, 1),
            (2, 1, 2, 2),
            (3, 1, 2, 1),
            (5, 1, 2, 2),
            (4, 1, 5, 2),
        ];
        assert_eq!(table(&ranking, attempts), expected);
    }

    #[test]
    fn later_keys_decide_between_equal_ones() {
        let attempts = vec![standing(1, 1, "01", 5, 20), standing(2, 1, "01", 5, 10)];
        let by_time = ranking(
            &[RankingKey::Score, RankingKey::NetTime],
            CountedAttempt::Best,
        );
        assert_eq!(
            table(&by_time, attempts.clone()),
            [(2, 1, 1, 1), (1, 1, 2, 2)]
        );
        let by_end = ranking(
            &[RankingKey::Score, RankingKey::SubmittedAt],
            CountedAttempt::Best,
        );
        assert_eq!(table(&by_end, attempts), [(2, 1, 1, 1), (1, 1, 2, 2)]);
    }

    #[test]
    fn the_counted_attempt_is_the_rules() {
        let attempts = vec![
            standing(1, 1, "01", 3, 10),
            standing(1, 2, "79", 8, 10),
            standing(1, 3, "01", 8, 10),
            standing(1, 4, "01", 2, 10),
        ];
        for (counted, attempt) in [
            (CountedAttempt::Unspecified, 2),
            (CountedAttempt::Best, 2),
            (CountedAttempt::Last, 4),
            (CountedAttempt::First, 1),
        ] {
            let ranking = ranking(&[RankingKey::Score], counted);
            assert_eq!(table(&ranking, attempts.clone()), [(1, attempt, 1, 1)]);
        }
    }

    #[test]
    fn fewer_attempts_rank_before_more() {
        let keys = [RankingKey::Score, RankingKey::FewestAttempts];
        let ranking = ranking(&keys, CountedAttempt::Best);
        let attempts = vec![
            standing(1, 1, "01", 3, 10),
            standing(1, 2, "01", 8, 10),
            standing(2, 1, "01", 8, 10),
        ];
        assert_eq!(table(&ranking, attempts), [(2, 1, 1, 1), (1, 2, 2, 2)]);
    }

    /// Candidates in order with their ranks, for a quantity of 1,000.
    #[track_caller]
    fn check_predictions(key: RankingKey, quantity: Option<u64>, expected: &[(u8, u64)]) {
        let mut ranking = ranking(&[key], CountedAttempt::Best);
        ranking.quantity = quantity;
        let predictions = [
            Some(1_010),
            Some(990),
            Some(1_000),
            None,
            Some(0),
            Some(1_001),
        ];
        let attempts = (1..)
            .zip(predictions)
            .map(|(candidate, prediction)| Standing {
                prediction,
                ..standing(candidate, 1, "01", 0, 0)
            });
        let rows = ranked(&ranking, attempts);
        let found: Vec<(u8, u64)> = rows
            .iter()
            .map(|row| (row.standing.candidate[0], row.rank))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_nearest_prediction_is_first_and_none_is_last() {
        let both_sides = [(3, 1), (6, 2), (1, 3), (2, 3), (5, 5), (4, 6)];
        check_predictions(RankingKey::Prediction, Some(1_000), &both_sides);
        let not_above = [(3, 1), (2, 2), (5, 3), (6, 4), (1, 5), (4, 6)];
        check_predictions(RankingKey::PredictionNotAbove, Some(1_000), &not_above);
    }

    #[test]
    fn predictions_are_alike_until_the_quantity_is_known() {
        let alike = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)];
        check_predictions(RankingKey::Prediction, None, &alike);
        check_predictions(RankingKey::PredictionNotAbove, None, &alike);
    }

    #[test]
    fn a_quantity_beyond_every_prediction_still_puts_none_last() {
        let by_size = [(1, 1), (6, 2), (3, 3), (2, 4), (5, 5), (4, 6)];
        check_predictions(RankingKey::PredictionNotAbove, Some(u64::MAX), &by_size);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let rules = |key| ExamRules {
            ranking: vec![key],
            ..ExamRules::default()
        };
        assert!(Ranking::new(&rules(0), None).is_err());
        assert!(Ranking::new(&rules(99), None).is_err());
        assert!(Ranking::new(&rules(1), None).is_ok());
        let refused = |change: fn(&mut ExamRules)| {
            let mut rules = rules(1);
            change(&mut rules);
            Ranking::new(&rules, None).is_err()
        };
        assert!(refused(|rules| rules.ranking.clear()));
        assert!(refused(|rules| rules.ranking.push(1)));
        assert!(!refused(|rules| rules.ranking.push(2)));
        assert!(refused(|rules| rules.unit_ranking = vec![0]));
        assert!(refused(|rules| rules.unit_ranking = vec![6]));
        assert!(refused(|rules| rules.unit_ranking = vec![2, 2]));
        assert!(!refused(|rules| rules.unit_ranking = vec![2, 5]));
        assert!(refused(|rules| rules.unit_threshold_percent = 101));
        assert!(!refused(|rules| rules.unit_threshold_percent = 100));
    }
}
