//! What a decision would change: scores, passes and ranks, nationwide and by area, before anybody approves it.
//!
//! Two folds of the same log are compared, so the dry run tells exactly what the decision does (P8): the second one
//! is what goes into force. Start at [`Impact::of`].

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BTreeSet},
};

use crate::{attempt::Finished, fold::Fold, id::CandidateId, prize::winners};

/// Persons listed one by one: more than a person reads, and the counts stand beside them.
pub const MAX_LISTED: usize = 1_000;

/// What changes from one fold to another of the same log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impact {
    /// In all.
    pub total: Changes,
    /// By area of the counted attempt; areas without a change are left out.
    pub areas: BTreeMap<String, Changes>,
    /// Ended attempts whose score changes, whether they count or not.
    pub n_attempts: u64,
    /// Prizes that go to somebody else, or hang on a tie with somebody else.
    pub n_prizes: u64,
    /// Persons with a change, those whose rank moves furthest first, at most [`MAX_LISTED`].
    pub listing: Vec<Change>,
}

/// How much changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Persons ranked before or after.
    pub n_persons: u64,
    /// Persons whose counted score changes.
    pub n_scores: u64,
    /// Of these, higher.
    pub n_higher: u64,
    /// Persons who pass and did not.
    pub n_now_pass: u64,
    /// Persons who passed and do not.
    pub n_now_fail: u64,
    /// Persons whose rank nationwide changes, or who enter or leave the ranking.
    pub n_ranks: u64,
}

/// What changes for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub candidate: CandidateId,
    /// Area of the counted attempt.
    pub area: String,
    /// Before; none if not ranked.
    pub before: Option<Place>,
    /// After; none if not ranked.
    pub after: Option<Place>,
}

/// Where a person stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the counted attempt.
    pub attempt: u16,
    /// Its score.
    pub quanta: i64,
    /// Whether it passes.
    pub passed: Option<bool>,
    /// Rank nationwide.
    pub rank: u64,
}

impl Place {
    pub(crate) fn of(rank: u64, counted: &Finished) -> Self {
        Self {
            attempt: counted.attempt,
            quanta: counted.score.quanta,
            passed: counted.score.passed,
            rank,
        }
    }
}

impl Impact {
    /// Compares a fold with the same log graded otherwise.
    #[must_use]
    pub fn of(before: &Fold, after: &Fold) -> Self {
        let mut impact = Self {
            n_attempts: changed_attempts(before, after),
            n_prizes: changed_prizes(before, after),
            ..Self::default()
        };
        let compare = Compare::of(before, after);
        let mut moved = Vec::new();
        // persons stand at the same places in both folds
        for (who, (was, is)) in (0..).zip(before.places().into_iter().zip(after.places())) {
            let Some((area, was, is)) = compare.persons(who, was, is) else {
                continue;
            };
            let changes = compare.changes(was, is);
            impact.total.add(changes);
            let sum = match impact.areas.get_mut(area) {
                Some(sum) => sum,
                None => impact.areas.entry(area.to_owned()).or_default(),
            };
            sum.add(changes);
            if changes.is_something() {
                moved.push((Reverse(distance(was, is)), who, was, is));
            }
        }
        impact.areas.retain(|_, changes| changes.is_something());
        moved.sort_unstable_by_key(|(distance, who, ..)| (*distance, before.id_of(*who)));
        moved.truncate(MAX_LISTED);
        impact.listing = moved
            .into_iter()
            .map(|(_, who, was, is)| Change {
                candidate: before.id_of(who),
                area: compare.area(who).to_owned(),
                before: was,
                after: is,
            })
            .collect();
        impact
    }
}

/// Two folds of one log.
struct Compare<'fold> {
    before: &'fold Fold,
    after: &'fold Fold,
    /// Quanta per point, before and after.
    scales: (i128, i128),
}

impl<'fold> Compare<'fold> {
    fn of(before: &'fold Fold, after: &'fold Fold) -> Self {
        Self {
            before,
            after,
            scales: (
                before.package().quanta_per_point().into(),
                after.package().quanta_per_point().into(),
            ),
        }
    }

    /// Passes over persons who are ranked in neither.
    fn persons(
        &self,
        who: u32,
        was: Option<Place>,
        is: Option<Place>,
    ) -> Option<(&'fold str, Option<Place>, Option<Place>)> {
        (was.is_some() || is.is_some()).then(|| (self.area(who), was, is))
    }

