//! How many quanta a point has, so that every score of the exam is a whole number of them.
//!
//! Source: `docs/FORMATS.md`, section 4, "Quanta".

use std::collections::BTreeSet;

use proto::{exam::v1::RankingKey, key::v1::Treatment};

use crate::{
    Error,
    score::{
        SectionMarking,
        fraction::{Fraction, MARK_UNITS, gcd},
        item::{Item, Key},
    },
};

/// Scores, their distances and the quanta of a point are below this.
const LIMIT: i128 = 1 << 63;
/// Most places of a paper.
const MAX_PLACES: i128 = 65_535;
/// Most sums of dropped marks.
const MAX_SUMS: usize = 64;
/// A ranking tuple takes at most so many bits.
const MAX_RANKING_BITS: u32 = 128;

/// Returns D·L·W·U.
pub(crate) fn quanta_per_point(
    sections: &[SectionMarking],
    items: &[&Item],
) -> Result<i128, Error> {
    product(&[MARK_UNITS, base(sections, items)?, stretches(sections)?])
}

/// L·W.
fn base(sections: &[SectionMarking], items: &[&Item]) -> Result<i128, Error> {
    product(&[shares(sections, items)?, weights(items)])
}

/// Refuses papers without places or with too many, scores that leave 63 bits, and rankings that leave 128.
pub(crate) fn check_limits(
    sections: &[SectionMarking],
    items: &[&Item],
    ranking: &[RankingKey],
) -> Result<(), Error> {
    let n_places: i128 = sections.iter().map(|section| section.n_places).sum();
    if !(1..=MAX_PLACES).contains(&n_places) {
        return Err(Error::invalid("number of places", n_places));
    }
    let scored = || sections.iter().filter(|section| !section.is_prediction);
    let sum = |mark: fn(&SectionMarking) -> Fraction| -> i128 {
        scored()
            .map(|section| units(mark(section)) * section.n_places)
            .sum()
    };
    let earned = sum(|section| section.mark); // P, which is M
    let lost = sum(|section| section.wrong_mark); // Q
    let heaviest = match weights(items) {
        1 => 1,
        _ => items
            .iter()
            .filter_map(|item| item.weight.whole_times(100))
            .fold(100, i128::max),
    };
    let shares = shares(sections, items)?;
    let has_dropped = sections.iter().any(|section| section.n_dropped > 0);
    let stretches = stretches(sections)?;
    let stretched = if has_dropped {
        product(&[earned / step(sections), stretches])?
    } else {
        1
    };
    product(&[earned + lost, shares, heaviest, stretched])?;
    let highest = earned * shares * if has_dropped { stretches } else { heaviest };
    let lowest = -lost * shares * heaviest * stretched;
    let marks = scored().flat_map(|section| [section.mark, section.wrong_mark]);
    let unit = marks
        .map(units)
        .fold(0, |a, b| if b == 0 { a } else { gcd(a, b) });
    let bits = |most: i128| i128::BITS - most.leading_zeros();
    let width = |key: &RankingKey| match key {
        RankingKey::Unspecified => 0, // refused with the ranking
        RankingKey::Score => bits((highest - lowest) / unit.max(1)),
        RankingKey::CorrectCount => bits(n_places),
        RankingKey::NetTime => 32,
        RankingKey::SubmittedAt => 42,
        RankingKey::FewestAttempts => 16,
        RankingKey::Prediction | RankingKey::PredictionNotAbove => 34,
    };
    let n_bits: u32 = ranking.iter().map(width).sum();
    if n_bits > MAX_RANKING_BITS {
        return Err(Error::invalid("bits of a ranking tuple", n_bits));
    }
    Ok(())
}

/// Returns a product that has at most 63 bits.
fn product(factors: &[i128]) -> Result<i128, Error> {
    let fits = |product: &i128| *product < LIMIT;
    let times = |product: i128, factor: &i128| product.checked_mul(*factor).filter(fits);
    factors.iter().try_fold(1, times).ok_or_else(too_many)
}

/// Returns a mark in units of 1/D.
fn units(mark: Fraction) -> i128 {
    mark.whole_times(MARK_UNITS)
        .expect("a mark has at most 4 places")
}

/// T.
fn step(sections: &[SectionMarking]) -> i128 {
    let scored = sections.iter().filter(|section| !section.is_prediction);
    let marks = scored.map(|section| units(section.mark));
    marks.fold(0, |a, b| gcd(a, b.max(1))).max(1)
}

/// L: the least common multiple of the denominators of all items under the rules of all sections.
fn shares(sections: &[SectionMarking], items: &[&Item]) -> Result<i128, Error> {
    let mut denominators = BTreeSet::new();
    for section in sections {
        for item in items {
            denominators.extend(item.denominators(&section.rules));
        }
    }
    least_common_multiple(
        denominators
            .into_iter()
            .filter(|&denominator| denominator > 0),
    )
}

/// W: weights are whole percents.
fn weights(items: &[&Item]) -> i128 {
    let is_weighted = items.iter().any(|item| item.weight != Fraction::ONE);
    if is_weighted { 100 } else { 1 }
}

/// U: what the stretching to the full scale divides by, over all numbers of dropped items that a paper can have.
fn stretches(sections: &[SectionMarking]) -> Result<i128, Error> {
    if sections.iter().all(|section| section.n_dropped == 0) {
        return Ok(1);
    }
    let scored = || sections.iter().filter(|section| !section.is_prediction);
    let full: i128 = scored()
        .map(|section| units(section.mark) * section.n_places)
        .sum(); // M
    let mut dropped = BTreeSet::from([0]);
    for section in scored() {
        let most = section.n_places.min(section.n_dropped);
        let more = |d: &i128| {
            let d = *d;
            (0..=most).map(move |j| d + j * units(section.mark))
        };
        dropped = dropped.iter().flat_map(more).collect();
        if dropped.len() > MAX_SUMS {
            return Err(too_many());
        }
    }
    let step = step(sections);
    least_common_multiple(
        dropped
            .into_iter()
            .map(|d| (full - d) / step)
            .filter(|&rest| rest > 0),
    )
}

fn least_common_multiple(numbers: impl Iterator<Item = i128>) -> Result<i128, Error> {
    let mut multiple: i128 = 1;
    for number in numbers {
        multiple = multiple
            .checked_mul(number / gcd(multiple, number))
            .filter(|multiple| *multiple < LIMIT)
            .ok_or_else(too_many)?;
    }
    Ok(multiple)
}

fn too_many() -> Error {
    Error::invalid("quanta of a point", "2^63 or more")
}

/// Refuses dropped items beside weighted ones: the full scale would differ from paper to paper.
pub(crate) fn check_treatments(items: &[&Item]) -> Result<(), Error> {
    let is_dropped =
        |item: &&Item| item.treatment == Treatment::Dropped && !matches!(item.key, Key::Prediction);
    if items.iter().copied().any(|item| is_dropped(&item)) && weights(items) != 1 {
        let found = "items are dropped and others have weights";
        return Err(Error::invalid("treatments in the key half", found));
    }
    Ok(())
}
