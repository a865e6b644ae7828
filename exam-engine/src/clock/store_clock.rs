//! One clock for all engines of a store: the store's own, kept going by the monotonic clock between looks (P5).
//!
//! Invariant: it never steps back. Rules, for the difference between the store's clock and what is shown:
//! - within the uncertainty of the measurement: nothing;
//! - ahead by up to a second: shown time runs 5 % faster until they meet; by more: it steps there at once;
//! - behind, by however much: shown time runs at half speed until they meet.
//!
//! The machine's wall clock is not used for decisions at all, so no jump of it moves a deadline; how far it is off is told
//! in the log. Start at [`StoreClock::start`]; the rules are in [`Steering`].

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{Clock, Timestamp};
use crate::store::{self, SessionStore};

/// Round trips of one measurement; their median stands, so that two slow ones do no harm.
const N_LOOKS: usize = 5;
/// Between two measurements: two clocks of common crystals part by less than a millisecond meanwhile.
const PERIOD: Duration = Duration::from_secs(5);
/// A machine that is further off than this needs its time service repaired, though deadlines are right all the same.
const LIMIT_MS: i64 = 1_000;
/// Resolution of what the store tells.
const RESOLUTION_US: i64 = 1_000;
/// Differences ahead up to this are made up for slowly.
const MAX_SLEW_US: i64 = 1_000_000;
/// Shown microseconds gained for each that passes is one in this.
const GAIN: i64 = 20;
/// Shown microseconds lost for each that passes is one in this.
const LOSS: i64 = 2;

/// What is shown, as a pure function of monotonic time and measurements. All in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Steering {
    /// Monotonic instant of the last change.
    at: i64,
    /// What was shown then.
    shown: i64,
    /// What is still to be gained, or lost if negative.
    rest: i64,
}

impl Steering {
    fn shown(&self, at: i64) -> i64 {
        let passed = (at - self.at).max(0);
        self.shown + passed + self.rest.clamp(-(passed / LOSS), passed / GAIN)
    }

    /// Takes a measurement: at the monotonic instant the store's clock stood at `truth`, give or take.
    fn steer(&mut self, at: i64, truth: i64, uncertainty: i64) {
        let shown = self.shown(at);
        let difference = truth - shown;
        let is_noise = difference.abs() <= uncertainty;
        *self = if difference > MAX_SLEW_US {
            Self {
                at,
                shown: truth,
                rest: 0,
            }
        } else {
            Self {
                at,
                shown,
                rest: if is_noise { 0 } else { difference },
            }
        };
    }
}

/// A measurement: the store's clock at a monotonic instant, in microseconds.
struct Measured {
    at: i64,
    truth: i64,
    uncertainty: i64,
}

/// The store's clock.
pub struct StoreClock {
    store: Arc<dyn SessionStore>,
    wall: Arc<dyn Clock>,
    anchor: Instant,
    steering: Mutex<Steering>,
    was_off: Mutex<bool>,
}

impl StoreClock {
    /// Measures for the first time; nobody is served before. `wall` is the machine's clock, which is only reported on.
    ///
    /// # Errors
    /// When the store tells no time.
    pub async fn start(
        store: Arc<dyn SessionStore>,
        wall: Arc<dyn Clock>,
    ) -> store::Result<Arc<Self>> {
        let anchor = Instant::now();
        let first = measure(&*store, anchor).await?;
        let steering = Steering {
            at: first.at,
            shown: first.truth,
            rest: 0,
        };
        let clock = Self {
            store,
            wall,
            anchor,
            steering: Mutex::new(steering),
            was_off: Mutex::new(false),
        };
        tracing::info!(
            clock.offset_ms = clock.offset_ms(),
            "the store's clock counts"
        );
        clock.report();
        Ok(Arc::new(clock))
    }

