//! Scores that cannot occur: a sign that marks, not keys, are wrong.

use super::{Alarm, Evidence, ScoreRange};

/// Most totals reported; more of them say the same.
const MAX_TOTALS: usize = 20;

pub(super) fn unreachable(scores: &[(i64, i64)], range: ScoreRange) -> Vec<Alarm> {
    let unit = range.unit_quanta.max(1);
    let reachable =
        |total: i64| (range.min_quanta..=range.max_quanta).contains(&total) && total % unit == 0;
    let alarm = |&(total, n): &(i64, i64)| Alarm {
        item_id: None,
        n,
        evidence: Evidence::UnreachableScore { total },
    };
    let wrong = scores.iter().filter(|&&(total, _)| !reachable(total));
    wrong.take(MAX_TOTALS).map(alarm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_outside_the_range_or_between_units_are_reported() {
        let range = ScoreRange::new((0, 100), 25);
        let scores = [(-25, 1), (0, 5), (30, 2), (75, 9), (100, 1), (125, 3)];
        let found: Vec<_> = unreachable(&scores, range)
            .iter()
            .map(|it| (it.evidence, it.n))
            .collect();
        let expected = [(-25, 1), (30, 2), (125, 3)];
        assert_eq!(
            found,
            expected.map(|(total, n)| (Evidence::UnreachableScore { total }, n))
        );
    }
}