    fn area(&self, who: u32) -> &'fold str {
        self.after
            .area_of(who)
            .or_else(|| self.before.area_of(who))
            .unwrap_or_default()
    }

    fn compare_scores(&self, before: i64, after: i64) -> Ordering {
        (i128::from(after) * self.scales.0).cmp(&(i128::from(before) * self.scales.1))
    }

    fn changes(&self, was: Option<Place>, is: Option<Place>) -> Changes {
        let score = match (was, is) {
            (Some(was), Some(is)) => self.compare_scores(was.quanta, is.quanta),
            _ => Ordering::Equal,
        };
        let passed = |place: Option<Place>| place.and_then(|place| place.passed) == Some(true);
        let rank = |place: Option<Place>| place.map(|place| place.rank);
        Changes {
            n_persons: 1,
            n_scores: u64::from(score.is_ne()),
            n_higher: u64::from(score.is_gt()),
            n_now_pass: u64::from(!passed(was) && passed(is)),
            n_now_fail: u64::from(passed(was) && !passed(is)),
            n_ranks: u64::from(rank(was) != rank(is)),
        }
    }
}

impl Changes {
    fn add(&mut self, other: Self) {
        self.n_persons += other.n_persons;
        self.n_scores += other.n_scores;
        self.n_higher += other.n_higher;
        self.n_now_pass += other.n_now_pass;
        self.n_now_fail += other.n_now_fail;
        self.n_ranks += other.n_ranks;
    }

    fn is_something(self) -> bool {
        self.n_scores + self.n_now_pass + self.n_now_fail + self.n_ranks > 0
    }
}

/// How far a person moves; entering or leaving the ranking is farthest.
fn distance(was: Option<Place>, is: Option<Place>) -> u64 {
    match (was, is) {
        (Some(was), Some(is)) => was.rank.abs_diff(is.rank),
        _ => u64::MAX,
    }
}

fn changed_attempts(before: &Fold, after: &Fold) -> u64 {
    let compare = Compare::of(before, after);
    let persons = before.persons().iter().zip(after.persons());
    persons
        .flat_map(|(was, is)| was.finished.iter().zip(&is.finished))
        .filter(|(was, is)| {
            let order = compare.compare_scores(was.score.quanta, is.score.quanta);
            order.is_ne()
        })
        .count() as u64
}

