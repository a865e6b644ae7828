//! The figures of the design that need no server: what they are and how they are measured.
//!
//! One thread, fixed seeds, medians of several repetitions. Start at [`measure`].

use std::{
    fmt,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use grader::Fold;

use crate::{bank::Shape, draw, fold::Log, standing::Crowd};

/// Names of the figures that can be measured here.
pub const KNOWN: [&str; 3] = ["F3", "F4", "F5"];

const SEED: u64 = 20_260_101;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Papers drawn in one repetition.
    pub n_papers: usize,
    /// Persons in the log that is folded.
    pub n_persons: u32,
    /// Persons who are ranked.
    pub n_ranked: u32,
    /// Times that a person moves and ten others ask for their ranks.
    pub n_moves: usize,
    /// Repetitions that a median is taken of.
    pub n_repetitions: usize,
}

impl Scale {
    /// The sizes that the design's targets are meant for; ranks at a tenth of its candidates.
    pub const FULL: Self = Self {
        n_papers: 50_000,
        n_persons: 40_000,
        n_ranked: 1_000_000,
        n_moves: 50_000,
        n_repetitions: 7,
    };

    /// Sizes for a test.
    pub const SMALL: Self = Self {
        n_papers: 20,
        n_persons: 5,
        n_ranked: 30,
        n_moves: 5,
        n_repetitions: 3,
    };
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Not above.
    AtMost(f64),
    /// Not below.
    AtLeast(f64),
}

/// One measured figure; prints as `F3 4.12 10 ok` and, in words, what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name in the design.
    pub name: &'static str,
    /// What its value and target are.
    pub first: Measure,
    /// What must be reached too.
    pub second: Measure,
}

/// Something measured beside its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What was measured.
    pub value: f64,
    /// What should be.
    pub target: Target,
    /// Unit, and how it was measured.
    pub unit: String,
}

impl Measure {
    /// Reports whether the target is reached.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        match self.target {
            Target::AtMost(most) => self.value <= most,
            Target::AtLeast(least) => self.value >= least,
        }
    }
}

impl Figure {
    /// Reports whether both targets are reached.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.first.is_ok() && self.second.is_ok()
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = if self.value < 1_000.0 { 2 } else { 0 };
        write!(f, "{:.decimals$}", self.value)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            first,
            second,
        } = self;
        let verdict = if self.is_ok() { "ok" } else { "miss" };
        let (Target::AtMost(target) | Target::AtLeast(target)) = first.target;
        let other = match second.target {
            Target::AtMost(most) => format!("at most {most}"),
            Target::AtLeast(least) => format!("at least {least}"),
        };
        write!(
            f,
            "{name} {first} {target} {verdict} {}; {second} {}, {other}",
            first.unit, second.unit
        )
    }
}

/// Measures a figure by name; none for a name that is not [`KNOWN`].
#[must_use]
pub fn measure(name: &str, scale: &Scale) -> Option<Figure> {
    match name {
        "F3" => Some(draws(scale)),
        "F4" => Some(folds(scale)),
        "F5" => Some(ranks(scale)),
        _ => None,
    }
}

fn draws(scale: &Scale) -> Figure {
    let mut workload = draw::Workload::new(Shape::LARGE, SEED);
    let mut singles_us = Vec::with_capacity(scale.n_papers);
    for _ in 0..scale.n_papers {
        let begin = Instant::now();
        black_box(workload.draw());
        singles_us.push(micros(begin.elapsed()));
    }
    let rates = repeat(scale, || {
        let begin = Instant::now();
        for _ in 0..scale.n_papers {
            black_box(workload.draw());
        }
        scale.n_papers as f64 / begin.elapsed().as_secs_f64()
    });
    let p99 = quantile(&mut singles_us, 0.99);
    Figure {
        name: "F3",
        first: Measure {
            value: quantile(&mut singles_us, 0.5),
            target: Target::AtMost(10.0),
            unit: format!(
                "µs a paper, median of {}, p99 {p99:.2} (50 items of 5,000 in 30 strata, enemies, window ±{})",
                scale.n_papers,
                draw::TOLERANCE_MILLI
            ),
        },
        second: Measure {
            value: rates,
            target: Target::AtLeast(100_000.0),
            unit: "papers/s a core".to_owned(),
        },
    }
}

