//! How alike two answer sheets are: omega, the generalised binomial test, the K-index.
//!
//! Each index takes numbers of matches and probabilities of them by item; where the probabilities come from (an
//! item response model, or the proportions among persons of like score) is the caller's concern.
//! Sources: Wollack 1997 (omega); van der Linden and Sotaridona 2006 (GBT); Holland 1996 (K).

use super::tail;

/// Returns the standardised number of matches, `(h - Σp) / √Σp(1-p)`.
///
/// With the copier's probabilities of the source's answers this is Wollack's omega; with the probabilities that both
/// answer alike, the symmetric form. Negative infinity if nothing was left to chance.
pub(crate) fn omega(n_matches: u32, probs: &[f64]) -> f64 {
    let mean: f64 = probs.iter().sum();
    let variance: f64 = probs.iter().map(|p| p * (1.0 - p)).sum();
    if variance > 0.0 {
        (f64::from(n_matches) - mean) / variance.sqrt()
    } else {
        f64::NEG_INFINITY
    }
}

/// Returns the p-value of the generalised binomial test: at least so many matches by chance.
pub(crate) fn gbt(n_matches: u32, probs: &[f64]) -> f64 {
    tail::poisson_binomial_upper(probs, n_matches as usize)
}

/// Returns the K-index: the probability of at least so many matches among the source's wrong answers.
///
/// `agreement` is the mean share of these wrong answers that persons like the copier give too.
pub(crate) fn k_index(n_source_wrong: u32, n_matches: u32, agreement: f64) -> f64 {
    tail::binomial_upper(n_source_wrong, agreement, n_matches)
}

#[cfg(test)]
mod tests {
    use super::{
        super::reference::{self, close},
        *,
    };

    fn matches(a: &[bool], b: &[bool]) -> u32 {
        a.iter().zip(b).map(|(a, b)| u32::from(a == b)).sum()
    }

    #[test]
    fn symmetric_omega_and_gbt_are_those_of_the_reference() {
        let (items, persons) = (reference::items(), reference::persons());
        let mut worst = 0f64;
        for row in reference::rows(include_str!(
            "../../testdata/integrity/similarity-pairs.csv"
        )) {
            let [a, b] = reference::pair(&persons, &row);
            let probs: Vec<f64> = items
                .iter()
                .map(|item| {
                    let (p, q) = (item.p(a.theta), item.p(b.theta));
                    p * q + (1.0 - p) * (1.0 - q)
                })
                .collect();
            let n_matches = matches(&a.right, &b.right);
            let z = omega(n_matches, &probs);
            worst = worst
                .max(close(z, row[2]))
                .max(close(tail::normal_upper(z), row[3]))
                .max(close(gbt(n_matches, &probs), row[4]));
        }
        reference::check("symmetric omega, its p, GBT", worst);
    }

    #[test]
    fn omega_of_a_copier_is_that_of_the_reference() {
        let (items, persons) = (reference::items(), reference::persons());
        let mut worst = 0f64;
        for row in reference::rows(include_str!(
            "../../testdata/integrity/similarity-copier.csv"
        )) {
            let [source, copier] = reference::pair(&persons, &row);
            let probs: Vec<f64> = items
                .iter()
                .zip(&source.right)
                .map(|(item, right)| {
                    let p = item.p(copier.theta);
                    if *right { p } else { 1.0 - p }
                })
                .collect();
            let z = omega(matches(&source.right, &copier.right), &probs);
            worst = worst
                .max(close(z, row[2]))
                .max(close(tail::normal_upper(z), row[3]));
        }
        reference::check("omega of a copier, its p", worst);
    }

    /// Numbers of `form1` of the R package CopyDetect: wrong answers of the source, matches, agreement, K.
    #[test]
    fn the_k_index_is_that_of_the_reference() {
        let rows = [
            (22, 17, 15.0 / 22.0, 0.251_533_34),
            (19, 13, 51.0 / 76.0, 0.559_439_15),
            (5, 2, 73.0 / 145.0, 0.816_780_62),
            (3, 0, 0.354_651_16, 1.0),
        ];
        let of =
            |(n_wrong, n_matches, agreement, k)| close(k_index(n_wrong, n_matches, agreement), k);
        reference::check("K", rows.map(of).into_iter().fold(0.0, f64::max));
        // by hand: two of two wrong answers shared, each given by half of the like
        assert!(close(k_index(2, 2, 0.5), 0.25) < 1e-12);
    }

    #[test]
    fn matches_that_were_certain_prove_nothing() {
        assert!(omega(3, &[1.0, 1.0, 1.0]) == f64::NEG_INFINITY);
        assert!(close(gbt(3, &[1.0, 1.0, 1.0]), 1.0) < 1e-12);
        assert!(close(k_index(3, 3, 1.0), 1.0) < 1e-12);
    }
}
