//! Published data, and the values that other programs computed from them.

use std::collections::HashMap;

use super::{
    Choice, Graded, ItemInfo, ItemReport, Placement, ScoreRange, Sitting, Statistics,
    dif::{self, Table},
    irt::Pattern,
};

/// Quanta of a point: the marks of the data have seven places.
const POINT: i64 = 10_000_000;

/// Marks of one sitting in quanta; an item that was not on the paper has none.
type Marks = Vec<Option<i64>>;

/// Counts sittings of items with one mark.
pub(super) fn count(items: Vec<ItemInfo>, mark: i64, sittings: &[(Marks, i64)]) -> Statistics {
    let most = mark * items.len() as i64;
    let exact = ScoreRange {
        step_quanta: 1,
        ..ScoreRange::new((0, most), 1)
    };
    let mut statistics = Statistics::new(items, exact);
    for (marks, total) in sittings {
        let responses = graded(marks, mark);
        statistics.add(&Sitting {
            total: *total,
            area: 0,
            cohort: 0,
            section_totals: &[*total],
            responses: &responses,
        });
    }
    statistics
}

fn graded(marks: &Marks, mark_quanta: i64) -> Vec<Graded> {
    let response = |(item_idx, quanta): (u16, &Option<i64>)| {
        quanta.map(|quanta| Graded {
            item_idx,
            section: 0,
            choice: if quanta == mark_quanta {
                Choice::RIGHT
            } else {
                Choice::WRONG
            },
            quanta,
            mark_quanta,
        })
    };
    (0..).zip(marks).filter_map(response).collect()
}

/// Returns items 1, 2, ... that come onto papers like this.
pub(super) fn items(n_items: u32, placement: Placement) -> Vec<ItemInfo> {
    let item = |item_id| ItemInfo {
        item_id,
        placement,
        section: Some(0),
        ..ItemInfo::default()
    };
    (1..=n_items).map(item).collect()
}

fn rows(csv: &str) -> impl Iterator<Item = Vec<&str>> {
    csv.lines().skip(1).map(|line| line.split(',').collect())
}

/// Returns the patterns of the law school admission test, section 6 or 7.
pub(super) fn lsat(section: u8) -> Vec<Pattern> {
    let csv = match section {
        6 => include_str!("../../testdata/statistics/lsat6.csv"),
        _ => include_str!("../../testdata/statistics/lsat7.csv"),
    };
    let pattern = |row: Vec<&str>| Pattern {
        responses: (0..)
            .zip(row[0].chars().map(|digit| digit == '1'))
            .collect(),
        n: row[1].parse().unwrap(),
    };
    rows(csv).map(pattern).collect()
}

fn lsat_statistics(section: u8) -> Statistics {
    let mut sittings = Vec::new();
    for pattern in lsat(section) {
        let marks: Vec<_> = pattern
            .responses
            .iter()
            .map(|&(_, right)| i64::from(right))
            .collect();
        let total = marks.iter().sum();
        let marks: Marks = marks.into_iter().map(Some).collect();
        sittings.extend(vec![(marks, total); pattern.n as usize]);
    }
    count(items(5, Placement::Fixed), 1, &sittings)
}

/// Returns whether the person belongs to the reference group, and the responses.
fn verbagg() -> Vec<(bool, Vec<i64>)> {
    let csv = include_str!("../../testdata/statistics/verbagg.csv");
    let responses = |digits: &str| {
        digits
            .bytes()
            .map(|digit| i64::from(digit - b'0'))
            .collect()
    };
    rows(csv)
        .map(|row| (row[1] == "F", responses(row[2])))
        .collect()
}

/// Keeps the largest relative difference seen.
#[derive(Default)]
struct Difference {
    largest: f64,
    n: usize,
}

impl Difference {
    #[track_caller]
    fn check(&mut self, found: Option<f64>, expected: f64, tolerance: f64) {
        let found = found.expect("a value that is defined");
        let difference = (found - expected).abs() / expected.abs();
        assert!(
            difference <= tolerance,
            "{found} is not {expected}: {difference:e}"
        );
        self.largest = self.largest.max(difference);
        self.n += 1;
    }
}

