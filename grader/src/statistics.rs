//! Statistics of an exam while it runs: exact counts that any number of sittings enter and leave.
//!
//! A sitting is added when it is graded, removed and added again when a key is corrected; shards are merged. Only
//! whole numbers are kept, so that any order gives the same state; reports turn them into numbers with a fraction.
//! Invariants: [`Statistics::remove`] undoes [`Statistics::add`] exactly; a value that is not defined is none,
//! never NaN. Start at [`Statistics::add`], then [`Statistics::item_reports`] and [`alarms`].
//! Source: the definitions of Moodle's quiz statistics; Lord and Novick, "Statistical Theories of Mental Test
//! Scores".

pub mod alarm;
pub mod bank;
pub mod dif;
pub mod irt;
pub mod item_report;
pub mod test_report;

mod dense;
mod exam;
mod histogram;
mod item_counts;
mod matrix;
mod normal;
mod option_report;
mod quadrature;
mod score_groups;
mod sparse;
mod sums;
mod test_counts;

#[cfg(test)]
mod planted;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod simulation;

pub use alarm::{Alarm, alarms};
pub use bank::{ItemStatistics, to_bank};
pub(crate) use exam::text_number;
pub use exam::{Cohorts, ExamStatistics};
use item_counts::ItemCounts;
pub use item_report::{Facility, ItemReport};
pub use option_report::OptionReport;
use test_counts::TestCounts;
pub use test_report::{Distribution, Reliability, TestReport};

use crate::rule::Share;

/// What a candidate did with an item, as one small number.
///
/// Of an item with options it is the set of chosen options, bit 0 the first in canonical order. Of any other item
/// it is [`WRONG`](Self::WRONG), [`PARTIAL`](Self::PARTIAL), [`RIGHT`](Self::RIGHT) or a frequent wrong
/// [`text`](Self::text); of a cluster the set of statements [`judged`](Self::judged) true. An item that was not on the paper has no choice at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice(pub u16);

impl Choice {
    /// On the paper, but not answered.
    pub const BLANK: Self = Self(0);
    /// A wrong answer to an item without options.
    pub const WRONG: Self = Self(1);
    /// A partly right answer to an item without options.
    pub const PARTIAL: Self = Self(2);
    /// A right answer to an item without options.
    pub const RIGHT: Self = Self(3);

    /// Returns the judgement that just these statements are true.
    #[must_use]
    pub const fn judged(statements: u16) -> Self {
        // that none of them is true is not blank
        Self(statements | 1 << 15)
    }

    /// Returns the code of a wrong text that the caller numbers, because many gave it.
    #[must_use]
    pub const fn text(idx: u16) -> Self {
        Self(idx.saturating_add(Self::RIGHT.0 + 1))
    }

    /// Reports whether an option is among the chosen.
    #[must_use]
    pub const fn has(self, option: u8) -> bool {
        option < 16 && self.0 >> option & 1 == 1
    }
}

/// How an item comes onto papers; it decides what its marks are compared with, as in Moodle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// On every paper: compared with the rest of the paper.
    #[default]
    Fixed,
    /// Drawn onto some papers: compared with the whole total; no effective weight.
    Drawn,
    /// One variant of a question that is on every paper: compared with the rest; no effective weight.
    Variant,
}

/// What the statistics must know of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemInfo {
    /// Number in the bank.
    pub item_id: u32,
    /// Hash of the revision in the bank.
    pub revision: [u8; 32],
    /// Options; 0 for an item without options.
    pub n_options: u8,
    /// Right options, bit 0 the first: all of them together or, where one is to be chosen, each; 0 for an item without
    /// options.
    pub key: u16,
    /// Whether one option is to be chosen.
    pub single: bool,
    /// Share of the mark that guessing earns on average; none where it is not defined.
    pub random_guess: Option<Share>,
    /// How it comes onto papers.
    pub placement: Placement,
    /// Section of the papers that it can stand in; none if there are several.
    pub section: Option<u16>,
    /// Organizers have decided what it earns: its key raises no alarm any more.
    pub decided: bool,
}

