//! Rules for matchings and orderings: sequences compared element by element.
//!
//! Sources: right stems of all stems as in Moodle's matching; orderings exact, by positions, by neighbours, by pairs
//! (Kendall's inversions). Graded cases: testdata/pairing.json.

use proto::bank::v1::OrderingRule;

use super::Share;

/// Returns the share of a matching; 0 is an option without a target, else 1 + the target.
pub(super) fn matching(key: &[u8], answer: &[u8]) -> Share {
    let right = key.iter().zip(answer).filter(|(k, a)| **a == **k + 1);
    Share {
        right: count(right.count()),
        of: count(key.len()),
    }
}

/// Returns the share of an ordering; both are permutations.
pub(super) fn ordering(rule: OrderingRule, key: &[u8], answer: &[u8]) -> Share {
    let right = match rule {
        OrderingRule::Unspecified | OrderingRule::Exact => usize::from(key == answer),
        OrderingRule::Positions => key.iter().zip(answer).filter(|(k, a)| k == a).count(),
        OrderingRule::Adjacent => answer
            .windows(2)
            .filter(|pair| key.windows(2).any(|right| right == *pair))
            .count(),
        OrderingRule::Inversions => pairs_in_order(key, answer),
    };
    Share {
        right: count(right),
        of: ordering_denominator(rule, key.len()),
    }
}

pub(super) fn ordering_denominator(rule: OrderingRule, n: usize) -> u32 {
    let n = count(n);
    match rule {
        OrderingRule::Unspecified | OrderingRule::Exact => 1,
        OrderingRule::Positions => n,
        OrderingRule::Adjacent => n - 1,
        OrderingRule::Inversions => n * (n - 1) / 2,
    }
}

fn pairs_in_order(key: &[u8], answer: &[u8]) -> usize {
    let place = |element: &u8| key.iter().position(|k| k == element);
    let behind = |(at, first): (usize, &u8)| {
        let rest = answer[at + 1..].iter();
        rest.filter(|next| place(first) < place(next)).count()
    };
    answer.iter().enumerate().map(behind).sum()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("items have at most 12 options")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Table {
        source: String,
        key: Vec<u8>,
        /// Answer, then numerators: matching, or exact, positions, adjacent, inversions.
        cases: Vec<(Vec<u8>, Vec<u32>)>,
    }

    #[test]
    fn every_graded_case_earns_its_share() {
        let tables: Vec<Table> =
            serde_json::from_str(include_str!("../../testdata/pairing.json")).unwrap();
        for table in tables {
            for (answer, expected) in table.cases {
                let shares = if expected.len() == 1 {
                    vec![matching(&table.key, &answer)]
                } else {
                    [
                        OrderingRule::Exact,
                        OrderingRule::Positions,
                        OrderingRule::Adjacent,
                        OrderingRule::Inversions,
                    ]
                    .map(|rule| ordering(rule, &table.key, &answer))
                    .to_vec()
                };
                let right: Vec<u32> = shares.iter().map(|share| share.right).collect();
                assert_eq!(right, expected, "{}: {answer:?}", table.source);
                let whole = answer == table.key;
                assert!(!whole || shares.len() == 1 || shares.iter().all(|share| share.is_full()));
            }
        }
    }
}
