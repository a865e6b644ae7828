//! When each candidate arrives, fixed before the first one does.
//!
//! A Poisson process, given its number of arrivals, is that many independent uniform instants in
//! order; so the ramp is kept and the count is exact. Invariant: instants rise and lie within the ramp.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::args::Spread;

/// Returns one instant for each of `n` candidates, rising, counted from the start of the ramp.
pub(crate) fn arrivals(seed: u64, n: u32, ramp: Duration, spread: Spread) -> Vec<Duration> {
    match spread {
        Spread::Even => (0..n)
            .map(|i| ramp.mul_f64(f64::from(i) / f64::from(n)))
            .collect(),
        Spread::Poisson => {
            let mut rng = ChaCha12Rng::seed_from_u64(seed);
            let mut at: Vec<Duration> = (0..n).map(|_| ramp.mul_f64(rng.random())).collect();
            at.sort_unstable();
            at
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAMP: Duration = Duration::from_secs(10);

    #[test]
    fn one_seed_gives_one_series() {
        let one = arrivals(7, 1_000, RAMP, Spread::Poisson);
        assert_eq!(one, arrivals(7, 1_000, RAMP, Spread::Poisson));
        assert_ne!(one, arrivals(8, 1_000, RAMP, Spread::Poisson));
    }

    #[test]
    fn instants_rise_and_lie_within_the_ramp() {
        for spread in [Spread::Poisson, Spread::Even] {
            let at = arrivals(1, 5_000, RAMP, spread);
            assert_eq!(at.len(), 5_000);
            assert!(at.is_sorted(), "{spread:?}");
            assert!(at.iter().all(|&at| at < RAMP), "{spread:?}");
        }
    }

    #[test]
    fn even_arrivals_keep_their_distance() {
        let at = arrivals(1, 4, RAMP, Spread::Even);
        assert_eq!(at, [0, 2_500, 5_000, 7_500].map(Duration::from_millis));
    }

    /// In a Poisson process gaps are exponential: their standard deviation equals their mean, and
    /// each second gets a count around the rate, neither equal nor far away.
    #[test]
    fn poisson_arrivals_are_spread_as_people_come() {
        let n = 10_000;
        let at = arrivals(3, n, RAMP, Spread::Poisson);
        let gaps: Vec<f64> = at.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let ratio = variance.sqrt() / mean;
        assert!((0.95..1.05).contains(&ratio), "{ratio}");

        let mut by_second = [0_u32; 10];
        for at in &at {
            by_second[usize::try_from(at.as_secs()).unwrap()] += 1;
        }
        assert!(
            by_second.iter().all(|c| (850..1_150).contains(c)),
            "{by_second:?}"
        );
        assert!(by_second.iter().any(|&c| c != 1_000), "{by_second:?}");
    }
}
