//! Statistics and alarms in the words of the wire: marks in points, options as bits, areas by code.

use proto::grader::v1::{
    Alarm, GetStatisticsResponse, ItemStatistics, OptionStatistics, ScoreCount, TestStatistics,
};

use crate::statistics::{
    Choice, Cohorts, Distribution, ExamStatistics, ItemInfo, ItemReport, OptionReport, TestReport,
};

pub(super) fn reply(exam: &ExamStatistics) -> GetStatisticsResponse {
    let statistics = &exam.statistics;
    let points = Points(exam.package.quanta_per_point() as f64);
    let reports = statistics.item_reports().into_iter();
    let scores = statistics.scores().into_iter();
    GetStatisticsResponse {
        items: reports
            .zip(statistics.items())
            .filter(|(report, _)| report.n > 0)
            .map(|(report, info)| item(&report, info, points))
            .collect(),
        tests: tests(exam, points),
        alarms: exam.alarms.iter().map(|it| alarm(exam, it)).collect(),
        distribution: scores
            .map(|(score, n)| ScoreCount {
                score: exam.package.print(score),
                n: count(n),
            })
            .collect(),
        release_no: exam.package.release_no(),
    }
}

/// Turns quanta into points.
#[derive(Clone, Copy)]
struct Points(f64);