    /// Measures again and again until the process ends.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            match measure(&*self.store, self.anchor).await {
                Ok(measured) => self.steer(&measured),
                // The monotonic clock goes on; attempts start only while the store answers (`Registry::known_until`).
                Err(error) => tracing::debug!(error = %error, "the store's clock is not read"),
            }
        }
    }

    fn steer(&self, measured: &Measured) {
        let mut steering = self.steering.lock().expect("no panic under this lock");
        let before = *steering;
        steering.steer(measured.at, measured.truth, measured.uncertainty);
        let correction_ms = (measured.truth - before.shown(measured.at)) / 1_000;
        drop(steering);
        if correction_ms.abs() > LIMIT_MS {
            tracing::error!(
                clock.correction_ms = correction_ms,
                "the store's clock has jumped"
            );
        }
        self.report();
    }

    /// How far the machine's wall clock is behind the one that counts.
    fn offset_ms(&self) -> i64 {
        self.now().0.cast_signed() - self.wall.now().0.cast_signed()
    }

    /// Tells when the machine's clock goes beyond the limit, and when it comes back.
    fn report(&self) {
        let offset_ms = self.offset_ms();
        let is_off = offset_ms.abs() > LIMIT_MS;
        let mut was_off = self.was_off.lock().expect("no panic under this lock");
        if is_off && !*was_off {
            tracing::warn!(
                clock.offset_ms = offset_ms,
                clock.limit_ms = LIMIT_MS,
                "this machine's clock is off; deadlines follow the store's clock, repair the time service"
            );
        } else if *was_off && !is_off {
            tracing::warn!(
                clock.offset_ms = offset_ms,
                "this machine's clock is right again"
            );
        }
        *was_off = is_off;
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        let at = micros(self.anchor.elapsed());
        let shown = self
            .steering
            .lock()
            .expect("no panic under this lock")
            .shown(at);
        Timestamp((shown / 1_000).cast_unsigned())
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).expect("fits for 290,000 years")
}

/// Takes a few round trips and returns their median: at the middle of each, the store's clock stood at what it tells.
async fn measure(store: &dyn SessionStore, anchor: Instant) -> store::Result<Measured> {
    let tells_no_time =
        || store::Error::Unavailable("the store has no clock of its own".to_owned());
    let table = store.exams().ok_or_else(tells_no_time)?;
    let mut offsets = Vec::with_capacity(N_LOOKS);
    let mut last = 0;
    for _ in 0..N_LOOKS {
        let sent = micros(anchor.elapsed());
        let told = table.look().await?.at.ok_or_else(tells_no_time)?;
        last = micros(anchor.elapsed());
        let truth = told.0.cast_signed() * 1_000 + RESOLUTION_US / 2; // somewhere within its millisecond
        offsets.push((truth - (sent + last) / 2, (last - sent) / 2));
    }
    offsets.sort_unstable();
    let (offset, half_trip) = offsets[N_LOOKS / 2];
    Ok(Measured {
        at: last,
        truth: last + offset,
        uncertainty: half_trip + RESOLUTION_US,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: i64 = 1_000_000;

    fn steered(truth: i64, uncertainty: i64) -> Steering {
        let mut steering = Steering {
            at: 0,
            shown: 100 * S,
            rest: 0,
        };
        steering.steer(10 * S, truth, uncertainty);
        steering
    }

    #[track_caller]
    fn check(truth: i64, expected: &[(i64, i64)]) {
        let steering = steered(truth, 2_000);
        for (at, shown) in expected {
            assert_eq!(steering.shown(*at), *shown, "at {at}");
        }
    }

    #[test]
    fn small_differences_are_noise() {
        check(110 * S + 2_000, &[(10 * S, 110 * S), (60 * S, 160 * S)]);
        check(110 * S - 2_000, &[(10 * S, 110 * S), (60 * S, 160 * S)]);
    }

    #[test]
    fn a_little_ahead_is_caught_up_with_slowly_and_much_at_once() {
        check(
            110 * S + S / 2,
            &[
                (10 * S, 110 * S),
                (15 * S, 115 * S + S / 4),
                (30 * S, 130 * S + S / 2),
            ],
        );
        check(120 * S, &[(10 * S, 120 * S), (11 * S, 121 * S)]);
    }

    #[test]
    fn behind_is_waited_for_at_half_speed() {
        check(
            100 * S,
            &[
                (10 * S, 110 * S),
                (14 * S, 112 * S),
                (30 * S, 120 * S),
                (31 * S, 121 * S),
            ],
        );
    }

    proptest! {
        /// Whatever the store's clock does, what is shown never goes back, and finds the store's clock in the end.
        #[test]
        fn it_never_steps_back(steps in prop::collection::vec((1..20_000_000i64, -600_000_000..600_000_000i64), 1..40)) {
            let mut steering = Steering { at: 0, shown: 1_000 * S, rest: 0 };
            let (mut at, mut seen) = (0, 0);
            for (passed, difference) in steps {
                for part in 1..=4 {
                    let shown = steering.shown(at + passed * part / 4);
                    prop_assert!(shown >= seen);
                    seen = shown;
                }
                at += passed;
                let truth = steering.shown(at) + difference;
                steering.steer(at, truth, 0);
                prop_assert!(steering.shown(at) >= seen);
                let enough = 1_200 * S + 1;
                prop_assert_eq!(steering.shown(at + enough), truth + enough);
            }
        }
    }
}
