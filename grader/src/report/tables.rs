//! Tables of the report: sections, areas, cohorts, items.

use super::{Both, Page, number};
use crate::statistics::{
    Distribution, ExamStatistics, ItemReport, TestReport, alarm::words::comma,
};

/// Areas that are printed: all provinces of either map.
const MAX_AREAS: usize = 70;
/// Cohorts that are printed: three days by the hour.
const MAX_COHORTS: usize = 72;
/// Items that are printed, those that discriminate least first.
const MAX_ITEMS: usize = 120;

pub(super) fn write(
    page: &mut Page,
    exam: &ExamStatistics,
    items: &[ItemReport],
    test: &TestReport,
) {
    let statistics = &exam.statistics;
    let sections = statistics.section_reports().into_iter();
    let sections = sections.map(|(section, it)| (format!("{}", section + 1), it.scores));
    scores(
        page,
        exam,
        test,
        ["Phần thi", "Sections"],
        sections.collect(),
    );
    let mut areas = statistics.areas();
    areas.sort_by_key(|&(area, _)| exam.area_name(area));
    let areas = areas.into_iter().take(MAX_AREAS);
    let areas = areas.map(|(area, it)| (exam.area_name(area).to_owned(), it));
    scores(page, exam, test, ["Tỉnh, thành", "Areas"], areas.collect());
    let cohorts = statistics.cohorts().into_iter().take(MAX_COHORTS);
    let cohorts = cohorts.map(|(cohort, it)| (exam.cohort_name(cohort), it));
    scores(
        page,
        exam,
        test,
        ["Giờ bắt đầu", "Hours of start"],
        cohorts.collect(),
    );
    self::items(page, exam, items);
}

fn head(page: &mut Page, columns: &[Both]) {
    page.put(format_args!("<table><tr>"));
    for (at, [vi, en]) in columns.iter().enumerate() {
        let class = if at == 0 { "" } else { " class=\"n\"" };
        page.put(format_args!("<th{class}>{vi} <i lang=\"en\">{en}</i></th>"));
    }
    page.put(format_args!("</tr>"));
}

fn scores(
    page: &mut Page,
    exam: &ExamStatistics,
    test: &TestReport,
    title: Both,
    rows: Vec<(String, Distribution)>,
) {
    if rows.len() < 2 {
        return;
    }
    let per_point = exam.package.quanta_per_point() as f64;
    let points = |quanta: Option<f64>| number(quanta.map(|it| it / per_point), 2);
    let n_all = test.scores.n.max(1) as f64;
    page.heading(title);
    head(
        page,
        &[
            ["", ""],
            ["bài", "n"],
            ["tỷ lệ", "share"],
            ["trung bình", "mean"],
            ["trung vị", "median"],
            ["lệch chuẩn", "sd"],
        ],
    );
    for (name, it) in rows {
        page.put(format_args!(
            "<tr><td>{name}</td><td class=\"n\">{}</td><td class=\"n\">{} %</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            it.n,
            comma(&format!("{:.1}", 100.0 * it.n as f64 / n_all)),
            points(it.mean),
            points(it.median),
            points(it.sd),
        ));
    }
    page.put(format_args!("</table>"));
}

fn items(page: &mut Page, exam: &ExamStatistics, items: &[ItemReport]) {
    let mut items: Vec<_> = items.iter().filter(|item| item.n > 0).collect();
    let order = |item: &&ItemReport| item.r_ir.unwrap_or(f64::INFINITY);
    items.sort_by(|a, b| order(a).total_cmp(&order(b)));
    let alarmed = exam.alarmed();
    page.heading([
        "Câu hỏi, phân biệt kém nhất trước",
        "Items, least discriminating first",
    ]);
    head(
        page,
        &[
            ["câu", "item"],
            ["bài", "n"],
            ["độ dễ", "facility"],
            ["đoán", "guess"],
            ["r", "rest"],
            ["phân biệt", "index"],
            ["hiệu quả", "efficiency"],
            ["trọng số", "weight"],
        ],
    );
    for item in items.into_iter().take(MAX_ITEMS) {
        let class = if alarmed.contains(&item.item_id) {
            " class=\"bad\""
        } else {
            ""
        };
        page.put(format_args!(
            "<tr{class}><td>#{}</td><td class=\"n\">{}</td>",
            item.item_id, item.n
        ));
        for (value, places) in [
            (item.facility, 3),
            (item.random_guess, 2),
            (item.r_ir, 3),
            (item.discrimination_index, 1),
            (item.discriminative_efficiency, 1),
            (item.effective_weight, 1),
        ] {
            page.put(format_args!(
                "<td class=\"n\">{}</td>",
                number(value, places)
            ));
        }
        page.put(format_args!("</tr>"));
    }
    page.put(format_args!("</table>"));
}
