//! The exact score of an attempt.
//!
//! Invariant: no rounding before the printed score. Start at [`Marking::score`].
//! Source: `docs/FORMATS.md`, section 4.

use std::{cmp::Ordering, collections::HashMap};

use proto::{
    bank::v1::{ItemType, MultipleRule, PaperHalf, Section},
    exam::v1::response::Value,
    key::v1::KeyHalf,
};

use crate::{
    Error, Paper,
    archive::StoredAnswer,
    draw::{DrawnItem, decode_blueprint},
};

/// D of the page: marks have at most 4 decimal places.
const MARK_UNITS: i128 = 10_000;

/// A rational number, always reduced, its denominator positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fraction {
    num: i128,
    den: i128,
}

impl Fraction {
    pub(crate) const ZERO: Self = Self { num: 0, den: 1 };
    pub(crate) const ONE: Self = Self { num: 1, den: 1 };

    /// Returns num/den; `den` is positive.
    pub(crate) fn new(num: i128, den: i128) -> Self {
        let divisor = gcd(num.abs(), den);
        Self {
            num: num / divisor,
            den: den / divisor,
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let num = self.num * other.den + other.num * self.den;
        Self::new(num, self.den * other.den)
    }

    pub(crate) fn times(self, other: Self) -> Self {
        Self::new(self.num * other.num, self.den * other.den)
    }

    /// Returns this times `n` if that is a whole number.
    pub(crate) fn whole_times(self, n: i128) -> Option<i128> {
        let product = self.times(Self::new(n, 1));
        (product.den == 1).then_some(product.num)
    }

    /// Returns it with `decimals` places, rounded half away from zero; it is not negative.
    pub(crate) fn to_decimal(self, decimals: u32) -> String {
        let unit = 10_i128.pow(decimals);
        let rounded = (2 * self.num * unit + self.den) / (2 * self.den);
        if decimals == 0 {
            return rounded.to_string();
        }
        let width = usize::try_from(decimals).unwrap_or(usize::MAX);
        format!("{}.{:0width$}", rounded / unit, rounded % unit)
    }

    /// Reads a positive decimal with at most 4 places: "0.25", "2".
    fn from_mark(text: &str) -> Option<Self> {
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |part: &str, max_len| {
            (1..=max_len).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        };
        if !is_number(whole, 9) || !is_number(places, 4) {
            return None;
        }
        let units: i128 = format!("{whole}{places:0<4}").parse().ok()?;
        (units > 0).then(|| Self::new(units, MARK_UNITS))
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.num * other.den).cmp(&(other.num * self.den))
    }
}

/// The greatest common divisor; `b` is positive.
fn gcd(a: i128, b: i128) -> i128 {
    if a == 0 { b } else { gcd(b % a, a) }
}

/// The score of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) points: Fraction,
    pub(crate) n_correct: u32,
}

/// Marks, rules and keys of an exam.
pub(crate) struct Marking {
    sections: Vec<(Fraction, MultipleRule)>,
    /// Type and right options (bits in canonical order) by item number.
    keys: HashMap<u32, (ItemType, u32)>,
    /// D times the least common multiple of the numbers of right options.
    pub(crate) quanta_per_point: i128,
}

