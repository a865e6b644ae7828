//! How many quanta a point has, so that every score of the exam is a whole number of them.
//!
//! Source: `docs/FORMATS.md`, section 4, "Quanta".

use std::collections::BTreeSet;

use proto::key::v1::Treatment;

use crate::{
    Error,
    score::{
        SectionMarking,
        fraction::{Fraction, MARK_UNITS, gcd},
        item::{Item, Key},
    },
};

/// Scores have room for a million points above this.
const MAX_QUANTA: i128 = 1 << 62;

/// Returns D·L·W·U.
pub(crate) fn quanta_per_point(
    sections: &[SectionMarking],
    items: &[&Item],
) -> Result<i128, Error> {
    let mut quanta = MARK_UNITS;
    for factor in [
        shares(sections, items)?,
        weights(items),
        stretches(sections)?,
    ] {
        quanta = quanta.checked_mul(factor).ok_or_else(too_many)?;
    }
    if quanta > MAX_QUANTA {
        return Err(too_many());
    }
    Ok(quanta)
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
    let units = |section: &SectionMarking| {
        section
            .mark
            .whole_times(MARK_UNITS)
            .expect("a mark has at most 4 places")
    };
    let step = scored().map(units).fold(0, |a, b| gcd(a, b.max(1))).max(1); // T
    let full: i128 = scored()
        .map(|section| units(section) * section.n_places)
        .sum(); // M
    let mut dropped = BTreeSet::from([0]);
    for section in scored() {
        let most = section.n_places.min(section.n_dropped);
        let more = |d: &i128| {
            let d = *d;
            (0..=most).map(move |j| d + j * units(section))
        };
        dropped = dropped.iter().flat_map(more).collect();
    }
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
            .filter(|multiple| *multiple <= MAX_QUANTA)
            .ok_or_else(too_many)?;
    }
    Ok(multiple)
}

fn too_many() -> Error {
    Error::invalid("quanta of a point", "more than 2^62")
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
