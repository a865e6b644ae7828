//! A token bucket that is one number: the instant at which it would be full again.
//!
//! Pure: `now` is an argument, in nanoseconds of any clock. A bucket can give tokens of the future, which is how a queue
//! needs no memory. Start at [`TokenBucket::book`]. Source: ITU-T I.371, the generic cell rate algorithm.

/// How many a second, and how many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second, at least 1.
    pub per_s: u32,
    /// Tokens of a full bucket, at least 1.
    pub burst: u32,
}

impl Rate {
    pub(super) fn interval_ns(self) -> u64 {
        1_000_000_000 / u64::from(self.per_s.max(1))
    }

    fn depth_ns(self) -> u64 {
        self.interval_ns()
            .saturating_mul(u64::from(self.burst.max(1)))
    }
}

/// A bucket, full at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenBucket {
    full_at_ns: u64,
}

impl TokenBucket {
    pub(super) fn from_state(full_at_ns: u64) -> Self {
        Self { full_at_ns }
    }

    pub(super) fn state(self) -> u64 {
        self.full_at_ns
    }

    /// Takes a token.
    ///
    /// # Errors
    /// Nanoseconds until there is one.
    pub fn take(&mut self, rate: Rate, now_ns: u64) -> Result<(), u64> {
        self.book(rate, now_ns, 0).map(|_| ())
    }

    /// Takes the next token that will be there within `patience_ns`; returns the instant at which it is, `now_ns` if it is
    /// there already. One bucket has one patience: a shorter one would forget what is booked beyond it.
    ///
    /// # Errors
    /// Nanoseconds until the next token, if that is longer; nothing is taken.
    pub fn book(&mut self, rate: Rate, now_ns: u64, patience_ns: u64) -> Result<u64, u64> {
        let latest = now_ns
            .saturating_add(rate.depth_ns())
            .saturating_add(patience_ns);
        // A clock that was set back must not close the door for as long.
        self.full_at_ns = self.full_at_ns.min(latest);
        let full_at = self.full_at_ns.max(now_ns);
        let after = full_at.saturating_add(rate.interval_ns());
        let wait = after.saturating_sub(now_ns.saturating_add(rate.depth_ns()));
        if wait > patience_ns {
            return Err(wait);
        }
        self.full_at_ns = after;
        Ok(now_ns.saturating_add(wait))
    }

    /// Learns that the token of an instant is given away, as after a restart.
    pub(super) fn given_until(&mut self, rate: Rate, at_ns: u64) {
        self.full_at_ns = self.full_at_ns.max(at_ns.saturating_add(rate.depth_ns()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_s: 10,
        burst: 3,
    };
    const MS: u64 = 1_000_000;
    const NOW: u64 = 1_764_000_000_000 * MS;

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_one_at_a_time() {
        let mut bucket = TokenBucket::default();
        for _ in 0..3 {
            bucket.take(RATE, NOW).unwrap();
        }
        assert_eq!(bucket.take(RATE, NOW), Err(100 * MS));
        assert_eq!(bucket.take(RATE, NOW + 60 * MS), Err(40 * MS));
        bucket.take(RATE, NOW + 100 * MS).unwrap();
        assert!(bucket.take(RATE, NOW + 100 * MS).is_err());
        assert_eq!(
            (0..9)
                .filter(|_| bucket.take(RATE, NOW + 10_000 * MS).is_ok())
                .count(),
            3,
            "a pause fills it no further than its burst"
        );
    }

    #[test]
    fn over_any_second_no_more_than_burst_and_rate_pass() {
        let mut bucket = TokenBucket::default();
        let passed: Vec<u64> = (0..5_000)
            .map(|ms| NOW + ms * MS)
            .filter(|now| bucket.take(RATE, *now).is_ok())
            .collect();
        for from in &passed {
            let n = passed
                .iter()
                .filter(|at| (*from..*from + 1_000 * MS).contains(*at))
                .count();
            assert!(n <= 13, "{n}");
        }
        assert_eq!(passed.len(), 3 + 49);
    }

    #[test]
    fn booked_tokens_come_in_order_and_are_not_given_twice() {
        let mut bucket = TokenBucket::default();
        let turns: Vec<u64> = (0..6)
            .map(|_| bucket.book(RATE, NOW, 1_000 * MS).unwrap() - NOW)
            .collect();
        assert_eq!(turns, [0, 0, 0, 100 * MS, 200 * MS, 300 * MS]);
        let next = bucket.book(RATE, NOW + 250 * MS, 1_000 * MS);
        assert_eq!(
            next,
            Ok(NOW + 400 * MS),
            "what is booked is not given again"
        );
        let far = (0..20).find_map(|_| bucket.book(RATE, NOW + 250 * MS, 1_000 * MS).err());
        assert_eq!(far, Some(1_050 * MS));
    }

    #[test]
    fn a_clock_set_back_does_not_close_the_door() {
        let mut bucket = TokenBucket::default();
        bucket.take(RATE, NOW).unwrap();
        let hour_before = NOW - 3_600_000 * MS;
        assert_eq!(bucket.take(RATE, hour_before), Err(100 * MS));
        bucket.take(RATE, hour_before + 100 * MS).unwrap();
    }
}
