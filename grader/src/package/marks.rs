//! What a paper's places are worth: marks in quanta, floors, weights, dropped items.
//!
//! Invariant: every score of every paper is a whole number of quanta and fits 64 bits, checked once at load.
//! Source: docs/FORMATS.md section 4.

use std::collections::BTreeSet;

use proto::{
    bank::v1::{Blueprint, ItemType, PaperItem, Section, Stratum},
    key::v1::Treatment,
};

use super::{Item, field};
use crate::{
    attempt::Answers,
    error::{Error, Result},
    rule::{Given, Key, Rules, Share},
    score::{Grade, Score},
};

/// D of the format: marks have at most four decimal places.
const MARK_UNIT: i64 = 10_000;
/// Percent of an item's weight, if any differs from 100.
const WEIGHT_UNIT: i64 = 100;
/// Most digits of a mark before the point: room for sums in 64 bits.
const MAX_MARK_DIGITS: usize = 9;
/// Most digits behind it.
const MAX_MARK_PLACES: usize = 4;
/// Most sums of dropped marks that are looked at: beyond, their common multiple fits no number anyway.
const MAX_STRETCHES: usize = 64;

/// One section of a paper.
#[derive(Clone, Debug)]
struct Part {
    n_places: usize,
    /// Ten-thousandths of a point; 0 for predictions.
    mark_units: i64,
    wrong_units: i64,
    floor_zero: bool,
    rules: Rules,
}

/// The marks of an exam.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    parts: Vec<Part>,
    /// Section of each place.
    sections: Vec<u16>,
    floor_zero: bool,
    /// L: least common multiple of all denominators.
    lcm: i64,
    /// 100 if an item has a weight, else 1.
    weight_unit: i64,
    /// Quanta from which an attempt passes; may be beyond all scores.
    pass_quanta: Option<i128>,
    stretch: Option<Stretch>,
    min_quanta: i64,
    max_quanta: i64,
}

/// How scores are brought to the full scale when items are dropped.
#[derive(Clone, Debug)]
struct Stretch {
    /// M, in units of a ten-thousandth.
    paper_units: i64,
    /// T.
    gcd: i64,
    /// U.
    lcm: i64,
}

impl Marks {
    pub(super) fn new(
        blueprint: &Blueprint,
        paper_items: &[PaperItem],
        items: &[Item],
        pass_mark: &str,
    ) -> Result<Self> {
        let parts: Vec<Part> = blueprint
            .sections
            .iter()
            .map(|section| part(section, paper_items))
            .collect::<Result<_>>()?;
        for (section, part) in blueprint.sections.iter().zip(&parts) {
            let misfit = |at: &usize| {
                is_in(section, &paper_items[*at])
                    && !part.rules.fit(&items[*at].key, items[*at].n_options)
            };
            if (0..items.len()).any(|at| misfit(&at)) {
                return Err(Error::FieldInvalid {
                    field: "blueprint.sections.cluster_percent",
                });
            }
        }
        let mut sections = Vec::new();
        for (at, part) in (0..).zip(&parts) {
            if part.n_places.saturating_add(sections.len()) > usize::from(u16::MAX) {
                return Err(Error::FieldInvalid {
                    field: "blueprint.sections.strata.quota",
                });
            }
            sections.extend(std::iter::repeat_n(at, part.n_places));
        }
        if sections.is_empty() {
            return Err(Error::FieldInvalid {
                field: "blueprint.sections",
            });
        }
        let weighted = items.iter().any(|item| item.weight_percent != 100);
        let mut marks = Self {
            lcm: denominators(&parts, items)?,
            weight_unit: if weighted { WEIGHT_UNIT } else { 1 },
            stretch: stretch(blueprint, &parts, paper_items, items, weighted)?,
            floor_zero: blueprint.floor_zero,
            pass_quanta: None,
            min_quanta: 0,
            max_quanta: 0,
            parts,
            sections,
        };
        marks.set_range(items).ok_or(Error::QuantaOverflow)?;
        marks.pass_quanta = match pass_mark {
            "" => None,
            mark => Some(marks.pass_quanta(mark)?),
        };
        Ok(marks)
    }

    /// D·L·W·U.
    pub(super) fn quanta_per_point(&self) -> i64 {
        MARK_UNIT * self.quanta_per_unit()
    }

