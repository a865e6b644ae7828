//! What an item's responses say of it: Moodle's item statistics and the classical ones.
//!
//! Variances and covariances have the divisor n - 1 and are in quanta squared. Source: Moodle,
//! `question/classes/statistics/questions/calculator.php`; Lord and Novick.

use super::{
    ItemInfo, OptionReport, Placement, Statistics,
    item_counts::{Cell, ItemCounts, step, sums},
    option_report,
    sums::Sums,
};

/// Facility among some of those who saw an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facility {
    /// Number of the area or of the cohort.
    pub of: u16,
    /// How many saw the item.
    pub n: i64,
    /// Mean part of the mark they earned.
    pub facility: Option<f64>,
}

/// What a report says of an item; what is not defined is none.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemReport {
    /// Number in the bank.
    pub item_id: u32,
    /// How many had it on their paper.
    pub n: i64,
    /// Mean part of the mark earned (classical p); none if the mark is 0.
    pub facility: Option<f64>,
    /// Standard deviation of the mark earned, in quanta.
    pub sd: Option<f64>,
    /// Variance of the mark earned.
    pub mark_variance: Option<f64>,
    /// Variance of the score it is compared with: the rest of the paper, or the total of a drawn item.
    pub other_mark_variance: Option<f64>,
    /// Covariance of the two.
    pub covariance: Option<f64>,
    /// Greatest covariance that these marks and these scores could have: both in order.
    pub covariance_max: Option<f64>,
    /// Correlation with the score it is compared with, percent.
    pub discrimination_index: Option<f64>,
    /// Covariance in percent of the greatest possible.
    pub discriminative_efficiency: Option<f64>,
    /// Share of the variance of the total, percent; none if the covariance with the total is negative, or if some
    /// item is not on every paper.
    pub effective_weight: Option<f64>,
    /// Part of the mark that guessing earns.
    pub random_guess: Option<f64>,
    /// Correlation with the total.
    pub r_it: Option<f64>,
    /// Correlation with the rest of the paper (corrected).
    pub r_ir: Option<f64>,
    /// Options in canonical order, each whether chosen alone or with others.
    pub options: Vec<OptionReport>,
    /// Whole choices, the most frequent first.
    pub choices: Vec<OptionReport>,
    /// By area.
    pub areas: Vec<Facility>,
    /// By cohort.
    pub cohorts: Vec<Facility>,
}

impl Statistics {
    /// Reports all items, in the order of [`Statistics::new`].
    #[must_use]
    pub fn item_reports(&self) -> Vec<ItemReport> {
        let weights = self.effective_weights();
        let rows = self.infos.iter().zip(&self.items).zip(weights);
        rows.map(|((info, counts), weight)| ItemReport {
            effective_weight: weight,
            ..report(info, counts, step(info, self.range))
        })
        .collect()
    }

    fn effective_weights(&self) -> Vec<Option<f64>> {
        let root = |counts: &ItemCounts| {
            let covariance = counts.sums().covariance()?;
            (covariance >= 0.0).then(|| covariance.sqrt())
        };
        let is_fixed = |info: &ItemInfo| info.placement == Placement::Fixed;
        if !self.infos.iter().all(is_fixed) {
            return vec![None; self.items.len()];
        }
        let roots: Vec<_> = self.items.iter().map(root).collect();
        let sum: f64 = roots.iter().flatten().sum();
        let weight = |root: &Option<f64>| percent(*root, Some(sum));
        roots.iter().map(weight).collect()
    }
}

fn report(info: &ItemInfo, counts: &ItemCounts, step: i64) -> ItemReport {
    let cells = &*counts.cells(step);
    let with_total = counts.sums();
    let with_rest = with_total.against_rest();
    let drawn = info.placement == Placement::Drawn;
    let other = if drawn { with_total } else { with_rest };
    let covariance = other.covariance();
    let in_steps = sums(cells);
    let in_steps = if drawn {
        in_steps
    } else {
        in_steps.against_rest()
    };
    let covariance_max = in_steps.covariance_with(products_in_order(cells, drawn));
    ItemReport {
        item_id: info.item_id,
        n: with_total.n,
        facility: with_total.facility(),
        sd: with_total.variance_x().map(f64::sqrt),
        mark_variance: other.variance_x(),
        other_mark_variance: other.variance_t(),
        covariance,
        covariance_max,
        discrimination_index: other.correlation().map(|r| 100.0 * r),
        discriminative_efficiency: percent(covariance, covariance_max),
        effective_weight: None,
        random_guess: info
            .random_guess
            .map(|share| f64::from(share.right) / f64::from(share.of)),
        r_it: with_total.correlation(),
        r_ir: with_rest.correlation(),
        options: option_report::options(info, cells),
        choices: option_report::choices(info, cells),
        areas: counts.areas().into_iter().map(facility).collect(),
        cohorts: counts.cohorts().into_iter().map(facility).collect(),
    }
}

fn facility((of, sums): (u16, Sums)) -> Facility {
    Facility {
        of,
        n: sums.n,
        facility: sums.facility(),
    }
}

fn percent(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    let whole = whole.filter(|&whole| whole > 0.0)?;
    part.map(|part| 100.0 * part / whole)
}

/// Returns the sum of products of marks and scores, each in rising order.
fn products_in_order(cells: &[(Cell, i64)], with_total: bool) -> i128 {
    let mut marks: Vec<_> = cells.iter().map(|&(cell, n)| (cell.quanta, n)).collect();
    let score = |cell: Cell| if with_total { cell.total } else { cell.rest() };
    let mut scores: Vec<_> = cells.iter().map(|&(cell, n)| (score(cell), n)).collect();
    marks.sort_unstable();
    scores.sort_unstable();
    let mut marks = marks.into_iter();
    let (mut mark, mut left) = (0, 0);
    let mut sum = 0;
    for (score, mut n) in scores {
        while n > 0 {
            if left == 0 {
                (mark, left) = marks.next().expect("marks and scores are equally many");
            }
            let both = n.min(left);
            sum += i128::from(both) * i128::from(mark) * i128::from(score);
            (n, left) = (n - both, left - both);
        }
    }
    sum
}
