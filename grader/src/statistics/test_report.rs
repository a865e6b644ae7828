//! What the scores say of the test: moments, reliability, standard error.
//!
//! Alpha is defined only if all took the same items; papers drawn by random have the reliability of items nested in
//! persons, 1 - MSW/MSB. All come out as they are, negative ones too. Source: Moodle,
//! `mod/quiz/report/statistics/classes/calculator.php`; Lord and Novick chapters 4 and 11.

use super::{ItemInfo, Statistics, item_counts::ItemCounts, sums::Sums, test_counts::Scope};

/// Moments of scores, in quanta; divisors as Moodle's k statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Number of sittings.
    pub n: i64,
    /// Mean score.
    pub mean: Option<f64>,
    /// Middle score, or the mean of the two middle ones.
    pub median: Option<f64>,
    /// Standard deviation, divisor n - 1.
    pub sd: Option<f64>,
    /// Third k statistic over the cube of the standard deviation.
    pub skewness: Option<f64>,
    /// Fourth k statistic over the square of the variance.
    pub kurtosis: Option<f64>,
}

/// How far scores would come out the same again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reliability {
    /// Cronbach's alpha, Moodle's coefficient of internal consistency; none unless all took the same items.
    pub alpha: Option<f64>,
    /// Kuder and Richardson's formula 20: alpha of items that are right or wrong, with one mark. Items and total have
    /// the same divisor, so which one does not matter.
    pub kr20: Option<f64>,
    /// Their formula 21, with the population variance.
    pub kr21: Option<f64>,
    /// 1 - MSW/MSB, of items nested in persons: for papers drawn by random.
    pub nested: Option<f64>,
    /// Square root of 1 - reliability, percent; alpha if there is one, else the nested one.
    pub error_ratio: Option<f64>,
    /// Standard error of measurement, in quanta.
    pub standard_error: Option<f64>,
}

/// What a report says of the test or of a section.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestReport {
    /// Scores.
    pub scores: Distribution,
    /// Reliability.
    pub reliability: Reliability,
    /// Items by id, with what alpha would be without them; of the whole test only, if all took
    /// the same items.
    pub alpha_if_deleted: Vec<(u32, Option<f64>)>,
}

type Taken<'a> = (&'a ItemInfo, &'a ItemCounts);

impl Statistics {
    /// Reports the whole test.
    #[must_use]
    pub fn test_report(&self) -> TestReport {
        let taken = self.taken(None);
        let report = report(&self.test.whole, &taken);
        let complete = report.reliability.alpha.is_some();
        TestReport {
            alpha_if_deleted: if complete {
                alpha_if_deleted(&taken)
            } else {
                Vec::new()
            },
            ..report
        }
    }

    /// Reports each section, by rising number.
    #[must_use]
    pub fn section_reports(&self) -> Vec<(u16, TestReport)> {
        let sections = self.test.sections.iter();
        sections
            .map(|(&section, scope)| (section, report(scope, &self.taken(Some(section)))))
            .collect()
    }

    /// Returns the scores of each area, by rising number.
    #[must_use]
    pub fn areas(&self) -> Vec<(u16, Distribution)> {
        let areas = self.test.areas.iter();
        areas.map(|(&area, it)| (area, it.distribution())).collect()
    }

    /// Returns the scores of each cohort, in order.
    #[must_use]
    pub fn cohorts(&self) -> Vec<(u16, Distribution)> {
        let cohorts = self.test.cohorts.iter();
        cohorts
            .map(|(&cohort, it)| (cohort, it.distribution()))
            .collect()
    }

    /// Returns how often each score occurred, the lowest first.
    #[must_use]
    pub fn scores(&self) -> Vec<(i64, i64)> {
        self.test.whole.scores.sorted()
    }

