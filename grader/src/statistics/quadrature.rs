//! Nodes and weights that stand for a normal distribution of ability.
//!
//! Source: Gauss-Hermite quadrature; Golub and Welsch 1969, the zeros here by Newton's method on the orthonormal
//! recurrence, which does not overflow.

use std::f64::consts::PI;

/// Most nodes: beyond, far nodes have weights below 10^-100.
const MAX_NODES: usize = 101;

/// A node and its weight; weights add up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) x: f64,
    pub(super) weight: f64,
}

/// Returns nodes of the standard normal distribution, rising; at least one.
pub(super) fn normal_nodes(n_nodes: usize) -> Vec<Node> {
    let n = n_nodes.clamp(1, MAX_NODES);
    let bound = 2.0 * (n as f64).sqrt() + 1.0;
    let zeros = zeros(n, bound);
    let weights: Vec<f64> = zeros.iter().map(|&x| 1.0 / squares(n, x)).collect();
    let sum: f64 = weights.iter().sum();
    let nodes = zeros.iter().zip(&weights);
    nodes
        .map(|(&x, weight)| Node {
            x,
            weight: weight / sum,
        })
        .collect()
}

/// Finds the zeros between those of the polynomial one degree lower, degree by degree.
fn zeros(n: usize, bound: f64) -> Vec<f64> {
    let mut zeros: Vec<f64> = Vec::new();
    for degree in 1..=n {
        let ends = |idx: usize| {
            let low = if idx == 0 { -bound } else { zeros[idx - 1] };
            let high = zeros.get(idx).copied().unwrap_or(bound);
            (low, high)
        };
        zeros = (0..degree).map(|idx| bisect(degree, ends(idx))).collect();
    }
    zeros
}

fn bisect(degree: usize, (mut low, mut high): (f64, f64)) -> f64 {
    let rising = value(degree, high) > 0.0;
    while high - low > 1e-15 * high.abs().max(1.0) {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if (value(degree, middle) > 0.0) == rising {
            high = middle;
        } else {
            low = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Returns the orthonormal Hermite polynomial of a degree, for the weight exp(-x²/2).
fn value(degree: usize, x: f64) -> f64 {
    walk(degree, x).0
}

/// Returns the sum of squares of the polynomials below a degree: the inverse of the weight at a zero.
fn squares(degree: usize, x: f64) -> f64 {
    walk(degree, x).1
}

fn walk(degree: usize, x: f64) -> (f64, f64) {
    let (mut before, mut here) = (0.0, (2.0 * PI).powf(-0.25));
    let mut sum = 0.0;
    for k in 0..degree {
        sum += here * here;
        let next = (x * here - (k as f64).sqrt() * before) / ((k + 1) as f64).sqrt();
        (before, here) = (here, next);
    }
    (here, sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        for n_nodes in [5, 15, 31, 61] {
            let nodes = normal_nodes(n_nodes);
            assert_eq!(nodes.len(), n_nodes);
            for (power, expected) in [(0, 1.0), (1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (8, 105.0)]
            {
                let moment: f64 = nodes.iter().map(|it| it.weight * it.x.powi(power)).sum();
                assert!(
                    (moment - expected).abs() < 1e-9,
                    "{n_nodes} nodes, power {power}: {moment}"
                );
            }
        }
        let coarse: f64 = normal_nodes(4)
            .iter()
            .map(|it| it.weight * it.x.powi(8))
            .sum();
        assert!(
            (coarse - 105.0).abs() > 1.0,
            "four nodes are exact up to power 7"
        );
    }
}
