//! Whether right and wrong answers fit the ability they point to: l_z and l_z*.
//!
//! A bad fit has many causes, help during a part of the exam among them; it is no sign of copying by itself.
//! Sources: Drasgow, Levine and Williams 1985 (l_z); Snijders 2001 (l_z*).

use super::tail;

/// The three parameters of an item in the logistic model `P = c + (1-c) / (1 + exp(-a(θ-b)))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ItemCurve {
    /// Discrimination, above 0.
    pub a: f64,
    /// Difficulty, on the scale of ability.
    pub b: f64,
    /// Chance of a right guess, from 0 to below 1.
    pub c: f64,
}

/// Widest ability looked at; normal abilities beyond it are rarer than one in a thousand million.
const THETA_MAX: f64 = 6.0;
/// Steps of the search for the ability: each cuts the interval to 0.62, so 60 leave 12 / 10¹².
const N_SEARCH_STEPS: u32 = 60;
/// Keeps logarithms of probabilities finite.
const P_MIN: f64 = 1e-12;

impl ItemCurve {
    /// Returns the probability of a right answer.
    pub(crate) fn p(&self, theta: f64) -> f64 {
        let p = self.c + (1.0 - self.c) / (1.0 + (-self.a * (theta - self.b)).exp());
        p.clamp(P_MIN, 1.0 - P_MIN)
    }

    /// Returns how fast that probability rises with ability.
    fn slope(&self, theta: f64) -> f64 {
        let p = self.p(theta);
        self.a * (p - self.c) * (1.0 - p) / (1.0 - self.c)
    }

    /// Reports whether the parameters are in their ranges.
    pub(crate) fn is_valid(&self) -> bool {
        self.a > 0.0 && self.a.is_finite() && self.b.is_finite() && (0.0..1.0).contains(&self.c)
    }
}

/// Returns the standardised log-likelihood l_z of right and wrong answers at an ability.
pub(crate) fn lz(answers: &[(ItemCurve, bool)], theta: f64) -> f64 {
    let (mut surplus, mut variance) = (0.0, 0.0);
    for (item, right) in answers {
        let p = item.p(theta);
        let w = (p / (1.0 - p)).ln();
        surplus += (f64::from(u8::from(*right)) - p) * w;
        variance += p * (1.0 - p) * w * w;
    }
    surplus / variance.sqrt()
}

/// What l_z* is made of.
#[derive(Debug)]
pub(crate) struct Fit {
    /// How much likelier than expected the answers are, the estimation of ability allowed for.
    surplus: f64,
    /// Probability and corrected weight of each item.
    terms: Vec<(f64, f64)>,
}

impl Fit {
    /// Measures the fit at an estimated ability.
    ///
    /// `r0` belongs to the estimator: 0 for maximum likelihood, `(μ-θ)/σ²` for the mode with a normal prior.
    pub(crate) fn new(answers: &[(ItemCurve, bool)], theta: f64, r0: f64) -> Self {
        let (mut slope_w, mut slope_r) = (0.0, 0.0);
        for (item, _) in answers {
            let (p, slope) = (item.p(theta), item.slope(theta));
            slope_w += slope * (p / (1.0 - p)).ln();
            slope_r += slope * slope / (p * (1.0 - p));
        }
        let c = slope_w / slope_r;
        let mut surplus = c * r0;
        let terms = answers.iter().map(|(item, right)| {
            let (p, slope) = (item.p(theta), item.slope(theta));
            let w = (p / (1.0 - p)).ln();
            surplus += (f64::from(u8::from(*right)) - p) * w;
            (p, w - c * slope / (p * (1.0 - p)))
        });
        let terms = terms.collect();
        Self { surplus, terms }
    }

    /// Returns l_z*.
    pub(crate) fn lz_star(&self) -> f64 {
        let variances = self.terms.iter().map(|(p, w)| p * (1.0 - p) * w * w);
        self.surplus / variances.sum::<f64>().sqrt()
    }

    /// Returns the probability of a fit as bad as this; l_z* itself is too skewed for a normal tail far out.
    pub(crate) fn p_value(&self) -> f64 {
        tail::weighted_hits_lower(&self.terms, self.surplus)
    }
}

/// Returns the mode of ability with a standard normal prior, by golden section.
pub(crate) fn ability(answers: &[(ItemCurve, bool)]) -> f64 {
    let height = |theta: f64| {
        let terms = answers.iter().map(|(item, right)| {
            let p = item.p(theta);
            if *right { p.ln() } else { (-p).ln_1p() }
        });
        terms.sum::<f64>() - theta * theta / 2.0
    };
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-THETA_MAX, THETA_MAX);
    for _ in 0..N_SEARCH_STEPS {
        let span = ratio * (high - low);
        if height(high - span) < height(low + span) {
            low = high - span;
        } else {
            high = low + span;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::{
        super::reference::{self, close},
        *,
    };

    #[test]
    fn fit_is_that_of_the_reference() {
        let items = reference::items();
        let mut worst = 0f64;
        for person in reference::persons() {
            let answers: Vec<_> = items.iter().copied().zip(person.right).collect();
            let z = lz(&answers, person.theta);
            let star = Fit::new(&answers, person.theta, 0.0).lz_star();
            worst = worst
                .max(close(z, person.lz))
                .max(close(star, person.lz_star))
                .max(close(tail::normal_lower(z), person.lz_p))
                .max(close(tail::normal_lower(star), person.lz_star_p));
        }
        reference::check("l_z, l_z*, their p", worst);
    }

    #[test]
    fn the_ability_is_where_the_slope_is_nought() {
        let items = reference::items();
        for person in reference::persons() {
            let answers: Vec<_> = items.iter().copied().zip(person.right).collect();
            let theta = ability(&answers);
            let slope: f64 = answers
                .iter()
                .map(|(item, right)| {
                    let p = item.p(theta);
                    item.slope(theta) * (f64::from(u8::from(*right)) - p) / (p * (1.0 - p))
                })
                .sum();
            assert!((slope - theta).abs() < 1e-4, "{slope} at {theta}");
        }
    }

    #[test]
    fn easy_items_wrong_and_hard_ones_right_fit_badly() {
        let curve = |b| ItemCurve { a: 1.5, b, c: 0.0 };
        let sheet = |upside_down: bool| -> Vec<_> {
            (0..40)
                .map(|n| (curve(f64::from(n) / 10.0 - 2.0), (n < 20) != upside_down))
                .collect()
        };
        let fit = |upside_down| {
            let answers = sheet(upside_down);
            let theta = ability(&answers);
            Fit::new(&answers, theta, -theta)
        };
        assert!(fit(false).lz_star() > 1.0);
        assert!(fit(false).p_value() > 0.5);
        assert!(fit(true).lz_star() < -5.0);
        assert!(fit(true).p_value() < 1e-6);
    }
}
