//! Texts and numbers in the ways that people write them, right and wrong.

use rand::{RngExt, rngs::StdRng};
use unicode_normalization::UnicodeNormalization;

use crate::pick;

/// Numbers are counted in units of 10^-12.
pub(crate) const UNIT: i128 = 1_000_000_000_000;

const WORDS: [&str; 14] = [
    "Hà Nội",
    "đường",
    "Đà Nẵng",
    "Nguyễn  Trãi",
    "ẤP BẮC",
    "naïve",
    "ΣΟΦΟΣ",
    "İstanbul",
    "ﬁn",
    "a b c",
    "ǅ",
    "Å",
    "x",
    "12",
];

const ODD_TEXTS: [&str; 16] = [
    "",
    " ",
    "\u{3000}",
    "\u{301}",
    "a \u{301} b",
    "\u{301} \u{301}",
    "a\u{301}",
    "\u{200b}",
    "\u{feff}x",
    "x\u{a0}",
    "đ",
    "Đ",
    "d",
    "D",
    "\t\n",
    "\u{85}x\u{2028}",
];

const ODD_NUMBERS: [&str; 40] = [
    "1.234,5",
    " 3,14 ",
    "",
    " ",
    ",",
    ".",
    "-",
    "+",
    "--1",
    "+-1",
    "-\u{2212}1",
    "1e5",
    "0x10",
    "1.23.456",
    "1.234,567,8",
    "1,2.3,4",
    "12a",
    "٣",
    "1234567890123456",
    "0,1234567890123",
    "123456789012345,123456789012",
    ",5",
    "5,",
    "-,5",
    "007",
    "-0",
    "\u{2212}0,0",
    "1.234",
    "1,234",
    "1.234.567",
    "1,234,567",
    "1.234.56",
    "1234.567,8",
    "1,234.",
    "1.234,",
    ".123.456",
    "1 000 000",
    "1\u{a0}000",
    "\u{ff11}",
    "½",
];

/// A text that a key may have.
pub(crate) fn right_text(rng: &mut StdRng) -> String {
    if rng.random_bool(0.9) {
        pick(rng, &WORDS).to_owned()
    } else {
        respelled(pick(rng, &WORDS), rng)
    }
}

/// A text that a candidate may write where `right` was wanted.
pub(crate) fn written(right: &str, rng: &mut StdRng) -> String {
    match rng.random_range(0..10) {
        0..3 => right.to_owned(),
        3..7 => respelled(right, rng),
        7 => respelled(&respelled(right, rng), rng),
        8 => pick(rng, &WORDS).to_owned(),
        _ => pick(rng, &ODD_TEXTS).to_owned(),
    }
}

fn respelled(text: &str, rng: &mut StdRng) -> String {
    let bare = |c: &char| !('\u{300}'..='\u{36f}').contains(c);
    match rng.random_range(0..12) {
        0 => text.nfd().collect(),
        1 => text.nfkd().collect(),
        2 => text.to_uppercase(),
        3 => text.to_lowercase(),
        4 => text.nfd().filter(bare).collect(),
        5 => text
            .nfd()
            .filter(bare)
            .collect::<String>()
            .replace(['đ', 'Đ'], "d"),
        6 => text.replace('Đ', "đ"),
        7 => text.replace(' ', "\u{a0} \t"),
        8 => format!(" {text}\u{3000}"),
        9 => text.replace(' ', ""),
        10 => format!("{text}\u{323}\u{301}"),
        _ => text.replace(' ', " \u{301} "),
    }
}

/// A number that a key may have, in units, and as it is written there.
pub(crate) fn right_number(rng: &mut StdRng) -> (i128, String) {
    let (whole, n_places): (u64, u32) = match rng.random_range(0..12) {
        0 => (rng.random_range(0..1_000_000_000_000_000), 12),
        1 => (rng.random_range(0..1_000_000_000), 6),
        2..5 => (rng.random_range(0..2_000), 0),
        _ => (rng.random_range(0..100), rng.random_range(0..5)),
    };
    let places = i128::from(rng.random_range(0..10_u64.pow(n_places)));
    let units = i128::from(whole) * UNIT + places * 10_i128.pow(12 - n_places);
    let units = if rng.random_bool(0.2) { -units } else { units };
    (units, in_key(units))
}

/// Writes a number as keys have it.
pub(crate) fn in_key(units: i128) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let (whole, places) = (units.abs() / UNIT, units.abs() % UNIT);
    let places = format!("{places:012}");
    match places.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        places => format!("{sign}{whole}.{places}"),
    }
}

/// What a candidate may write where `right` was wanted and all within `tolerance` is right.
pub(crate) fn written_number(right: i128, tolerance: i128, rng: &mut StdRng) -> String {
    let off = match rng.random_range(0..10) {
        0..3 => 0,
        3 => tolerance,
        4 => tolerance + 1,
        5 => tolerance - 1,
        6 => UNIT,
        7 => right.abs(),
        _ => return pick(rng, &ODD_NUMBERS).to_owned(),
    };
    let units = if rng.random() {
        right + off
    } else {
        right - off
    };
    spelled(units, rng)
}

/// Writes a number in one of the ways that people have.
pub(crate) fn spelled(units: i128, rng: &mut StdRng) -> String {
    let sign = match (units < 0, rng.random_range(0..4)) {
        (true, 0) => "\u{2212}",
        (true, 1) => " - ",
        (true, _) => "-",
        (false, 0) => "+",
        (false, _) => "",
    };
    let plain = in_key(units.abs());
    let (whole, places) = plain.split_once('.').unwrap_or((&plain, ""));
    let (decimal, thousands) = if rng.random() { (",", ".") } else { (".", ",") };
    let whole = match rng.random_range(0..5) {
        0 => grouped(whole, thousands),
        1 => grouped(whole, " "),
        2 => format!("00{whole}"),
        _ => whole.to_owned(),
    };
    match (places, rng.random_range(0..4)) {
        ("", 0) => format!("{sign}{whole}{decimal}0"),
        ("", 1) => format!("{sign}{whole}{decimal}"),
        ("", _) => format!("{sign}{whole}"),
        (places, 0) => format!("{sign}{whole}{decimal}{places}0 "),
        (places, _) => format!("{sign}{whole}{decimal}{places}"),
    }
}

fn grouped(whole: &str, sign: &str) -> String {
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push_str(sign);
        }
        text.push(digit);
    }
    text
}

/// What a candidate may write where a count is to be predicted.
pub(crate) fn prediction(rng: &mut StdRng) -> String {
    match rng.random_range(0..8) {
        0 => pick(rng, &ODD_NUMBERS).to_owned(),
        1 => pick(
            rng,
            &["4294967295", "4294967296", "-1", "1,5", "0", "nhiều"],
        )
        .to_owned(),
        2 => spelled(i128::from(rng.random_range(0..40_u32)) * UNIT / 2, rng),
        _ => spelled(i128::from(rng.random_range(0..3_000_u32)) * UNIT, rng),
    }
}
