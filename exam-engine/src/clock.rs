//! The wall clock, the one place where it is read, and the clock that engines of one store share.

mod store_clock;

use std::sync::atomic::{AtomicU64, Ordering};

pub use store_clock::StoreClock;

/// An instant: Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Later than any deadline; exact as a 64-bit float, which Redis keeps scores in.
    pub const NEVER: Self = Self((1 << 53) - 1);

    /// Returns the instant `ms` later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// Tells the time. Below `engine/` time is an argument.
pub trait Clock: Send + Sync + 'static {
    /// Returns the present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the seam that the rule points to"
    )]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("the clock stands after 1970");
        Timestamp(u64::try_from(since_epoch.as_millis()).expect("fits for 500 million years"))
    }
}

/// The machine's clock as it stood at the start, carried on by the monotonic clock: whoever sets the wall clock, or a time
/// service that corrects it by hours, moves no deadline (P5; docs/decisions/0021-steady-clock.md).
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    start: Timestamp,
    since: std::time::Instant,
}

impl SteadyClock {
    /// Reads another clock once.
    #[must_use]
    pub fn start(clock: &dyn Clock) -> Self {
        Self {
            start: clock.now(),
            since: std::time::Instant::now(),
        }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let passed = self.since.elapsed().as_millis();
        self.start
            .plus_ms(u64::try_from(passed).expect("fits for 500 million years"))
    }
}

/// A clock that tests move.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at an instant.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Moves forward.
    pub fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_clock_does_not_follow_a_jump() {
        let wall = ManualClock::at(Timestamp(1_000_000_000));
        let steady = SteadyClock::start(&wall);
        wall.advance_ms(3_600_000);
        let now = steady.now();
        assert!(now >= Timestamp(1_000_000_000), "{now:?}");
        assert!(now < wall.now(), "{now:?}");
    }
}
