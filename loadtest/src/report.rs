//! What a run prints: people's text, Vietnamese first, or the same numbers as JSON.
//!
//! Invariant: the verdict is the last line of the text.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    io::Write as _,
    path::PathBuf,
};

use anyhow::{Context, Result};
use proto::exam::v1::{AreaProgress, StandingRow};
use serde::Serialize;

use crate::{areas::areas_of, latency::Percentiles, verdict::Verdict};

/// How much happened how fast.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rates {
    /// From the first arrival to the last candidate's end, seconds.
    pub(crate) elapsed_s: f64,
    /// Attempts started.
    pub(crate) started: u64,
    /// Answers acknowledged.
    pub(crate) acknowledged: u64,
    /// Mean over the whole time.
    pub(crate) answers_per_s: f64,
    /// The best second.
    pub(crate) answers_per_s_peak: u64,
}

/// A row of the nationwide standings.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopRow {
    rank: u64,
    candidate: String,
    area: String,
    score: String,
    net_time_ms: u64,
}

impl From<&StandingRow> for TopRow {
    fn from(row: &StandingRow) -> Self {
        Self {
            rank: row.rank,
            candidate: hex::encode(&row.candidate),
            area: row.area.clone(),
            score: row.score.clone(),
            net_time_ms: row.net_time_ms,
        }
    }
}

/// A province.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AreaRow {
    area: String,
    name: &'static str,
    persons: u64,
    submitted: u64,
    expired: u64,
    best_score: String,
}

impl AreaRow {
    /// Joins counts, the first row of the area's standings and the area's name, if the edition has one.
    pub(crate) fn new(area: &AreaProgress, best: Option<&StandingRow>, map_edition: &str) -> Self {
        let areas = areas_of(map_edition);
        let name = areas.iter().find(|(code, _)| *code == area.area);
        Self {
            area: area.area.clone(),
            name: name.map_or("", |(_, name)| name),
            persons: area.persons,
            submitted: area.submitted,
            expired: area.expired,
            best_score: best.map(|row| row.score.clone()).unwrap_or_default(),
        }
    }
}

/// Everything a run found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The exam.
    pub(crate) exam_id: String,
    /// Its title.
    pub(crate) title: String,
    /// Seed of the candidates.
    pub(crate) seed: u64,
    /// The generator was so late that latencies are partly its own.
    pub(crate) late: bool,
    /// How late it was.
    pub(crate) lateness: Percentiles,
    /// Rates.
    pub(crate) rates: Rates,
    /// Persons ranked nationwide.
    pub(crate) n_ranked: u64,
    /// First rows of the standings.
    pub(crate) top: Vec<TopRow>,
    /// Provinces with anybody in them.
    pub(crate) areas: Vec<AreaRow>,
    /// Latencies by call.
    pub(crate) latencies: Vec<Percentiles>,
    /// Calls sent again, by reason.
    pub(crate) retries: BTreeMap<String, u64>,
    /// Calls refused, by reason; those a plan provokes too.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Where the archive was left.
    pub(crate) archive: Option<PathBuf>,
    /// The verdict.
    pub(crate) verdict: Verdict,
}

impl Report {
    /// Writes the text to standard output, and JSON where it was asked for; "-" puts JSON in the text's place.
    pub(crate) fn write(&self, json: Option<&str>) -> Result<()> {
        let as_json = serde_json::to_string_pretty(self).context("write the report")? + "\n";
        match json {
            Some("-") => return print(&as_json),
            Some(file) => std::fs::write(file, as_json).with_context(|| format!("write {file}"))?,
            None => {}
        }
        print(&self.to_string())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} · {} · seed {}", self.title, self.exam_id, self.seed)?;
        f.write_str(&self.top_table()?)?;
        f.write_str(&self.area_table()?)?;
        f.write_str(&self.latency_table()?)?;
        f.write_str(&self.numbers()?)?;
        for difference in &self.verdict.differences.kept {
            writeln!(f, "  ✗ {difference}")?;
        }
        writeln!(f, "{}", self.verdict)
    }
}

impl Report {
    fn top_table(&self) -> Result<String, fmt::Error> {
        let mut text = format!(
            "\nBảng xếp hạng toàn quốc (national standings), {} người (persons)\n",
            self.n_ranked
        );
        writeln!(
            text,
            "{:>6}  {:<8}  {:<4}  {:>8}  {:>10}",
            "hạng", "thí sinh", "tỉnh", "điểm", "thời gian"
        )?;
        for row in &self.top {
            writeln!(
                text,
                "{:>6}  {:<8}  {:<4}  {:>8}  {:>10}",
                row.rank,
                row.candidate.get(..8).unwrap_or(&row.candidate),
                row.area,
                row.score,
                minutes(row.net_time_ms)
            )?;
        }
        Ok(text)
    }

    fn area_table(&self) -> Result<String, fmt::Error> {
        let mut text = "\nTheo tỉnh/thành (by province)\n".to_owned();
        writeln!(
            text,
            "{:<4} {:<20} {:>8} {:>8} {:>8} {:>9}",
            "mã", "tên", "người", "đã nộp", "hết giờ", "cao nhất"
        )?;
        for row in &self.areas {
            writeln!(
                text,
                "{:<4} {:<20} {:>8} {:>8} {:>8} {:>9}",
                row.area, row.name, row.persons, row.submitted, row.expired, row.best_score
            )?;
        }
        Ok(text)
    }

