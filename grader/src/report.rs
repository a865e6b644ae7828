//! The statistical report of an exam: one page that prints on A4, with nothing to fetch and no script.
//!
//! Vietnamese first, English second. Invariant: whatever candidates wrote is escaped. Start at
//! [`ExamStatistics::to_html`].

mod plot;
mod tables;

use std::{collections::BTreeSet, fmt};

use plot::{Bar, Dot};

use crate::statistics::{
    Choice, ExamStatistics, ItemInfo, ItemReport, TestReport,
    alarm::words::{comma, percent},
};

/// Alarms that are printed; more of them say that something larger is wrong.
const MAX_ALARMS: usize = 60;
/// Items whose options are drawn.
const MAX_DRAWN: usize = 12;
/// Choices of one item that are drawn.
const MAX_CHOICES: usize = 8;
/// Most bars of the histogram.
const MAX_BINS: i64 = 40;

const STYLE: &str = "@page{size:A4;margin:14mm}\
body{font:13px/1.45 system-ui,'DejaVu Sans',sans-serif;max-width:182mm;margin:1rem auto;padding:0 .5rem;color:#1c2430}\
h1{font-size:24px;margin:0}h2{font-size:16px;margin:1.6em 0 .4em;border-bottom:2px solid #1f4e79;break-after:avoid}\
i{color:#5b6675;font-style:normal;font-weight:400;font-size:.85em}p{margin:.3em 0}\
.tiles{display:flex;flex-wrap:wrap;gap:6px;margin:12px 0}\
.tiles div{flex:1 1 26%;border:1px solid #c9d3de;border-radius:6px;padding:5px 10px}\
.tiles b{display:block;font-size:20px;color:#1f4e79}\
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600;border-bottom:1px solid #1f4e79}\
td,th{padding:2px 6px;vertical-align:top}td{border-bottom:1px solid #e3e8ee}tr{break-inside:avoid}\
.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#b3261e}\
figure{margin:8px 0;break-inside:avoid}figcaption{margin-bottom:2px;font-weight:600}svg{display:block;width:100%}\
.pairs{display:grid;grid-template-columns:1fr 1fr;gap:4px 16px}\
@media print{body{margin:0;padding:0;max-width:none}}";

impl ExamStatistics {
    /// Returns the report as a page of HTML.
    #[must_use]
    pub fn to_html(&self) -> String {
        let items = self.statistics.item_reports();
        let test = self.statistics.test_report();
        let mut page = Page(String::new());
        page.put(format_args!(
            "<!doctype html><html lang=\"vi\"><meta charset=\"utf-8\"><title>Thống kê: {exam}</title><style>{STYLE}</style>\
             <h1>Báo cáo thống kê <i lang=\"en\">Statistical report</i></h1>\
             <p>Kỳ thi <i lang=\"en\">exam</i> <b>{exam}</b> · bộ câu hỏi <i lang=\"en\">release</i> {} · đáp án <i lang=\"en\">key</i> v{} · \
             lượt đầu của mỗi thí sinh <i lang=\"en\">first attempts</i></p>",
            self.package.release_no(),
            self.package.key_version(),
            exam = self.package.exam_id(),
        ));
        page.tiles(self, &test);
        page.heading(["Phân bố điểm", "Distribution of scores"]);
        page.put(format_args!("{}", self.histogram(&test)));
        page.alarms(self);
        page.heading([
            "Độ dễ và độ phân biệt của câu hỏi",
            "Facility and discrimination of items",
        ]);
        page.put(format_args!("{}", plot::scatter(&self.dots(&items))));
        page.options(self, &items);
        tables::write(&mut page, self, &items, &test);
        page.put(format_args!("</html>\n"));
        page.0
    }

    fn histogram(&self, test: &TestReport) -> String {
        let per_point = self.package.quanta_per_point();
        let scores = self.statistics.scores();
        let (Some(&(least, _)), Some(&(most, _))) = (scores.first(), scores.last()) else {
            return String::new();
        };
        let most = most.max(self.package.max_quanta());
        let width = bin_width(most - least.min(0), per_point);
        let low = least.min(0).div_euclid(width);
        let bin = |score: i64| usize::try_from(score.div_euclid(width) - low);
        let mut bins = vec![0; bin(most).map_or(0, |last| last + 1)];
        for (score, n) in scores {
            if let Some(bin) = bin(score).ok().and_then(|at| bins.get_mut(at)) {
                *bin += n;
            }
        }
        let points = |at: i64| (at * width) as f64 / per_point as f64;
        let bins: Vec<_> = (low..).map(points).zip(bins).collect();
        let mean = test
            .scores
            .mean
            .map(|mean| mean / width as f64 - low as f64);
        plot::histogram(&bins, mean)
    }