    fn quanta_per_unit(&self) -> i64 {
        self.base_per_unit() * self.stretch.as_ref().map_or(1, |stretch| stretch.lcm)
    }

    /// L·W.
    fn base_per_unit(&self) -> i64 {
        self.lcm * self.weight_unit
    }

    /// Returns the lowest and the highest score, in quanta.
    pub(crate) fn range(&self) -> (i64, i64) {
        (self.min_quanta, self.max_quanta)
    }

    /// Returns a number of quanta that divides every possible score: r/k of a mark is a multiple of the mark's
    /// ten-thousandths, whatever k.
    pub(crate) fn unit(&self) -> i64 {
        self.parts
            .iter()
            .fold(0, |unit, part| {
                gcd(gcd(unit, part.mark_units), part.wrong_units)
            })
            .max(1)
    }

    /// Returns the section of a place.
    pub(crate) fn section(&self, place_idx: usize) -> u16 {
        self.sections[place_idx]
    }

    /// Returns what the floor of a section leaves of a sum of marks.
    pub(crate) fn floored(&self, section: u16, quanta: i64) -> i64 {
        if self.parts[usize::from(section)].floor_zero {
            quanta.max(0)
        } else {
            quanta
        }
    }

    /// Returns the share that guessing earns on average: one option is chosen, or each statement judged, by chance;
    /// none for other items.
    pub(crate) fn random_guess(&self, item: &Item) -> Option<Share> {
        match &item.key {
            Key::Single(right) => Some(Share {
                right: u32::try_from(right.len()).ok()?,
                of: u32::from(item.n_options),
            }),
            Key::Cluster(_) => {
                let part = &self.parts[usize::from(item.section?)];
                Some(part.rules.guessed_cluster(item.n_options))
            }
            _ => None,
        }
    }

    pub(super) fn n_places(&self) -> usize {
        self.sections.len()
    }

    pub(super) fn n_sections(&self) -> usize {
        self.parts.len()
    }

    /// Bounds all scores and proves that none overflows, nor the distance of the lowest and the highest.
    fn set_range(&mut self, items: &[Item]) -> Option<()> {
        let weight = items.iter().map(|item| item.weight_percent).max()?;
        let heaviest = if self.weight_unit == 1 {
            1
        } else {
            i64::from(weight.max(100))
        };
        let (mut lost, mut earned) = (0i64, 0i64);
        for part in &self.parts {
            let n = i64::try_from(part.n_places).ok()?;
            lost = lost.checked_add(part.wrong_units.checked_mul(n)?)?;
            earned = earned.checked_add(part.mark_units.checked_mul(n)?)?;
        }
        let largest = self.stretch.as_ref().map_or(Some(1), Stretch::largest)?;
        let factor = self
            .lcm
            .checked_mul(heaviest)
            .and_then(|factor| factor.checked_mul(largest))?;
        lost.checked_add(earned)?.checked_mul(factor)?;
        let stretched = self.stretch.as_ref().map_or(1, |stretch| stretch.lcm);
        let per_unit = self
            .lcm
            .checked_mul(self.weight_unit)
            .and_then(|base| base.checked_mul(stretched))?;
        per_unit.checked_mul(MARK_UNIT)?;
        self.min_quanta = -(lost * factor);
        self.max_quanta = match &self.stretch {
            None => earned * factor,
            Some(_) => earned * per_unit,
        };
        Some(())
    }

