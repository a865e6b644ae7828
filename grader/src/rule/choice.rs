//! Rules for choices: how many of the k right options count as earned.
//!
//! With K the key set of k options and A the chosen set: r = |A∩K|, w = |A\K|.
//! Sources: Ripkey after Tarasowa & Auer 2013; plus/minus after Betts et al. 2022 (PMC8725057). Graded cases:
//! testdata/choice.json.

/// k if A = K, else 0.
pub(super) fn all_or_nothing(key: u16, chosen: u16) -> u32 {
    if chosen == key { key.count_ones() } else { 0 }
}

/// r, or 0 if more than k are chosen.
pub(super) fn ripkey(key: u16, chosen: u16) -> u32 {
    if chosen.count_ones() > key.count_ones() {
        0
    } else {
        (chosen & key).count_ones()
    }
}

/// max(0, r - w).
pub(super) fn plus_minus(key: u16, chosen: u16) -> u32 {
    let wrong = (chosen & !key).count_ones();
    (chosen & key).count_ones().saturating_sub(wrong)
}

#[cfg(test)]
mod tests {
    use proto::bank::v1::{ItemType, MultipleRule};
    use serde::Deserialize;

    use crate::{Rule, Share};

    #[derive(Deserialize)]
    struct Table {
        key: String,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        chosen: String,
        all_or_nothing: u32,
        ripkey: u32,
        plus_minus: u32,
    }

    fn bits(letters: &str) -> u16 {
        letters
            .bytes()
            .fold(0, |bits, letter| bits | 1 << (letter - b'A'))
    }

    #[track_caller]
    fn check(rule: Rule, key: &str, chosen: &str, right: u32) {
        let of = u32::try_from(key.len()).unwrap();
        let share = rule.share(bits(key), bits(chosen));
        assert_eq!(share, Share { right, of }, "{rule:?}, {chosen} for {key}");
    }

    #[test]
    fn every_graded_case_earns_its_share() {
        let tables: Vec<Table> =
            serde_json::from_str(include_str!("../../testdata/choice.json")).unwrap();
        let mut n_cases = 0;
        for table in &tables {
            for case in &table.cases {
                check(
                    Rule::AllOrNothing,
                    &table.key,
                    &case.chosen,
                    case.all_or_nothing,
                );
                check(Rule::Ripkey, &table.key, &case.chosen, case.ripkey);
                check(Rule::PlusMinus, &table.key, &case.chosen, case.plus_minus);
                n_cases += 1;
            }
        }
        assert!(n_cases >= 16, "the file lost its cases");
    }

    #[test]
    fn a_single_choice_is_number_right_in_any_section() {
        for multiple in [
            MultipleRule::Unspecified,
            MultipleRule::AllOrNothing,
            MultipleRule::Ripkey,
            MultipleRule::PlusMinus,
        ] {
            for item_type in [ItemType::SingleChoice, ItemType::TrueFalse] {
                assert_eq!(Rule::of(item_type, multiple), Some(Rule::AllOrNothing));
            }
        }
        check(Rule::AllOrNothing, "B", "B", 1);
        check(Rule::AllOrNothing, "B", "BC", 0);
    }

    #[test]
    fn a_type_without_a_rule_has_none() {
        assert_eq!(Rule::of(ItemType::Prediction, MultipleRule::Ripkey), None);
        assert_eq!(Rule::of(ItemType::Cluster, MultipleRule::Ripkey), None);
    }
}
