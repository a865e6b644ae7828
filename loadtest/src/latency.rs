//! What was measured while candidates work: latencies, retries, refusals, lateness of the generator.
//!
//! A latency is counted from the instant the call was *meant* to be sent: a slow engine or a late
//! generator cannot hide behind calls it never received. Source: G. Tene, "How NOT to measure latency".

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The calls that candidates make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rpc {
    /// Starts or takes over.
    StartAttempt,
    /// Reads the paper.
    GetPaper,
    /// Stores answers.
    SaveAnswers,
    /// Comes back.
    GetSession,
    /// Ends the attempt.
    SubmitAttempt,
    /// Reads the own result.
    GetResult,
}

impl Rpc {
    const ALL: [Self; 6] = [
        Self::StartAttempt,
        Self::GetPaper,
        Self::SaveAnswers,
        Self::GetSession,
        Self::SubmitAttempt,
        Self::GetResult,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::StartAttempt => "StartAttempt",
            Self::GetPaper => "GetPaper",
            Self::SaveAnswers => "SaveAnswers",
            Self::GetSession => "GetSession",
            Self::SubmitAttempt => "SubmitAttempt",
            Self::GetResult => "GetResult",
        }
    }
}

/// Percentiles of one kind of call.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Percentiles {
    /// What was measured.
    pub(crate) rpc: &'static str,
    /// Successful calls.
    pub(crate) count: u64,
    /// Median, milliseconds.
    pub(crate) latency_ms_p50: f64,
    /// 90th percentile, milliseconds.
    pub(crate) latency_ms_p90: f64,
    /// 99th percentile, milliseconds.
    pub(crate) latency_ms_p99: f64,
    /// Longest, milliseconds.
    pub(crate) latency_ms_max: f64,
}

/// Durations from a microsecond to ten minutes, three digits.
struct Recorder(Mutex<Histogram<u64>>);

impl Recorder {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, 600_000_000, 3);
        Self(Mutex::new(histogram.expect("the bounds are valid")))
    }

    fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        lock(&self.0).saturating_record(us);
    }

    fn percentiles(&self, rpc: &'static str) -> Percentiles {
        let histogram = lock(&self.0);
        let ms = |us: u64| us as f64 / 1_000.0;
        Percentiles {
            rpc,
            count: histogram.len(),
            latency_ms_p50: ms(histogram.value_at_quantile(0.5)),
            latency_ms_p90: ms(histogram.value_at_quantile(0.9)),
            latency_ms_p99: ms(histogram.value_at_quantile(0.99)),
            latency_ms_max: ms(histogram.max()),
        }
    }
}

/// Everything measured in one run; shared by all candidates.
pub(crate) struct Metrics {
    by_rpc: [Recorder; 6],
    lateness: Recorder,
    retries: Mutex<BTreeMap<String, u64>>,
    refusals: Mutex<BTreeMap<String, u64>>,
    /// Attempts started.
    pub(crate) started: AtomicU64,
    /// Candidates who are done, one way or another.
    pub(crate) done: AtomicU64,
    /// Answers acknowledged.
    pub(crate) acknowledged: AtomicU64,
}

impl Metrics {
    /// Begins with nothing.
    pub(crate) fn new() -> Self {
        Self {
            by_rpc: std::array::from_fn(|_| Recorder::new()),
            lateness: Recorder::new(),
            retries: Mutex::default(),
            refusals: Mutex::default(),
            started: AtomicU64::new(0),
            done: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
        }
    }

    /// Records a successful call by the time since it was meant to be sent.
    pub(crate) fn record(&self, rpc: Rpc, latency: Duration) {
        self.by_rpc[rpc as usize].record(latency);
    }

    /// Records how late the generator itself woke a candidate.
    pub(crate) fn record_lateness(&self, lateness: Duration) {
        self.lateness.record(lateness);
    }

    /// Counts a call that is sent again.
    pub(crate) fn count_retry(&self, reason: &str) {
        *lock(&self.retries).entry(reason.to_owned()).or_default() += 1;
    }

    /// Counts a call that was refused for good.
    pub(crate) fn count_refusal(&self, reason: &str) {
        *lock(&self.refusals).entry(reason.to_owned()).or_default() += 1;
    }

    /// Returns the percentiles of every kind of call that happened.
    pub(crate) fn percentiles(&self) -> Vec<Percentiles> {
        Rpc::ALL
            .iter()
            .map(|&rpc| self.by_rpc[rpc as usize].percentiles(rpc.name()))
            .filter(|p| p.count > 0)
            .collect()
    }

    /// Returns the percentiles of the generator's lateness.
    pub(crate) fn lateness(&self) -> Percentiles {
        self.lateness.percentiles("generator")
    }

    /// Returns the calls sent again, by reason.
    pub(crate) fn retries(&self) -> BTreeMap<String, u64> {
        lock(&self.retries).clone()
    }

    /// Returns the calls refused for good, by reason; expected ones too.
    pub(crate) fn refusals(&self) -> BTreeMap<String, u64> {
        lock(&self.refusals).clone()
    }
}

/// Counts one more.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic between two additions leaves counts that are still counts.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_carry_milliseconds() {
        let metrics = Metrics::new();
        for ms in 1..=100 {
            metrics.record(Rpc::SaveAnswers, Duration::from_millis(ms));
        }
        let all = metrics.percentiles();
        assert_eq!(all.len(), 1, "calls that never happened are left out");
        assert_eq!((all[0].rpc, all[0].count), ("SaveAnswers", 100));
        assert!((all[0].latency_ms_p50 - 50.0).abs() < 0.5);
        assert!((all[0].latency_ms_p99 - 99.0).abs() < 0.5);
        assert!((all[0].latency_ms_max - 100.0).abs() < 0.5);
    }

    #[test]
    fn retries_are_counted_by_reason() {
        let metrics = Metrics::new();
        for reason in ["CONFLICT", "TRANSPORT", "CONFLICT"] {
            metrics.count_retry(reason);
        }
        assert_eq!(metrics.retries()["CONFLICT"], 2);
        assert_eq!(metrics.retries()["TRANSPORT"], 1);
        assert!(metrics.refusals().is_empty());
    }
}
