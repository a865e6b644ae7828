//! Shares of choices and clusters: sets of options.
//!
//! Source: `docs/FORMATS.md`, section 4; the rules' names are those of `bank.proto`.

use proto::bank::v1::MultipleRule;

use crate::score::fraction::Fraction;

/// Percent of the mark by number of right statements of four (Vietnam, Decision 764/QĐ-BGDĐT).
const CLUSTER_OF_FOUR: [u32; 5] = [0, 10, 25, 50, 100];

/// Turns bits in the order shown into bits in canonical order.
pub(crate) fn to_canonical(shown: u32, option_order: &[u8]) -> u32 {
    let is_chosen = |slot: usize| u64::from(shown) >> slot.min(63) & 1 == 1;
    let slots = option_order.iter().enumerate();
    let chosen = slots.filter(|(slot, _)| is_chosen(*slot));
    chosen.fold(0, |bits, (_, &option)| {
        bits | 1_u32.checked_shl(u32::from(option)).unwrap_or(0)
    })
}

/// Returns all or nothing.
pub(crate) fn if_right(is_right: bool) -> Fraction {
    if is_right {
        Fraction::ONE
    } else {
        Fraction::ZERO
    }
}

/// Returns the share of a set chosen from `n` options, at least one of them right.
pub(crate) fn multiple(rule: MultipleRule, n: i128, chosen: u32, right: u32) -> Fraction {
    let count = |set: u32| i128::from(set.count_ones());
    let k = count(right);
    let r = count(chosen & right);
    let w = count(chosen & !right);
    let n_judged_right = r + n - k - w; // right ones chosen, wrong ones left alone
    match rule {
        MultipleRule::Unspecified | MultipleRule::AllOrNothing => if_right(chosen == right),
        MultipleRule::Ripkey if r + w > k => Fraction::ZERO,
        MultipleRule::Ripkey => Fraction::new(r, k),
        MultipleRule::PlusMinus => Fraction::new((r - w).max(0), k),
        MultipleRule::Balanced if n == k => Fraction::new(r, k),
        MultipleRule::Balanced => {
            let (gain, loss) = (Fraction::new(r, k), Fraction::new(w, n - k));
            gain.minus(loss).or_zero()
        }
        MultipleRule::EachOption => Fraction::new(n_judged_right, n),
        MultipleRule::Half if n_judged_right == n => Fraction::ONE,
        MultipleRule::Half if 2 * n_judged_right >= n => Fraction::new(1, 2),
        MultipleRule::Half => Fraction::ZERO,
    }
}

/// Returns what all shares under a rule are whole multiples of one over.
pub(crate) fn multiple_denominator(rule: MultipleRule, n: i128, right: u32) -> i128 {
    let k = i128::from(right.count_ones());
    match rule {
        MultipleRule::Unspecified
        | MultipleRule::AllOrNothing
        | MultipleRule::Ripkey
        | MultipleRule::PlusMinus => k,
        MultipleRule::Balanced if n == k => k,
        MultipleRule::Balanced => k * (n - k),
        MultipleRule::EachOption => n,
        MultipleRule::Half => 2,
    }
}

/// Returns the share of a marked cluster of `n` statements; `right` has the true ones as bits.
pub(crate) fn cluster(percent: &[u32], n: i128, marks: &[u8], right: u32) -> Fraction {
    let is_right = |(statement, mark): (u32, &u8)| {
        let is_true = u64::from(right) >> statement.min(63) & 1 == 1;
        *mark == if is_true { 1 } else { 2 }
    };
    let statements = (0..).zip(marks).take(usize::try_from(n).unwrap_or(0));
    cluster_share(
        percent,
        n,
        statements.filter(|pair| is_right(*pair)).count(),
    )
}

/// Returns the share for a number of right statements.
pub(crate) fn cluster_share(percent: &[u32], n: i128, n_right: usize) -> Fraction {
    match cluster_table(percent, n) {
        Some(table) => {
            let percent = table.get(n_right).copied().unwrap_or(0); // tables are long enough: checked with the package
            Fraction::new(percent.into(), 100)
        }
        None => Fraction::new(i128::try_from(n_right).unwrap_or(0), n),
    }
}

/// Returns what all shares of a cluster are whole multiples of one over.
pub(crate) fn cluster_denominator(percent: &[u32], n: i128) -> i128 {
    if cluster_table(percent, n).is_some() {
        100
    } else {
        n
    }
}

fn cluster_table(percent: &[u32], n: i128) -> Option<&[u32]> {
    match percent {
        [] if n == 4 => Some(&CLUSTER_OF_FOUR),
        [] => None,
        own => Some(own),
    }
}
