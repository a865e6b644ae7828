//! Sums of two variables over many responses: marks and totals.
//!
//! Whole numbers of 128 bits: ten million squares of 10^10 quanta, multiplied by their number, stay below 10^35.

/// Sums of x and t, of their squares and of their product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) n: i64,
    pub(super) x: i128,
    pub(super) t: i128,
    xx: i128,
    tt: i128,
    xt: i128,
    /// Sum of what x could have been at most.
    pub(super) mark: i128,
}

impl Sums {
    /// Counts a pair as often as `by` says.
    pub(super) fn count(&mut self, x: i64, t: i64, mark: i64, by: i64) {
        let (x, t, times) = (i128::from(x), i128::from(t), i128::from(by));
        self.n += by;
        self.x += times * x;
        self.t += times * t;
        self.xx += times * x * x;
        self.tt += times * t * t;
        self.xt += times * x * t;
        self.mark += times * i128::from(mark);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.n += other.n;
        self.x += other.x;
        self.t += other.t;
        self.xx += other.xx;
        self.tt += other.tt;
        self.xt += other.xt;
        self.mark += other.mark;
    }

    /// Returns the sums of all but a part.
    pub(super) fn without(self, part: Self) -> Self {
        Self {
            n: self.n - part.n,
            x: self.x - part.x,
            t: self.t - part.t,
            xx: self.xx - part.xx,
            tt: self.tt - part.tt,
            xt: self.xt - part.xt,
            mark: self.mark - part.mark,
        }
    }

    /// Returns the sums of x and t - x.
    pub(super) fn against_rest(self) -> Self {
        Self {
            t: self.t - self.x,
            tt: self.tt - 2 * self.xt + self.xx,
            xt: self.xt - self.xx,
            ..self
        }
    }

    /// Returns the part of the greatest possible x.
    pub(super) fn facility(&self) -> Option<f64> {
        (self.n > 0 && self.mark > 0).then(|| self.x as f64 / self.mark as f64)
    }

    pub(super) fn mean_x(&self) -> Option<f64> {
        (self.n > 0).then(|| self.x as f64 / self.n as f64)
    }

    pub(super) fn mean_t(&self) -> Option<f64> {
        (self.n > 0).then(|| self.t as f64 / self.n as f64)
    }

    /// Returns the variance of x, divisor n - 1.
    pub(super) fn variance_x(&self) -> Option<f64> {
        self.over_pairs(self.spread_x())
    }

    /// Returns the variance of t, divisor n - 1.
    pub(super) fn variance_t(&self) -> Option<f64> {
        self.over_pairs(self.spread_t())
    }

    /// Returns the covariance, divisor n - 1.
    pub(super) fn covariance(&self) -> Option<f64> {
        self.over_pairs(self.spread_xt())
    }

    /// Returns the covariance, if the sum of the products were this one.
    pub(super) fn covariance_with(&self, products: i128) -> Option<f64> {
        self.over_pairs(i128::from(self.n) * products - self.x * self.t)
    }

    /// Returns the correlation; none unless both vary.
    pub(super) fn correlation(&self) -> Option<f64> {
        let (x, t) = (self.spread_x(), self.spread_t());
        let defined = self.n > 1 && x > 0 && t > 0;
        defined.then(|| self.spread_xt() as f64 / (x as f64).sqrt() / (t as f64).sqrt())
    }

    /// Returns sums of squares and products about the means, of x, of t and of both.
    pub(super) fn about_means(&self) -> (f64, f64, f64) {
        let n = self.n.max(1) as f64;
        let part = |spread: i128| spread as f64 / n;
        (
            part(self.spread_x()),
            part(self.spread_t()),
            part(self.spread_xt()),
        )
    }

    fn spread_x(&self) -> i128 {
        i128::from(self.n) * self.xx - self.x * self.x
    }

    fn spread_t(&self) -> i128 {
        i128::from(self.n) * self.tt - self.t * self.t
    }

    fn spread_xt(&self) -> i128 {
        i128::from(self.n) * self.xt - self.x * self.t
    }

    fn over_pairs(&self, spread: i128) -> Option<f64> {
        let n = i128::from(self.n);
        (n > 1).then(|| spread as f64 / (n * (n - 1)) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_million_totals_of_a_fine_scale_do_not_overflow() {
        let mut sums = Sums::default();
        sums.count(0, 0, 2_772_000_000, 5_000_000);
        sums.count(2_772_000_000, 55_440_000_000, 2_772_000_000, 5_000_000);
        assert_eq!(sums.facility(), Some(0.5));
        assert!((sums.correlation().unwrap() - 1.0).abs() < 1e-12);
        assert!((sums.against_rest().correlation().unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_vary_has_no_correlation() {
        let mut sums = Sums::default();
        sums.count(1, 3, 1, 1);
        assert_eq!((sums.variance_x(), sums.correlation()), (None, None));
        sums.count(1, 4, 1, 1);
        assert_eq!((sums.variance_x(), sums.correlation()), (Some(0.0), None));
        sums.count(0, 4, 1, 1);
        assert!(sums.correlation().is_some());
    }
}