impl Points {
    fn of(self, quanta: Option<f64>) -> Option<f64> {
        quanta.map(|quanta| quanta / self.0)
    }
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn item(report: &ItemReport, info: &ItemInfo, points: Points) -> ItemStatistics {
    ItemStatistics {
        item_id: report.item_id,
        n: count(report.n),
        facility: report.facility,
        sd: points.of(report.sd),
        discrimination_index: report.discrimination_index,
        discriminative_efficiency: report.discriminative_efficiency,
        effective_weight: report.effective_weight,
        random_guess: report.random_guess,
        r_it: report.r_it,
        r_ir: report.r_ir,
        options: options(report, info),
    }
}

/// Returns single options and statements one by one, and of other choices the sets that were chosen.
fn options(report: &ItemReport, info: &ItemInfo) -> Vec<OptionStatistics> {
    let by_option = info.single || info.is_judged();
    let of_sets = report.choices.iter();
    match info.n_options {
        0 => Vec::new(),
        _ if by_option => {
            let blank = of_sets.filter(|it| it.choice == Choice::BLANK);
            report.options.iter().chain(blank).map(option).collect()
        }
        _ => of_sets.map(option).collect(),
    }
}

fn option(report: &OptionReport) -> OptionStatistics {
    OptionStatistics {
        options: report.choice.0.into(),
        n: count(report.n),
        share: report.share,
        point_biserial: report.point_biserial,
        share_by_fifth: report
            .group_shares
            .iter()
            .map(|it| it.unwrap_or(0.0))
            .collect(),
        is_key: report.in_key,
    }
}

fn tests(exam: &ExamStatistics, points: Points) -> Vec<TestStatistics> {
    let statistics = &exam.statistics;
    let whole = test("", String::new(), &statistics.test_report(), points);
    let sections = statistics.section_reports().into_iter();
    let sections =
        sections.map(|(section, report)| test("section", section.to_string(), &report, points));
    let mut areas = statistics.areas();
    areas.sort_by_key(|&(area, _)| exam.area_name(area));
    let areas = areas.into_iter().map(|(area, it)| {
        let code = exam.area_name(area).to_owned();
        test("area", code, &only_scores(it), points)
    });
    let cohorts = Cohorts::of(&exam.package);
    let hours = statistics.cohorts().into_iter().map(|(cohort, it)| {
        let at_ms = cohorts.starts_at_ms(cohort).to_string();
        test("hour", at_ms, &only_scores(it), points)
    });
    std::iter::once(whole)
        .chain(sections)
        .chain(areas)
        .chain(hours)
        .collect()
}

fn only_scores(scores: Distribution) -> TestReport {
    TestReport {
        scores,
        ..TestReport::default()
    }
}

fn test(by: &str, of: String, report: &TestReport, points: Points) -> TestStatistics {
    let (scores, reliability) = (report.scores, report.reliability);
    TestStatistics {
        by: by.to_owned(),
        of,
        n: count(scores.n),
        mean: points.of(scores.mean),
        median: points.of(scores.median),
        sd: points.of(scores.sd),
        skewness: scores.skewness,
        kurtosis: scores.kurtosis,
        alpha: reliability.alpha,
        reliability: reliability.nested,
        error_ratio: reliability.error_ratio,
        sem: points.of(reliability.standard_error),
    }
}

fn alarm(exam: &ExamStatistics, alarm: &crate::statistics::Alarm) -> Alarm {
    let words = exam.words(alarm);
    Alarm {
        kind: alarm.kind().to_owned(),
        item_id: alarm.item_id.unwrap_or(0),
        evidence: format!("{} / {}", words.vi, words.en),
    }
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::EndedBy;

    use super::*;
    use crate::{
        CandidateId,
        fixture::{KEYS, Log, PAPER, T0_MS, parts},
    };

    /// 400 persons; the first item's key is spoilt: good ones choose B.
    fn exam() -> ExamStatistics {
        let mut parts = parts();
        parts.paper.release_no = 3;
        let mut log = Log::new(&parts);
        for n in 0..400u32 {
            let skill = n % 8;
            let mut answers: Vec<_> = (1..6)
                .filter(|position| (n / 8 + position * 3) % 8 <= skill)
                .map(|position| (position, KEYS[position as usize]))
                .collect();
            answers.push((0, if skill > 2 { 0b0010 } else { 1 << (n % 3) }));
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            let area = ["79", "01"][n as usize % 2];
            let who = CandidateId::from(bytes);
            log.sit(who, 1, area, &answers, 1_000, EndedBy::Candidate);
        }
        log.fold().exam_statistics()
    }

    #[test]
    fn statistics_are_told_in_points_and_codes() {
        let reply = reply(&exam());
        assert_eq!(reply.release_no, 3);
        let ids: Vec<_> = reply.items.iter().map(|it| (it.item_id, it.n)).collect();
        assert_eq!(ids, PAPER.map(|item_id| (item_id, 400)));
        let first = &reply.items[0];
        let chosen: Vec<_> = first.options.iter().map(|it| it.options).collect();
        assert_eq!(chosen, [1, 2, 4, 8], "nobody left it blank");
        assert_eq!(
            first.options.iter().map(|it| it.n).sum::<u64>(),
            400,
            "each chose one"
        );
        assert!(first.options[0].is_key && !first.options[1].is_key);
        assert_eq!(first.random_guess, Some(0.25));
        let rows: Vec<_> = reply
            .tests
            .iter()
            .map(|it| (it.by.as_str(), it.of.as_str(), it.n))
            .collect();
        let hour = (T0_MS / 3_600_000 * 3_600_000).to_string();
        assert_eq!(
            rows,
            [
                ("", "", 400),
                ("section", "0", 400),
                ("section", "1", 400),
                ("area", "01", 200),
                ("area", "79", 200),
                ("hour", &*hour, 400)
            ]
        );
        let whole = &reply.tests[0];
        assert!(whole.mean > Some(0.5) && whole.mean < Some(2.25));
        assert!(whole.alpha.is_some() && whole.sem > Some(0.0));
        let n: u64 = reply.distribution.iter().map(|it| it.n).sum();
        assert_eq!((n, &*reply.distribution[0].score), (400, "0.00"));
    }

    #[test]
    fn a_spoilt_key_is_told_in_both_languages() {
        let reply = reply(&exam());
        let beats = reply
            .alarms
            .iter()
            .find(|it| it.kind == "option_beats_key")
            .expect("nearly all of the best chose B");
        assert_eq!(beats.item_id, PAPER[0]);
        let (vi, en) = beats.evidence.split_once(" / ").unwrap();
        assert!(vi.contains("người trả lời B") && en.contains("answered B"));
        assert!(reply.alarms.iter().all(|it| it.item_id == PAPER[0]));
    }
}