impl Marking {
    pub(crate) fn new(paper_half: &PaperHalf, key_half: &KeyHalf) -> Result<Self, Error> {
        let right: HashMap<u32, u32> = key_half
            .keys
            .iter()
            .map(|key| (key.item_id, key.right_options))
            .collect();
        let key_of = |item: &proto::bank::v1::PaperItem| {
            let right = right.get(&item.item_id).copied().unwrap_or(0);
            (item.item_id, (item.r#type(), right))
        };
        let sections = decode_blueprint(paper_half)?.sections;
        Ok(Self {
            sections: sections
                .iter()
                .map(mark_and_rule)
                .collect::<Result<_, _>>()?,
            keys: paper_half.items.iter().map(key_of).collect(),
            quanta_per_point: quanta_per_point(key_half),
        })
    }

    /// Scores the newest answers of an attempt.
    pub(crate) fn score<'a>(
        &self,
        paper: &Paper,
        newest: impl Iterator<Item = &'a StoredAnswer>,
    ) -> Score {
        let mut score = Score {
            points: Fraction::ZERO,
            n_correct: 0,
        };
        for answer in newest {
            let position = usize::try_from(answer.position).ok();
            let Some(item) = position.and_then(|position| paper.items.get(position)) else {
                continue; // reported where answers are checked
            };
            let (mark, rule) = self.sections[item.section];
            let share = self.share(item, rule, answer);
            score.points = score.points.plus(mark.times(share));
            score.n_correct += u32::from(share == Fraction::ONE);
        }
        score
    }

    fn share(&self, item: &DrawnItem, rule: MultipleRule, answer: &StoredAnswer) -> Fraction {
        let Some(Value::Chosen(shown)) = answer.response.value else {
            return Fraction::ZERO;
        };
        let Some(&(item_type, right)) = self.keys.get(&item.item_id) else {
            return Fraction::ZERO;
        };
        let chosen = to_canonical(shown, &item.option_order);
        match item_type {
            ItemType::SingleChoice | ItemType::TrueFalse => all_or_nothing(chosen, right),
            ItemType::MultipleChoice => multiple_choice(rule, chosen, right),
            _ => Fraction::ZERO, // not scored; a prediction, or reported with the package
        }
    }
}

fn mark_and_rule(section: &Section) -> Result<(Fraction, MultipleRule), Error> {
    let mark = Fraction::from_mark(&section.mark)
        .ok_or_else(|| Error::invalid("mark of a section", &section.mark))?;
    let rule = MultipleRule::try_from(section.multiple_rule)
        .map_err(|_| Error::invalid("rule for items with several keys", section.multiple_rule))?;
    Ok((mark, rule))
}

fn quanta_per_point(key_half: &KeyHalf) -> i128 {
    let sizes = key_half
        .keys
        .iter()
        .map(|key| i128::from(key.right_options.count_ones()));
    let lcm = |a: i128, k: i128| a / gcd(a, k) * k;
    MARK_UNITS * sizes.filter(|&k| k > 0).fold(1, lcm)
}

/// Turns bits in the order shown into bits in canonical order.
fn to_canonical(shown: u32, option_order: &[u8]) -> u32 {
    let is_chosen = |slot: usize| u64::from(shown) >> slot.min(63) & 1 == 1;
    let chosen = option_order
        .iter()
        .enumerate()
        .filter(|(slot, _)| is_chosen(*slot));
    chosen.fold(0, |bits, (_, &option)| {
        bits | 1_u32.checked_shl(u32::from(option)).unwrap_or(0)
    })
}

fn all_or_nothing(chosen: u32, right: u32) -> Fraction {
    let is_right = chosen != 0 && chosen == right;
    if is_right {
        Fraction::ONE
    } else {
        Fraction::ZERO
    }
}

fn multiple_choice(rule: MultipleRule, chosen: u32, right: u32) -> Fraction {
    let k = i128::from(right.count_ones());
    let r = i128::from((chosen & right).count_ones());
    let w = i128::from((chosen & !right).count_ones());
    if k == 0 {
        return Fraction::ZERO; // reported with the package
    }
    match rule {
        MultipleRule::Unspecified | MultipleRule::AllOrNothing => all_or_nothing(chosen, right),
        MultipleRule::Ripkey if r + w > k => Fraction::ZERO,
        MultipleRule::Ripkey => Fraction::new(r, k),
        MultipleRule::Balanced | MultipleRule::EachOption | MultipleRule::Half => Fraction::ZERO,
        MultipleRule::PlusMinus => Fraction::new((r - w).max(0), k),
    }
}

#[cfg(test)]
mod tests {
    use proto::key::v1::ItemKey;

    use super::*;

    /// Options A to E as bits.
    fn set(letters: &str) -> u32 {
        letters
            .bytes()
            .fold(0, |bits, letter| bits | 1 << (letter - b'A'))
    }

    #[track_caller]
    fn check(rule: MultipleRule, chosen: &str, right: &str, num: i128, den: i128) {
        let share = multiple_choice(rule, set(chosen), set(right));
        assert_eq!(share, Fraction::new(num, den), "{rule:?} {chosen}/{right}");
    }

