//! What happened in each second of a storm, by class of calls.
//!
//! Invariant: a second is counted where the event fell, not where its call began, so that sums over seconds are exact.

use std::{
    fmt,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

/// A storm is over by then.
const MAX_SECONDS: usize = 1_200;

/// Classes of calls, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Answers.
    Answer,
    /// Starts.
    Start,
    /// Papers.
    Read,
    /// A candidate's own result.
    Result,
    /// Organizers' boards.
    Board,
}

impl Class {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [
        Self::Answer,
        Self::Start,
        Self::Read,
        Self::Result,
        Self::Board,
    ];

    /// Returns its name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Answer => "answers",
            Self::Start => "starts",
            Self::Read => "papers",
            Self::Result => "results",
            Self::Board => "boards",
        }
    }
}

/// One second.
struct Second {
    due: AtomicU64,
    sent: [AtomicU64; 5],
    done: [AtomicU64; 5],
    shed: [AtomicU64; 5],
    latency: Mutex<Histogram<u64>>,
}

/// All seconds of a storm.
pub(super) struct Series {
    begun: Instant,
    seconds: Vec<Second>,
}

impl Series {
    /// Begins with now.
    pub(super) fn new() -> Self {
        let second = || Second {
            due: AtomicU64::new(0),
            sent: Default::default(),
            done: Default::default(),
            shed: Default::default(),
            latency: Mutex::new(Histogram::new_with_bounds(1, 600_000_000, 2).expect("valid")),
        };
        Self {
            begun: Instant::now(),
            seconds: (0..MAX_SECONDS).map(|_| second()).collect(),
        }
    }

    /// Returns the present second.
    pub(super) fn second(&self) -> usize {
        let second = usize::try_from(self.begun.elapsed().as_secs()).unwrap_or(usize::MAX);
        second.min(MAX_SECONDS - 1)
    }

    fn now(&self) -> &Second {
        &self.seconds[self.second()]
    }

    /// An answer fell due at an instant, which may be one to come.
    pub(super) fn due(&self, at: Instant) {
        let second = at.saturating_duration_since(self.begun).as_secs();
        let second = usize::try_from(second).unwrap_or(usize::MAX);
        if let Some(second) = self.seconds.get(second) {
            add(&second.due);
        }
    }

    /// A call left.
    pub(super) fn sent(&self, class: Class) {
        add(&self.now().sent[class as usize]);
    }

    /// A call was refused for now.
    pub(super) fn shed(&self, class: Class) {
        add(&self.now().shed[class as usize]);
    }

    /// A call succeeded, so long after it was meant to be sent.
    pub(super) fn done(&self, class: Class, latency: Duration) {
        let now = self.now();
        add(&now.done[class as usize]);
        if matches!(class, Class::Answer | Class::Start) {
            let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            let mut histogram = now.latency.lock().unwrap_or_else(PoisonError::into_inner); // counts stay counts
            histogram.saturating_record(us);
        }
    }

    /// Returns answers saved a second, mean over some seconds.
    pub(super) fn goodput(&self, from: usize, until: usize) -> f64 {
        mean(
            self.seconds[from..until]
                .iter()
                .map(|s| get(&s.done[Class::Answer as usize])),
        )
    }

    /// Returns answers that fell due a second.
    pub(super) fn offered(&self, from: usize, until: usize) -> f64 {
        mean(self.seconds[from..until].iter().map(|s| get(&s.due)))
    }

    /// Returns by class what share of the calls sent was refused.
    pub(super) fn shares(&self, seconds: Range<usize>) -> Shares {
        let sum = |pick: &dyn Fn(&Second) -> &AtomicU64| -> u64 {
            self.seconds[seconds.clone()]
                .iter()
                .map(|s| get(pick(s)))
                .sum()
        };
        Shares(Class::ALL.map(|class| Share {
            class: class.name(),
            sent: sum(&|s| &s.sent[class as usize]),
            done: sum(&|s| &s.done[class as usize]),
            shed: sum(&|s| &s.shed[class as usize]),
        }))
    }

    /// Returns one row a second for a plot.
    pub(super) fn rows(&self, until: usize) -> Vec<Row> {
        let seconds = &self.seconds[..until.min(MAX_SECONDS)];
        let by_class =
            |counts: &[AtomicU64; 5]| Class::ALL.map(|class| get(&counts[class as usize]));
        let rows = seconds.iter().map(|second| {
            let histogram = second
                .latency
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Row {
                due: get(&second.due),
                sent: by_class(&second.sent),
                done: by_class(&second.done),
                shed: by_class(&second.shed),
                latency_ms_p99: (!histogram.is_empty())
                    .then(|| histogram.value_at_quantile(0.99) as f64 / 1_000.0),
            }
        });
        rows.collect()
    }
}

/// One second as numbers, by class in the order of [`Class::ALL`].
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// Answers that fell due.
    pub(super) due: u64,
    /// Calls sent.
    pub(super) sent: [u64; 5],
    /// Calls that succeeded.
    pub(super) done: [u64; 5],
    /// Calls refused for now.
    pub(super) shed: [u64; 5],
    /// 99th percentile of answers and starts, milliseconds.
    pub(super) latency_ms_p99: Option<f64>,
}

/// What became of the calls of a class.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Share {
    class: &'static str,
    sent: u64,
    done: u64,
    shed: u64,
}

impl Share {
    fn shed_share(&self) -> f64 {
        self.shed as f64 / self.sent.max(1) as f64
    }
}

/// By class, the most important first.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Shares([Share; 5]);

impl Shares {
    /// Tells whether no other class lost a smaller share of its calls than the answers did.
    pub(super) fn answers_are_shed_last(&self) -> bool {
        let [answers, others @ ..] = &self.0;
        let others = others.iter().filter(|share| share.sent > 0);
        others
            .map(Share::shed_share)
            .all(|share| share >= answers.shed_share())
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, share) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}{} {:.1} % of {}",
                share.class,
                share.shed_share() * 100.0,
                share.sent
            )?;
        }
        Ok(())
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn mean(counts: impl ExactSizeIterator<Item = u64>) -> f64 {
    let n = counts.len().max(1);
    counts.sum::<u64>() as f64 / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_fall_into_their_second() {
        let series = Series::new();
        series.due(Instant::now() + Duration::from_secs(2));
        series.sent(Class::Answer);
        tokio::time::advance(Duration::from_secs(1)).await;
        series.done(Class::Answer, Duration::from_millis(800));
        series.shed(Class::Board);
        let rows = series.rows(3);
        assert_eq!(
            (
                rows[0].sent[0],
                rows[1].done[0],
                rows[1].shed[4],
                rows[2].due
            ),
            (1, 1, 1, 1)
        );
        let p99 = rows[1].latency_ms_p99.unwrap();
        assert!((790.0..820.0).contains(&p99), "{p99}");
        assert!((series.goodput(0, 2) - 0.5).abs() < 1e-9);
        assert!((series.offered(0, 3) - 1.0 / 3.0).abs() < 1e-9);
    }

    fn shares(shed: [u64; 5]) -> Shares {
        let mut index = 0;
        Shares(shed.map(|shed| {
            index += 1;
            Share {
                class: Class::ALL[index - 1].name(),
                sent: 100,
                done: 100 - shed,
                shed,
            }
        }))
    }

    #[test]
    fn answers_are_shed_last_or_it_is_seen() {
        assert!(shares([0, 0, 0, 0, 0]).answers_are_shed_last());
        assert!(shares([10, 20, 30, 40, 50]).answers_are_shed_last());
        assert!(!shares([10, 20, 5, 40, 50]).answers_are_shed_last());
    }
}