    /// Reads a pass mark; where wrong answers lose marks, one below 0 says something.
    fn pass_quanta(&self, mark: &str) -> Result<i128> {
        let (sign, digits) = match mark.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, mark),
        };
        let units = mark_units(digits, "spec.rules.pass_mark")?;
        Ok(sign * i128::from(units) * i128::from(self.quanta_per_unit()))
    }

    /// Returns what one answer earns by itself, before floors and stretching.
    pub(crate) fn grade(&self, place_idx: usize, item: &Item, given: Given<'_>) -> Grade {
        let part = &self.parts[usize::from(self.sections[place_idx])];
        self.grade_in(part, item, given)
            .scaled(self.stretch.as_ref().map_or(1, |stretch| stretch.lcm))
    }

    #[inline]
    fn grade_in(&self, part: &Part, item: &Item, given: Given<'_>) -> Grade {
        let scale = self.lcm
            * if self.weight_unit == 1 {
                1
            } else {
                i64::from(item.weight_percent)
            };
        let mark = part.mark_units * scale;
        let blank = given == Given::Blank;
        let share = match item.treatment {
            Treatment::Unspecified => item.key.share(&part.rules, item.n_options, given),
            Treatment::FullToAttempted if blank => Share::NOTHING,
            Treatment::FullToAll | Treatment::FullToAttempted => Share::FULL,
            Treatment::Dropped => Share::NOTHING,
        };
        let counts = item.is_scored() && item.treatment != Treatment::Dropped;
        let quanta = if !counts || blank && share.right == 0 {
            0
        } else if share.right == 0 {
            -part.wrong_units * scale
        } else {
            mark / i64::from(share.of) * i64::from(share.right)
        };
        Grade {
            quanta,
            mark_quanta: if counts { mark } else { 0 },
            is_full: counts && share.is_full(),
            blank,
        }
    }

    /// Returns the exact score of a paper.
    pub(crate) fn score(&self, items: &[Item], answers: &Answers) -> Score {
        let mut places = answers.chosen.iter();
        let (mut total, mut n_correct, mut dropped_units, mut fatal) = (0, 0, 0, false);
        for part in &self.parts {
            let mut sum = 0;
            for chosen in places.by_ref().take(part.n_places) {
                let item = &items[usize::from(chosen.item_idx)];
                let grade = self.grade_in(part, item, answers.given(item, *chosen));
                sum += grade.quanta;
                n_correct += u16::from(grade.is_full);
                fatal |= item.fatal && grade.mark_quanta != 0 && !grade.is_full;
                if item.treatment == Treatment::Dropped && item.is_scored() {
                    dropped_units += part.mark_units;
                }
            }
            total += if part.floor_zero { sum.max(0) } else { sum };
        }
        if self.floor_zero {
            total = total.max(0);
        }
        let quanta = match &self.stretch {
            None => total,
            Some(stretch) => stretch.apply(total, dropped_units),
        };
        Score {
            quanta,
            n_correct,
            passed: self
                .pass_quanta
                .map(|pass| i128::from(quanta) >= pass && !fatal),
        }
    }
}

impl Stretch {
    fn apply(&self, total: i64, dropped_units: i64) -> i64 {
        match (self.paper_units - dropped_units) / self.gcd {
            0 => 0,
            rest => total * (self.paper_units / self.gcd * (self.lcm / rest)),
        }
    }

    /// The largest factor that [`apply`](Self::apply) multiplies with.
    fn largest(&self) -> Option<i64> {
        (self.paper_units / self.gcd).checked_mul(self.lcm)
    }
}

fn part(section: &Section, paper_items: &[PaperItem]) -> Result<Part> {
    let quotas = section
        .strata
        .iter()
        .map(|stratum| u64::from(stratum.quota));
    let predicts = |item: &&PaperItem| item.r#type() == ItemType::Prediction;
    let pool = || paper_items.iter().filter(|item| is_in(section, item));
    let n_predictions = pool().filter(predicts).count();
    if n_predictions != 0 && n_predictions != pool().count() {
        return Err(Error::FieldInvalid {
            field: "blueprint.sections.strata",
        });
    }
    const MARK: &str = "blueprint.sections.mark";
    let mark_units = mark_units(&section.mark, MARK)?;
    field((mark_units > 0).then_some(()), MARK)?;
    let wrong_units = match section.wrong_mark.as_str() {
        "" => 0,
        mark => self::mark_units(mark, "blueprint.sections.wrong_mark")?,
    };
    let scored = n_predictions == 0;
    Ok(Part {
        n_places: usize::try_from(quotas.sum::<u64>()).unwrap_or(usize::MAX),
        mark_units: if scored { mark_units } else { 0 },
        wrong_units: if scored { wrong_units } else { 0 },
        floor_zero: section.floor_zero,
        rules: Rules::new(section).map_err(|field| Error::FieldInvalid { field })?,
    })
}