fn folds(scale: &Scale) -> Figure {
    let log = Log::new(scale.n_persons, SEED);
    let messages = log.messages();
    let rate = |fold: &dyn Fn() -> Fold| {
        repeat(scale, || {
            let begin = Instant::now();
            let fold = black_box(fold());
            let elapsed = begin.elapsed();
            assert_eq!(fold.n_answers(), log.n_answers, "every answer is folded");
            log.n_answers as f64 / elapsed.as_secs_f64()
        })
    };
    let sizes = format!(
        "{} answers of {} persons, {} bytes an entry",
        log.n_answers,
        scale.n_persons,
        messages.iter().map(Bytes::len).sum::<usize>() / log.entries.len()
    );
    let rate_of = |value: f64, what: &str| Measure {
        value,
        target: Target::AtLeast(1_000_000.0),
        unit: format!("answers/s a core, {what} ({sizes})"),
    };
    Figure {
        name: "F4",
        first: rate_of(rate(&|| log.fold()), "fold of decoded events"),
        second: rate_of(
            rate(&|| log.fold_messages(&messages)),
            "decoding of log messages and fold",
        ),
    }
}

fn ranks(scale: &Scale) -> Figure {
    let mut crowd = Crowd::new(scale.n_ranked, SEED);
    let n_persons = scale.n_ranked as usize;
    // a prime step visits persons far apart, as requests do
    let mut who = 0;
    let mut next = || {
        who = (who + 7_919) % n_persons;
        who
    };
    let mut moves_us = Vec::with_capacity(scale.n_moves);
    let mut queries_us = Vec::with_capacity(scale.n_moves * 10);
    for _ in 0..scale.n_moves {
        let end = crowd.sit(next());
        let begin = Instant::now();
        crowd.apply(&end);
        moves_us.push(micros(begin.elapsed()));
        for _ in 0..10 {
            let who = next();
            let begin = Instant::now();
            black_box(crowd.ranks(who));
            queries_us.push(micros(begin.elapsed()));
        }
    }
    let p99 = |times_us: &mut [f64], what: &str| Measure {
        value: quantile(times_us, 0.99),
        target: Target::AtMost(10.0),
        unit: format!(
            "µs, p99 of a {what}, median {:.2} ({} candidates)",
            quantile(times_us, 0.5),
            scale.n_ranked
        ),
    };
    Figure {
        name: "F5",
        first: p99(&mut queries_us, "rank query nationwide and in province"),
        second: p99(&mut moves_us, "move in both standings by a new attempt"),
    }
}

fn repeat(scale: &Scale, mut once: impl FnMut() -> f64) -> f64 {
    let mut values: Vec<f64> = (0..scale.n_repetitions).map(|_| once()).collect();
    quantile(&mut values, 0.5)
}

fn micros(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e6
}

/// Returns the value that a share of the values lies below; sorts them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a share below 1 of a length is an index"
)]
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[(values.len() as f64 * share) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(first: (f64, Target), second: (f64, Target), expected: &str) {
        let measure = |(value, target), unit: &str| Measure {
            value,
            target,
            unit: unit.to_owned(),
        };
        let figure = Figure {
            name: "F3",
            first: measure(first, "µs"),
            second: measure(second, "papers/s"),
        };
        assert_eq!(figure.to_string(), expected);
    }

    #[test]
    fn a_figure_says_in_one_line_whether_both_targets_are_reached() {
        let (most, least) = (Target::AtMost(10.0), Target::AtLeast(1e6));
        check(
            (10.0, most),
            (2e6, least),
            "F3 10.00 10 ok µs; 2000000 papers/s, at least 1000000",
        );
        check(
            (10.01, most),
            (2e6, least),
            "F3 10.01 10 miss µs; 2000000 papers/s, at least 1000000",
        );
        check(
            (9.0, most),
            (999_999.0, least),
            "F3 9.00 10 miss µs; 999999 papers/s, at least 1000000",
        );
        check(
            (1e6, least),
            (10.0, most),
            "F3 1000000 1000000 ok µs; 10.00 papers/s, at most 10",
        );
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quantile(&mut values, 0.5), 3.0);
        assert_eq!(quantile(&mut values, 0.99), 5.0);
        assert_eq!(quantile(&mut values, 0.0), 1.0);
    }
}
