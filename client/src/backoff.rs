//! How long to wait before sending again, and how often that may be.
//!
//! Full jitter: a pause is drawn between nothing and a ceiling that doubles, so that those who failed together do not come
//! back together. Source: M. Brooker, "Exponential Backoff And Jitter"; B. Beyer et al., "Site Reliability Engineering",
//! chapter 21 (retry budgets).

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rand::{Rng, RngExt};

/// Ceilings of pauses.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Of the first.
    pub first: Duration,
    /// Of every one.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50), // a lost reply is made good before a person notices
            cap: Duration::from_secs(30),     // a server that comes back is found within it
        }
    }
}

impl Backoff {
    /// Returns the ceiling of the pause before this repetition, the first being 0.
    #[must_use]
    pub fn ceiling(&self, n_retries: u32) -> Duration {
        self.first
            .saturating_mul(1 << n_retries.min(20))
            .min(self.cap)
    }

    /// Draws the pause before this repetition. A pause that the server asked for comes on top: it has spread its callers
    /// already, and none comes earlier than it wants.
    pub fn pause(&self, n_retries: u32, asked: Option<Duration>, rng: &mut impl Rng) -> Duration {
        match asked {
            Some(asked) => asked + self.first.mul_f64(rng.random()),
            None => self.ceiling(n_retries).mul_f64(rng.random()),
        }
    }
}

/// Tenths of a call that each call adds, and that a repetition costs ten of.
const TENTHS: u32 = 10;
/// Repetitions in reserve: a program that has made few calls yet may repeat some.
const RESERVE: u32 = 10;
/// Repetitions saved at most: an hour of calm is no leave for a storm.
const MOST: u32 = 100;

/// Repetitions stay below a tenth of the calls over time, whatever happens: what is sent again into an overload makes it.
#[derive(Debug)]
pub struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(RESERVE * TENTHS))
    }
}

impl Budget {
    /// Notes a call.
    pub fn earn(&self) {
        let more = |tenths: u32| Some((tenths + 1).min(MOST * TENTHS));
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more); // always Some
    }

    /// Takes leave for a repetition; without it the caller waits as long as it ever does.
    pub fn spend(&self) -> bool {
        let less = |tenths: u32| tenths.checked_sub(TENTHS);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

    use super::*;

    const N_CALLERS: usize = 10_000;

    /// The fullest 50 ms of the first two seconds after a failure that all had at once, without the first try.
    fn spike(mut pause: impl FnMut(u32) -> Duration) -> usize {
        let mut counts = [0_usize; 40];
        for _ in 0..N_CALLERS {
            let mut at = Duration::ZERO;
            for n_retries in 0..8 {
                at += pause(n_retries);
                if let Some(count) = counts.get_mut(usize::try_from(at.as_millis() / 50).unwrap())
                    && n_retries >= 3
                {
                    *count += 1;
                }
            }
        }
        counts.into_iter().max().unwrap()
    }

    #[test]
    fn a_herd_does_not_come_back_together() {
        let backoff = Backoff::default();
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let spread = spike(|n| backoff.pause(n, None, &mut rng));
        assert!(spread < N_CALLERS / 5, "{spread}");
        // Negative control: without jitter all come at once.
        assert_eq!(spike(|n| backoff.ceiling(n)), N_CALLERS);
    }

    #[test]
    fn pauses_grow_to_their_ceiling() {
        let backoff = Backoff::default();
        let ms = [0, 1, 2, 6, 40].map(|n| backoff.ceiling(n).as_millis());
        assert_eq!(ms, [50, 100, 200, 3_200, 30_000]);
        let mut rng = ChaCha12Rng::seed_from_u64(2);
        assert!((0..1_000).all(|_| backoff.pause(40, None, &mut rng) < backoff.cap));
    }

    #[test]
    fn what_the_server_asks_for_is_waited() {
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let asked = Duration::from_secs(2);
        for n_retries in 0..20 {
            let pause = Backoff::default().pause(n_retries, Some(asked), &mut rng);
            assert!((asked..=asked + Duration::from_millis(50)).contains(&pause));
        }
    }

    #[test]
    fn repetitions_stay_below_a_tenth_of_the_calls() {
        let budget = Budget::default();
        let mut n_repeated = 0;
        for _ in 0..10_000 {
            budget.earn();
            n_repeated += u32::from(budget.spend());
        }
        assert!((1_000..=1_010).contains(&n_repeated), "{n_repeated}");
    }
}
