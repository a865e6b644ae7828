//! Shares of matchings and orderings: sequences.
//!
//! Source: `docs/FORMATS.md`, section 4; the rules' names are those of `bank.proto`.

use proto::bank::v1::OrderingRule;

use crate::score::fraction::Fraction;

/// Returns the share of a matching: an answer's byte is 1 + the index of the target, a key's byte the index.
pub(crate) fn matching(n: usize, answer: &[u8], key: &[u8]) -> Fraction {
    let is_right = |(answer, key): &(&u8, &u8)| **answer > 0 && *answer - 1 == **key;
    let n_right = answer.iter().zip(key).take(n).filter(is_right).count();
    Fraction::new(as_i128(n_right), as_i128(n))
}

/// Returns the share of an ordering; one that is no permutation earns nothing.
pub(crate) fn ordering(rule: OrderingRule, answer: &[u8], key: &[u8]) -> Fraction {
    let n = key.len();
    if answer.len() != n || !is_permutation(answer) || !is_permutation(key) {
        return Fraction::ZERO;
    }
    let place_in_key = |element: u8| key.iter().position(|&own| own == element).unwrap_or(0);
    let places: Vec<usize> = answer
        .iter()
        .map(|&element| place_in_key(element))
        .collect();
    let n_right = match rule {
        OrderingRule::Unspecified | OrderingRule::Exact => usize::from(answer == key),
        OrderingRule::Positions => answer.iter().zip(key).filter(|(a, b)| a == b).count(),
        OrderingRule::Adjacent => places
            .windows(2)
            .filter(|pair| pair[0] + 1 == pair[1])
            .count(),
        OrderingRule::Inversions => {
            let is_behind = |i: usize, j: usize| places[i] < places[j];
            let n_behind = |i: usize| (i + 1..n).filter(|&j| is_behind(i, j)).count();
            (0..n).map(n_behind).sum()
        }
    };
    Fraction::new(as_i128(n_right), ordering_denominator(rule, n).max(1))
}

/// Returns what all shares of an ordering of `n` elements are whole multiples of one over.
pub(crate) fn ordering_denominator(rule: OrderingRule, n: usize) -> i128 {
    let n = as_i128(n);
    match rule {
        OrderingRule::Unspecified | OrderingRule::Exact => 1,
        OrderingRule::Positions => n,
        OrderingRule::Adjacent => n - 1,
        OrderingRule::Inversions => n * (n - 1) / 2,
    }
}

/// Tells whether the bytes are 0, 1, …, n-1 in some order.
pub(crate) fn is_permutation(bytes: &[u8]) -> bool {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    (0..)
        .zip(&sorted)
        .all(|(i, &byte): (usize, _)| i == usize::from(byte))
}

fn as_i128(n: usize) -> i128 {
    i128::try_from(n).expect("a usize has at most 64 bits")
}
