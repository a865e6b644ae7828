//! What an ended attempt adds to the statistics of its exam.
//!
//! Cohorts are hours of start since the exam opened, or as many hours together as bound their number.

use std::{collections::HashMap, sync::Arc};

use proto::{bank::v1::ItemType, key::v1::Treatment};

use super::{Alarm, Choice, Graded, ItemInfo, Placement, ScoreRange, Sitting, Statistics};
use crate::{
    attempt::Finished,
    id,
    package::{Item, Package},
    rule::{Given, Key, number},
    score::Grade,
};

/// Vietnam keeps one time all year.
const UTC_OFFSET_HOURS: u64 = 7;
const HOUR_MS: u64 = 3_600_000;
/// Most cohorts: a week by the hour.
const MAX_COHORTS: u64 = 168;
/// Wrong texts are told apart by so many bits of a hash: a frequent mistake fills its number, rare ones share theirs.
const TEXT_BITS: u32 = 6;

impl Statistics {
    /// Starts with no attempt of an exam.
    pub(crate) fn of(package: &Package) -> Self {
        let infos = package.items().iter().map(|item| info(package, item));
        let range = ScoreRange::new(package.marks().range(), package.marks().unit());
        Self::new(infos.collect(), range)
    }

    /// Counts an ended attempt, or takes it out again if `by` is -1; predictions are left out.
    pub(crate) fn count_attempt(&mut self, package: &Package, attempt: &Finished, by: i64) {
        let answers = &attempt.answers;
        let mut section_totals = vec![0; package.n_sections()];
        let mut responses = Vec::with_capacity(answers.chosen.len());
        for (place_idx, chosen) in answers.chosen.iter().enumerate() {
            let item = &package.items()[usize::from(chosen.item_idx)];
            if !item.is_scored() {
                continue;
            }
            let grade = package.grade(place_idx, *chosen, answers);
            let section = package.marks().section(place_idx);
            section_totals[usize::from(section)] += grade.quanta;
            responses.push(Graded {
                item_idx: chosen.item_idx,
                section,
                choice: choice(item, answers.given(item, *chosen), grade),
                quanta: grade.quanta,
                mark_quanta: grade.mark_quanta,
            });
        }
        for (section, total) in (0..).zip(&mut section_totals) {
            *total = package.marks().floored(section, *total);
        }
        let sitting = Sitting {
            total: attempt.score.quanta,
            area: attempt.area,
            cohort: Cohorts::of(package).cohort(attempt.started_at_ms),
            section_totals: &section_totals,
            responses: &responses,
        };
        self.count(&sitting, by);
    }
}

/// Statistics of an exam, with its alarms and the names that numbers stand for.
#[derive(Clone, Debug)]
pub struct ExamStatistics {
    /// The counts.
    pub statistics: Statistics,
    /// What they raise.
    pub alarms: Vec<Alarm>,
    /// The exam.
    pub package: Arc<Package>,
    /// Codes of the areas by number.
    pub areas: Vec<String>,
    /// Texts that alarms are about, by item and choice.
    pub texts: HashMap<(u32, Choice), String>,
}

impl ExamStatistics {
    /// Returns the code of an area.
    #[must_use]
    pub fn area_name(&self, area: u16) -> &str {
        self.areas.get(usize::from(area)).map_or("?", |code| code)
    }

    /// Returns the hour a cohort starts at, in Vietnam.
    #[must_use]
    pub fn cohort_name(&self, cohort: u16) -> String {
        let at_ms = Cohorts::of(&self.package).starts_at_ms(cohort);
        let hours = at_ms / HOUR_MS + UTC_OFFSET_HOURS;
        let (day, month) = day_and_month(hours / 24);
        format!("{:02}:00 {day:02}/{month:02}", hours % 24)
    }
}

/// Returns day and month of a day since the Unix epoch (H. Hinnant, "chrono-compatible low-level date algorithms").
fn day_and_month(days: u64) -> (u64, u64) {
    let of_era = (days + 719_468) % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    (of_year - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1)
}

/// When the cohorts of an exam start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cohorts {
    opens_at_ms: u64,
    width_ms: u64,
}

impl Cohorts {
    /// Returns the cohorts of an exam.
    #[must_use]
    pub fn of(package: &Package) -> Self {
        let (opens_at_ms, closes_at_ms) = package.window_ms();
        let opens_at_ms = opens_at_ms / HOUR_MS * HOUR_MS;
        let n_hours = closes_at_ms.saturating_sub(opens_at_ms).div_ceil(HOUR_MS);
        Self {
            opens_at_ms,
            width_ms: n_hours.div_ceil(MAX_COHORTS).max(1) * HOUR_MS,
        }
    }

