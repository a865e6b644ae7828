//! The report for people: one page that prints, with nothing to fetch.
//!
//! Invariant: no text of a candidate or an author stands in it, so nothing needs escaping: numbers, hexadecimal ids,
//! checked area codes and exam names, and the words of [`words`].

use std::fmt::Write as _;

use super::{
    report::{Flag, Kind, Report, SharedAnswer},
    words::{self, Both},
};

/// Flags of a kind that are printed: about a hundred pages. The JSON has all.
const MAX_PRINTED: usize = 200;
/// Attempts of a flag that are printed.
const MAX_ATTEMPTS_PRINTED: usize = 20;
/// Milliseconds from UTC to the clocks of Vietnam.
const VIETNAM_MS: u64 = 7 * 3_600_000;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem;color:#111}\
i{color:#555}.notice{border:2px solid #111;padding:.5rem 1rem;font-weight:600}\
section.flag{border-top:1px solid #999;padding:.5rem 0;break-inside:avoid}\
table{border-collapse:collapse;margin:.3rem 0}td,th{border:1px solid #bbb;padding:.1rem .5rem;text-align:left;font-weight:400}\
td.n{text-align:right}code{font-size:12px}@media print{body{margin:0;max-width:none}}";

impl Report {
    /// Returns the report as a page of HTML, Vietnamese first, English second.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut page = Page(String::new());
        page.put(format_args!(
            "<!doctype html><html lang=\"vi\"><meta charset=\"utf-8\"><title>Dấu hiệu cần xem lại: {exam}</title>\
             <style>{STYLE}</style><h1>Dấu hiệu cần xem lại <i lang=\"en\">Flags to review</i></h1>",
            exam = self.exam_id
        ));
        page.both("p class=\"notice\"", "p", words::NOTICE);
        page.summary(self);
        for kind in Kind::ALL {
            page.kind(self, kind);
        }
        page.limits(self);
        page.put(format_args!("</html>\n"));
        page.0
    }
}

struct Page(String);

impl Page {
    fn put(&mut self, what: std::fmt::Arguments) {
        self.0.write_fmt(what).expect("a string takes everything");
    }

    fn both(&mut self, open: &str, close: &str, [vi, en]: Both) {
        self.put(format_args!(
            "<{open}>{vi}<br><i lang=\"en\">{en}</i></{close}>"
        ));
    }

    fn row(&mut self, [vi, en]: Both, value: &str) {
        self.put(format_args!(
            "<tr><th>{vi} <i lang=\"en\">{en}</i></th><td class=\"n\">{value}</td></tr>"
        ));
    }

    fn summary(&mut self, report: &Report) {
        self.put(format_args!("<table>"));
        self.row(["Kỳ thi", "Exam"], &report.exam_id);
        self.row(
            ["Phiên bản đáp án", "Key version"],
            &report.key_version.to_string(),
        );
        let complete = if report.is_complete {
            "có / yes"
        } else {
            "KHÔNG / NO"
        };
        self.row(["Phân tích trọn vẹn", "Analysis complete"], complete);
        self.row(
            ["Lượt thi đã xem", "Attempts looked at"],
            &report.n_attempts.to_string(),
        );
        self.row(
            ["Cặp bài đã xét", "Pairs tested"],
            &report.n_pairs_tested.to_string(),
        );
        for kind in Kind::ALL {
            let n_flags = report.flags.iter().filter(|flag| flag.kind == kind).count();
            self.row(words::kind(kind).0, &n_flags.to_string());
        }
        self.put(format_args!("</table>"));
    }

    fn kind(&mut self, report: &Report, kind: Kind) {
        let of_kind = || report.flags.iter().filter(|flag| flag.kind == kind);
        if of_kind().next().is_none() {
            return;
        }
        let (title, caution) = words::kind(kind);
        self.both("h2", "h2", title);
        self.both("p", "p", caution);
        for (number, flag) in (1..).zip(of_kind().take(MAX_PRINTED)) {
            self.flag(number, flag);
        }
        let left = of_kind().count().saturating_sub(MAX_PRINTED);
        if left > 0 {
            self.put(format_args!(
                "<p>Còn {left} dấu hiệu, xem bản JSON. <i lang=\"en\">{left} more, see the JSON.</i></p>"
            ));
        }
    }

    fn flag(&mut self, number: usize, flag: &Flag) {
        let [vi, en] = words::scope(flag.scope);
        self.put(format_args!(
            "<section class=\"flag\"><b>{number}.</b> {vi} <i lang=\"en\">{en}</i><br>"
        ));
        for id in flag.attempts.iter().take(MAX_ATTEMPTS_PRINTED) {
            self.put(format_args!(
                "<code>{:?}</code> lượt <i lang=\"en\">attempt</i> {}<br>",
                id.candidate, id.attempt
            ));
        }
        let n_printed = flag.attempts.len().min(MAX_ATTEMPTS_PRINTED) as u64;
        if flag.n_attempts > n_printed {
            self.put(format_args!(
                "+ {} lượt <i lang=\"en\">attempts</i><br>",
                flag.n_attempts - n_printed
            ));
        }
        self.put(format_args!("<table>"));
        for (value, name) in [
            (
                flag.p_value,
                ["xác suất do ngẫu nhiên, một phép thử", "chance in one test"],
            ),
            (
                flag.p_any,
                ["xác suất trong mọi phép thử", "chance in any of the tests"],
            ),
            (
                flag.false_share,
                [
                    "tỷ lệ dấu hiệu sai, nhiều nhất",
                    "share of false flags, at most",
                ],
            ),
        ] {
            if let Some(value) = value {
                self.row(name, &format!("{value:.1e}"));
            }
        }
        for fact in &flag.facts {
            let name = words::fact(fact.name).unwrap_or([fact.name; 2]);
            self.row(name, &short(fact.value));
        }
        self.put(format_args!("</table>"));
        if !flag.shared.is_empty() {
            self.shared(&flag.shared);
        }
        self.put(format_args!("</section>"));
    }

    fn shared(&mut self, shared: &[SharedAnswer]) {
        self.put(format_args!(
            "<table><tr><th>Câu sai hiếm giống nhau <i lang=\"en\">Rare wrong answers in common</i></th>\
             <th>chọn <i lang=\"en\">chosen</i></th><th>tỷ lệ chọn <i lang=\"en\">share of all</i></th>\
             <th>vị trí <i lang=\"en\">positions</i></th><th>lúc (GMT+7) <i lang=\"en\">at</i></th></tr>"
        ));
        for answer in shared {
            let letters = answer.letters();
            let [of_a, of_b] = answer.positions.map(|at| u32::from(at) + 1);
            let [at_a, at_b] = answer.at_ms.map(time_of_day);
            self.put(format_args!(
                "<tr><td>#{}</td><td>{}</td><td class=\"n\">{:.1} %</td><td>{of_a} / {of_b}</td><td>{at_a} / {at_b}</td></tr>",
                answer.item_id,
                if letters.is_empty() { "≡" } else { &letters },
                answer.share * 100.0,
            ));
        }
        self.put(format_args!("</table>"));
    }

    /// Tells what was not looked at.
    fn limits(&mut self, report: &Report) {
        self.both(
            "h2",
            "h2",
            ["Giới hạn của phân tích", "Limits of the analysis"],
        );
        self.put(format_args!("<table>"));
        self.row(
            [
                "Xác suất kỳ thi trung thực có dấu hiệu, mỗi loại",
                "Chance of any flag in an honest exam, by kind",
            ],
            &report.limits.alpha.to_string(),
        );
        let of_all = format!("1/{}", 1u64 << report.n_halvings.min(63));
        self.row(["Phần nơi thi đã xem", "Share of sites looked at"], &of_all);
        self.row(
            ["Nơi thi chỉ xem một phần", "Places looked at in part"],
            &report.n_cut_blocks.to_string(),
        );
        self.row(
            ["Dấu hiệu không liệt kê", "Flags not listed"],
            &report.n_flags_left_out.to_string(),
        );
        self.put(format_args!("</table>"));
        self.both("p", "p", [
            "Xác suất nói trên không áp dụng cho thiết bị, địa chỉ mạng và trả lời nhanh: đó là quy tắc, ngưỡng do ban tổ chức đặt.",
            "That chance is not one of devices, addresses and rapid answers: these are rules, whose thresholds organizers set.",
        ]);
    }
}

/// Prints at most four places, none if they are noughts.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn time_of_day(at_ms: u64) -> String {
    let second = at_ms.saturating_add(VIETNAM_MS) / 1_000 % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(short(0.25), "0.25");
        assert_eq!(short(30.0), "30");
        assert_eq!(short(-f64::INFINITY), "-inf");
        assert_eq!(time_of_day(0), "07:00:00");
        assert_eq!(time_of_day(17 * 3_600_000 + 61_000), "00:01:01");
    }
}