impl ItemInfo {
    /// Reports whether a choice is right by the key.
    #[must_use]
    pub fn is_right(&self, choice: Choice) -> bool {
        if self.single {
            choice.0 & self.key != 0
        } else {
            choice == self.right()
        }
    }

    /// Reports whether its options are statements to be judged.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        self.key >> 15 == 1
    }

    /// Returns the choice that is right by the key; the union of several single ones.
    #[must_use]
    pub fn right(&self) -> Choice {
        if self.key == 0 {
            Choice::RIGHT
        } else {
            Choice(self.key)
        }
    }
}

/// One graded item of a sitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graded {
    /// Index of the item among those given to [`Statistics::new`].
    pub item_idx: u16,
    /// Section of the paper it stood in.
    pub section: u16,
    /// What was chosen.
    pub choice: Choice,
    /// What it earned, in quanta.
    pub quanta: i64,
    /// What it could earn, in quanta.
    pub mark_quanta: i64,
}

/// One graded sitting.
#[derive(Clone, Copy, Debug)]
pub struct Sitting<'a> {
    /// Score in quanta.
    pub total: i64,
    /// Number of the area.
    pub area: u16,
    /// Number of its cohort, by time of start.
    pub cohort: u16,
    /// Score of each section in quanta.
    pub section_totals: &'a [i64],
    /// The items of the paper, blank ones too.
    pub responses: &'a [Graded],
}

/// Most totals that are told apart where choices are compared with totals; usual exams have 40 to 400.
const MAX_TOTALS: i64 = 1_024;

/// Which scores can occur, in quanta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreRange {
    /// Least total.
    pub min_quanta: i64,
    /// Greatest total.
    pub max_quanta: i64,
    /// Every total is a multiple of this; at least 1.
    pub unit_quanta: i64,
    /// Totals within one step are one where choices are compared with totals; sums stay exact.
    pub step_quanta: i64,
}

impl ScoreRange {
    /// Makes a range whose steps are units, or as many of them as bound the memory.
    #[must_use]
    pub fn new((min_quanta, max_quanta): (i64, i64), unit_quanta: i64) -> Self {
        let unit_quanta = unit_quanta.max(1);
        let n_units = max_quanta.saturating_sub(min_quanta).max(0) / unit_quanta;
        Self {
            min_quanta,
            max_quanta,
            unit_quanta,
            step_quanta: unit_quanta * (n_units / MAX_TOTALS + 1),
        }
    }
}

/// The counts of one exam.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    range: ScoreRange,
    infos: Vec<ItemInfo>,
    items: Vec<ItemCounts>,
    test: TestCounts,
}

impl Statistics {
    /// Starts with no sitting.
    #[must_use]
    pub fn new(items: Vec<ItemInfo>, range: ScoreRange) -> Self {
        Self {
            range,
            items: vec![ItemCounts::default(); items.len()],
            test: TestCounts::default(),
            infos: items,
        }
    }

    /// Counts a sitting; a response to an item that the exam does not have is left out of the items' counts.
    pub fn add(&mut self, sitting: &Sitting<'_>) {
        self.count(sitting, 1);
    }

    /// Takes a sitting out again.
    pub fn remove(&mut self, sitting: &Sitting<'_>) {
        self.count(sitting, -1);
    }

    /// Adds the counts of another part of the same exam; both must have been made of the same items.
    pub fn merge(&mut self, other: &Self) {
        self.test.merge(&other.test);
        for (mine, theirs) in self.items.iter_mut().zip(&other.items) {
            mine.merge(theirs);
        }
    }

    /// Replaces what is known of an item: after a correction of its key, together with regraded sittings.
    pub fn replace_item(&mut self, item_idx: u16, info: ItemInfo) {
        if let Some(known) = self.infos.get_mut(usize::from(item_idx)) {
            *known = info;
        }
    }

    /// Returns the items, as given to [`new`](Self::new).
    #[must_use]
    pub fn items(&self) -> &[ItemInfo] {
        &self.infos
    }

