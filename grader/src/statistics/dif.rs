//! Differential item functioning: is an item harder for one group among candidates of equal score?
//!
//! Counts are whole and additive. Source: Mantel and Haenszel 1959; Holland and Thayer 1988; Phillips and Holland
//! 1987 for the variance; Dorans and Holland 1993 for the classes A, B, C.

use std::collections::BTreeMap;

use super::normal::upper_tail;

/// Delta units of a unit of log odds.
const DELTA_PER_LOGIT: f64 = -2.35;
/// Chance of a difference where there is none.
const SIGNIFICANCE: f64 = 0.05;

/// Right and wrong answers of two groups with equal scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Right answers of the reference group.
    pub reference_right: i64,
    /// Its wrong answers.
    pub reference_wrong: i64,
    /// Right answers of the focal group.
    pub focal_right: i64,
    /// Its wrong answers.
    pub focal_wrong: i64,
}

/// How much a difference matters, by the Educational Testing Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Negligible: below 1 delta unit, or not significant.
    A,
    /// Neither A nor C.
    B,
    /// Large: at least 1.5 delta units, and significantly above 1.
    C,
}

/// What the Mantel-Haenszel procedure says of an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MantelHaenszel {
    /// Chi squared of one degree of freedom, corrected for continuity.
    pub chi2: f64,
    /// Its probability if there is no difference.
    pub p_value: f64,
    /// Common odds ratio; above 1 the item is easier for the reference group.
    pub alpha: f64,
    /// Difference in delta units; below 0 the item is harder for the focal group.
    pub delta: f64,
    /// Standard error of delta.
    pub delta_se: f64,
    /// How much it matters.
    pub class: Class,
}

/// Answers by item, score and group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts(Vec<BTreeMap<i64, Table>>);

impl Counts {
    /// Starts with no answer.
    #[must_use]
    pub fn new(n_items: usize) -> Self {
        Self(vec![BTreeMap::new(); n_items])
    }

    /// Counts an answer as often as `by` says, -1 to take it out; an item beyond the last is left out.
    pub fn count(&mut self, item_idx: usize, score: i64, reference: bool, right: bool, by: i64) {
        let Some(tables) = self.0.get_mut(item_idx) else {
            return;
        };
        let table = tables.entry(score).or_default();
        *match (reference, right) {
            (true, true) => &mut table.reference_right,
            (true, false) => &mut table.reference_wrong,
            (false, true) => &mut table.focal_right,
            (false, false) => &mut table.focal_wrong,
        } += by;
        if *table == Table::default() {
            tables.remove(&score);
        }
    }

    /// Compares the groups on an item; none if the answers cannot tell.
    #[must_use]
    pub fn mantel_haenszel(&self, item_idx: usize) -> Option<MantelHaenszel> {
        mantel_haenszel(self.0.get(item_idx)?.values())
    }
}

/// Sums over scores; their names are those of the formulas.
#[derive(Default)]
struct Sums {
    a: f64,
    expected: f64,
    variance: f64,
    r: f64,
    s: f64,
    pr: f64,
    ps_qr: f64,
    qs: f64,
}

impl Sums {
    fn add(&mut self, table: &Table) {
        let [a, b, c, d] = [
            table.reference_right,
            table.reference_wrong,
            table.focal_right,
            table.focal_wrong,
        ]
        .map(|n| n.max(0) as f64);
        let n = a + b + c + d;
        if n < 2.0 {
            return;
        }
        let (right, wrong) = (a + c, b + d);
        self.a += a;
        self.expected += (a + b) * right / n;
        self.variance += (a + b) * (c + d) * right * wrong / (n * n * (n - 1.0));
        let (p, q, r, s) = ((a + d) / n, (b + c) / n, a * d / n, b * c / n);
        self.r += r;
        self.s += s;
        self.pr += p * r;
        self.ps_qr += p * s + q * r;
        self.qs += q * s;
    }
}

/// Compares two groups over tables of equal scores; none if no table has both groups and both answers.
pub fn mantel_haenszel<'a>(tables: impl IntoIterator<Item = &'a Table>) -> Option<MantelHaenszel> {
    let mut sums = Sums::default();
    for table in tables {
        sums.add(table);
    }
    if sums.variance <= 0.0 || sums.r <= 0.0 || sums.s <= 0.0 {
        return None;
    }
    let off = ((sums.a - sums.expected).abs() - 0.5).max(0.0);
    let chi2 = off * off / sums.variance;
    let p_value = 2.0 * upper_tail(chi2.sqrt());
    let alpha = sums.r / sums.s;
    let variance = sums.pr / (2.0 * sums.r * sums.r)
        + sums.ps_qr / (2.0 * sums.r * sums.s)
        + sums.qs / (2.0 * sums.s * sums.s);
    let delta = DELTA_PER_LOGIT * alpha.ln();
    let delta_se = DELTA_PER_LOGIT.abs() * variance.sqrt();
    Some(MantelHaenszel {
        chi2,
        p_value,
        alpha,
        delta,
        delta_se,
        class: class(delta.abs(), delta_se, p_value),
    })
}

fn class(delta: f64, delta_se: f64, p_value: f64) -> Class {
    let above_one = upper_tail((delta - 1.0) / delta_se) < SIGNIFICANCE;
    if delta < 1.0 || p_value >= SIGNIFICANCE {
        Class::A
    } else if delta >= 1.5 && above_one {
        Class::C
    } else {
        Class::B
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(n: i64, reference_right: i64, focal_right: i64) -> Table {
        Table {
            reference_right,
            reference_wrong: n - reference_right,
            focal_right,
            focal_wrong: n - focal_right,
        }
    }

    #[test]
    fn the_class_follows_size_and_certainty() {
        let class = |n, right| mantel_haenszel(&[table(n, n / 2, right)]).map(|it| it.class);
        assert_eq!(class(1000, 500), Some(Class::A), "no difference");
        assert_eq!(class(20, 7), Some(Class::A), "not significant");
        assert_eq!(class(1000, 370), Some(Class::B));
        assert_eq!(class(1000, 250), Some(Class::C));
        assert_eq!(
            class(1000, 0).map(|class| class == Class::C),
            None,
            "no odds ratio"
        );
    }

    #[test]
    fn what_is_taken_out_leaves_no_trace() {
        let mut counts = Counts::new(1);
        counts.count(0, 5, true, false, 1);
        assert_ne!(counts, Counts::new(1));
        counts.count(0, 5, true, false, -1);
        assert_eq!(counts, Counts::new(1));
    }
}
