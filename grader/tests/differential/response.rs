//! Random answers: right, partly right, wrong, blank, oddly written.

use proto::{
    bank::v1::{ItemType, PaperItem},
    exam::v1::response::Value,
    key::v1::{BlankKey, ItemKey},
};
use rand::{RngExt, rngs::StdRng};

use crate::{
    item::{bytes, permutation},
    pick, words,
    words::UNIT,
};

/// Answers an item whose options are shown in an order; nothing is a blank.
pub(crate) fn random(
    item: &PaperItem,
    key: &ItemKey,
    option_order: &[u8],
    rng: &mut StdRng,
) -> Option<Value> {
    if rng.random_bool(0.06) {
        return None;
    }
    let n = item.options.len();
    Some(match item.r#type() {
        ItemType::SingleChoice | ItemType::TrueFalse | ItemType::MultipleChoice => {
            Value::Chosen(shown(chosen(item, key, rng), option_order))
        }
        ItemType::Cluster => Value::Sequence(bytes(&marks(n, sets(key, rng), rng))),
        ItemType::Matching => {
            let n_targets = item.targets.len();
            let right = pick(rng, &key.sequences);
            let targets: Vec<u8> = right.iter().map(|target| target + 1).collect();
            let any = |rng: &mut StdRng| rng.random_range(0..=n_targets);
            Value::Sequence(bytes(&spoiled(targets, any, rng)))
        }
        ItemType::Ordering => Value::Sequence(bytes(&order(n, key, rng))),
        ItemType::Numeric | ItemType::ShortText => Value::Text(written(&key.blanks[0], rng)),
        ItemType::Cloze => {
            let mut texts: Vec<String> =
                key.blanks.iter().map(|blank| written(blank, rng)).collect();
            if rng.random_bool(0.2) {
                texts.truncate(rng.random_range(0..=texts.len()));
            }
            Value::Text(texts.join("\u{1f}"))
        }
        ItemType::Prediction | ItemType::Unspecified => Value::Text(words::prediction(rng)),
    })
}

fn sets(key: &ItemKey, rng: &mut StdRng) -> u32 {
    let at = rng.random_range(0..=key.accepted.len());
    at.checked_sub(1)
        .map_or(key.right_options, |at| key.accepted[at])
}

/// Options as the key counts them.
fn chosen(item: &PaperItem, key: &ItemKey, rng: &mut StdRng) -> u32 {
    let n = item.options.len();
    let right = sets(key, rng);
    match rng.random_range(0..10) {
        0..5 => right,
        5..7 => right ^ 1 << rng.random_range(0..n),
        7 if item.r#type() != ItemType::MultipleChoice => 1 << rng.random_range(0..n),
        _ => rng.random_range(0..1 << n),
    }
}

/// Options as they are shown.
fn shown(canonical: u32, option_order: &[u8]) -> u32 {
    let slots = option_order.iter().enumerate();
    slots
        .filter(|(_, option)| canonical >> **option & 1 == 1)
        .fold(0, |bits, (slot, _)| bits | 1 << slot)
}

fn marks(n: usize, truths: u32, rng: &mut StdRng) -> Vec<u8> {
    let right = (0..n).map(|at| if truths >> at & 1 == 1 { 1 } else { 2 });
    spoiled(right.collect(), |rng| rng.random_range(0..3), rng)
}

/// Puts anything in some of the places, now and then nothing at all.
fn spoiled(mut right: Vec<u8>, any: impl Fn(&mut StdRng) -> usize, rng: &mut StdRng) -> Vec<u8> {
    let share = pick(rng, &[0.0, 0.0, 0.3, 0.5, 1.0]);
    for place in &mut right {
        if rng.random_bool(share) {
            *place = u8::try_from(any(rng)).expect("targets are few");
        }
    }
    match rng.random_range(0..20) {
        0 => Vec::new(),
        1 => vec![0; right.len()],
        _ => right,
    }
}

fn order(n: usize, key: &ItemKey, rng: &mut StdRng) -> Vec<u8> {
    let mut order = pick(rng, &key.sequences).to_vec();
    match rng.random_range(0..10) {
        0 => return Vec::new(),
        1..3 => return permutation(n, rng),
        3..5 => order.swap(rng.random_range(0..n), rng.random_range(0..n)),
        5 => order.rotate_left(1),
        6 => order.reverse(),
        _ => {}
    }
    order
}

fn written(blank: &BlankKey, rng: &mut StdRng) -> String {
    let right = pick(rng, &blank.accepted);
    if !blank.numeric {
        return words::written(&right, rng);
    }
    let Some(right) = units(&right) else {
        return right; // a key that is none
    };
    let absolute = units(&blank.tolerance).unwrap_or(0);
    let relative = units(&blank.relative_tolerance).unwrap_or(0);
    let share = relative
        .checked_mul(right.abs())
        .map_or(0, |product| product / UNIT);
    words::written_number(right, absolute.max(share), rng)
}

/// Reads a number of a key.
fn units(text: &str) -> Option<i128> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let digits: i128 = format!("{}{places:0<12}", whole.trim_start_matches('-'))
        .parse()
        .ok()?;
    Some(if negative { -digits } else { digits })
}
