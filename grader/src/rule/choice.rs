//! Rules for choices: what share of the mark a chosen set earns.
//!
//! With K the key set of k of the n options and A the chosen set, which is not empty: r = |A∩K|, w = |A\K|.
//! Sources: Ripkey after Tarasowa & Auer 2013; plus/minus after Betts et al. 2022 (PMC8725057); each option (PS1/n)
//! and half (PS50) after table 2 of PMC10131704. Graded cases: testdata/choice.json.

use proto::bank::v1::MultipleRule;

use super::Share;

/// Returns the share under a section's rule.
pub(super) fn share(rule: MultipleRule, n_options: u8, key: u16, chosen: u16) -> Share {
    let k = key.count_ones();
    let n = u32::from(n_options);
    let r = (chosen & key).count_ones();
    let w = (chosen & !key).count_ones();
    let n_as_they_should = r + (n - k - w);
    let of = denominator(rule, n_options, key);
    let right = match rule {
        MultipleRule::Unspecified | MultipleRule::AllOrNothing => {
            if chosen == key {
                k
            } else {
                0
            }
        }
        MultipleRule::Ripkey => {
            if r + w > k {
                0
            } else {
                r
            }
        }
        MultipleRule::PlusMinus => r.saturating_sub(w),
        MultipleRule::Balanced if n == k => r,
        MultipleRule::Balanced => (r * (n - k)).saturating_sub(w * k),
        MultipleRule::EachOption => n_as_they_should,
        MultipleRule::Half if chosen == key => 2,
        MultipleRule::Half => u32::from(2 * n_as_they_should >= n),
    };
    Share { right, of }
}

/// Returns the denominator of [`share`], whatever is chosen.
pub(super) fn denominator(rule: MultipleRule, n_options: u8, key: u16) -> u32 {
    let k = key.count_ones();
    let n = u32::from(n_options);
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Table {
        n: u8,
        key: String,
        cases: Vec<Case>,
    }

    /// What a choice earns by each rule: numerators over k, k, k, k(n-k), n and 2.
    #[derive(Deserialize)]
    struct Case {
        chosen: String,
        all_or_nothing: u32,
        ripkey: u32,
        plus_minus: u32,
        balanced: u32,
        each_option: u32,
        half: u32,
    }

    fn bits(letters: &str) -> u16 {
        letters
            .bytes()
            .fold(0, |bits, letter| bits | 1 << (letter - b'A'))
    }

    #[test]
    fn every_graded_case_earns_its_share() {
        let tables: Vec<Table> =
            serde_json::from_str(include_str!("../../testdata/choice.json")).unwrap();
        let mut n_cases = 0;
        for table in &tables {
            let n = u32::from(table.n);
            let k = u32::try_from(table.key.len()).unwrap();
            let balanced = if n == k { k } else { k * (n - k) };
            for case in &table.cases {
                for (rule, right, of) in [
                    (MultipleRule::Unspecified, case.all_or_nothing, k),
                    (MultipleRule::AllOrNothing, case.all_or_nothing, k),
                    (MultipleRule::Ripkey, case.ripkey, k),
                    (MultipleRule::PlusMinus, case.plus_minus, k),
                    (MultipleRule::Balanced, case.balanced, balanced),
                    (MultipleRule::EachOption, case.each_option, n),
                    (MultipleRule::Half, case.half, 2),
                ] {
                    let share = share(rule, table.n, bits(&table.key), bits(&case.chosen));
                    assert_eq!(
                        share,
                        Share { right, of },
                        "{rule:?}: {} for {} of {}",
                        case.chosen,
                        table.key,
                        table.n
                    );
                    n_cases += 1;
                }
            }
        }
        assert!(n_cases >= 100, "the file lost its cases");
    }
}
