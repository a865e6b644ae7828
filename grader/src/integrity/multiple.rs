//! Many tests at once: how small a p-value must be among so many.
//!
//! Sources: Bonferroni (Dunn 1961); Benjamini and Hochberg 1995.

/// Returns the p-value times the number of tests, at most 1: the chance that any of them gives this by chance.
pub(crate) fn bonferroni(p: f64, n_tests: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a factor needs no 53 bits")]
    (p * n_tests as f64).min(1.0)
}

/// Returns, for rising p-values, the least share of false discoveries at which each would be found.
///
/// The p-values may be the smallest of more: `n_tests` says of how many, the rest counts as 1.
pub(crate) fn false_discovery(sorted: &[f64], n_tests: u64) -> Vec<f64> {
    debug_assert!(sorted.is_sorted(), "p-values come by size");
    let mut shares = vec![1.0; sorted.len()];
    let mut least = 1f64;
    for (at, p) in sorted.iter().enumerate().rev() {
        #[expect(clippy::cast_precision_loss, reason = "a factor needs no 53 bits")]
        let share = p * n_tests as f64 / (at + 1) as f64;
        least = least.min(share);
        shares[at] = least;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fifteen p-values of Benjamini and Hochberg 1995, section 3.2: four are found at 0.05, by Bonferroni three.
    const PUBLISHED: [f64; 15] = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.000,
    ];

    #[test]
    fn the_published_example_is_met() {
        let shares = false_discovery(&PUBLISHED, 15);
        assert_eq!(shares.iter().filter(|share| **share <= 0.05).count(), 4);
        let found = PUBLISHED.iter().filter(|p| bonferroni(**p, 15) <= 0.05);
        assert_eq!(found.count(), 3);
    }

    #[test]
    fn tests_that_are_not_listed_count_too() {
        let all = false_discovery(&PUBLISHED, 15);
        let smallest = false_discovery(&PUBLISHED[..4], 15);
        assert_eq!(smallest, all[..4]);
        assert!(false_discovery(&PUBLISHED[..4], 15_000)[3] > 0.05);
        assert!(false_discovery(&[], 15).is_empty());
    }
}
