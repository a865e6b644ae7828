//! Attempts that are the same answer for answer, wrong ones included, anywhere in the exam.
//!
//! Sheets with the same items and choices meet by their hash, so the work is linear and no place is needed. Pairs on
//! different papers that agree in all common items are found by [`copying`](super::copying).

use std::collections::HashMap;

use super::{
    limits::Limits,
    model::Model,
    multiple::bonferroni,
    report::{Fact, Flag, Kind},
    sheet::{Sheets, Stop},
};

/// Finds groups of equal sheets that chance does not explain among all pairs.
pub(crate) fn look(sheets: &Sheets, model: &Model, limits: &Limits, stop: Stop) -> Vec<Flag> {
    let mut groups: HashMap<[u8; 32], Vec<u32>> = HashMap::new();
    for at in 0..sheets.all.len() {
        if stop.at(at) {
            return Vec::new();
        }
        let at = u32::try_from(at).expect("fewer than 2^32 attempts");
        if let Some(hash) = hash(sheets, at, limits.min_double_wrong) {
            groups.entry(hash).or_default().push(at);
        }
    }
    let n = sheets.all.len() as u64;
    let n_pairs = n * n.saturating_sub(1) / 2;
    let flags = groups.into_values().filter_map(|group| {
        let p_value = chance(sheets, model, group[0]);
        let p_any = bonferroni(p_value, n_pairs);
        (sheets.n_persons(&group) > 1 && p_any <= limits.alpha).then(|| Flag {
            attempts: sheets.attempt_ids(&group),
            n_attempts: group.len() as u64,
            p_value: Some(p_value),
            p_any: Some(p_any),
            facts: facts(sheets, group[0]),
            ..Flag::of(Kind::Double)
        })
    });
    flags.collect()
}

/// Returns the hash of what was chosen; none if too little of it is wrong.
fn hash(sheets: &Sheets, at: u32, min_wrong: u32) -> Option<[u8; 32]> {
    let answers = &sheets.sitting(at).answers;
    let n_wrong = answers.iter().filter(|answer| answer.is_wrong()).count();
    if n_wrong < min_wrong as usize {
        return None;
    }
    let chosen = answers.iter().filter(|answer| answer.chosen != 0);
    let mut chosen: Vec<(u16, u16)> = chosen
        .map(|answer| (answer.item_idx, answer.chosen))
        .collect();
    chosen.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for (item_idx, chosen) in chosen {
        hasher.update(&item_idx.to_le_bytes());
        hasher.update(&chosen.to_le_bytes());
    }
    Some(*hasher.finalize().as_bytes())
}

/// Returns how probable it is that two persons of this sheet's score agree in all of its answers.
fn chance(sheets: &Sheets, model: &Model, at: u32) -> f64 {
    let answers = sheets.sitting(at).answers.iter();
    let answers = answers.filter(|answer| answer.chosen != 0);
    answers
        .map(|answer| model.p_alike(at, at, answer.item_idx))
        .product()
}

fn facts(sheets: &Sheets, at: u32) -> Vec<Fact> {
    let answers = &sheets.sitting(at).answers;
    let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let n_answered = answers.iter().filter(|answer| answer.chosen != 0).count();
    let n_wrong = answers.iter().filter(|answer| answer.is_wrong()).count();
    vec![
        Fact {
            name: "answered",
            value: count(n_answered),
        },
        Fact {
            name: "wrong",
            value: count(n_wrong),
        },
    ]
}
