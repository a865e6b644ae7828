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

/// One measured figure; prints as `F3 4.12 <=10 ok` and the unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name in the design.
    pub name: &'static str,
    /// What was measured.
    pub value: f64,
    /// What should be.
    pub target: Target,
    /// Unit, and how it was measured.
    pub unit: String,
}

impl Figure {
    /// Reports whether the target is reached.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        match self.target {
            Target::AtMost(most) => self.value <= most,
            Target::AtLeast(least) => self.value >= least,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = if self.value < 1_000.0 { 2 } else { 0 };
        let target = match self.target {
            Target::AtMost(most) => format!("<={most}"),
            Target::AtLeast(least) => format!(">={least}"),
        };
        let verdict = if self.is_ok() { "ok" } else { "miss" };
        write!(
            f,
            "{} {:.decimals$} {target} {verdict} {}",
            self.name, self.value, self.unit
        )
    }
}

/// Measures a figure by name; none for a name that is not [`KNOWN`].
#[must_use]
pub fn measure(name: &str, scale: &Scale) -> Option<Vec<Figure>> {
    match name {
        "F3" => Some(draws(scale)),
        "F4" => Some(folds(scale)),
        "F5" => Some(ranks(scale)),
        _ => None,
    }
}

fn draws(scale: &Scale) -> Vec<Figure> {
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
    vec![
        Figure {
            name: "F3",
            value: quantile(&mut singles_us, 0.5),
            target: Target::AtMost(10.0),
            unit: format!(
                "µs a paper, median of {}, p99 {p99:.2} (50 items of 5,000 in 30 strata, enemies, window ±{})",
                scale.n_papers,
                draw::TOLERANCE_MILLI
            ),
        },
        Figure {
            name: "F3",
            value: rates,
            target: Target::AtLeast(100_000.0),
            unit: "papers/s a core".to_owned(),
        },
    ]
}

fn folds(scale: &Scale) -> Vec<Figure> {
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
    let figure = |value: f64, what: &str| Figure {
        name: "F4",
        value,
        target: Target::AtLeast(1_000_000.0),
        unit: format!("answers/s a core, {what} ({sizes})"),
    };
    vec![
        figure(rate(&|| log.fold()), "fold of decoded events"),
        figure(
            rate(&|| log.fold_messages(&messages)),
            "decoding of log messages and fold",
        ),
    ]
}

fn ranks(scale: &Scale) -> Vec<Figure> {
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
    let figure = |times_us: &mut [f64], what: &str| Figure {
        name: "F5",
        value: quantile(times_us, 0.99),
        target: Target::AtMost(10.0),
        unit: format!(
            "µs, p99 of a {what}, median {:.2} ({} candidates)",
            quantile(times_us, 0.5),
            scale.n_ranked
        ),
    };
    vec![
        figure(&mut queries_us, "rank query nationwide and in province"),
        figure(&mut moves_us, "move in both standings by a new attempt"),
    ]
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
    fn check(value: f64, target: Target, expected: &str) {
        let figure = Figure {
            name: "F3",
            value,
            target,
            unit: "µs".to_owned(),
        };
        assert_eq!(figure.to_string(), expected);
    }

    #[test]
    fn a_figure_says_whether_its_target_is_reached() {
        check(10.0, Target::AtMost(10.0), "F3 10.00 <=10 ok µs");
        check(10.01, Target::AtMost(10.0), "F3 10.01 <=10 miss µs");
        check(2e6, Target::AtLeast(1e6), "F3 2000000 >=1000000 ok µs");
        check(
            999_999.0,
            Target::AtLeast(1e6),
            "F3 999999 >=1000000 miss µs",
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
