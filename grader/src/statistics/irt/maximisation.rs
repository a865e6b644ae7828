//! The maximisation step: the lines that fit the expected numbers best, by Newton's method.

use super::{Line, Model, Node, expectation::Expected};

/// Newton steps in one round; the next round starts near.
const MAX_STEPS: u32 = 5;
/// Largest step of a parameter: far from the solution a full step may overshoot.
const MAX_STEP: f64 = 1.0;
/// Largest slope and intercept; beyond, answers cannot tell.
const MAX_SLOPE: f64 = 8.0;
const MAX_INTERCEPT: f64 = 20.0;

/// Slope of the log likelihood of an item, and its information.
#[derive(Clone, Copy, Default)]
pub(super) struct Gradient {
    a: f64,
    d: f64,
    pub(super) aa: f64,
    pub(super) ad: f64,
    pub(super) dd: f64,
}

/// Improves the lines, and returns the largest change of a parameter.
pub(super) fn step(
    model: Model,
    lines: &mut [Option<Line>],
    expected: &Expected,
    nodes: &[Node],
) -> f64 {
    let before = lines.to_vec();
    for _ in 0..MAX_STEPS {
        let largest = match model {
            Model::OneParameter => step_together(lines, expected, nodes),
            Model::Rasch | Model::TwoParameter => step_apart(model, lines, expected, nodes),
        };
        if largest < 1e-9 {
            break;
        }
    }
    let pairs = before.iter().flatten().zip(lines.iter().flatten());
    let change = |(old, new): (&Line, &Line)| (old.a - new.a).abs().max((old.d - new.d).abs());
    pairs.map(change).fold(0.0, f64::max)
}

pub(super) fn gradient(line: Line, [seen, right]: &[Vec<f64>; 2], nodes: &[Node]) -> Gradient {
    let mut sum = Gradient::default();
    for ((node, seen), right) in nodes.iter().zip(seen).zip(right) {
        let chance = 1.0 / (1.0 + (-line.a * node.x - line.d).exp());
        let off = right - seen * chance;
        let information = seen * chance * (1.0 - chance);
        sum.a += node.x * off;
        sum.d += off;
        sum.aa += node.x * node.x * information;
        sum.ad += node.x * information;
        sum.dd += information;
    }
    sum
}

fn step_apart(
    model: Model,
    lines: &mut [Option<Line>],
    expected: &Expected,
    nodes: &[Node],
) -> f64 {
    let mut largest = 0.0f64;
    for (line, row) in lines.iter_mut().zip(&expected.rows) {
        let Some(line) = line else { continue };
        let it = gradient(*line, row, nodes);
        let determinant = it.aa * it.dd - it.ad * it.ad;
        let (a, d) = if model == Model::Rasch {
            (0.0, ratio(it.d, it.dd))
        } else {
            (
                ratio(it.a * it.dd - it.d * it.ad, determinant),
                ratio(it.d * it.aa - it.a * it.ad, determinant),
            )
        };
        largest = largest.max(advance(line, a, d));
    }
    largest
}

/// Steps all intercepts and their common slope: the system is an arrow, solved from its tip.
fn step_together(lines: &mut [Option<Line>], expected: &Expected, nodes: &[Node]) -> f64 {
    let (mut slope, mut information) = (0.0, 0.0);
    let mut gradients = Vec::with_capacity(lines.len());
    for (line, row) in lines.iter().zip(&expected.rows) {
        let it = line.map(|line| gradient(line, row, nodes));
        if let Some(it) = it {
            slope += it.a - it.ad * ratio(it.d, it.dd);
            information += it.aa - it.ad * ratio(it.ad, it.dd);
        }
        gradients.push(it);
    }
    let a = ratio(slope, information);
    let mut largest = 0.0f64;
    for (line, it) in lines.iter_mut().zip(gradients) {
        if let (Some(line), Some(it)) = (line, it) {
            largest = largest.max(advance(line, a, ratio(it.d - it.ad * a, it.dd)));
        }
    }
    largest
}

fn advance(line: &mut Line, a: f64, d: f64) -> f64 {
    let before = *line;
    let bounded = |value: f64, step: f64, most: f64| {
        (value + step.clamp(-MAX_STEP, MAX_STEP)).clamp(-most, most)
    };
    line.a = bounded(line.a, a, MAX_SLOPE);
    line.d = bounded(line.d, d, MAX_INTERCEPT);
    (line.a - before.a).abs().max((line.d - before.d).abs())
}

/// Divides; where there is no information there is no step.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 1e-12 { part / whole } else { 0.0 }
}
