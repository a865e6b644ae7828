//! Graded cases: shares, texts, numbers and rounding, as `testdata/*.json` has them.

use proto::{
    bank::v1::{ItemType, MultipleRule, OrderingRule, PaperItem},
    exam::v1::{ScoreRounding, response::Value},
    key::v1::{BlankKey, ItemKey},
};
use serde_json::Value as Json;

use super::{
    Fraction, SEPARATOR,
    blank::Blank,
    item::{Item, Rules, is_blank_response},
    number::Number,
};
use crate::test_exam::item;

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn number<T: TryFrom<u64, Error: std::fmt::Debug>>(json: &Json) -> T {
    T::try_from(json.as_u64().unwrap_or(0)).unwrap()
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn bytes(json: &Json) -> Vec<u8> {
    list(json).iter().map(number).collect()
}

/// "AC" is 0b101.
fn set(json: &Json) -> u32 {
    let letters = json.as_str().unwrap().bytes();
    letters.fold(0, |set, letter| set | 1 << (letter - b'A'))
}

fn blank(json: &Json) -> BlankKey {
    BlankKey {
        accepted: list(&json["accepted"]).iter().map(text).collect(),
        numeric: json["numeric"].as_bool().unwrap_or(false),
        tolerance: text(&json["tolerance"]),
        weight: number(&json["weight"]),
        ..BlankKey::default()
    }
}

fn item_of(group: &Json) -> Item {
    let item_type = format!("ITEM_TYPE_{}", text(&group["type"]));
    let item_type = ItemType::from_str_name(&item_type).unwrap();
    let sets: Vec<u32> = list(&group["sets"]).iter().map(set).collect();
    let blanks: Vec<BlankKey> = list(&group["blanks"]).iter().map(blank).collect();
    let key = ItemKey {
        right_options: sets.first().copied().unwrap_or(0),
        accepted: sets.iter().skip(1).copied().collect(),
        sequences: list(&group["sequences"])
            .iter()
            .map(|sequence| bytes(sequence).into())
            .collect(),
        blanks,
        ..ItemKey::default()
    };
    let paper_item = PaperItem {
        n_blanks: u32::try_from(key.blanks.len()).unwrap(),
        ..item(1, item_type, "su", number(&group["n"]))
    };
    Item::new(&paper_item, &key).unwrap()
}

fn rules_of(group: &Json) -> Rules {
    let multiple = format!("MULTIPLE_RULE_{}", text(&group["rule"]));
    let ordering = format!("ORDERING_RULE_{}", text(&group["ordering"]));
    Rules {
        multiple: MultipleRule::from_str_name(&multiple).unwrap_or_default(),
        ordering: OrderingRule::from_str_name(&ordering).unwrap_or_default(),
        cluster_percent: list(&group["percent"]).iter().map(number).collect(),
    }
}

fn answer(group: &Json, answer: &Json) -> Value {
    match answer {
        Json::Array(_) => Value::Sequence(bytes(answer).into()),
        _ if group["sets"].is_array() => Value::Chosen(set(answer)),
        _ => Value::Text(text(answer).replace('|', &SEPARATOR.to_string())),
    }
}

#[test]
fn every_answer_earns_the_share_of_its_rule() {
    let file: Json = serde_json::from_str(include_str!("../../testdata/shares.json")).unwrap();
    for group in list(&file["groups"]) {
        let (item, rules) = (item_of(group), rules_of(group));
        let straight: Vec<u8> = (0..u8::try_from(item.n).unwrap()).collect();
        for case in list(&group["cases"]) {
            let value = answer(group, &case[0]);
            let share = item.share(&rules, &straight, &value);
            let found = match is_blank_response(&item.key, Some(&value)) {
                true => "blank".to_owned(),
                false => share.to_string(),
            };
            assert_eq!(found, case[1], "{}: {}", group["source"], case[0]);
            let divides = |of: &i128| share.whole_times(*of).is_some();
            let denominators = item.denominators(&rules);
            assert!(
                share.whole_times(1).is_some() || denominators.iter().any(divides),
                "{}: {share} is no multiple of one over {denominators:?}",
                group["source"]
            );
        }
    }
}

#[test]
fn options_are_chosen_as_they_are_shown() {
    let group =
        serde_json::json!({"type": "MULTIPLE_CHOICE", "n": 4, "rule": "RIPKEY", "sets": ["AB"]});
    let share =
        |bits| item_of(&group).share(&rules_of(&group), &[2, 0, 3, 1], &Value::Chosen(bits));
    assert_eq!(share(0b1010), Fraction::ONE);
    assert_eq!(share(0b0011), Fraction::new(1, 2));
    assert_eq!(share(0b0101), Fraction::ZERO);
}

#[test]
fn texts_are_compared_as_the_page_says() {
    let file: Json = serde_json::from_str(include_str!("../../testdata/texts.json")).unwrap();
    for case in list(&file["cases"]) {
        let key = BlankKey {
            accepted: vec![text(&case[0])],
            case_sensitive: text(&case[1]).contains('c'),
            ignore_diacritics: text(&case[1]).contains('d'),
            ..BlankKey::default()
        };
        let is_right = Blank::new(&key, false).unwrap().is_right(&text(&case[2]));
        assert_eq!(is_right, case[3], "{case}");
    }
}

#[test]
fn numbers_are_read_as_the_page_says() {
    let file: Json = serde_json::from_str(include_str!("../../testdata/numbers.json")).unwrap();
    for case in list(&file["equal"]) {
        let found = Number::from_answer(&text(&case[0]));
        assert_eq!(found, Number::from_key(&text(&case[1])), "{case}");
        assert!(found.is_some(), "{case}");
    }
    for case in list(&file["none"]) {
        assert_eq!(Number::from_answer(&text(case)), None, "{case}");
    }
    for case in list(&file["near"]) {
        let key = BlankKey {
            accepted: vec![text(&case[1])],
            tolerance: text(&case[2]),
            relative_tolerance: text(&case[3]),
            ..BlankKey::default()
        };
        let is_right = Blank::new(&key, true).unwrap().is_right(&text(&case[0]));
        assert_eq!(is_right, case[4], "{case}");
    }
}

#[test]
fn printed_scores_are_rounded_once() {
    let file: Json = serde_json::from_str(include_str!("../../testdata/rounding.json")).unwrap();
    for case in list(&file["cases"]) {
        let whole = |index: usize| i128::from(case[index].as_i64().unwrap());
        let score = Fraction::new(whole(0), whole(1));
        for (index, rounding) in [
            (3, ScoreRounding::HalfAwayFromZero),
            (3, ScoreRounding::Unspecified),
            (4, ScoreRounding::HalfEven),
            (5, ScoreRounding::TowardZero),
        ] {
            let printed = score.to_decimal(number(&case[2]), rounding);
            assert_eq!(printed, case[index], "{case}");
        }
    }
}
