//! The expectation step: how many persons of each ability answered each item, and how many right.

use super::{Line, Node, Pattern};

/// Logarithms of the chances to answer right and wrong, by item and node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curves {
    pub(super) nodes: Vec<Node>,
    /// One row an item: of right answers, of wrong answers; none for an item without a line.
    rows: Vec<Option<[Vec<f64>; 2]>>,
}

impl Curves {
    pub(super) fn new(lines: &[Option<Line>], nodes: &[Node]) -> Self {
        let row = |line: &Line| {
            let logits = || nodes.iter().map(|node| line.a * node.x + line.d);
            let right = logits().map(|logit| -softplus(-logit)).collect();
            let wrong = logits().map(|logit| -softplus(logit)).collect();
            [right, wrong]
        };
        Self {
            nodes: nodes.to_vec(),
            rows: lines.iter().map(|line| line.as_ref().map(row)).collect(),
        }
    }

    /// Returns the chance of a right answer at each node.
    pub(super) fn chances(&self, item_idx: usize) -> Option<Vec<f64>> {
        let [right, _] = self.rows.get(item_idx)?.as_ref()?;
        Some(right.iter().map(|log| log.exp()).collect())
    }

    /// Returns the shares of the nodes given some answers, and the logarithm of the chance of these answers.
    pub(super) fn posterior(&self, responses: &[(u16, bool)]) -> (Vec<f64>, f64) {
        let mut logs: Vec<f64> = self.nodes.iter().map(|node| node.weight.ln()).collect();
        for &(item_idx, right) in responses {
            let Some(Some([of_right, of_wrong])) = self.rows.get(usize::from(item_idx)) else {
                continue;
            };
            let row = if right { of_right } else { of_wrong };
            for (log, of_answer) in logs.iter_mut().zip(row) {
                *log += of_answer;
            }
        }
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        for log in &mut logs {
            *log = (*log - largest).exp();
            sum += *log;
        }
        for share in &mut logs {
            *share /= sum;
        }
        (logs, largest + sum.ln())
    }
}

/// Returns ln(1 + exp(x)) without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Expected numbers of persons by item and node.
#[derive(Debug)]
pub(super) struct Expected {
    /// One row an item: persons at each node who saw it, and those of them who answered right.
    pub(super) rows: Vec<[Vec<f64>; 2]>,
    pub(super) log_likelihood: f64,
}

impl Expected {
    pub(super) fn new(curves: &Curves, patterns: &[Pattern]) -> Self {
        let zeros = vec![0.0; curves.nodes.len()];
        let mut rows = vec![[zeros.clone(), zeros]; curves.rows.len()];
        let mut log_likelihood = 0.0;
        for pattern in patterns {
            let (mut shares, log) = curves.posterior(&pattern.responses);
            let n = f64::from(pattern.n);
            log_likelihood += n * log;
            for share in &mut shares {
                *share *= n;
            }
            for &(item_idx, right) in &pattern.responses {
                if let Some([seen, of_right]) = rows.get_mut(usize::from(item_idx)) {
                    add(seen, &shares);
                    if right {
                        add(of_right, &shares);
                    }
                }
            }
        }
        Self {
            rows,
            log_likelihood,
        }
    }
}

fn add(sums: &mut [f64], shares: &[f64]) {
    for (sum, share) in sums.iter_mut().zip(shares) {
        *sum += share;
    }
}