    fn latency_table(&self) -> Result<String, fmt::Error> {
        let mut text =
            "\nĐộ trễ, ms, tính từ lúc định gửi (latency from the intended instant)\n".to_owned();
        writeln!(
            text,
            "{:<14} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "n", "p50", "p90", "p99", "max"
        )?;
        for row in self.latencies.iter().chain([&self.lateness]) {
            writeln!(
                text,
                "{:<14} {:>9} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
                row.rpc,
                row.count,
                row.latency_ms_p50,
                row.latency_ms_p90,
                row.latency_ms_p99,
                row.latency_ms_max
            )?;
        }
        Ok(text)
    }

    fn numbers(&self) -> Result<String, fmt::Error> {
        let rates = &self.rates;
        let mut text = String::new();
        writeln!(
            text,
            "\n{} câu đã lưu (answers acknowledged) trong {:.1} s: {:.0}/s, cao nhất (peak) {}/s",
            rates.acknowledged, rates.elapsed_s, rates.answers_per_s, rates.answers_per_s_peak
        )?;
        writeln!(text, "gửi lại (sent again): {}", counts(&self.retries))?;
        writeln!(text, "bị từ chối (refused): {}", counts(&self.refusals))?;
        if self.late {
            writeln!(
                text,
                "⚠ máy phát tải bị trễ, số đo không tin được (the generator was late: p99 {:.0} ms; do not trust the latencies)",
                self.lateness.latency_ms_p99
            )?;
        }
        if let Some(archive) = &self.archive {
            writeln!(text, "hồ sơ (archive): {}", archive.display())?;
        }
        if !self.verdict.verifier.is_empty() {
            writeln!(text, "{}", self.verdict.verifier.trim_end())?;
        }
        Ok(text)
    }
}

/// Writes to standard output; a reader who has gone away is no fault.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("write to standard output")
        }
        _ => Ok(()),
    }
}

fn minutes(ms: u64) -> String {
    let s = ms / 1_000;
    format!("{}:{:02}.{:03}", s / 60, s % 60, ms % 1_000)
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "0".to_owned();
    }
    let counts: Vec<String> = counts.iter().map(|(k, n)| format!("{k} {n}")).collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percentiles(rpc: &'static str) -> Percentiles {
        Percentiles {
            rpc,
            count: 10,
            latency_ms_p50: 1.25,
            latency_ms_p90: 2.0,
            latency_ms_p99: 3.0,
            latency_ms_max: 4.0,
        }
    }

    fn report() -> Report {
        let best = StandingRow {
            rank: 1,
            candidate: vec![0xab; 16].into(),
            area: "01".to_owned(),
            score: "9.50".to_owned(),
            net_time_ms: 61_005,
            ..StandingRow::default()
        };
        let area = AreaProgress {
            area: "01".to_owned(),
            persons: 3,
            submitted: 2,
            expired: 1,
            ..AreaProgress::default()
        };
        Report {
            exam_id: "demo".to_owned(),
            title: "Thi thử".to_owned(),
            seed: 1,
            late: false,
            lateness: percentiles("generator"),
            rates: Rates {
                elapsed_s: 2.0,
                started: 3,
                acknowledged: 60,
                answers_per_s: 30.0,
                answers_per_s_peak: 40,
            },
            n_ranked: 3,
            top: vec![TopRow::from(&best)],
            areas: vec![AreaRow::new(&area, Some(&best), "vn-63")],
            latencies: vec![percentiles("SaveAnswers")],
            retries: BTreeMap::from([("TRANSPORT".to_owned(), 2)]),
            refusals: BTreeMap::new(),
            archive: None,
            verdict: Verdict {
                ok: true,
                ..Verdict::default()
            },
        }
    }

    #[test]
    fn the_text_names_provinces_and_ends_with_the_verdict() {
        let text = report().to_string();
        assert!(text.lines().last().unwrap().starts_with("verdict: ok ("));
        assert!(
            text.contains("     1  abababab  01        9.50    1:01.005\n"),
            "{text}"
        );
        assert!(
            text.contains("01   Hà Nội                      3        2        1      9.50\n"),
            "{text}"
        );
        assert!(
            text.contains("gửi lại (sent again): TRANSPORT 2\n"),
            "{text}"
        );
        assert!(!text.contains('⚠'));
    }

    #[test]
    fn a_late_generator_is_flagged_and_differences_are_listed() {
        let mut report = report();
        report.late = true;
        report.verdict.ok = false;
        report.verdict.differences.push("one answer is lost");
        let text = report.to_string();
        assert!(text.contains('⚠'));
        assert!(text.contains("✗ one answer is lost"));
        assert!(
            text.lines()
                .last()
                .unwrap()
                .starts_with("verdict: FAILED (")
        );
    }

    #[test]
    fn json_has_the_same_numbers() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["verdict"]["ok"], true);
        assert_eq!(json["rates"]["acknowledged"], 60);
        assert_eq!(json["areas"][0]["name"], "Hà Nội");
        assert_eq!(json["latencies"][0]["latency_ms_p50"], 1.25);
    }
}