    /// Returns the number of the cohort of somebody who started then.
    #[must_use]
    pub fn cohort(self, started_at_ms: u64) -> u16 {
        let number = started_at_ms.saturating_sub(self.opens_at_ms) / self.width_ms;
        u16::try_from(number.min(MAX_COHORTS)).expect("few cohorts")
    }

    /// Returns when a cohort starts, Unix milliseconds.
    #[must_use]
    pub fn starts_at_ms(self, cohort: u16) -> u64 {
        let since_opening_ms = u64::from(cohort).saturating_mul(self.width_ms);
        self.opens_at_ms.saturating_add(since_opening_ms)
    }
}

fn info(package: &Package, item: &Item) -> ItemInfo {
    let whole_bank = package.n_items() == package.items().len();
    let single = matches!(item.item_type, ItemType::SingleChoice | ItemType::TrueFalse);
    let (n_options, key) = match &item.key {
        Key::Single(options) => (item.n_options, options.iter().fold(0, |all, one| all | one)),
        Key::Multiple(sets) => (item.n_options, sets[0]),
        Key::Cluster(truths) => (item.n_options, Choice::judged(truths[0]).0),
        _ => (0, 0),
    };
    ItemInfo {
        item_id: item.item_id,
        revision: item.revision,
        n_options,
        key,
        single,
        random_guess: package.marks().random_guess(item),
        placement: if whole_bank {
            Placement::Fixed
        } else {
            Placement::Drawn
        },
        section: item.section,
        decided: item.treatment != Treatment::Unspecified,
    }
}

/// Returns a response as one small number; one of several right ones as the first of them.
fn choice(item: &Item, given: Given<'_>, grade: Grade) -> Choice {
    match (given, &item.key) {
        (Given::Blank, _) => Choice::BLANK,
        (Given::Chosen(options), Key::Multiple(sets)) => Choice(first_if_right(sets, options)),
        (Given::Chosen(options), _) => Choice(options),
        (Given::Sequence(marks), Key::Cluster(truths)) => {
            let judged_true = (0..).zip(marks).filter(|(_, mark)| **mark == 1);
            let judged = judged_true.fold(0, |set, (at, _): (u16, _)| set | 1 << at);
            Choice::judged(first_if_right(truths, judged))
        }
        _ if grade.is_full => Choice::RIGHT,
        (Given::Text(text), Key::Text(_)) => Choice::text(text_number(text)),
        _ if grade.quanta > 0 => Choice::PARTIAL,
        _ => Choice::WRONG,
    }
}

fn first_if_right(sets: &[u16], set: u16) -> u16 {
    if sets.contains(&set) { sets[0] } else { set }
}

/// Returns a number that equal texts share.
pub(crate) fn text_number(text: &str) -> u16 {
    let hash = match number(text) {
        Some(value) => id::hash(&value.normalize().serialize()),
        None => id::hash(text.trim().to_lowercase().as_bytes()),
    };
    u16::try_from(hash >> (u64::BITS - TEXT_BITS)).expect("few bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{T0_MS, parts};

    #[test]
    fn cohorts_are_hours_or_as_many_hours_as_are_few_enough() {
        let mut parts = parts();
        let cohorts = Cohorts::of(&parts.load().unwrap());
        assert_eq!(cohorts.width_ms, HOUR_MS);
        let opening = cohorts.starts_at_ms(0);
        assert!(opening <= T0_MS && T0_MS - opening < HOUR_MS);
        assert_eq!(cohorts.cohort(opening + 2 * HOUR_MS - 1), 1);
        assert_eq!((cohorts.cohort(0), cohorts.cohort(u64::MAX)), (0, 168));
        parts.rules_mut().rounds[0].closes_at_ms = T0_MS + 30 * 24 * HOUR_MS;
        let cohorts = Cohorts::of(&parts.load().unwrap());
        assert_eq!(cohorts.width_ms, 5 * HOUR_MS);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let days = [0, 58, 59, 11_016, 19_675, 20_513];
        let expected = [(1, 1), (28, 2), (1, 3), (29, 2), (14, 11), (1, 3)];
        assert_eq!(days.map(day_and_month), expected);
    }

    #[test]
    fn equal_answers_have_one_number() {
        assert_eq!(text_number("3,50"), text_number(" 3.5"));
        assert_eq!(text_number("Huế "), text_number("huế"));
        assert_ne!(text_number("Huế"), text_number("Hà Nội"));
    }
}
