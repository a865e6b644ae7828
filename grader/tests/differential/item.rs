//! Random items of every type, with keys that fit them.

use proto::{
    bank::v1::{Band, ItemType, Option as ItemOption, PaperItem},
    key::v1::{BlankKey, ItemKey},
};
use rand::{RngExt, rngs::StdRng};

use crate::{
    pick,
    words::{in_key, right_number, right_text},
};

/// Types that earn marks.
pub(crate) const SCORED: [ItemType; 9] = [
    ItemType::SingleChoice,
    ItemType::TrueFalse,
    ItemType::MultipleChoice,
    ItemType::Cluster,
    ItemType::Matching,
    ItemType::Ordering,
    ItemType::Numeric,
    ItemType::ShortText,
    ItemType::Cloze,
];

/// Makes an item and its key.
pub(crate) fn random(
    item_id: u32,
    item_type: ItemType,
    topic: &str,
    band: Band,
    rng: &mut StdRng,
) -> (PaperItem, ItemKey) {
    let revision = bytes(blake3::hash(&item_id.to_le_bytes()).as_bytes());
    let (n_options, n_targets, n_blanks) = parts(item_type, rng);
    let item = PaperItem {
        item_id,
        revision: revision.clone(),
        r#type: item_type.into(),
        text: "?".to_owned(),
        options: options(n_options, rng),
        topic: topic.to_owned(),
        band: band.into(),
        facility_milli: 500,
        exclusion_sets: Vec::new(),
        targets: options(n_targets, rng),
        n_blanks,
    };
    let mut key = key(&item, rng);
    key.item_id = item_id;
    key.revision = revision;
    key.fatal = rng.random_bool(0.1);
    (item, key)
}

pub(crate) fn bytes(from: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(from)
}

fn options(n: usize, rng: &mut StdRng) -> Vec<ItemOption> {
    let option = |n| ItemOption {
        text: format!("{n}"),
        pinned: rng.random_bool(0.1),
    };
    (0..n).map(option).collect()
}

/// Options, targets, blanks.
fn parts(item_type: ItemType, rng: &mut StdRng) -> (usize, usize, u32) {
    let some = pick(rng, &[2, 3, 4, 4, 4, 5, 6, 12]);
    match item_type {
        ItemType::TrueFalse => (2, 0, 0),
        ItemType::SingleChoice | ItemType::MultipleChoice | ItemType::Ordering => (some, 0, 0),
        ItemType::Cluster => (pick(rng, &[1, 2, 3, 4, 4, 4, 5]), 0, 0),
        ItemType::Matching => (some.min(6), rng.random_range(2..6), 0),
        ItemType::Cloze => (0, 0, pick(rng, &[1, 2, 3, 5])),
        _ => (0, 0, 0),
    }
}

fn key(item: &PaperItem, rng: &mut StdRng) -> ItemKey {
    let n = item.options.len();
    let mut key = ItemKey::default();
    let n_more = pick(rng, &[0, 0, 0, 1, 2]);
    match item.r#type() {
        ItemType::SingleChoice | ItemType::TrueFalse => {
            key.right_options = 1 << rng.random_range(0..n);
            if rng.random_bool(0.1) {
                key.right_options |= 1 << rng.random_range(0..n);
            }
            key.accepted = (0..n_more / 2)
                .map(|_| 1 << rng.random_range(0..n))
                .collect();
        }
        ItemType::MultipleChoice => {
            key.right_options = rng.random_range(1..1 << n);
            key.accepted = (0..n_more).map(|_| rng.random_range(1..1 << n)).collect();
        }
        ItemType::Cluster => {
            key.right_options = rng.random_range(0..1 << n);
            key.accepted = (0..n_more).map(|_| rng.random_range(0..1 << n)).collect();
        }
        ItemType::Matching => {
            let n_targets = u8::try_from(item.targets.len()).expect("targets are few");
            let target = |rng: &mut StdRng| rng.random_range(0..n_targets);
            let mut sequence = || (0..n).map(|_| target(rng)).collect::<Vec<_>>().into();
            key.sequences = (0..=n_more).map(|_| sequence()).collect();
        }
        ItemType::Ordering => {
            key.sequences = (0..=n_more).map(|_| permutation(n, rng).into()).collect();
        }
        ItemType::Numeric => key.blanks = vec![blank(true, rng)],
        ItemType::ShortText => key.blanks = vec![blank(false, rng)],
        ItemType::Cloze => {
            let n_blanks = item.n_blanks;
            key.blanks = (0..n_blanks)
                .map(|_| {
                    let numeric = rng.random_bool(0.3);
                    blank(numeric, rng)
                })
                .collect();
        }
        ItemType::Prediction | ItemType::Unspecified => {}
    }
    key
}

pub(crate) fn permutation(n: usize, rng: &mut StdRng) -> Vec<u8> {
    let mut order: Vec<u8> = (0..=u8::MAX).take(n).collect();
    for at in (1..n).rev() {
        order.swap(at, rng.random_range(0..=at));
    }
    order
}

fn blank(numeric: bool, rng: &mut StdRng) -> BlankKey {
    let n_accepted = pick(rng, &[1, 1, 1, 2, 3]);
    let mut key = BlankKey {
        numeric,
        weight: pick(rng, &[0, 0, 1, 2, 3, 7]),
        case_sensitive: rng.random(),
        ignore_diacritics: rng.random(),
        ..BlankKey::default()
    };
    if !numeric {
        key.accepted = (0..n_accepted).map(|_| right_text(rng)).collect();
        return key;
    }
    key.accepted = (0..n_accepted).map(|_| right_number(rng).1).collect();
    let tolerances = ["", "", "0", "0.5", "0.001", "10", "0.000000000001"];
    key.tolerance = pick(rng, &tolerances).to_owned();
    key.relative_tolerance = match rng.random_range(0..6) {
        0 => "0.01".to_owned(),
        1 => "0.333333333333".to_owned(),
        2 if rng.random_bool(0.3) => in_key(right_number(rng).0.abs()),
        _ => String::new(),
    };
    key
}
