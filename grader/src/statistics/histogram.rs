//! How often each score occurred, and the moments that follow.
//!
//! Source: Moodle's quiz statistics (k statistics: Kendall and Stuart, "The Advanced Theory of Statistics").

use super::{sparse::Sparse, test_report::Distribution};

/// Scores in quanta with how often each occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Histogram(Sparse<i64, i64>);

impl Histogram {
    pub(super) fn count(&mut self, score: i64, by: i64) {
        self.0.change(score, |n| *n += by);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0, |mine, theirs| *mine += theirs);
    }

    /// Returns scores that occurred, rising, with how often.
    pub(super) fn sorted(&self) -> Vec<(i64, i64)> {
        let mut entries = self.0.sorted();
        entries.retain(|&(_, n)| n > 0);
        entries
    }

    /// Returns what a report says of these scores.
    pub(super) fn distribution(&self) -> Distribution {
        let entries = self.sorted();
        let n: i64 = entries.iter().map(|&(_, n)| n).sum();
        if n == 0 {
            return Distribution::default();
        }
        let mean = mean(&entries, n);
        let moment = |power: i32| {
            let sum: f64 = entries
                .iter()
                .map(|&(score, n)| n as f64 * (score as f64 - mean).powi(power))
                .sum();
            sum / n as f64
        };
        let (m2, m3, m4) = (moment(2), moment(3), moment(4));
        Distribution {
            n,
            mean: Some(mean),
            median: median(&entries, n),
            sd: k2(n as f64, m2).map(f64::sqrt),
            skewness: skewness(n as f64, m2, m3),
            kurtosis: kurtosis(n as f64, m2, m4),
        }
    }
}

fn mean(entries: &[(i64, i64)], n: i64) -> f64 {
    let sum: i128 = entries
        .iter()
        .map(|&(score, n)| i128::from(score) * i128::from(n))
        .sum();
    sum as f64 / n as f64
}

fn median(entries: &[(i64, i64)], n: i64) -> Option<f64> {
    let at = |place: i64| {
        let mut seen = 0;
        let found = entries.iter().find(|&&(_, n)| {
            seen += n;
            seen > place
        });
        found.map(|&(score, _)| score as f64)
    };
    Some(f64::midpoint(at((n - 1) / 2)?, at(n / 2)?))
}

fn k2(n: f64, m2: f64) -> Option<f64> {
    (n > 1.0).then(|| n * m2 / (n - 1.0))
}

fn skewness(n: f64, m2: f64, m3: f64) -> Option<f64> {
    let k2 = k2(n, m2).filter(|&k2| k2 > 0.0 && n > 2.0)?;
    let k3 = n * n * m3 / ((n - 1.0) * (n - 2.0));
    Some(k3 / k2.powf(1.5))
}

fn kurtosis(n: f64, m2: f64, m4: f64) -> Option<f64> {
    let k2 = k2(n, m2).filter(|&k2| k2 > 0.0 && n > 3.0)?;
    let scale = n * n / ((n - 1.0) * (n - 2.0) * (n - 3.0));
    let k4 = scale * ((n + 1.0) * m4 - 3.0 * (n - 1.0) * m2 * m2);
    Some(k4 / (k2 * k2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_median(scores: &[i64], expected: Option<f64>) {
        let mut histogram = Histogram::default();
        for &score in scores {
            histogram.count(score, 1);
        }
        assert_eq!(histogram.distribution().median, expected);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        check_median(&[], None);
        check_median(&[4], Some(4.0));
        check_median(&[9, 1, 1], Some(1.0));
        check_median(&[1, 4, 5, 9], Some(4.5));
        check_median(&[1, 4, 4, 9], Some(4.0));
    }

    #[test]
    fn what_needs_more_scores_is_not_defined() {
        let mut histogram = Histogram::default();
        for (n, score) in (1..).zip([3, 5, 9, 4]) {
            histogram.count(score, 1);
            let it = histogram.distribution();
            let defined = (
                it.sd.is_some(),
                it.skewness.is_some(),
                it.kurtosis.is_some(),
            );
            assert_eq!(defined, (n > 1, n > 2, n > 3));
        }
        let mut equal = Histogram::default();
        equal.count(7, 100);
        assert_eq!(equal.distribution().skewness, None);
        assert_eq!(equal.distribution().sd, Some(0.0));
    }
}