/// Adds up, for each prize, who is listed now and was not, or was and is not, whichever are more.
fn changed_prizes(before: &Fold, after: &Fold) -> u64 {
    let listed = |fold| {
        let winners = winners(fold).into_iter();
        winners
            .map(|winner| (winner.prize_idx, winner.row.candidate))
            .collect::<BTreeSet<_>>()
    };
    let (was, is) = (listed(before), listed(after));
    let mut changed: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for (prize_idx, _) in was.difference(&is) {
        changed.entry(*prize_idx).or_default().0 += 1;
    }
    for (prize_idx, _) in is.difference(&was) {
        changed.entry(*prize_idx).or_default().1 += 1;
    }
    changed.values().map(|(left, came)| *left.max(came)).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::{
        exam::v1::{EndedBy, Prize},
        key::v1::Treatment,
    };

    use super::*;
    use crate::{
        Package,
        fixture::{Log, Parts, candidate, parts},
        result_file, state_hash,
    };

    fn exam() -> Parts {
        let mut parts = parts();
        parts.rules_mut().pass_mark = "0.25".to_owned();
        parts
    }

    fn log() -> Log {
        let mut log = Log::new(&exam());
        // the first item's key is A; three say A, one B, one nothing
        for (n, area, chosen) in [
            (1, "79", 1),
            (2, "79", 1),
            (3, "01", 1),
            (4, "01", 2),
            (5, "01", 0),
        ] {
            let net_ms = 1_000 * u64::from(n);
            log.sit(
                candidate(n),
                1,
                area,
                &[(0, chosen)],
                net_ms,
                EndedBy::Candidate,
            );
        }
        log
    }

    fn other(change: impl FnOnce(&mut Parts)) -> Arc<Package> {
        let mut parts = exam();
        parts.key.key_version = 2;
        change(&mut parts);
        Arc::new(parts.load().unwrap())
    }

    #[test]
    fn a_dry_run_tells_what_another_key_changes() {
        let before = log().fold();
        let after = before
            .graded_by(&other(|parts| parts.key.keys[0].right_options = 2))
            .unwrap();
        let impact = Impact::of(&before, &after);
        assert_eq!(
            impact.total,
            Changes {
                n_persons: 5,
                n_scores: 4,
                n_higher: 1,
                n_now_pass: 1,
                n_now_fail: 3,
                n_ranks: 4,
            }
        );
        assert_eq!(impact.n_attempts, 4);
        let by_area: Vec<_> = impact
            .areas
            .iter()
            .map(|(area, sum)| (area.as_str(), sum.n_scores))
            .collect();
        assert_eq!(by_area, [("01", 2), ("79", 2)]);
        // 4 rises from the fourth place to the first; nobody else moves farther than one
        assert_eq!(impact.listing[0].candidate, candidate(4));
        assert_eq!(impact.listing[0].before.unwrap().rank, 4);
        assert_eq!(impact.listing[0].after.unwrap().rank, 1);
        assert_eq!(impact.listing.len(), 4);
    }

    #[test]
    fn prizes_that_change_hands_are_counted_one_by_one() {
        let prizes = |parts: &mut Parts| {
            let prize = |count| Prize {
                count,
                ..Prize::default()
            };
            parts.rules_mut().prizes = vec![prize(1), prize(2)];
            parts.rules_mut().prize_cap = 1;
        };
        let before = log().fold().graded_by(&other(prizes)).unwrap();
        // first 1, second 2 and 3; then first 4, second 1 and 2
        let turned = other(|parts| {
            prizes(parts);
            parts.key.keys[0].right_options = 2;
        });
        let after = before.graded_by(&turned).unwrap();
        assert_eq!(Impact::of(&before, &after).n_prizes, 2);
        let back = Impact::of(&after, &after.graded_by(before.package()).unwrap());
        assert_eq!(back.n_prizes, 2);
        assert_eq!(Impact::of(&before, &before).n_prizes, 0);
    }

    #[test]
    fn a_decision_that_changes_nothing_has_no_impact() {
        let before = log().fold();
        let after = before
            .graded_by(&other(|parts| parts.key.keys[4].right_options = 2))
            .unwrap();
        let impact = Impact::of(&before, &after);
        assert_eq!(
            (impact.total.n_persons, impact.total.is_something()),
            (5, false)
        );
        assert!(impact.listing.is_empty() && impact.areas.is_empty());
    }

    #[test]
    fn scores_are_compared_as_points_when_the_quanta_change() {
        // dropping an item that nobody answered stretches 2.25/2.00 and changes the number of quanta in a point
        let before = log().fold();
        let dropped = other(|parts| parts.key.keys[4].treatment = Treatment::Dropped.into());
        assert_ne!(
            dropped.quanta_per_point(),
            before.package().quanta_per_point()
        );
        let impact = Impact::of(&before, &before.graded_by(&dropped).unwrap());
        assert_eq!((impact.total.n_scores, impact.total.n_higher), (3, 3));
        assert_eq!(
            impact.total.n_ranks, 0,
            "whoever had nothing still has nothing"
        );
    }

    #[test]
    fn grading_anew_equals_folding_anew_and_back_again_is_the_first_state() {
        for seed in 0..12 {
            let log = Log::random(seed, 25);
            let before = log.fold();
            let mut parts = parts();
            parts.rules_mut().counted_attempt = before.package().counted().into();
            parts.key.key_version = 2;
            parts.key.keys[0].right_options = 0b0010;
            parts.key.keys[4].treatment = Treatment::Dropped.into();
            parts.key.keys[1].treatment = Treatment::FullToAll.into();
            let package = Arc::new(parts.load().unwrap());
            let after = before.graded_by(&package).unwrap();
            let mut anew = Fold::new(Arc::clone(&package));
            for entry in &log.entries {
                anew.apply_entry(entry).unwrap();
            }
            assert_eq!(state_hash(&after), state_hash(&anew));
            assert_eq!(result_file(&after), result_file(&anew));
            assert_eq!(after.progress(), anew.progress());
            assert_ne!(
                result_file(&after),
                result_file(&before),
                "the key must matter"
            );
            let back = after.graded_by(before.package()).unwrap();
            assert_eq!(state_hash(&back), state_hash(&before));
            assert_eq!(result_file(&back), result_file(&before));
        }
    }

    #[test]
    fn papers_of_another_exam_are_not_graded() {
        let fold = log().fold();
        let mut parts = exam();
        parts.paper.release_no = 9;
        let other = Arc::new(parts.load().unwrap());
        assert!(fold.graded_by(&other).is_err());
    }
}