struct Attempt {
    marks: Vec<i64>,
    drawn: usize,
    variant: usize,
}

impl Attempt {
    fn total(&self) -> i64 {
        self.marks.iter().sum()
    }

    /// Returns the sitting with only one slot of it, as the item that stood there.
    fn only(&self, slot: usize, item: usize) -> (Marks, i64) {
        let mut marks = vec![None; item + 1];
        marks[item] = Some(self.marks[slot]);
        (marks, self.total())
    }
}

fn attempts() -> Vec<Attempt> {
    let quanta = |text: &str| {
        let (points, places) = text.split_once('.').unwrap_or((text, ""));
        format!("{points}{places:0<7}").parse::<i64>().unwrap()
    };
    let attempt = |row: Vec<&str>| Attempt {
        marks: row[1..8].iter().map(|text| quanta(text)).collect(),
        drawn: row[8].parse().unwrap(),
        variant: row[9].parse().unwrap(),
    };
    rows(include_str!("../../testdata/statistics/results00.csv"))
        .map(attempt)
        .collect()
}

/// Returns the reports of slots, of the questions that slot 1 drew, and of the variants of slot 2.
fn moodle_reports(attempts: &[Attempt]) -> HashMap<(usize, usize, usize), ItemReport> {
    let whole = |it: &Attempt| (it.marks.iter().copied().map(Some).collect(), it.total());
    let slots: Vec<_> = attempts.iter().map(whole).collect();
    let drawn: Vec<_> = attempts.iter().map(|it| it.only(0, it.drawn)).collect();
    let variants: Vec<_> = attempts.iter().map(|it| it.only(1, it.variant)).collect();
    let slots = count(items(7, Placement::Fixed), POINT, &slots).item_reports();
    let drawn = count(items(3, Placement::Drawn), POINT, &drawn).item_reports();
    let variants = count(items(11, Placement::Variant), POINT, &variants).item_reports();
    let slots = (1..).zip(slots).map(|(slot, it)| ((slot, 0, 0), it));
    let drawn = (0..).zip(drawn).map(|(drawn, it)| ((1, drawn, 0), it));
    let variants = (0..)
        .zip(variants)
        .map(|(variant, it)| ((2, 0, variant), it));
    // an item of number 0 nobody drew
    drawn.skip(1).chain(variants.skip(1)).chain(slots).collect()
}

#[test]
fn item_statistics_are_those_of_moodle() {
    let reports = moodle_reports(&attempts());
    let mut difference = Difference::default();
    let mut n_nulls = 0;
    for row in rows(include_str!("../../testdata/statistics/qstats00.csv")) {
        let number = |text: &str| text.parse::<usize>().unwrap_or(0);
        let it = &reports[&(number(row[0]), number(row[1]), number(row[2]))];
        assert_eq!(it.n, row[3].parse::<i64>().unwrap());
        let point = POINT as f64;
        let squared = |value: Option<f64>| value.map(|value| value / point / point);
        let found = [
            it.facility,
            it.sd.map(|sd| sd / point),
            it.effective_weight,
            squared(it.covariance),
            squared(it.mark_variance),
            squared(it.other_mark_variance),
            it.discrimination_index,
            squared(it.covariance_max),
            it.discriminative_efficiency,
        ];
        for (found, expected) in found.into_iter().zip(&row[4..13]) {
            match *expected {
                "" => (),
                "null" => {
                    assert_eq!(found, None);
                    n_nulls += 1;
                }
                expected => difference.check(found, expected.parse().unwrap(), 1e-6),
            }
        }
    }
    println!(
        "{} item values of Moodle, largest relative difference {:e}",
        difference.n, difference.largest
    );
    assert_eq!((difference.n, n_nulls), (75, 3));
}

