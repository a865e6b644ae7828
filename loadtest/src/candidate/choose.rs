//! What a candidate answers who does not know the key.
//!
//! Each item has an option that most people would take, the same for everybody. A candidate takes it
//! with a probability of its own and guesses otherwise, so scores spread as they do in a real exam.

use proto::{
    bank::v1::ItemType,
    exam::v1::{Response, ShownItem, response::Value},
};

/// Returns a response of the kind the item asks for.
pub(crate) fn response(item: &ShownItem, ability: f64, dice: u64) -> Response {
    let n_options = item.options.len().max(1);
    let value = match item.r#type() {
        ItemType::Matching | ItemType::Ordering => Value::Sequence(order(n_options, dice).into()),
        ItemType::Numeric => Value::Text((dice % 100).to_string()),
        ItemType::ShortText | ItemType::Cloze | ItemType::Prediction => {
            Value::Text(format!("trả lời {}", dice % 100))
        }
        ItemType::MultipleChoice | ItemType::Cluster => {
            Value::Chosen(1 << one_option(item, ability, dice) | 1 << below(n_options, dice >> 8))
        }
        ItemType::SingleChoice | ItemType::TrueFalse | ItemType::Unspecified => {
            Value::Chosen(1 << one_option(item, ability, dice))
        }
    };
    Response { value: Some(value) }
}

fn one_option(item: &ShownItem, ability: f64, dice: u64) -> usize {
    let follows = (dice >> 32) as f64 / f64::from(u32::MAX) < ability;
    if follows {
        popular(item)
    } else {
        below(item.options.len(), dice)
    }
}

/// The option most people would take: it depends on texts only, not on the order shown.
fn popular(item: &ShownItem) -> usize {
    let weight = |index: &usize| fnv1a(&[&item.text, &item.options[*index].text]);
    (0..item.options.len())
        .max_by_key(weight)
        .unwrap_or_default()
}

fn order(n_options: usize, dice: u64) -> Vec<u8> {
    let mut order: Vec<u8> = (0..u8::try_from(n_options).unwrap_or(u8::MAX)).collect();
    order.rotate_left(below(n_options, dice));
    order
}

fn below(n: usize, dice: u64) -> usize {
    let n = u64::try_from(n.max(1)).unwrap_or(1);
    usize::try_from(dice % n).unwrap_or_default()
}

/// FNV-1a, 64 bit: the same on every machine and version.
fn fnv1a(texts: &[&str]) -> u64 {
    texts
        .iter()
        .flat_map(|text| text.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::ShownOption;

    use super::*;

    fn item(item_type: ItemType, options: &[&str]) -> ShownItem {
        let options = options.iter().map(|text| ShownOption {
            text: (*text).to_owned(),
        });
        ShownItem {
            text: "Sông nào dài nhất?".to_owned(),
            options: options.collect(),
            r#type: item_type.into(),
            ..ShownItem::default()
        }
    }

    fn chosen(item: &ShownItem, ability: f64, dice: u64) -> u32 {
        match response(item, ability, dice).value {
            Some(Value::Chosen(bits)) => bits,
            other => panic!("not a choice: {other:?}"),
        }
    }

    const DICE: u64 = 0x1234_5678_9abc_def1;

    #[test]
    fn a_choice_stays_within_the_options() {
        let single = item(ItemType::SingleChoice, &["a", "b", "c"]);
        let multiple = item(ItemType::MultipleChoice, &["a", "b", "c"]);
        for dice in (0..2_000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let bits = chosen(&single, 0.5, dice);
            assert!(bits.count_ones() == 1 && bits < 8, "{bits:b}");
            let bits = chosen(&multiple, 0.5, dice);
            assert!((1..=2).contains(&bits.count_ones()) && bits < 8, "{bits:b}");
        }
    }

    #[test]
    fn the_able_agree_whatever_the_order_shown() {
        let shown = ["Sông Hồng", "Sông Mê Kông", "Sông Đà"];
        let turned = ["Sông Đà", "Sông Hồng", "Sông Mê Kông"];
        let text = |options: &[&'static str; 3]| {
            let bits = chosen(&item(ItemType::SingleChoice, options), 1.0, DICE);
            options[bits.trailing_zeros() as usize]
        };
        assert_eq!(text(&shown), text(&turned));
    }

    #[test]
    fn other_items_get_the_response_they_ask_for() {
        let value = |item_type| response(&item(item_type, &["a", "b", "c"]), 0.5, DICE).value;
        assert!(matches!(value(ItemType::Numeric), Some(Value::Text(_))));
        let Some(Value::Sequence(order)) = value(ItemType::Ordering) else {
            panic!("not an order");
        };
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2]);
    }
}
