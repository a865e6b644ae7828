//! Candidates by score: five groups, and the upper and lower 27 %.
//!
//! Invariant: equal scores are in the same group. A score belongs to the fifth that its middle candidate is in;
//! upper and lower groups are widened until they hold 27 %, and are none if they would meet.
//! Source: T. L. Kelley, "The selection of upper and lower groups for the validation of test items", 1939.

/// Number of groups.
pub(super) const N_GROUPS: usize = 5;
/// Percent of the candidates in the upper and in the lower group.
const TAIL_PERCENT: i64 = 27;

/// Which group each score belongs to.
#[derive(Debug)]
pub(super) struct ScoreGroups {
    /// Least score of each group but the first; a group may be empty.
    bounds: [i64; N_GROUPS - 1],
    tails: Option<(i64, i64)>,
}

impl ScoreGroups {
    /// Makes the groups of scores with their numbers, in any order; none without candidates.
    pub(super) fn of(scores: impl IntoIterator<Item = (i64, i64)>) -> Option<Self> {
        let mut scores: Vec<_> = scores.into_iter().filter(|&(_, n)| n > 0).collect();
        scores.sort_unstable();
        let n: i64 = scores.iter().map(|&(_, n)| n).sum();
        (n > 0).then(|| Self {
            bounds: bounds(&scores, n),
            tails: tails(&scores, n),
        })
    }

    /// Returns the group of a score, 0 the lowest.
    pub(super) fn group(&self, score: i64) -> usize {
        self.bounds.partition_point(|&bound| bound <= score)
    }

    pub(super) fn is_upper(&self, score: i64) -> bool {
        self.tails.is_some_and(|(_, from)| score >= from)
    }

    pub(super) fn is_lower(&self, score: i64) -> bool {
        self.tails.is_some_and(|(to, _)| score <= to)
    }
}

fn bounds(scores: &[(i64, i64)], n: i64) -> [i64; N_GROUPS - 1] {
    let mut bounds = [i64::MAX; N_GROUPS - 1];
    let mut before = 0;
    for &(score, n_here) in scores {
        let middle = 2 * before + n_here;
        for (group, bound) in (1..).zip(&mut bounds) {
            // the middle candidate is beyond group fifths of all
            if middle * N_GROUPS as i64 >= 2 * n * group {
                *bound = score.min(*bound);
            }
        }
        before += n_here;
    }
    bounds
}

fn tails(scores: &[(i64, i64)], n: i64) -> Option<(i64, i64)> {
    let to = cut(scores.iter(), n)?;
    let from = cut(scores.iter().rev(), n)?;
    (to < from).then_some((to, from))
}

fn cut<'a>(scores: impl Iterator<Item = &'a (i64, i64)>, n: i64) -> Option<i64> {
    let mut seen = 0;
    for &(score, n_here) in scores {
        seen += n_here;
        if seen * 100 >= n * TAIL_PERCENT {
            return Some(score);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scores: &[(i64, i64)], groups: &[usize], tails: Option<(i64, i64)>) {
        let made = ScoreGroups::of(scores.iter().copied()).unwrap();
        let found: Vec<_> = scores.iter().map(|&(score, _)| made.group(score)).collect();
        assert_eq!((&*found, made.tails), (groups, tails));
    }

    #[test]
    fn ties_are_never_split() {
        check(
            &[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)],
            &[0, 1, 2, 3, 4],
            Some((2, 4)),
        );
        check(&[(1, 2), (2, 6), (3, 2)], &[0, 2, 4], None);
        check(&[(1, 4), (2, 2), (3, 4)], &[1, 2, 4], Some((1, 3)));
        check(&[(7, 100)], &[2], None);
        assert!(ScoreGroups::of([]).is_none());
    }
}
