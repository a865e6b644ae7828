//! Item response theory: logistic models of right and wrong answers, by marginal maximum likelihood.
//!
//! The chance to answer an item right is 1/(1 + exp(-(a θ + d))), its difficulty b = -d/a, and ability θ is standard
//! normal. Items that a person did not see are missing by design and change nothing. Items that all or none
//! answered right have no estimate. Start at [`fit`]. Source: Bock and Aitkin 1981, expectation and maximisation;
//! Louis 1982 for the observed information.

mod expectation;
mod information;
mod maximisation;

use expectation::{Curves, Expected};

use super::quadrature::{Node, normal_nodes};

/// Which slopes are estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// All slopes are 1.
    Rasch,
    /// All items have one slope.
    OneParameter,
    /// Each item has its own slope.
    TwoParameter,
}

/// The answers of one person, or of several with the same answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// Index of each item seen, and whether it was answered right.
    pub responses: Vec<(u16, bool)>,
    /// How many persons.
    pub n: u32,
}

/// How exactly a model is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Nodes for ability.
    pub n_nodes: usize,
    /// Most rounds.
    pub max_rounds: u32,
    /// Largest change of a parameter in the last round.
    pub tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            n_nodes: 31,
            max_rounds: 500,
            tolerance: 1e-4,
        }
    }
}

/// What a model says of an item, with standard errors where they are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// Slope: how sharply the item discriminates.
    pub a: f64,
    /// Intercept.
    pub d: f64,
    /// Difficulty, -d/a.
    pub b: f64,
    /// Standard error of a; none of a fixed slope.
    pub a_se: Option<f64>,
    /// Standard error of d.
    pub d_se: Option<f64>,
    /// Standard error of b.
    pub b_se: Option<f64>,
}

/// What a person's answers say of the ability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ability {
    /// Mean of the ability given the answers.
    pub theta: f64,
    /// Its standard deviation.
    pub sd: f64,
}

/// A fitted model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Parameters by item; none for an item without an estimate.
    pub items: Vec<Option<Parameters>>,
    /// Marginal log likelihood of the answers to items with an estimate.
    pub log_likelihood: f64,
    /// Rounds it took.
    pub n_rounds: u32,
    /// Whether the last round changed no parameter by more than the tolerance.
    pub converged: bool,
    curves: Curves,
}

/// Slope and intercept of an item.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    a: f64,
    d: f64,
}

/// Fits a model to answers; items beyond `n_items` are left out.
#[must_use]
pub fn fit(model: Model, n_items: usize, patterns: &[Pattern], settings: &Settings) -> Fit {
    let nodes = normal_nodes(settings.n_nodes);
    let mut lines = first_guess(n_items, patterns);
    let (mut n_rounds, mut converged) = (0, false);
    while n_rounds < settings.max_rounds && !converged {
        let expected = Expected::new(&Curves::new(&lines, &nodes), patterns);
        let change = maximisation::step(model, &mut lines, &expected, &nodes);
        converged = change < settings.tolerance;
        n_rounds += 1;
    }
    let curves = Curves::new(&lines, &nodes);
    let expected = Expected::new(&curves, patterns);
    let covariances = information::covariances(model, &lines, &curves, patterns, &expected);
    let items = lines.iter().zip(covariances);
    Fit {
        items: items
            .map(|(line, known)| Some(parameters(model, (*line)?, known)))
            .collect(),
        log_likelihood: expected.log_likelihood,
        n_rounds,
        converged,
        curves,
    }
}

impl Fit {
    /// Estimates a person's ability by its mean given the answers (EAP).
    #[must_use]
    pub fn ability(&self, responses: &[(u16, bool)]) -> Ability {
        let (posterior, _) = self.curves.posterior(responses);
        let moment = |power| -> f64 {
            let nodes = self.curves.nodes.iter().zip(&posterior);
            nodes.map(|(node, share)| share * node.x.powi(power)).sum()
        };
        let theta = moment(1);
        Ability {
            theta,
            sd: (moment(2) - theta * theta).max(0.0).sqrt(),
        }
    }
}

/// Starts with slope 1; an item that all or none answered right gets no line.
fn first_guess(n_items: usize, patterns: &[Pattern]) -> Vec<Option<Line>> {
    let mut counts = vec![(0u64, 0u64); n_items];
    for pattern in patterns {
        for &(item_idx, right) in &pattern.responses {
            if let Some((n, n_right)) = counts.get_mut(usize::from(item_idx)) {
                *n += u64::from(pattern.n);
                *n_right += u64::from(right) * u64::from(pattern.n);
            }
        }
    }
    let line = |(n, n_right): (u64, u64)| {
        let odds = n_right as f64 / (n - n_right) as f64;
        (n_right > 0 && n_right < n).then(|| Line {
            a: 1.0,
            d: odds.ln(),
        })
    };
    counts.into_iter().map(line).collect()
}