    /// Returns the items that somebody took, of a section or of the whole test.
    fn taken(&self, section: Option<u16>) -> Vec<Taken<'_>> {
        let is_in = |info: &ItemInfo| section.is_none() || info.section == section;
        let items = self.infos.iter().zip(&self.items);
        items
            .filter(|(info, counts)| is_in(info) && counts.sums().n > 0)
            .collect()
    }
}

fn report(scope: &Scope, taken: &[Taken<'_>]) -> TestReport {
    let scores = scope.scores.distribution();
    let mut totals = Sums::default();
    for (score, n) in scope.scores.sorted() {
        totals.count(0, score, 0, n);
    }
    let marks: Vec<_> = taken.iter().map(|(_, counts)| counts.sums()).collect();
    let complete = marks.iter().all(|sums| sums.n == totals.n);
    let alpha = alpha(&marks, totals.variance_t()).filter(|_| complete);
    let mark = single_mark(taken).filter(|_| complete);
    let nested = nested(scope);
    let error = alpha.or(nested).map(|known| (1.0 - known).sqrt());
    TestReport {
        scores,
        reliability: Reliability {
            alpha,
            kr20: alpha.filter(|_| mark.is_some()),
            kr21: mark.and_then(|mark| kr21(mark as f64, marks.len(), &totals)),
            nested,
            error_ratio: error.map(|error| 100.0 * error),
            standard_error: error.zip(scores.sd).map(|(error, sd)| error * sd),
        },
        alpha_if_deleted: Vec::new(),
    }
}

fn alpha(marks: &[Sums], of_total: Option<f64>) -> Option<f64> {
    let of_items: Option<f64> = marks.iter().map(Sums::variance_x).sum();
    let (k, of_total) = (marks.len() as f64, of_total.filter(|&it| it > 0.0)?);
    let of_items = of_items.filter(|_| marks.len() > 1)?;
    Some(k / (k - 1.0) * (1.0 - of_items / of_total))
}

/// Leaves out one item after the other; all items must have been taken by all.
fn alpha_if_deleted(taken: &[Taken<'_>]) -> Vec<(u32, Option<f64>)> {
    let marks: Vec<_> = taken.iter().map(|(_, counts)| counts.sums()).collect();
    let without = |idx: usize| {
        let mut others = marks.clone();
        let of_rest = others.remove(idx).against_rest().variance_t();
        alpha(&others, of_rest)
    };
    let rows = taken.iter().enumerate();
    rows.map(|(idx, (info, _))| (info.item_id, without(idx)))
        .collect()
}

/// Returns the mark of all items, if it is one and was earned as a whole or not at all.
fn single_mark(taken: &[Taken<'_>]) -> Option<i64> {
    let mut marks = taken.iter().map(|(_, counts)| counts.whole_mark());
    let first = marks.next()??;
    marks.all(|mark| mark == Some(first)).then_some(first)
}

fn kr21(mark: f64, n_items: usize, totals: &Sums) -> Option<f64> {
    let (n, k) = (totals.n as f64, n_items as f64);
    let mean = totals.mean_t()? / mark;
    let variance = totals.variance_t()? * (n - 1.0) / n / (mark * mark);
    let defined = n_items > 1 && variance > 0.0;
    defined.then(|| k / (k - 1.0) * (1.0 - mean * (k - mean) / (k * variance)))
}

fn nested(scope: &Scope) -> Option<f64> {
    let (mut n, mut n_marks, mut sum, mut of_persons) = (0, 0, 0, 0.0);
    for (n_items, (n_here, scores, squares)) in scope.papers.sorted() {
        n += n_here;
        n_marks += n_here * i64::from(n_items);
        sum += scores;
        of_persons += squares as f64 / f64::from(n_items.max(1));
    }
    if n < 2 || n_marks <= n {
        return None;
    }
    let between = of_persons - sum as f64 * sum as f64 / n_marks as f64;
    let within = scope.marks_squared as f64 - of_persons;
    let between = between / (n - 1) as f64;
    (between > 0.0).then(|| 1.0 - within / (n_marks - n) as f64 / between)
}
