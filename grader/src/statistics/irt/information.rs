//! Standard errors: the inverse of the observed information.
//!
//! Up to [`MAX_JOINT_ITEMS`] items the information of all parameters is inverted as one; beyond, each item is taken
//! alone with its expected numbers held, which gives somewhat too small errors.

use super::{
    super::matrix::Matrix,
    Line, Model, Pattern,
    expectation::{Curves, Expected},
    maximisation::{Gradient, gradient},
};

/// Most items whose information is inverted as one: a matrix of 240 rows takes about 0.1 s.
const MAX_JOINT_ITEMS: usize = 120;

/// Variances and covariance of slope and intercept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Covariance {
    pub(super) aa: f64,
    pub(super) ad: f64,
    pub(super) dd: f64,
}

/// Returns the covariance of each item's parameters; none where the information is not enough.
pub(super) fn covariances(
    model: Model,
    lines: &[Option<Line>],
    curves: &Curves,
    patterns: &[Pattern],
    expected: &Expected,
) -> Vec<Option<Covariance>> {
    let complete: Vec<_> = lines
        .iter()
        .zip(&expected.rows)
        .map(|(line, row)| line.map(|line| gradient(line, row, &curves.nodes)))
        .collect();
    let layout = Layout::new(model, lines);
    if lines.iter().flatten().count() > MAX_JOINT_ITEMS {
        return complete
            .iter()
            .map(|it| alone(model, it.as_ref()?))
            .collect();
    }
    let mut information = Matrix::zero(layout.n);
    for (place, it) in layout.places.iter().zip(&complete) {
        if let (Some(place), Some(it)) = (place, it) {
            place.add(&mut information, it);
        }
    }
    for pattern in patterns {
        subtract_unseen(&mut information, &layout, curves, pattern);
    }
    let inverse = information.inverse();
    let read = |place: &Option<Place>| Some((*place)?.read(inverse.as_ref()?));
    layout.places.iter().map(read).collect()
}

/// Rows of an item's slope and intercept; a fixed slope has none.
#[derive(Clone, Copy, Debug)]
struct Place {
    a: Option<usize>,
    d: usize,
}

impl Place {
    fn add(self, information: &mut Matrix, it: &Gradient) {
        information.add(self.d, self.d, it.dd);
        if let Some(a) = self.a {
            information.add(a, a, it.aa);
            information.add(self.d, a, it.ad);
            information.add(a, self.d, it.ad);
        }
    }

    fn read(self, inverse: &Matrix) -> Covariance {
        Covariance {
            aa: self.a.map_or(0.0, |a| inverse.get(a, a)),
            ad: self.a.map_or(0.0, |a| inverse.get(a, self.d)),
            dd: inverse.get(self.d, self.d),
        }
    }
}

/// Where each item's parameters stand in the matrix.
struct Layout {
    places: Vec<Option<Place>>,
    n: usize,
}

impl Layout {
    fn new(model: Model, lines: &[Option<Line>]) -> Self {
        let mut n = usize::from(model == Model::OneParameter);
        let mut place = || {
            let a = match model {
                Model::Rasch => None,
                Model::OneParameter => Some(0),
                Model::TwoParameter => Some(n),
            };
            n += usize::from(model == Model::TwoParameter);
            n += 1;
            Place { a, d: n - 1 }
        };
        let places = lines.iter().map(|line| line.map(|_| place())).collect();
        Self { places, n }
    }
}

/// Takes off what ability, being unseen, leaves open: the variance of the score given the answers.
fn subtract_unseen(information: &mut Matrix, layout: &Layout, curves: &Curves, pattern: &Pattern) {
    let (shares, _) = curves.posterior(&pattern.responses);
    let scores = scores(layout, curves, pattern);
    let n = f64::from(pattern.n);
    let mean =
        |score: &[f64]| -> f64 { score.iter().zip(&shares).map(|(s, share)| s * share).sum() };
    let means: Vec<f64> = scores.iter().map(|(_, score)| mean(score)).collect();
    for ((row, of_row), mean_row) in scores.iter().zip(&means) {
        let weighted: Vec<f64> = of_row
            .iter()
            .zip(&shares)
            .map(|(score, share)| share * (score - mean_row))
            .collect();
        for (column, of_column) in &scores {
            let covariance: f64 = weighted.iter().zip(of_column).map(|(w, s)| w * s).sum();
            information.add(*row, *column, -n * covariance);
        }
    }
}

/// Returns the derivative of the log likelihood by each parameter, at each node.
fn scores(layout: &Layout, curves: &Curves, pattern: &Pattern) -> Vec<(usize, Vec<f64>)> {
    let mut scores = Vec::with_capacity(2 * pattern.responses.len());
    for &(item_idx, right) in &pattern.responses {
        let item_idx = usize::from(item_idx);
        let Some((chances, Some(place))) =
            curves.chances(item_idx).zip(layout.places.get(item_idx))
        else {
            continue;
        };
        let right = f64::from(u8::from(right));
        let by_d: Vec<f64> = chances.iter().map(|chance| right - chance).collect();
        if let Some(a) = place.a {
            let by_a = by_d
                .iter()
                .zip(&curves.nodes)
                .map(|(score, node)| score * node.x);
            scores.push((a, by_a.collect()));
        }
        scores.push((place.d, by_d));
    }
    scores
}

fn alone(model: Model, it: &Gradient) -> Option<Covariance> {
    let determinant = it.aa * it.dd - it.ad * it.ad;
    match model {
        Model::TwoParameter => (determinant > 0.0).then(|| Covariance {
            aa: it.dd / determinant,
            ad: -it.ad / determinant,
            dd: it.aa / determinant,
        }),
        Model::Rasch | Model::OneParameter => (it.dd > 0.0).then(|| Covariance {
            aa: 0.0,
            ad: 0.0,
            dd: 1.0 / it.dd,
        }),
    }
}