    fn count(&mut self, sitting: &Sitting<'_>, by: i64) {
        self.test.count(sitting, by);
        for graded in sitting.responses {
            let at = usize::from(graded.item_idx);
            if let Some(item) = self.items.get_mut(at) {
                let step = item_counts::step(&self.infos[at], self.range);
                item.count(sitting, graded, step, by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        simulation::{Exam, Form, MARK, Random, items},
        *,
    };

    fn exam() -> Exam {
        let mut random = Random::new(4);
        let items = items(
            &[(Form::Single(4), 6), (Form::Cluster, 3), (Form::Text, 3)],
            &mut random,
        );
        Exam::new(items, 150, Some(8), &mut random)
    }

    fn counted(exam: &Exam, is_in: impl Fn(usize) -> bool) -> Statistics {
        let mut statistics = Statistics::new(exam.infos(), exam.range());
        let mut at = 0;
        exam.for_each_sitting(|sitting| {
            if is_in(at) {
                statistics.add(sitting);
            }
            at += 1;
        });
        statistics
    }

    #[test]
    fn any_order_and_any_split_give_the_same_state() {
        let mut exam = exam();
        let whole = exam.statistics();
        let mut merged = counted(&exam, |at| at % 3 == 0);
        assert_ne!(merged, whole);
        merged.merge(&counted(&exam, |at| at % 3 != 0));
        assert_eq!(merged, whole);
        exam.candidates.reverse();
        let reversed = exam.statistics();
        assert_eq!(reversed, whole);
        assert_eq!(reversed.item_reports(), whole.item_reports());
        assert_eq!(reversed.test_report(), whole.test_report());
    }

    #[test]
    fn what_is_removed_leaves_no_trace() {
        let exam = exam();
        let mut statistics = exam.statistics();
        exam.for_each_sitting(|sitting| statistics.remove(sitting));
        assert_eq!(statistics, Statistics::new(exam.infos(), exam.range()));
        // also if it is taken out before it comes in
        exam.for_each_sitting(|sitting| statistics.remove(sitting));
        assert_ne!(statistics, Statistics::new(exam.infos(), exam.range()));
        exam.for_each_sitting(|sitting| statistics.add(sitting));
        assert_eq!(statistics, Statistics::new(exam.infos(), exam.range()));
    }

    #[test]
    fn a_corrected_key_gives_the_state_of_an_exam_that_always_had_it() {
        let wrong = exam();
        let mut right = wrong.clone();
        right.keys[2] ^= 0b1111;
        let mut statistics = wrong.statistics();
        wrong.for_each_sitting(|sitting| statistics.remove(sitting));
        right.for_each_sitting(|sitting| statistics.add(sitting));
        assert_ne!(
            statistics,
            right.statistics(),
            "the item still has the old key"
        );
        statistics.replace_item(2, right.infos()[2].clone());
        assert_eq!(statistics, right.statistics());
    }

    #[test]
    fn areas_cohorts_and_sections_add_up_to_the_whole() {
        let statistics = exam().statistics();
        let n = |parts: &[i64]| parts.iter().sum::<i64>();
        let areas: Vec<_> = statistics.areas().iter().map(|(_, it)| it.n).collect();
        let cohorts: Vec<_> = statistics.cohorts().iter().map(|(_, it)| it.n).collect();
        assert_eq!((areas.len(), n(&areas)), (6, 150));
        assert_eq!((cohorts.len(), n(&cohorts)), (4, 150));
        for report in statistics.item_reports() {
            let areas: Vec<_> = report.areas.iter().map(|it| it.n).collect();
            let cohorts: Vec<_> = report.cohorts.iter().map(|it| it.n).collect();
            assert_eq!((n(&areas), n(&cohorts)), (report.n, report.n));
            assert!(report.n < 150, "drawn, so not seen by all");
        }
        let sections = statistics.section_reports();
        let sum = |it: &Distribution| it.mean.unwrap() * it.n as f64;
        let of_sections: f64 = sections.iter().map(|(_, it)| sum(&it.scores)).sum();
        let whole = statistics.test_report();
        assert!((of_sections - sum(&whole.scores)).abs() < 1e-6);
        assert_eq!(whole.reliability.alpha, None, "papers differ");
        assert!(whole.reliability.nested.unwrap() > 0.0);
    }

    /// Counts sittings of two items with the given marks and responses.
    fn two_items(marks: [i64; 2], quanta: &[[i64; 2]]) -> Statistics {
        let item = |item_id| ItemInfo {
            item_id,
            n_options: 2,
            key: 1,
            ..ItemInfo::default()
        };
        let range = ScoreRange::new((0, marks.iter().sum()), 1);
        let mut statistics = Statistics::new(vec![item(1), item(2)], range);
        for earned in quanta {
            let graded = |at: usize| Graded {
                item_idx: u16::try_from(at).unwrap(),
                section: 0,
                choice: Choice(if earned[at] > 0 { 1 } else { 0 }),
                quanta: earned[at],
                mark_quanta: marks[at],
            };
            let responses = [graded(0), graded(1)];
            let total = earned.iter().sum();
            let section_totals = [total];
            statistics.add(&Sitting {
                total,
                area: 0,
                cohort: 0,
                section_totals: &section_totals,
                responses: &responses,
            });
        }
        statistics
    }

    /// Reports which values of the second item, and which of the test, are defined.
    #[track_caller]
    fn check_defined(marks: [i64; 2], quanta: &[[i64; 2]], of_item: [bool; 6], alpha: bool) {
        let statistics = two_items(marks, quanta);
        let it = &statistics.item_reports()[1];
        let values = [
            it.facility,
            it.sd,
            it.discrimination_index,
            it.discriminative_efficiency,
            it.effective_weight,
            it.r_it,
        ];
        assert!(values.iter().flatten().all(|value| value.is_finite()));
        assert_eq!(values.map(|value| value.is_some()), of_item);
        assert_eq!(statistics.test_report().reliability.alpha.is_some(), alpha);
    }

    #[test]
    fn what_is_not_defined_is_none() {
        check_defined([MARK; 2], &[], [false; 6], false);
        let one = [true, false, false, false, false, false];
        check_defined([MARK; 2], &[[MARK, 0]], one, false);
        let all = [[MARK, MARK], [0, 0], [MARK, 0], [0, MARK]];
        check_defined([MARK; 2], &all, [true; 6], true);
        // nobody scores on the second item
        let nobody = [[MARK, 0], [0, 0], [MARK, 0]];
        check_defined(
            [MARK; 2],
            &nobody,
            [true, true, false, false, true, false],
            true,
        );
        // its mark is 0
        check_defined(
            [MARK, 0],
            &nobody,
            [false, true, false, false, true, false],
            true,
        );
        // nobody scores at all
        check_defined(
            [MARK; 2],
            &[[0, 0], [0, 0]],
            [true, true, false, false, false, false],
            false,
        );
    }

    #[test]
    #[ignore = "prints how long adding takes; run it in a release build"]
    fn adding_is_measured() {
        let mut random = Random::new(1);
        let items = items(
            &[(Form::Single(4), 80), (Form::Cluster, 10), (Form::Text, 10)],
            &mut random,
        );
        let exam = Exam::new(items, 20_000, None, &mut random);
        let mut graded = Vec::new();
        exam.for_each_sitting(|it| {
            graded.push((
                it.total,
                it.area,
                it.cohort,
                it.section_totals.to_vec(),
                it.responses.to_vec(),
            ))
        });
        let mut statistics = Statistics::new(exam.infos(), exam.range());
        let began = std::time::Instant::now();
        for (total, area, cohort, section_totals, responses) in &graded {
            let (total, area, cohort) = (*total, *area, *cohort);
            statistics.add(&Sitting {
                total,
                area,
                cohort,
                section_totals,
                responses,
            });
        }
        let n_responses = graded.len() * 100;
        println!(
            "{} ns an item",
            began.elapsed().as_nanos() / n_responses as u128
        );
        let began = std::time::Instant::now();
        let n_alarms = alarms(&statistics).len();
        println!("{n_alarms} alarms in {:?}", began.elapsed());
        let began = std::time::Instant::now();
        let n_items = statistics.item_reports().len();
        println!("{n_items} item reports in {:?}", began.elapsed());
    }
}