#[test]
fn moments_and_reliability_are_those_of_moodle() {
    let whole = |it: &Attempt| (it.marks.iter().copied().map(Some).collect(), it.total());
    let sittings: Vec<_> = attempts().iter().map(whole).collect();
    let report = count(items(7, Placement::Fixed), POINT, &sittings).test_report();
    let points = |value: Option<f64>| value.map(|value| value / POINT as f64);
    let (scores, reliability) = (report.scores, report.reliability);
    let mut difference = Difference::default();
    for (found, expected) in [
        (points(scores.median), 4.5),
        (points(scores.mean), 4.617_333_332),
        (points(scores.sd), 0.811_726_555_4),
        (scores.skewness, -0.092_502_502),
        (scores.kurtosis, -0.707_396_855_7),
        (reliability.alpha, -0.872_230_935_542),
        (reliability.error_ratio, 136.829_490_079_5),
        (points(reliability.standard_error), 1.110_681_306_6),
    ] {
        difference.check(found, expected, 1e-6);
    }
    println!(
        "test values of Moodle, largest relative difference {:e}",
        difference.largest
    );
    assert_eq!(reliability.kr20, None, "some marks are partial");
}

struct Classical {
    facility: [f64; 5],
    r_it: [f64; 5],
    r_ir: [f64; 5],
    alpha_if_deleted: [f64; 5],
    alpha: f64,
    kr21: f64,
    nested: f64,
    /// Mean, standard deviation, standard error of measurement.
    scores: [f64; 3],
}

#[track_caller]
fn check_classical(section: u8, expected: &Classical) {
    let statistics = lsat_statistics(section);
    let mut difference = Difference::default();
    let report = statistics.test_report();
    for (idx, it) in statistics.item_reports().iter().enumerate() {
        difference.check(it.facility, expected.facility[idx], 1e-6);
        difference.check(it.r_it, expected.r_it[idx], 1e-6);
        difference.check(it.r_ir, expected.r_ir[idx], 1e-6);
        difference.check(
            report.alpha_if_deleted[idx].1,
            expected.alpha_if_deleted[idx],
            1e-6,
        );
    }
    let found = report.reliability;
    difference.check(found.alpha, expected.alpha, 1e-6);
    difference.check(found.kr20, expected.alpha, 1e-6);
    difference.check(found.kr21, expected.kr21, 1e-6);
    difference.check(found.nested, expected.nested, 1e-6);
    difference.check(report.scores.mean, expected.scores[0], 1e-6);
    difference.check(report.scores.sd, expected.scores[1], 1e-6);
    difference.check(found.standard_error, expected.scores[2], 1e-6);
    println!(
        "LSAT{section} classical, largest relative difference {:e}",
        difference.largest
    );
    let [(0, of_section)] = &*statistics.section_reports() else {
        panic!("one section");
    };
    assert_eq!(
        (of_section.scores, of_section.reliability),
        (report.scores, found)
    );
}

#[test]
fn classical_statistics_are_those_of_psych() {
    check_classical(
        6,
        &Classical {
            facility: [0.924, 0.709, 0.553, 0.763, 0.870],
            r_it: [
                0.362_010_4,
                0.566_772_1,
                0.618_439_8,
                0.534_418_3,
                0.435_366_4,
            ],
            r_ir: [
                0.112_832_7,
                0.153_178_1,
                0.172_778_9,
                0.144_428_1,
                0.121_596_4,
            ],
            alpha_if_deleted: [
                0.275_356_2,
                0.237_583_9,
                0.216_799_5,
                0.245_932_7,
                0.266_294_4,
            ],
            alpha: 0.294_997_2,
            kr21: 0.196_441_2,
            nested: 0.197_244_7,
            scores: [3.819, 1.035_041_2, 0.869_066_6],
        },
    );
    check_classical(
        7,
        &Classical {
            facility: [0.828, 0.658, 0.772, 0.606, 0.843],
            r_it: [
                0.529_987_8,
                0.599_676_7,
                0.611_210_3,
                0.592_028_6,
                0.461_191_7,
            ],
            r_ir: [
                0.245_731_6,
                0.246_673_6,
                0.313_179_3,
                0.222_751_3,
                0.174_786_3,
            ],
            alpha_if_deleted: [
                0.395_975_0,
                0.393_831_0,
                0.345_391_2,
                0.414_600_7,
                0.438_462_1,
            ],
            alpha: 0.453_408_7,
            kr21: 0.415_044_0,
            nested: 0.415_629_1,
            scores: [3.707, 1.198_577_3, 0.886_129_9],
        },
    );
}

