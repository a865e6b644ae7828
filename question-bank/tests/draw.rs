//! Draws against vectors computed by another implementation, and against what must hold for every draw.

use std::collections::HashSet;

use proptest::prelude::*;
use prost::Message;
use proto::bank::v1::{
    Band, Blueprint, DifficultyWindow, ItemType, Option as PaperOption, PaperHalf, PaperItem,
    Section, Stratum,
};
use question_bank::draw::{Drawer, Scratch};
use serde_json::Value;

const SECRET: [u8; 32] = [7; 32];

/// The vectors were computed by `verifier`, which shares no code with this crate.
#[test]
fn papers_are_those_of_the_other_implementation() {
    let text = include_str!("../testdata/golden-draws.json");
    let golden: Value = serde_json::from_str(text).unwrap();
    let unhex = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let mut n_draws = 0;
    for case in golden["cases"].as_array().unwrap() {
        let half = PaperHalf::decode(unhex(&case["paper_half"]).as_slice()).unwrap();
        let secret = unhex(&case["secret"]).try_into().unwrap();
        let drawer = Drawer::new(&half, &secret).unwrap();
        let mut scratch = Scratch::default();
        for draw in case["draws"].as_array().unwrap() {
            let candidate = unhex(&draw["candidate"]).try_into().unwrap();
            let attempt = u32::try_from(draw["attempt"].as_u64().unwrap()).unwrap();
            let name = format!("{} {}", case["name"], draw["candidate"]);
            let drawn = drawer.draw(&candidate, attempt, &mut scratch);
            n_draws += 1;
            if draw["infeasible"] == true {
                assert!(drawn.is_err(), "{name}");
                continue;
            }
            let paper = drawn.unwrap();
            let numbers = |value: &Value| -> Vec<u64> {
                value
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|n| n.as_u64().unwrap())
                    .collect()
            };
            let ids: Vec<u64> = paper
                .entries
                .iter()
                .map(|entry| u64::from(entry.item_id))
                .collect();
            assert_eq!(ids, numbers(&draw["item_ids"]), "{name}");
            let orders: Vec<Vec<u64>> = paper
                .shown()
                .map(|(_, order)| order.iter().map(|index| u64::from(*index)).collect())
                .collect();
            let expected: Vec<Vec<u64>> = draw["option_orders"]
                .as_array()
                .unwrap()
                .iter()
                .map(numbers)
                .collect();
            assert_eq!(orders, expected, "{name}");
            assert_eq!(
                hex::encode(paper.form_code),
                draw["form_code"].as_str().unwrap(),
                "{name}"
            );
            assert_eq!(
                paper.repaired,
                draw["repaired"].as_bool().unwrap(),
                "{name}"
            );
        }
    }
    assert_eq!(n_draws, 32);
}

/// Four strata of `n` items; every item's last option is pinned, every fifth belongs to one of three exclusion sets.
fn half(n: u32, quota: u32, window: Option<DifficultyWindow>) -> PaperHalf {
    let strata: Vec<Stratum> = ["a", "b", "c", "d"]
        .map(|topic| Stratum {
            topic: topic.to_owned(),
            any_band: true,
            quota,
            band: 0,
        })
        .to_vec();
    let items = (1..=4 * n)
        .map(|item_id| PaperItem {
            item_id,
            r#type: ItemType::SingleChoice.into(),
            options: (0..4)
                .map(|index| PaperOption {
                    text: format!("{index}"),
                    pinned: index == 3,
                })
                .collect(),
            topic: strata[(item_id % 4) as usize].topic.clone(),
            band: Band::Recognition.into(),
            facility_milli: 300 + item_id * 37 % 500,
            exclusion_sets: if item_id % 5 == 0 {
                vec![item_id % 3]
            } else {
                vec![]
            },
            ..PaperItem::default()
        })
        .collect();
    let section = Section {
        strata,
        mark: "1".to_owned(),
        shuffle_items: true,
        shuffle_options: true,
        ..Section::default()
    };
    PaperHalf {
        format: 1,
        exam_id: "thi".to_owned(),
        release_no: 1,
        release_hash: vec![1; 32].into(),
        blueprint: Blueprint {
            sections: vec![section],
            window,
            ..Blueprint::default()
        }
        .encode_to_vec()
        .into(),
        items,
        draw_algorithm: 1,
    }
}

