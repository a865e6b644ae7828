//! How much time an outage took from one candidate, by what the candidate's own receipts show.
//!
//! A silence is the time between two receipts, or between the last one and the end. What of a silence lies within the outage
//! is lost, unless the silence is so short that it is thinking. A candidate who merely thought through the whole outage
//! gets it back too: nobody can tell, and the doubt is the candidate's. Start at [`LostTime`].

use crate::clock::Timestamp;

/// A stretch of time in which the service was out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When it began.
    pub from: Timestamp,
    /// When it was over.
    pub to: Timestamp,
    /// A shorter silence is thinking.
    pub least_silence_ms: u64,
}

/// Time lost so far by one candidate, fed with receipts in order.
#[derive(Clone, Copy, Debug)]
pub struct LostTime {
    last: Timestamp,
    lost_ms: u64,
}

impl LostTime {
    /// Begins with the start of an attempt.
    #[must_use]
    pub fn from_start(at: Timestamp) -> Self {
        Self {
            last: at,
            lost_ms: 0,
        }
    }

    /// Takes a sign of life: anything of the candidate's that was stored.
    pub fn receipt(&mut self, outage: &Outage, at: Timestamp) {
        let silence_ms = at.0.saturating_sub(self.last.0);
        if silence_ms >= outage.least_silence_ms {
            let (from, to) = (self.last.max(outage.from), at.min(outage.to));
            self.lost_ms += to.0.saturating_sub(from.0);
        }
        self.last = self.last.max(at);
    }

    /// Passes over time in which the attempt stood.
    pub fn skip_to(&mut self, at: Timestamp) {
        self.last = self.last.max(at);
    }

    /// Returns what was lost until the last sign of life.
    #[must_use]
    pub fn so_far(&self) -> u64 {
        self.lost_ms
    }

    /// Returns what was lost until the attempt's end, or until now.
    #[must_use]
    pub fn until(mut self, outage: &Outage, at: Timestamp) -> u64 {
        self.receipt(outage, at);
        self.lost_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTAGE: Outage = Outage {
        from: Timestamp(100_000),
        to: Timestamp(220_000),
        least_silence_ms: 20_000,
    };

    #[track_caller]
    fn check(start: u64, receipts: &[u64], until: u64, expected: u64) {
        let mut lost = LostTime::from_start(Timestamp(start));
        for at in receipts {
            lost.receipt(&OUTAGE, Timestamp(*at));
        }
        assert_eq!(lost.until(&OUTAGE, Timestamp(until)), expected);
    }

    #[test]
    fn a_candidate_loses_what_the_own_receipts_show() {
        check(0, &[95_000, 225_000], 300_000, 120_000); // out of reach all the time
        check(0, &[95_000, 130_000, 225_000], 300_000, 30_000 + 90_000); // one answer came through
        check(150_000, &[225_000], 300_000, 70_000); // started within it
        check(0, &[95_000], 160_000, 60_000); // the attempt ended within it
        check(0, &[99_000], 99_500, 0); // ended before
        check(230_000, &[240_000], 300_000, 0); // started behind
    }

    #[test]
    fn one_who_was_served_all_the_time_loses_nothing() {
        let served: Vec<u64> = (0..30).map(|n| n * 10_000).collect();
        check(0, &served, 300_000, 0);
    }
}