/// Returns the section that draws an item; none if none or several do.
pub(super) fn only_section(blueprint: &Blueprint, item: &PaperItem) -> Option<u16> {
    let sections = (0..).zip(&blueprint.sections);
    let mut drawing = sections.filter(|(_, section)| is_in(section, item));
    let (first, _) = drawing.next()?;
    drawing.next().is_none().then_some(first)
}

fn is_in(section: &Section, item: &PaperItem) -> bool {
    let holds = |stratum: &Stratum| {
        stratum.topic == item.topic && (stratum.any_band || stratum.band == item.band)
    };
    section.strata.iter().any(holds)
}

fn denominators(parts: &[Part], items: &[Item]) -> Result<i64> {
    let mut lcm = Some(1i64);
    for item in items {
        for part in parts {
            item.key.denominators(&part.rules, item.n_options, |of| {
                lcm = lcm.and_then(|lcm| common_multiple(lcm, i64::from(of)));
            });
        }
    }
    lcm.ok_or(Error::QuantaOverflow)
}

fn stretch(
    blueprint: &Blueprint,
    parts: &[Part],
    paper_items: &[PaperItem],
    items: &[Item],
    weighted: bool,
) -> Result<Option<Stretch>> {
    let is_dropped = |at: usize| items[at].treatment == Treatment::Dropped && items[at].is_scored();
    if !(0..items.len()).any(is_dropped) {
        return Ok(None);
    }
    if weighted {
        return Err(Error::DroppedWithWeights);
    }
    let gcd = parts
        .iter()
        .fold(0, |sum, part| gcd(sum, part.mark_units))
        .max(1);
    let paper_units = parts.iter().try_fold(0i64, |sum, part| {
        let n = i64::try_from(part.n_places).ok()?;
        sum.checked_add(part.mark_units.checked_mul(n)?)
    });
    let paper_units = field(paper_units, "blueprint.sections.mark")?;
    let mut sums = BTreeSet::from([0i64]);
    for (part, section) in parts.iter().zip(&blueprint.sections) {
        let n_dropped = (0..items.len())
            .filter(|&at| is_dropped(at) && is_in(section, &paper_items[at]))
            .count();
        let n_most = i64::try_from(n_dropped.min(part.n_places)).unwrap_or(i64::MAX);
        let old = std::mem::take(&mut sums);
        for sum in old {
            sums.extend((0..=n_most).map(|n| sum + n * part.mark_units));
            if sums.len() > MAX_STRETCHES {
                return Err(Error::QuantaOverflow);
            }
        }
    }
    let lcm = sums
        .iter()
        .map(|sum| (paper_units - sum) / gcd)
        .filter(|rest| *rest > 0)
        .try_fold(1, common_multiple)
        .ok_or(Error::QuantaOverflow)?;
    Ok(Some(Stretch {
        paper_units,
        gcd,
        lcm,
    }))
}

/// Returns a mark in ten-thousandths of a point: digits, or digits, a point and at most 4 more.
fn mark_units(mark: &str, field: &'static str) -> Result<i64> {
    let (whole, places) = mark.split_once('.').unwrap_or((mark, "0"));
    let plain = |part: &str, most| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let units = (plain(whole, MAX_MARK_DIGITS) && plain(places, MAX_MARK_PLACES))
        .then(|| format!("{whole}{places:0<MAX_MARK_PLACES$}").parse());
    match units {
        Some(Ok(units)) => Ok(units),
        _ => Err(Error::FieldInvalid { field }),
    }
}

fn common_multiple(a: i64, b: i64) -> Option<i64> {
    match b {
        0 => Some(a),
        b => a.checked_mul(b / gcd(a, b)),
    }
}

