//! What is right for an item, and what is not, as a candidate would answer it (docs/FORMATS.md section 4).

use proto::{
    bank::v1::{ItemType, PaperItem},
    key::v1::ItemKey,
};

use crate::session::Response;

/// No key says this, in any alphabet that items are written in.
const NONSENSE: &str = "\u{2717}";
/// Joins the texts of a cloze's blanks.
const BLANK_SEPARATOR: &str = "\u{1f}";

/// Returns a response with the full mark; none for an item that has none.
pub(super) fn right(item: &PaperItem, key: &ItemKey, order: &[u8]) -> Option<Response> {
    let n_options = item.options.len();
    match item.r#type() {
        ItemType::SingleChoice | ItemType::MultipleChoice | ItemType::TrueFalse => Some(
            Response::Chosen(shown(*right_sets(item, key).first()?, order)),
        ),
        ItemType::Cluster => Some(Response::Sequence(statements(key, n_options, false))),
        ItemType::Matching => {
            let targets = key.sequences.first()?;
            Some(Response::Sequence(
                targets.iter().map(|target| target + 1).collect(),
            ))
        }
        ItemType::Ordering => Some(Response::Sequence(key.sequences.first()?.to_vec())),
        ItemType::Numeric | ItemType::ShortText | ItemType::Cloze => {
            let texts: Option<Vec<&str>> = key
                .blanks
                .iter()
                .map(|blank| blank.accepted.first().map(String::as_str))
                .collect();
            Some(Response::Text(texts?.join(BLANK_SEPARATOR)))
        }
        ItemType::Prediction | ItemType::Unspecified => None,
    }
}

/// Returns a response without the full mark; none if every response has it, or there is no mark.
pub(super) fn wrong(item: &PaperItem, key: &ItemKey, order: &[u8]) -> Option<Response> {
    let n_options = item.options.len();
    match item.r#type() {
        ItemType::SingleChoice | ItemType::TrueFalse => {
            let sets = right_sets(item, key);
            let mut bits = (0..n_options).map(|option| 1 << option);
            bits.find(|bit| !sets.contains(bit))
                .map(|bit| Response::Chosen(shown(bit, order)))
        }
        ItemType::MultipleChoice => {
            let sets = right_sets(item, key);
            let mut bits = 1..1 << n_options;
            bits.find(|bits| !sets.contains(bits))
                .map(|bits| Response::Chosen(shown(bits, order)))
        }
        ItemType::Cluster => Some(Response::Sequence(statements(key, n_options, true))),
        ItemType::Matching => {
            let n_targets = u8::try_from(item.targets.len()).unwrap_or(u8::MAX);
            let mut guesses = (1..=n_targets).map(|target| vec![target; n_options]);
            let is_right = |guess: &Vec<u8>| {
                let mut rights = key.sequences.iter();
                rights.any(|right| {
                    right
                        .iter()
                        .map(|target| target + 1)
                        .eq(guess.iter().copied())
                })
            };
            guesses
                .find(|guess| !is_right(guess))
                .map(Response::Sequence)
        }
        ItemType::Ordering => {
            let rotated = |by: usize| {
                let mut order: Vec<u8> = (0..).take(n_options).collect();
                order.rotate_left(by);
                order
            };
            let mut guesses = (0..n_options).map(rotated);
            let is_right = |guess: &Vec<u8>| key.sequences.iter().any(|right| **right == **guess);
            guesses
                .find(|guess| !is_right(guess))
                .map(Response::Sequence)
        }
        ItemType::Numeric | ItemType::ShortText | ItemType::Cloze => {
            Some(Response::Text(NONSENSE.to_owned()))
        }
        ItemType::Prediction | ItemType::Unspecified => None,
    }
}