    fn dots(&self, items: &[ItemReport]) -> Vec<Dot> {
        let alarmed = self.alarmed();
        let dot = |item: &ItemReport| {
            Some(Dot {
                facility: item.facility?,
                discrimination: item.r_ir?,
                item_id: item.item_id,
                alarmed: alarmed.contains(&item.item_id),
            })
        };
        items.iter().filter_map(dot).collect()
    }

    fn alarmed(&self) -> BTreeSet<u32> {
        let items = self.alarms.iter();
        items.filter_map(|alarm| alarm.item_id).collect()
    }

    fn bars(&self, item: &ItemReport, info: &ItemInfo) -> Vec<Bar> {
        let one_by_one = info.single || info.is_judged();
        let reports = if one_by_one {
            &item.options
        } else {
            &item.choices
        };
        let is_shown = |choice: Choice| one_by_one || choice != Choice::BLANK;
        let bar = |name: String, it: &crate::statistics::OptionReport| Bar {
            name: escaped(&name),
            in_key: it.in_key,
            share: it.share,
            upper: it.upper_share,
            lower: it.lower_share,
        };
        let shown = reports.iter().filter(|it| is_shown(it.choice));
        let blank = item.choices.iter().find(|it| it.choice == Choice::BLANK);
        shown
            .take(MAX_CHOICES)
            .map(|it| bar(self.name(Some(item.item_id), it.choice), it))
            .chain(blank.map(|it| bar("–".to_owned(), it)))
            .collect()
    }
}

/// Returns a round number of points, in quanta, that cuts a range into at most [`MAX_BINS`] parts.
fn bin_width(range: i64, per_point: i64) -> i64 {
    let hundredths = [1, 5, 10, 25, 50, 100, 200, 500, 1_000, 2_500, 5_000, 10_000];
    let widths = hundredths.map(|hundredths| per_point / 100 * hundredths);
    let fits = |width: &i64| range / width <= MAX_BINS;
    widths.into_iter().find(fits).unwrap_or(range / MAX_BINS)
}