    #[test]
    fn all_or_nothing_wants_the_very_set() {
        let rule = MultipleRule::AllOrNothing;
        check(rule, "ACD", "ACD", 1, 1);
        check(rule, "AC", "ACD", 0, 1);
        check(rule, "ABCD", "ACD", 0, 1);
        check(rule, "", "ACD", 0, 1);
        check(MultipleRule::Unspecified, "ACD", "ACD", 1, 1);
    }

    #[test]
    fn ripkey_counts_right_ones_unless_too_many_are_chosen() {
        let rule = MultipleRule::Ripkey;
        check(rule, "ACD", "ACD", 1, 1);
        check(rule, "AB", "ACD", 1, 3);
        check(rule, "ABC", "ACD", 2, 3);
        check(rule, "ABCD", "ACD", 0, 1);
        check(rule, "BE", "ACD", 0, 1);
        check(rule, "", "ACD", 0, 1);
    }

    #[test]
    fn plus_minus_takes_wrong_ones_off_and_never_goes_below_nothing() {
        let rule = MultipleRule::PlusMinus;
        check(rule, "ACD", "ACD", 1, 1);
        check(rule, "ABCD", "ACD", 2, 3);
        check(rule, "AB", "ACD", 0, 1);
        check(rule, "B", "ACD", 0, 1);
        check(rule, "AC", "ACD", 2, 3);
        check(rule, "", "ACD", 0, 1);
    }

    #[test]
    fn shown_bits_are_read_through_the_order_shown() {
        assert_eq!(to_canonical(0b0001, &[2, 0, 3, 1]), 0b0100);
        assert_eq!(to_canonical(0b1010, &[2, 0, 3, 1]), 0b0011);
        assert_eq!(to_canonical(0b1_0000, &[2, 0, 3, 1]), 0);
    }

    #[test]
    fn fractions_are_exact() {
        let third = Fraction::new(1, 3);
        let sum = third.plus(third).plus(third);
        assert_eq!(sum, Fraction::ONE);
        assert_eq!(Fraction::new(6, 4), Fraction::new(3, 2));
        assert!(Fraction::new(1, 3) < Fraction::new(34, 100));
        assert_eq!(third.whole_times(60_000), Some(20_000));
        assert_eq!(third.whole_times(10_000), None);
    }

    #[test]
    fn the_printed_score_is_rounded_half_away_from_zero() {
        assert_eq!(Fraction::new(1, 8).to_decimal(2), "0.13");
        assert_eq!(Fraction::new(1, 3).to_decimal(4), "0.3333");
        assert_eq!(Fraction::new(5, 2).to_decimal(0), "3");
        assert_eq!(Fraction::new(1999, 200).to_decimal(2), "10.00");
        assert_eq!(Fraction::new(1999, 200).to_decimal(3), "9.995");
        assert_eq!(Fraction::ZERO.to_decimal(2), "0.00");
    }

    #[test]
    fn marks_are_positive_decimals_with_four_places_at_most() {
        assert_eq!(Fraction::from_mark("0.25"), Some(Fraction::new(1, 4)));
        assert_eq!(Fraction::from_mark("2"), Some(Fraction::new(2, 1)));
        assert_eq!(
            Fraction::from_mark("1.0001"),
            Some(Fraction::new(10_001, 10_000))
        );
        for bad in [
            "", "0", "0.00", "-1", "+1", "1.", ".5", "0,25", "0.12345", "1e3", " 1",
        ] {
            assert_eq!(Fraction::from_mark(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn quanta_divide_by_every_number_of_right_options() {
        let key = |right_options| ItemKey {
            right_options,
            ..ItemKey::default()
        };
        let half = |keys| KeyHalf {
            keys,
            ..KeyHalf::default()
        };
        assert_eq!(quanta_per_point(&half(vec![])), 10_000);
        assert_eq!(quanta_per_point(&half(vec![key(1), key(0)])), 10_000);
        let keys = vec![key(0b11), key(0b111), key(0b1111), key(1)];
        assert_eq!(quanta_per_point(&half(keys)), 120_000);
    }
}