fn parameters(model: Model, line: Line, known: Option<information::Covariance>) -> Parameters {
    let b = -line.d / line.a;
    let root = |variance: f64| (variance > 0.0).then(|| variance.sqrt());
    let of_b =
        |it: information::Covariance| (it.dd + b * b * it.aa + 2.0 * b * it.ad) / line.a.powi(2);
    Parameters {
        a: line.a,
        d: line.d,
        b,
        a_se: known
            .filter(|_| model != Model::Rasch)
            .and_then(|it| root(it.aa)),
        d_se: known.and_then(|it| root(it.dd)),
        b_se: known.and_then(|it| root(of_b(it))),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{reference::lsat, simulation::Random},
        *,
    };

    const EXACT: Settings = Settings {
        n_nodes: 61,
        max_rounds: 5_000,
        tolerance: 1e-7,
    };

    type Five = [f64; 5];

    #[track_caller]
    fn near(found: impl Iterator<Item = f64>, expected: &[f64], tolerance: f64) {
        let found: Vec<f64> = found.collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() <= tolerance,
                "{found} is not {expected}"
            );
        }
    }

    #[track_caller]
    fn check(
        section: u8,
        model: Model,
        a: Five,
        d: Option<Five>,
        b: Five,
        log_likelihood: f64,
    ) -> Fit {
        let fit = fit(model, 5, &lsat(section), &EXACT);
        assert!(fit.converged, "after {} rounds", fit.n_rounds);
        let items = || fit.items.iter().flatten();
        near(items().map(|it| it.a), &a, 1e-3);
        near(items().map(|it| it.b), &b, 1e-3);
        if let Some(d) = d {
            near(items().map(|it| it.d), &d, 1e-3);
        }
        near([fit.log_likelihood].into_iter(), &[log_likelihood], 1e-3);
        fit
    }

    #[track_caller]
    fn check_errors(fit: &Fit, a: Five, b: Five) {
        near(
            fit.items.iter().flatten().filter_map(|it| it.a_se),
            &a,
            2e-3,
        );
        near(
            fit.items.iter().flatten().filter_map(|it| it.b_se),
            &b,
            2e-3,
        );
    }

    #[track_caller]
    fn check_abilities(fit: &Fit, theta: [f64; 3], sd: [f64; 3]) {
        let patterns = [
            [false; 5],
            [false, false, false, false, true],
            [false, false, false, true, false],
        ];
        let abilities = patterns.map(|pattern| {
            let responses: Vec<_> = (0..).zip(pattern).collect();
            fit.ability(&responses)
        });
        near(abilities.iter().map(|it| it.theta), &theta, 1e-3);
        near(abilities.iter().map(|it| it.sd), &sd, 1e-3);
    }

    #[test]
    fn two_parameters_are_those_of_ltm_and_mirt() {
        let model = Model::TwoParameter;
        let fit = check(
            6,
            model,
            [0.82566, 0.72274, 0.89087, 0.68837, 0.65686],
            Some([2.77323, 0.99020, 0.24915, 1.28476, 2.05327]),
            [-3.35881, -1.37006, -0.27967, -1.86638, -3.12591],
            -2466.6534,
        );
        check_errors(
            &fit,
            [0.2581, 0.1867, 0.2328, 0.1851, 0.2099],
            [0.8665, 0.3075, 0.0996, 0.43430, 0.8712],
        );
        check_abilities(&fit, [-1.8968, -1.4748, -1.4545], [0.801, 0.802, 0.802]);
        let fit = check(
            7,
            model,
            [0.98755, 1.08084, 1.70748, 0.76499, 0.73567],
            Some([1.85586, 0.80797, 1.80520, 0.48600, 1.85446]),
            [-1.87926, -0.74754, -1.05724, -0.63530, -2.52076],
            -2658.8051,
        );
        check_errors(
            &fit,
            [0.1772, 0.1688, 0.3211, 0.1341, 0.1511],
            [0.2640, 0.1093, 0.1154, 0.1301, 0.4463],
        );
        check_abilities(&fit, [-1.8698, -1.5273, -1.5140], [0.693, 0.674, 0.673]);
    }

    #[test]
    fn one_slope_is_that_of_glmer() {
        check(
            6,
            Model::OneParameter,
            [0.755_135; 5],
            Some([2.730_013, 0.998_606, 0.239_854, 1.306_451, 2.099_404]),
            [-3.615_268, -1.322_421, -0.317_631, -1.730_090, -2.780_172],
            -2466.9376,
        );
        check(
            7,
            Model::OneParameter,
            [1.011_267; 5],
            Some([1.868_265, 0.791_006, 1.460_980, 0.521_506, 1.992_975]),
            [-1.847_449, -0.782_193, -1.444_701, -0.515_695, -1.970_769],
            -2664.9009,
        );
    }

    #[test]
    fn a_fixed_slope_gives_rasch_difficulties() {
        let b = [-2.871_971, -1.063_029, -0.257_611, -1.388_059, -2.218_778];
        let fit = check(6, Model::Rasch, [1.0; 5], None, b, -2473.0538);
        assert!(
            fit.items
                .iter()
                .flatten()
                .all(|it| it.a_se.is_none() && it.d_se.is_some())
        );
        let b = [-1.863_089, -0.788_590, -1.456_779, -0.519_857, -1.987_520];
        check(7, Model::Rasch, [1.0; 5], None, b, -2664.9160);
    }

    #[test]
    fn items_without_an_estimate_change_nothing() {
        let fit_of = |patterns: &[Pattern], n_items| {
            fit(Model::TwoParameter, n_items, patterns, &Settings::default())
        };
        let plain = fit_of(&lsat(7), 5);
        let mut wider = lsat(7);
        for pattern in &mut wider {
            pattern
                .responses
                .extend([(5, true), (6, false), (900, true)]);
        }
        let wider = fit_of(&wider, 8);
        assert_eq!(
            wider.items[5..],
            [None, None, None],
            "all right, all wrong, never seen"
        );
        assert_eq!(wider.items[..5], plain.items);
        assert_eq!(wider.log_likelihood, plain.log_likelihood);
        assert!(
            plain.ability(&[]).theta.abs() < 1e-9,
            "no answers, mean ability"
        );
    }

    /// Draws 20 of 40 items for each of 2,000 persons, and returns true lines and answers.
    fn simulated(seed: u64) -> (Vec<Line>, Vec<Pattern>) {
        let mut random = Random::new(seed);
        let line = |random: &mut Random| {
            let a = (0.3 * random.normal()).exp();
            Line {
                a,
                d: -a * random.normal(),
            }
        };
        let lines: Vec<_> = (0..40).map(|_| line(&mut random)).collect();
        let patterns = (0..2_000).map(|_| {
            let theta = random.normal();
            let mut items: Vec<u16> = (0..40).collect();
            random.shuffle(&mut items);
            let answer = |&item: &u16| {
                let line = lines[usize::from(item)];
                (
                    item,
                    random.chance(1.0 / (1.0 + (-line.a * theta - line.d).exp())),
                )
            };
            Pattern {
                responses: items[..20].iter().map(answer).collect(),
                n: 1,
            }
        });
        let patterns = patterns.collect();
        (lines, patterns)
    }

    #[test]
    fn simulated_parameters_are_recovered_from_papers_drawn_by_random() {
        let (lines, mut patterns) = simulated(7);
        let settings = Settings {
            n_nodes: 15,
            max_rounds: 40,
            tolerance: 5e-3,
        };
        let rms = |patterns: &[Pattern]| {
            let fit = fit(Model::TwoParameter, 40, patterns, &settings);
            let root = |off: &dyn Fn(&Parameters, &Line) -> f64| {
                let pairs = fit.items.iter().flatten().zip(&lines);
                let squares: f64 = pairs.map(|(found, line)| off(found, line).powi(2)).sum();
                (squares / 40.0).sqrt()
            };
            (
                root(&|found, line| found.a - line.a),
                root(&|found, line| found.d - line.d),
            )
        };
        let (of_a, of_d) = rms(&patterns);
        println!("root mean square error: a {of_a:.3}, d {of_d:.3}");
        assert!(of_a < 0.13 && of_d < 0.12);
        for pattern in &mut patterns {
            // a negative control: items mistaken for their neighbours
            for (item, _) in &mut pattern.responses {
                *item ^= 1;
            }
        }
        let (of_a, of_d) = rms(&patterns);
        assert!(of_a > 0.3 && of_d > 0.5);
    }
}