/// Sets of options that are right, canonical.
fn right_sets(item: &PaperItem, key: &ItemKey) -> Vec<u32> {
    let first = key.right_options;
    let mut sets = match item.r#type() {
        ItemType::MultipleChoice => vec![first],
        _ => (0..u32::BITS).map(|option| first & 1 << option).collect(),
    };
    sets.extend(&key.accepted);
    sets.retain(|set| *set != 0);
    sets
}

/// Turns canonical options into those of the paper.
fn shown(canonical: u32, order: &[u8]) -> u32 {
    let places = (0..).zip(order);
    places
        .filter(|(_, option)| canonical >> **option & 1 == 1)
        .fold(0, |bits, (place, _): (u32, _)| bits | 1 << place)
}

/// Marks every statement as the key has it, or the other way round.
fn statements(key: &ItemKey, n_options: usize, is_reversed: bool) -> Vec<u8> {
    let is_true = |statement| key.right_options >> statement & 1 == 1;
    let mark = |statement| {
        if is_true(statement) == is_reversed {
            2
        } else {
            1
        }
    };
    (0..n_options).map(mark).collect()
}

#[cfg(test)]
mod tests {
    use proto::{bank::v1::Option as ShownOption, key::v1::BlankKey};

    use super::*;

    fn item(item_type: ItemType, n_options: usize) -> PaperItem {
        PaperItem {
            r#type: item_type.into(),
            options: vec![ShownOption::default(); n_options],
            targets: vec![ShownOption::default(); 3],
            ..PaperItem::default()
        }
    }

    #[track_caller]
    fn check(item: &PaperItem, key: &ItemKey, expected: &[Option<Response>; 2]) {
        let order: Vec<u8> = (0..).take(item.options.len()).collect::<Vec<_>>();
        let order: Vec<u8> = order.into_iter().rev().collect();
        assert_eq!(
            &[right(item, key, &order), wrong(item, key, &order)],
            expected
        );
    }

    #[test]
    fn right_and_wrong_of_every_type() {
        let options = |bits| Some(Response::Chosen(bits));
        let sequence = |bytes: &[u8]| Some(Response::Sequence(bytes.to_vec()));
        let text = |text: &str| Some(Response::Text(text.to_owned()));
        let key = ItemKey {
            right_options: 0b0001,
            ..ItemKey::default()
        };
        // options are shown from the last to the first
        check(
            &item(ItemType::SingleChoice, 4),
            &key,
            &[options(0b1000), options(0b0100)],
        );
        check(
            &item(ItemType::MultipleChoice, 4),
            &key,
            &[options(0b1000), options(0b0100)],
        );
        check(
            &item(ItemType::Cluster, 3),
            &key,
            &[sequence(&[1, 2, 2]), sequence(&[2, 1, 1])],
        );
        let all = ItemKey {
            right_options: 0b11,
            ..ItemKey::default()
        };
        check(&item(ItemType::TrueFalse, 2), &all, &[options(0b10), None]);
        check(
            &item(ItemType::MultipleChoice, 2),
            &all,
            &[options(0b11), options(0b10)],
        );
        let order = ItemKey {
            sequences: vec![vec![0, 1, 2].into()],
            ..ItemKey::default()
        };
        check(
            &item(ItemType::Ordering, 3),
            &order,
            &[sequence(&[0, 1, 2]), sequence(&[1, 2, 0])],
        );
        check(
            &item(ItemType::Matching, 3),
            &order,
            &[sequence(&[1, 2, 3]), sequence(&[1, 1, 1])],
        );
        let blank = |text: &str| BlankKey {
            accepted: vec![text.to_owned()],
            ..BlankKey::default()
        };
        let blanks = ItemKey {
            blanks: vec![blank("a"), blank("b")],
            ..ItemKey::default()
        };
        check(
            &item(ItemType::Cloze, 0),
            &blanks,
            &[text("a\u{1f}b"), text(NONSENSE)],
        );
        check(&item(ItemType::Prediction, 0), &key, &[None, None]);
    }
}
