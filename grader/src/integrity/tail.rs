//! Tails of distributions: how likely a count or a score at least this extreme is by chance.
//!
//! Invariant: every tail is a sum of positive terms, so it stays exact to the last digits where it is tiny.

/// Standard deviations from the mean up to which a normal tail is taken: the saddlepoint's terms cancel there.
const NEAR_MEAN: f64 = -0.5;
/// Halvings of the interval that holds the saddlepoint: as many as a number has binary places.
const N_BISECTIONS: u32 = 60;

/// Returns the probability that a standard normal variable is above `z`.
pub(crate) fn normal_upper(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

/// Returns the probability that a standard normal variable is below `z`.
pub(crate) fn normal_lower(z: f64) -> f64 {
    normal_upper(-z)
}

/// Returns the probability of at least `n_seen` hits in `n_trials` of probability `p`.
pub(crate) fn binomial_upper(n_trials: u32, p: f64, n_seen: u32) -> f64 {
    if n_seen == 0 || p >= 1.0 {
        return if n_seen <= n_trials { 1.0 } else { 0.0 };
    }
    if n_seen > n_trials || p <= 0.0 {
        return 0.0;
    }
    let (n, odds) = (f64::from(n_trials), p / (1.0 - p));
    let at = f64::from(n_seen);
    let ways = libm::lgamma(n + 1.0) - libm::lgamma(at + 1.0) - libm::lgamma(n - at + 1.0);
    let mut term = (ways + at * p.ln() + (n - at) * (-p).ln_1p()).exp();
    let mut sum = 0.0;
    for k in n_seen..=n_trials {
        sum += term;
        term *= f64::from(n_trials - k) / f64::from(k + 1) * odds;
    }
    sum.min(1.0)
}

/// Returns the probability of at least `n_seen` hits in trials of these probabilities (Poisson-binomial, exact).
pub(crate) fn poisson_binomial_upper(probs: &[f64], n_seen: usize) -> f64 {
    let mut mass = Vec::with_capacity(probs.len() + 1);
    mass.push(1.0);
    for &p in probs {
        mass.push(0.0);
        for hits in (1..mass.len()).rev() {
            mass[hits] = mass[hits] * (1.0 - p) + mass[hits - 1] * p;
        }
        mass[0] *= 1.0 - p;
    }
    // from the far end, where the terms are smallest
    let tail = mass.get(n_seen..).unwrap_or_default();
    tail.iter().rev().sum::<f64>().min(1.0)
}

/// Returns the probability that a sum of centred weighted hits, `Σ(x-p)w`, is at most `sum`, far below its mean.
///
/// `terms` are (p, w). A normal tail would be off by powers of ten there, as such sums are skewed; this is the
/// saddlepoint approximation of Lugannani and Rice 1980.
pub(crate) fn weighted_hits_lower(terms: &[(f64, f64)], sum: f64) -> f64 {
    let variance: f64 = terms.iter().map(|(p, w)| p * (1.0 - p) * w * w).sum();
    let lowest: f64 = terms.iter().map(|(p, w)| (-p * w).min((1.0 - p) * w)).sum();
    if sum > NEAR_MEAN * variance.sqrt() {
        return normal_lower(sum / variance.sqrt());
    }
    if sum <= lowest * (1.0 - 1e-9) {
        // every hit went the unlikeliest way
        return terms
            .iter()
            .map(|(p, w)| if *w > 0.0 { 1.0 - p } else { *p })
            .product();
    }
    let mut low = -1.0;
    while slope(terms, low) > sum {
        low *= 2.0;
    }
    let mut high = 0.0;
    for _ in 0..N_BISECTIONS {
        let middle = f64::midpoint(low, high);
        if slope(terms, middle) > sum {
            high = middle;
        } else {
            low = middle;
        }
    }
    let t = low;
    let (mut height, mut curvature) = (0.0, 0.0);
    for &(p, w) in terms {
        let hit = p * (t * w).exp();
        let tilted = hit / (1.0 - p + hit);
        height += (1.0 - p + hit).ln() - t * p * w;
        curvature += tilted * (1.0 - tilted) * w * w;
    }
    let r = -(2.0 * (t * sum - height)).sqrt();
    let u = t * curvature.sqrt();
    let density = (-r * r / 2.0).exp() / std::f64::consts::TAU.sqrt();
    (normal_lower(r) + density * (1.0 / r - 1.0 / u)).clamp(0.0, 1.0)
}

/// Returns the derivative of the cumulant function of `Σ(x-p)w`.
fn slope(terms: &[(f64, f64)], t: f64) -> f64 {
    let terms = terms.iter().map(|&(p, w)| {
        // written so that neither way of overflowing gives a NaN
        let tilted = 1.0 / (1.0 + (1.0 - p) / p * (-t * w).exp());
        (tilted - p) * w
    });
    terms.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: f64, expected: f64) {
        let error = (found - expected).abs() / expected.abs();
        assert!(error < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn normal_tails_hold_far_out() {
        check(normal_upper(0.0), 0.5);
        check(normal_upper(1.959_963_984_540_054), 0.025);
        // Abramowitz and Stegun, table 26.2
        check(normal_upper(5.0), 2.866_515_718_791_939e-7);
        check(normal_lower(-10.0), 7.619_853_024_160_527e-24);
        check(normal_lower(1.0) + normal_upper(1.0), 1.0);
    }

    #[test]
    fn binomial_tails_are_those_counted_by_hand() {
        check(binomial_upper(3, 0.5, 2), 0.5);
        check(binomial_upper(4, 0.25, 4), 1.0 / 256.0);
        check(binomial_upper(4, 0.25, 1), 1.0 - 81.0 / 256.0);
        assert!(binomial_upper(4, 0.25, 0).to_bits() == 1f64.to_bits());
        assert!(binomial_upper(4, 0.25, 5) == 0.0);
        assert!(binomial_upper(4, 0.0, 1) == 0.0);
        assert!(binomial_upper(4, 1.0, 4).to_bits() == 1f64.to_bits());
    }

    #[test]
    fn unequal_trials_give_the_generalised_binomial() {
        let probs = [0.3, 0.5, 0.7];
        check(poisson_binomial_upper(&probs, 3), 0.105);
        check(poisson_binomial_upper(&probs, 2), 0.5);
        check(poisson_binomial_upper(&probs, 1), 0.895);
        check(poisson_binomial_upper(&probs, 0), 1.0);
        assert!(poisson_binomial_upper(&probs, 4) == 0.0);
        check(
            poisson_binomial_upper(&[0.25; 40], 30),
            binomial_upper(40, 0.25, 30),
        );
    }

    #[test]
    fn the_saddlepoint_meets_the_sum_over_all_outcomes() {
        let terms: Vec<(f64, f64)> = (0..16)
            .map(|n| {
                let n = f64::from(n);
                (0.5 + n / 40.0, 1.0 + (n * 1.7).sin() / 2.0)
            })
            .collect();
        let mut outcomes: Vec<(f64, f64)> = (0..1u32 << terms.len())
            .map(|bits| {
                let each = terms.iter().enumerate().map(|(at, &(p, w))| {
                    if bits >> at & 1 == 1 {
                        ((1.0 - p) * w, p)
                    } else {
                        (-p * w, 1.0 - p)
                    }
                });
                each.fold((0.0, 1.0), |(sum, mass), (x, p)| (sum + x, mass * p))
            })
            .collect();
        outcomes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sd = terms
            .iter()
            .map(|(p, w)| p * (1.0 - p) * w * w)
            .sum::<f64>()
            .sqrt();
        let mut normal_off = 0f64;
        for z in [-1.5, -2.5, -3.5, -4.5] {
            let sum = z * sd;
            let exact: f64 = outcomes
                .iter()
                .take_while(|(x, _)| *x <= sum)
                .map(|(_, m)| m)
                .sum();
            let found = weighted_hits_lower(&terms, sum);
            assert!(
                (found / exact - 1.0).abs() < 0.06,
                "at {z}: {found:e}, exactly {exact:e}"
            );
            normal_off = normal_off.max((normal_lower(z) / exact - 1.0).abs());
        }
        assert!(normal_off > 0.3, "{normal_off}");
        let lowest: f64 = terms.iter().map(|(p, w)| -p * w).sum();
        check(weighted_hits_lower(&terms, lowest), outcomes[0].1);
    }
}