#[test]
fn items_of_several_marks_are_those_of_dexter() {
    let sitting = |(_, responses): &(bool, Vec<i64>)| {
        (
            responses.iter().copied().map(Some).collect(),
            responses.iter().sum(),
        )
    };
    let sittings: Vec<_> = verbagg().iter().map(sitting).collect();
    let statistics = count(items(24, Placement::Fixed), 2, &sittings);
    let reports = statistics.item_reports();
    let mean = |value: fn(&ItemReport) -> Option<f64>| {
        let sum: Option<f64> = reports.iter().map(value).sum();
        sum.map(|sum| sum / 24.0)
    };
    // printed with six places
    let mut difference = Difference::default();
    difference.check(statistics.test_report().reliability.alpha, 0.887_606, 1e-6);
    difference.check(mean(|it| it.facility), 0.338_937, 1e-6);
    difference.check(mean(|it| it.r_it), 0.526_637, 1e-6);
    difference.check(mean(|it| it.r_ir), 0.467_893, 1e-6);
    for (idx, facility, r_it, r_ir) in [
        (12, 0.541_139, 0.581_873, 0.519_388),
        (13, 0.416_139, 0.651_426, 0.595_881),
        (14, 0.234_177, 0.519_921, 0.460_414),
        (0, 0.561_709, 0.536_886, 0.468_308),
    ] {
        difference.check(reports[idx].facility, facility, 2e-6);
        difference.check(reports[idx].r_it, r_it, 2e-6);
        difference.check(reports[idx].r_ir, r_ir, 2e-6);
    }
    difference.check(reports[12].sd, 0.808_410, 1e-6);
    println!(
        "verbal aggression, largest relative difference {:e}",
        difference.largest
    );
}

#[track_caller]
fn check_dif(item: usize, expected: [f64; 3], sd: Option<f64>) {
    let mut counts = dif::Counts::new(24);
    for (reference, responses) in verbagg() {
        let total = responses.iter().filter(|&&response| response >= 1).count() as i64;
        for (item_idx, response) in (0..).zip(&responses) {
            counts.count(item_idx, total, reference, *response >= 1, 1);
        }
    }
    let found = counts
        .mantel_haenszel(item)
        .expect("both groups took the item");
    let near = |found: f64, expected: f64| {
        assert!(
            (found - expected).abs() <= 5.1e-5,
            "{found} is not {expected}"
        );
    };
    near(found.chi2, expected[0]);
    near(found.alpha, expected[1]);
    near(found.delta, expected[2]);
    if let Some(sd) = sd {
        near(found.delta_se, sd);
    }
    let one_group = [Table {
        reference_right: 3,
        reference_wrong: 4,
        ..Table::default()
    }];
    assert!(dif::mantel_haenszel(&one_group).is_none());
}

#[test]
fn differential_functioning_is_that_of_dif_r() {
    check_dif(0, [1.7076, 1.7005, -1.2476], Some(0.8453));
    check_dif(1, [2.1486, 1.7702, -1.3420], Some(0.8012));
    check_dif(2, [0.9926, 1.4481, -0.8701], Some(0.7630));
    check_dif(5, [9.6032, 2.8804, -2.4861], Some(0.7924));
    check_dif(15, [6.3029, 0.3209, 2.6709], Some(1.0036));
    check_dif(16, [6.8395, 0.3746, 2.3072], Some(0.8585));
    check_dif(18, [5.7817, 0.4616, 1.8165], Some(0.7358));
    check_dif(11, [4.1188, 2.3458, -2.0036], Some(0.8958));
    check_dif(19, [3.8880, 0.4727, 1.7606], Some(0.8239));
}