type Both = [&'static str; 2];

struct Page(String);

impl Page {
    fn put(&mut self, what: fmt::Arguments<'_>) {
        fmt::Write::write_fmt(&mut self.0, what).expect("a string takes everything");
    }

    fn heading(&mut self, [vi, en]: Both) {
        self.put(format_args!("<h2>{vi} <i lang=\"en\">{en}</i></h2>"));
    }

    fn tiles(&mut self, exam: &ExamStatistics, test: &TestReport) {
        let per_point = exam.package.quanta_per_point() as f64;
        let points = |quanta: Option<f64>| number(quanta.map(|it| it / per_point), 2);
        let (scores, reliability) = (test.scores, test.reliability);
        let known = reliability.alpha.or(reliability.nested);
        self.put(format_args!("<div class=\"tiles\">"));
        for ([vi, en], value) in [
            (["bài", "attempts"], scores.n.to_string()),
            (["điểm trung bình", "mean"], points(scores.mean)),
            (["trung vị", "median"], points(scores.median)),
            (["độ lệch chuẩn", "standard deviation"], points(scores.sd)),
            (["độ tin cậy", "reliability"], number(known, 3)),
            (
                ["sai số chuẩn của phép đo", "standard error of measurement"],
                points(reliability.standard_error),
            ),
        ] {
            self.put(format_args!(
                "<div><b>{value}</b>{vi} <i lang=\"en\">{en}</i></div>"
            ));
        }
        self.put(format_args!("</div>"));
    }

    fn alarms(&mut self, exam: &ExamStatistics) {
        self.heading(["Cảnh báo", "Alarms"]);
        if exam.alarms.is_empty() {
            self.put(format_args!("<p>Không có. <i lang=\"en\">None.</i></p>"));
            return;
        }
        self.put(format_args!("<table>"));
        for alarm in exam.alarms.iter().take(MAX_ALARMS) {
            let words = exam.words(alarm);
            let item = alarm
                .item_id
                .map_or_else(String::new, |id| format!("#{id}"));
            self.put(format_args!(
                "<tr><td class=\"n bad\"><b>{item}</b></td><td>{}<br><i lang=\"en\">{}</i></td></tr>",
                escaped(&words.vi),
                escaped(&words.en),
            ));
        }
        self.put(format_args!("</table>"));
        let n_left = exam.alarms.len().saturating_sub(MAX_ALARMS);
        if n_left > 0 {
            self.put(format_args!(
                "<p>Còn {n_left} cảnh báo. <i lang=\"en\">{n_left} more.</i></p>"
            ));
        }
    }

    /// Draws how the options of items with alarms were chosen.
    fn options(&mut self, exam: &ExamStatistics, items: &[ItemReport]) {
        let alarmed = exam.alarmed();
        let infos = exam.statistics.items();
        let rows = items.iter().zip(infos);
        let mut drawn = rows
            .filter(|(item, _)| alarmed.contains(&item.item_id))
            .take(MAX_DRAWN)
            .peekable();
        if drawn.peek().is_none() {
            return;
        }
        self.heading([
            "Lựa chọn ở các câu có cảnh báo",
            "Choices in items with alarms",
        ]);
        self.put(format_args!(
            "<p>Thanh: tỷ lệ chọn; ● nhóm 27 % giỏi nhất, ○ nhóm 27 % yếu nhất; xanh: đáp án. \
             <i lang=\"en\">Bar: share of all; ● best 27 %, ○ weakest 27 %; green: the key.</i></p><div class=\"pairs\">"
        ));
        for (item, info) in drawn {
            let facility = item.facility.map_or_else(String::new, percent);
            self.put(format_args!(
                "<figure><figcaption>#{} <i>n = {} · p = {facility} · r = {}</i></figcaption>{}</figure>",
                item.item_id,
                item.n,
                number(item.r_ir, 2),
                plot::options(&exam.bars(item, info)),
            ));
        }
        self.put(format_args!("</div>"));
    }
}

/// Prints a number as Vietnamese does, or a dash.
fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(
        || "–".to_owned(),
        |value| comma(&format!("{value:.places$}")),
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        Chosen,
        fixture::{T0_MS, finished, wide},
        statistics::{Statistics, alarms},
    };

    const HOUR_MS: u64 = 3_600_000;

    /// 3,000 persons and 40 items; the key of item 6 is wrong, item 13 leaks in the third hour.
    fn exam() -> ExamStatistics {
        let mut parts = wide(40, 40);
        parts.rules_mut().rounds[0].closes_at_ms = T0_MS + 5 * HOUR_MS;
        let package = parts.load().unwrap();
        let mut rng = StdRng::seed_from_u64(3);
        let mut statistics = Statistics::of(&package);
        for n in 0..3_000u64 {
            let skill = (0..6).map(|_| rng.random_range(-1.0..1.0)).sum::<f64>();
            let hour = n % 4;
            let mut choose = |item_idx: u16| {
                let hard = f64::from(item_idx % 9) / 2.0 - 2.0;
                let knows = rng.random_bool(1.0 / (1.0 + (hard - 1.4 * skill).exp()));
                let told = item_idx == 12 && hour > 1 && rng.random_bool(0.6);
                let truth = if item_idx == 5 { 0b0010 } else { 0b0001 };
                let options = match () {
                    () if knows || told => truth,
                    () if rng.random_bool(0.03) => 0,
                    () => 1 << rng.random_range(0..4),
                };
                Chosen { item_idx, options }
            };
            let chosen = (0..40).map(&mut choose).collect();
            let area = u16::from(rng.random_range(0..6u8));
            let attempt = finished(&package, area, T0_MS + hour * HOUR_MS, chosen);
            statistics.count_attempt(&package, &attempt, 1);
        }
        ExamStatistics {
            alarms: alarms(&statistics),
            statistics,
            package: Arc::new(package),
            areas: ["01", "04", "31", "46", "79", "92"]
                .map(str::to_owned)
                .to_vec(),
            texts: HashMap::new(),
        }
    }

    #[test]
    fn the_report_shows_what_is_wrong() {
        let page = exam().to_html();
        if let Ok(path) = std::env::var("REPORT_FILE") {
            std::fs::write(path, &page).unwrap();
        }
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert!(
            !page.contains("<script") && !page.contains("http"),
            "nothing to fetch"
        );
        assert!(!page.contains("NaN") && !page.contains("inf"));
        for part in [
            "<b>#6</b>",
            "<b>#13</b>",
            "người trả lời B",
            "dễ lên bất thường",
            "<td>79</td>",
            "Tỉnh, thành",
        ] {
            assert!(page.contains(part), "{part}");
        }
        let n_figures = page.matches("<figure>").count();
        assert_eq!(n_figures, 2, "options of the two items with alarms");
        for tag in ["table", "svg", "figure", "div", "tr", "td"] {
            let n_open = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(n_open, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn an_exam_without_attempts_has_a_report() {
        let mut exam = exam();
        exam.statistics = Statistics::of(&exam.package);
        exam.alarms.clear();
        let page = exam.to_html();
        assert!(page.contains("Không có.") && !page.contains("NaN"));
    }

    #[test]
    fn what_candidates_wrote_is_escaped() {
        assert_eq!(
            escaped("<b>\"1&2\"</b>"),
            "&lt;b&gt;&quot;1&amp;2&quot;&lt;/b&gt;"
        );
    }
}