fn gcd(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proto::{
        bank::v1::{ItemType, MultipleRule},
        exam::v1::{EndedBy, PredictionRuling, Response, Ruling, response::Value, ruling::Kind},
        key::v1::{BlankKey, Treatment},
    };

    use crate::{
        Error, Package,
        fixture::{Log, PAPER, Parts, candidate, parts},
    };

    /// Right options by position of the fixture's paper.
    const RIGHT: [u32; 6] = [0b0001, 0b0010, 0b1000, 0b00111, 0b00011, 0b10100];

    #[track_caller]
    fn check(
        change: impl FnOnce(&mut Parts),
        answers: &[(u32, u32)],
        printed: &str,
        n_correct: u16,
    ) {
        let mut parts = parts();
        parts.rules_mut().score_decimals = 4;
        change(&mut parts);
        let mut log = Log::new(&parts);
        log.sit(candidate(1), 1, "79", answers, 1_000, EndedBy::Candidate);
        let fold = log.fold();
        assert_eq!(fold.n_quarantined(), 0);
        let score = fold.attempt(&candidate(1), 1).unwrap().score;
        let (lowest, highest) = fold.package().marks.range();
        assert!(
            (lowest..=highest).contains(&score.quanta),
            "{lowest} {highest}"
        );
        assert_eq!(score.quanta % fold.package().marks.unit(), 0);
        assert_eq!(
            (fold.package().print(score.quanta).as_str(), score.n_correct),
            (printed, n_correct)
        );
    }

    fn all_right() -> Vec<(u32, u32)> {
        (0..6).zip(RIGHT).collect()
    }

    #[test]
    fn a_wrong_answer_loses_marks_and_a_blank_does_not() {
        let wrong = |parts: &mut Parts| {
            parts.blueprint.sections[0].wrong_mark = "0.1".to_owned();
        };
        check(wrong, &[], "0.0000", 0);
        check(wrong, &[(0, 0b10)], "-0.1000", 0);
        check(wrong, &[(0, 0b10), (1, 0b10)], "0.1500", 1);
        check(wrong, &[(0, 0b10), (0, 0)], "0.0000", 0);
        check(wrong, &[(0, 0b10), (4, 0b11)], "0.4000", 1);
        check(wrong, &all_right(), "2.2500", 6);
    }

    #[test]
    fn floors_hold_at_section_and_test() {
        let both = [(0, 0b10), (4, 0b11)];
        check(
            |parts| {
                parts.blueprint.sections[0].wrong_mark = "1".to_owned();
                parts.blueprint.sections[0].floor_zero = true;
            },
            &both,
            "0.5000",
            1,
        );
        check(
            |parts| {
                parts.blueprint.sections[0].wrong_mark = "1".to_owned();
                parts.blueprint.floor_zero = true;
            },
            &both,
            "0.0000",
            1,
        );
        check(
            |parts| parts.blueprint.sections[0].wrong_mark = "1".to_owned(),
            &both,
            "-0.5000",
            1,
        );
    }

    #[test]
    fn an_item_has_its_weight() {
        let weighted = |parts: &mut Parts| parts.key.keys[0].weight_percent = 150;
        check(weighted, &all_right(), "2.3750", 6);
        check(weighted, &[(0, 1)], "0.3750", 1);
        let third = |parts: &mut Parts| parts.key.keys[3].weight_percent = 50;
        check(third, &[(3, 0b1)], "0.0833", 0);
    }

    #[test]
    fn treatments_give_what_they_say() {
        let treated = |treatment: Treatment| {
            move |parts: &mut Parts| parts.key.keys[0].treatment = treatment.into()
        };
        check(treated(Treatment::FullToAll), &[], "0.2500", 1);
        check(treated(Treatment::FullToAll), &[(0, 0b10)], "0.2500", 1);
        check(treated(Treatment::FullToAttempted), &[], "0.0000", 0);
        check(
            treated(Treatment::FullToAttempted),
            &[(0, 0b10)],
            "0.2500",
            1,
        );
        // 2.25 points in all, 2.00 without the item: what is left counts 9/8
        check(treated(Treatment::Dropped), &all_right(), "2.2500", 5);
        check(treated(Treatment::Dropped), &[(0, 1)], "0.0000", 0);
        check(treated(Treatment::Dropped), &[(1, 0b10)], "0.2813", 1);
        check(treated(Treatment::Dropped), &[(4, 0b11)], "0.5625", 1);
    }

    #[test]
    fn a_dropped_item_neither_loses_marks_nor_fails_anybody() {
        let passed = |treatment: Treatment| {
            let mut parts = parts();
            parts.rules_mut().pass_mark = "0.25".to_owned();
            parts.blueprint.sections[0].wrong_mark = "0.1".to_owned();
            parts.key.keys[0].treatment = treatment.into();
            parts.key.keys[0].fatal = true;
            let mut log = Log::new(&parts);
            let answers = [(0, 0b10), (4, 0b11)];
            log.sit(candidate(1), 1, "79", &answers, 1_000, EndedBy::Candidate);
            let fold = log.fold();
            let score = fold.attempt(&candidate(1), 1).unwrap().score;
            (fold.package().print(score.quanta), score.passed)
        };
        let kept = passed(Treatment::Unspecified);
        assert_eq!(kept, ("0.40".to_owned(), Some(false)));
        // 0.5 of the 2 points that are left, of 2.25
        let dropped = passed(Treatment::Dropped);
        assert_eq!(dropped, ("0.56".to_owned(), Some(true)));
    }

    #[test]
    fn a_paper_of_dropped_items_alone_earns_nothing() {
        check(
            |parts| {
                for key in &mut parts.key.keys {
                    key.treatment = Treatment::Dropped.into();
                }
            },
            &all_right(),
            "0.0000",
            0,
        );
    }

    #[test]
    fn weights_and_dropped_items_do_not_go_together() {
        let mut parts = parts();
        parts.key.keys[0].treatment = Treatment::Dropped.into();
        parts.key.keys[1].weight_percent = 50;
        let error = parts.load().unwrap_err();
        assert!(matches!(error, Error::DroppedWithWeights), "{error}");
    }

    #[test]
    fn marks_tell_their_sections_floors_units_and_what_guessing_earns() {
        let mut parts = parts();
        parts.blueprint.sections[0].floor_zero = true;
        parts.blueprint.sections[1].wrong_mark = "0.1".to_owned();
        parts.paper.items[5].r#type = ItemType::Cluster.into();
        parts.paper.items[5].options.truncate(4);
        parts.key.keys[5].right_options = 0b0101;
        parts.key.keys[0].accepted = vec![0b10];
        let package = parts.load().unwrap();
        let marks = &package.marks;
        assert_eq!((marks.n_places(), marks.n_sections()), (6, 2));
        let sections: Vec<u16> = (0..6).map(|place| marks.section(place)).collect();
        assert_eq!(sections, [0, 0, 0, 1, 1, 1]);
        assert_eq!(marks.unit(), 500, "of 2,500, 5,000 and 1,000");
        let floored = [(0, -7), (0, 7), (1, -7), (1, 7)]
            .map(|(section, quanta)| marks.floored(section, quanta));
        assert_eq!(floored, [0, 7, -7, 7]);
        let guess = |at: usize| {
            let share = marks.random_guess(&package.items[at]);
            share.map(|share| (share.right, share.of))
        };
        assert_eq!(guess(0), Some((2, 4)), "either of two options");
        assert_eq!(guess(1), Some((1, 4)));
        assert_eq!(guess(3), None, "a multiple choice");
        assert_eq!(guess(5), Some((490, 1_600)));
    }

    #[test]
    fn the_range_holds_what_stretching_can_make_of_lost_marks() {
        let mut parts = parts();
        parts.blueprint.sections[0].wrong_mark = "0.1".to_owned();
        parts.key.keys[0].treatment = Treatment::Dropped.into();
        let package = parts.load().unwrap();
        // L = 6, M = 22,500, T = 2,500, (M - d)/T = 9 or 8, so U = 72; 3,000 may be lost
        assert_eq!(package.quanta_per_point(), 10_000 * 6 * 72);
        let range = (-3_000 * 6 * 9 * 72, 22_500 * 6 * 72);
        assert_eq!(package.marks.range(), range);
    }

    #[test]
    fn an_item_is_of_the_one_section_that_draws_it() {
        let sections = |change: fn(&mut Parts)| {
            let mut parts = parts();
            for (at, item) in parts.paper.items.iter_mut().enumerate() {
                item.band = if at % 3 == 2 { 3 } else { 1 };
            }
            change(&mut parts);
            let package = parts.load().unwrap();
            package
                .items
                .iter()
                .map(|item| item.section)
                .collect::<Vec<_>>()
        };
        let whole = [Some(0), Some(0), Some(0), Some(1), Some(1), Some(1)];
        assert_eq!(sections(|_| ()), whole);
        let by_band = |parts: &mut Parts| {
            let stratum = &mut parts.blueprint.sections[0].strata[0];
            (stratum.any_band, stratum.band) = (false, 1);
        };
        let banded = [Some(0), Some(0), None, Some(1), Some(1), Some(1)];
        assert_eq!(sections(by_band), banded);
        let twice = |parts: &mut Parts| {
            let again = parts.blueprint.sections[0].clone();
            parts.blueprint.sections.push(again);
        };
        assert_eq!(
            sections(twice),
            [None, None, None, Some(1), Some(1), Some(1)]
        );
    }

    #[test]
    fn a_pass_mark_may_be_0_or_below_or_beyond_all_scores() {
        let passed = |mark: &str, options| {
            let mut parts = parts();
            parts.rules_mut().pass_mark = mark.to_owned();
            parts.blueprint.sections[0].wrong_mark = "0.5".to_owned();
            let mut log = Log::new(&parts);
            let who = candidate(1);
            log.sit(who, 1, "79", &[(0, options)], 1_000, EndedBy::Candidate);
            log.fold().attempt(&who, 1).unwrap().score.passed
        };
        assert_eq!(passed("0", 0), Some(true));
        assert_eq!(passed("0.0", 0b10), Some(false));
        assert_eq!(passed("-0.5", 0b10), Some(true));
        assert_eq!(passed("-0.4999", 0b10), Some(false));
        assert_eq!(passed("999999999.9999", 0b1), Some(false));
        assert_eq!(passed("", 0b1), None);
    }

    #[test]
    fn an_attempt_passes_by_its_exact_score_and_no_fatal_item_missed() {
        let passed = |fatal: bool, answers: &[(u32, u32)]| {
            let mut parts = parts();
            parts.rules_mut().pass_mark = "0.75".to_owned();
            parts.key.keys[0].fatal = fatal;
            let mut log = Log::new(&parts);
            log.sit(candidate(1), 1, "79", answers, 1_000, EndedBy::Candidate);
            log.fold().attempt(&candidate(1), 1).unwrap().score.passed
        };
        let enough = [(1, 0b10), (4, 0b11)];
        assert_eq!(passed(false, &enough), Some(true));
        assert_eq!(passed(true, &enough), Some(false));
        assert_eq!(passed(true, &[(0, 1), (4, 0b11)]), Some(true));
        assert_eq!(passed(false, &[(4, 0b11)]), Some(false));
        // two thirds of 0.5 and 0.25 print as 0.58 and are less than 0.75
        assert_eq!(passed(false, &[(0, 1), (3, 0b11)]), Some(false));
    }

    /// A paper whose last section asks for all that is no choice.
    fn written() -> Parts {
        let mut parts = parts();
        parts.rules_mut().score_decimals = 2;
        let types = [ItemType::Cluster, ItemType::ShortText, ItemType::Prediction];
        for (at, item_type) in (3..).zip(types) {
            let item = &mut parts.paper.items[at];
            item.r#type = item_type.into();
            let n_options = if item_type == ItemType::Cluster { 4 } else { 0 };
            item.options.truncate(n_options);
            parts.key.keys[at].right_options = 0;
            item.topic = item_type.as_str_name().to_owned();
        }
        parts.key.keys[3].right_options = 0b0101;
        parts.key.keys[4].blanks = vec![BlankKey {
            accepted: vec!["Điện Biên Phủ".to_owned()],
            ..BlankKey::default()
        }];
        let section = parts.blueprint.sections[1].clone();
        parts.blueprint.sections.truncate(1);
        for item_type in types {
            let mut section = section.clone();
            section.strata[0].topic = item_type.as_str_name().to_owned();
            section.strata[0].quota = 1;
            section.mark = "1".to_owned();
            section.multiple_rule = MultipleRule::Unspecified.into();
            parts.blueprint.sections.push(section);
        }
        parts
    }

    fn sit_written(log: &mut Log, answers: &[(u32, Option<Value>)]) {
        let who = candidate(1);
        let mut started = crate::fixture::started("79");
        started.option_order = [[1, 2, 3, 0].repeat(3), vec![0, 1, 2, 3]].concat().into();
        assert_eq!(started.item_ids, PAPER);
        log.push(
            who,
            1,
            crate::fixture::T0_MS,
            proto::exam::v1::event::Kind::Started(started),
        );
        for (position, value) in answers {
            let seq = log.next_seq(who, 1);
            let mut answer = crate::fixture::answered(seq, *position, Value::Chosen(0));
            answer.response = value.clone().map(|value| Response { value: Some(value) });
            log.push(
                who,
                1,
                crate::fixture::T0_MS,
                proto::exam::v1::event::Kind::Answered(answer),
            );
        }
        log.end(who, 1, 1_000, EndedBy::Candidate);
    }

    #[test]
    fn written_answers_are_scored_and_a_prediction_is_not() {
        let mut log = Log::new(&written());
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        sit_written(
            &mut log,
            &[
                (0, Some(Value::Chosen(0b1000))),
                (3, Some(Value::Sequence(vec![1, 2, 1, 1].into()))),
                (4, text("Hà Nội")),
                (4, text("  điện biên phủ")),
                (5, text("457.428")),
                (5, text("457.428.000")),
                (5, text("12 345")),
            ],
        );
        let fold = log.fold();
        assert_eq!(fold.quarantined().collect::<Vec<_>>(), []);
        let attempt = fold.attempt(&candidate(1), 1).unwrap();
        // 0.25 for the choice, 0.5 for three statements of four, 1 for the text
        assert_eq!(fold.package().print(attempt.score.quanta), "1.75");
        assert_eq!(
            (attempt.score.n_correct, attempt.prediction),
            (2, Some(12_345))
        );
        assert_eq!(fold.package().print(fold.package().max_quanta()), "2.75");
        let read = crate::load(&crate::save(&fold), fold.package()).unwrap();
        assert_eq!(read.attempt(&candidate(1), 1), Some(attempt));
    }

    #[test]
    fn answers_that_do_not_fit_their_item_are_quarantined() {
        for (position, value) in [
            (3, Value::Sequence(vec![1, 2, 1].into())),
            (3, Value::Sequence(vec![1, 2, 3, 0].into())),
            (3, Value::Chosen(1)),
            (4, Value::Sequence(vec![1].into())),
            (4, Value::Text("a\u{1f}b".to_owned())),
            (5, Value::Text("1".repeat(2_001))),
            (0, Value::Text("A".to_owned())),
        ] {
            let mut log = Log::new(&written());
            sit_written(&mut log, &[(position, Some(value.clone()))]);
            assert_eq!(log.fold().n_quarantined(), 1, "{position} {value:?}");
        }
        let mut log = Log::new(&written());
        sit_written(
            &mut log,
            &[(3, Some(Value::Sequence(vec![0; 4].into()))), (4, None)],
        );
        assert_eq!(log.fold().n_quarantined(), 0, "blanks fit every item");
    }

    #[test]
    fn a_section_of_predictions_holds_nothing_else() {
        let mut parts = written();
        parts.paper.items[5].topic = parts.paper.items[4].topic.clone();
        let error = parts.load().unwrap_err();
        assert!(matches!(
            error,
            Error::FieldInvalid {
                field: "blueprint.sections.strata"
            }
        ));
    }

    #[test]
    fn the_nearest_prediction_ranks_first_once_the_quantity_is_known() {
        let mut parts = written();
        parts.rules_mut().ranking = vec![1, 6];
        let mut log = Log::new(&parts);
        sit_written(&mut log, &[(5, Some(Value::Text("100".to_owned())))]);
        let ranked = |package: Package| package.layout().clone();
        let (mut exam, paper, key) = parts.encode();
        let before = ranked(Package::load(&exam, &paper, &key).unwrap());
        crate::ruling::append(
            &mut exam,
            Ruling {
                kind: Some(Kind::Prediction(PredictionRuling {
                    quantity: 90,
                    definition: "số người dự thi".to_owned(),
                })),
                ..Ruling::default()
            },
        );
        let after = ranked(Package::load(&exam, &paper, &key).unwrap());
        let fold = log.fold();
        let attempt = fold.attempt(&candidate(1), 1).unwrap();
        let mut other = attempt.rank_facts();
        other.prediction = Some(91);
        let id = candidate(1);
        assert_eq!(
            before.pack(&attempt.rank_facts(), &id),
            before.pack(&other, &id)
        );
        assert!(after.pack(&other, &id) < after.pack(&attempt.rank_facts(), &id));
    }
}