proptest! {
    #[test]
    fn a_paper_keeps_quotas_exclusions_window_and_pins(candidate: [u8; 16], attempt in 1u32..9, quota in 1u32..8) {
        let window = DifficultyWindow { target_milli: quota * 4 * 550, tolerance_milli: 250 };
        let half = half(40, quota, Some(window));
        let drawer = Drawer::new(&half, &SECRET).unwrap();
        let mut scratch = Scratch::default();
        let paper = drawer.draw(&candidate, attempt, &mut scratch).unwrap();
        let again = drawer.draw(&candidate, attempt, &mut scratch).unwrap();
        prop_assert_eq!(&paper, &again, "a paper depends on nothing that came before");
        let items: Vec<&PaperItem> = paper.entries.iter().map(|entry| &half.items[entry.index as usize]).collect();
        let ids: HashSet<u32> = items.iter().map(|item| item.item_id).collect();
        prop_assert_eq!(ids.len(), items.len());
        for topic in ["a", "b", "c", "d"] {
            let n = items.iter().filter(|item| item.topic == topic).count();
            prop_assert_eq!(n, quota as usize);
        }
        let sets: Vec<u32> = items.iter().flat_map(|item| item.exclusion_sets.iter().copied()).collect();
        let distinct: HashSet<u32> = sets.iter().copied().collect();
        prop_assert_eq!(sets.len(), distinct.len());
        if !paper.repaired {
            let sum: u32 = items.iter().map(|item| item.facility_milli).sum();
            prop_assert!(sum.abs_diff(window.target_milli) <= window.tolerance_milli);
        }
        for (_, order) in paper.shown() {
            prop_assert_eq!(order[3], 3, "a pinned option stays");
            let mut sorted = order.to_vec();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, [0, 1, 2, 3]);
        }
    }
}

/// Every item of a stratum is drawn about equally often, and every option comes first about equally often: chi-square far
/// below what a biased draw gives (the seeds are fixed, so the test always sees the same numbers).
#[test]
fn draws_are_uniform() {
    let half = half(10, 5, None);
    let drawer = Drawer::new(&half, &SECRET).unwrap();
    let mut scratch = Scratch::default();
    let (mut drawn, mut first) = ([0u32; 41], [0u32; 4]);
    let n_papers = 4_000u32;
    for n in 0..n_papers {
        let mut candidate = [0; 16];
        candidate[..4].copy_from_slice(&n.to_le_bytes());
        let paper = drawer.draw(&candidate, 1, &mut scratch).unwrap();
        for (entry, order) in paper.shown() {
            drawn[entry.item_id as usize] += 1;
            first[usize::from(order[0])] += 1;
        }
    }
    let plain: Vec<u32> = (1..=40)
        .filter(|id| id % 5 != 0)
        .map(|id| drawn[id])
        .collect();
    let chi = |counts: &[u32]| {
        let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts
            .iter()
            .map(|count| (f64::from(*count) - mean).powi(2) / mean)
            .sum::<f64>()
    };
    // 31 degrees of freedom: 99.9 % lie below 61; items of exclusion sets are drawn less often and left out.
    assert!(chi(&plain) < 61.0, "{}", chi(&plain));
    assert!(chi(&first[..3]) < 13.8, "{first:?}");
    assert_eq!(first[3], 0);
    // Negative control: one item drawn a fifth more often is seen.
    let mut biased = plain.clone();
    biased[0] += biased[0] / 5;
    assert!(chi(&biased) > chi(&plain) + 30.0);
}
