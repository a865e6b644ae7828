//! Writes the result file once more and compares it with the archive's.
//!
//! Start at [`Page::render`] and [`compare`]. Source: `docs/FORMATS.md`, section 6.

use std::{collections::HashMap, fmt::Write};

use proto::exam::v1::{CountedAttempt, RankingKey};

use crate::{
    Archive, DifferenceKind, Error,
    difference::Differences,
    rank::{Ranking, Row},
    ruling::Decisions,
    score::Marking,
};

/// Lines before the rows; the last one names the columns.
const N_HEADER_LINES: usize = 13;

/// The columns, and what it means if one differs.
const COLUMNS: [(&str, DifferenceKind); 16] = [
    ("rank", DifferenceKind::Rank),
    ("area_rank", DifferenceKind::AreaRank),
    ("candidate", DifferenceKind::Row),
    ("area", DifferenceKind::Row),
    ("unit", DifferenceKind::Row),
    ("round", DifferenceKind::Row),
    ("attempt", DifferenceKind::Row),
    ("score", DifferenceKind::Score),
    ("quanta", DifferenceKind::Score),
    ("correct", DifferenceKind::Score),
    ("passed", DifferenceKind::Score),
    ("prediction", DifferenceKind::Row),
    ("net_time_ms", DifferenceKind::Row),
    ("submitted_at_ms", DifferenceKind::Row),
    ("ended_by", DifferenceKind::Row),
    ("form", DifferenceKind::Row),
];

/// Index of the column that tells rows apart.
const CANDIDATE: usize = 2;

/// What a result file is written from, but for its rows.
pub(crate) struct Page<'a> {
    pub(crate) archive: &'a Archive,
    pub(crate) ranking: &'a Ranking,
    pub(crate) marking: &'a Marking,
    pub(crate) decisions: &'a Decisions,
    pub(crate) n_excluded: usize,
}

impl Page<'_> {
    /// Returns the result file as it should be.
    pub(crate) fn render(&self, rows: &[Row]) -> Result<String, Error> {
        let mut text = String::new();
        self.write_header(&mut text, rows.len());
        line(&mut text, &COLUMNS.map(|(name, _)| name));
        for row in rows {
            self.write_row(&mut text, row)?;
        }
        Ok(text)
    }

    fn write_header(&self, text: &mut String, n_persons: usize) {
        let key = self.archive.key();
        let keys: Vec<&str> = self.ranking.keys.iter().map(key_name).collect();
        for (name, value) in [
            ("khoa-bang result", "2".to_owned()),
            ("exam", self.archive.spec.exam_id.clone()),
            ("paper", hex::encode(self.archive.paper_hash)),
            ("key", hex::encode(key.hash)),
            ("key_version", key.half.key_version.to_string()),
        ] {
            line(text, &[name, &value]);
        }
        let decisions = self.decisions;
        let last = decisions.last_hash.map_or("-".to_owned(), hex::encode);
        line(
            text,
            &["rulings", &decisions.n_concerning.to_string(), &last],
        );
        line(text, &["ranking", &keys.join(",")]);
        line(text, &["counted", counted_name(self.ranking.counted)]);
        let (quantity, definition) = match &decisions.prediction {
            Some(known) => (known.quantity.to_string(), one_line(&known.definition)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        line(text, &["prediction", &quantity, &definition]);
        for (name, value) in [
            ("excluded", self.n_excluded.to_string()),
            (
                "quanta_per_point",
                self.marking.quanta_per_point.to_string(),
            ),
            ("persons", n_persons.to_string()),
        ] {
            line(text, &[name, &value]);
        }
    }

    fn write_row(&self, text: &mut String, row: &Row) -> Result<(), Error> {
        let standing = &row.standing;
        let points = standing.score.points;
        let quanta = self.marking.quanta(points)?;
        let passed = match standing.score.passed {
            None => "-",
            Some(true) => "yes",
            Some(false) => "no",
        };
        let fields = [
            row.rank.to_string(),
            row.area_rank.to_string(),
            hex::encode(standing.candidate),
            standing.area.clone(),
            standing.unit.to_string(),
            standing.round.to_string(),
            standing.attempt.to_string(),
            self.marking.printed(points),
            quanta.to_string(),
            standing.score.n_correct.to_string(),
            passed.to_owned(),
            standing
                .prediction
                .map_or("-".to_owned(), |number| number.to_string()),
            standing.net_time_ms.to_string(),
            standing.submitted_at_ms.to_string(),
            standing.ended_by.to_owned(),
            hex::encode(standing.form_code),
        ];
        line(text, &fields.each_ref().map(String::as_str));
        Ok(())
    }
}

/// Returns a text that fits into one field.
fn one_line(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.replace(['\t', '\n', '\r'], " ")
}

fn line(text: &mut String, fields: &[&str]) {
    writeln!(text, "{}", fields.join("\t")).expect("a string takes everything");
}

fn key_name(key: &RankingKey) -> &'static str {
    match key {
        RankingKey::Unspecified => "unspecified",
        RankingKey::Score => "score",
        RankingKey::CorrectCount => "correct_count",
        RankingKey::NetTime => "net_time",
        RankingKey::SubmittedAt => "submitted_at",
        RankingKey::FewestAttempts => "fewest_attempts",
        RankingKey::Prediction => "prediction",
        RankingKey::PredictionNotAbove => "prediction_not_above",
    }
}

fn counted_name(counted: CountedAttempt) -> &'static str {
    match counted {
        CountedAttempt::Unspecified | CountedAttempt::Best => "best",
        CountedAttempt::Last => "last",
        CountedAttempt::First => "first",
    }
}

/// Compares the archive's result file line by line with the one that should be.
pub(crate) fn compare(own: &str, archived: &[u8], differences: &mut Differences) {
    if own.as_bytes() == archived {
        return;
    }
    let n_before = differences.n_found;
    let archived = String::from_utf8_lossy(archived);
    let format = archived.lines().next().unwrap_or_default();
    if format.starts_with("khoa-bang result\t") && !own.starts_with(format) {
        let kind = DifferenceKind::ResultHeader;
        return differences.push(kind, "result.tsv line 1", "khoa-bang result\t2", format);
    }
    compare_header(own, &archived, differences);
    compare_rows(own, &archived, differences);
    if differences.n_found == n_before {
        let expected = format!("{} bytes", own.len());
        let found = format!("{} bytes", archived.len());
        differences.push(DifferenceKind::ResultText, "result.tsv", expected, found);
    }
}

fn compare_header(own: &str, archived: &str, differences: &mut Differences) {
    let mut found = archived.lines();
    for (index, expected) in own.lines().take(N_HEADER_LINES).enumerate() {
        let kind = match expected.split('\t').next() {
            Some("paper") => DifferenceKind::PaperHash,
            Some("key") => DifferenceKind::KeyHash,
            _ => DifferenceKind::ResultHeader,
        };
        let place = format_args!("result.tsv line {}", index + 1);
        differences.compare(kind, place, expected, found.next().unwrap_or("nothing"));
    }
}

/// Rows are matched by candidate, so that one missing row is one difference and not thousands.
fn compare_rows(own: &str, archived: &str, differences: &mut Differences) {
    let mut found: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut found_order = Vec::new();
    let own_rows: HashMap<&str, &str> = rows(own).map(|(_, row)| (candidate(row), row)).collect();
    for (number, row) in rows(archived) {
        let is_new = found.insert(candidate(row), (number, row)).is_none();
        if is_new && own_rows.contains_key(candidate(row)) {
            found_order.push((number, candidate(row)));
        } else {
            let place = format_args!("result.tsv line {number}");
            differences.push(DifferenceKind::RowExtra, place, "no such row", row);
        }
    }
    let mut own_order = Vec::new();
    for (_, expected) in rows(own) {
        match found.get(candidate(expected)) {
            Some((number, row)) => {
                own_order.push(candidate(expected));
                compare_row(*number, expected, row, differences);
            }
            None => {
                let place = format_args!("result.tsv, candidate {}", candidate(expected));
                differences.push(DifferenceKind::RowMissing, place, expected, "no row");
            }
        }
    }
    let out_of_order = own_order
        .iter()
        .zip(&found_order)
        .find(|(own, (_, found))| *own != found);
    if let Some((expected, (number, found))) = out_of_order {
        let place = format_args!("result.tsv line {number}");
        differences.push(DifferenceKind::RowOrder, place, expected, found);
    }
}

/// Returns the rows with their line numbers.
fn rows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().skip(N_HEADER_LINES);
    lines.map(|(index, row)| (index + 1, row))
}

fn candidate(row: &str) -> &str {
    row.split('\t').nth(CANDIDATE).unwrap_or(row)
}

fn compare_row(number: usize, expected: &str, found: &str, differences: &mut Differences) {
    if expected == found {
        return;
    }
    let expected: Vec<&str> = expected.split('\t').collect();
    let found: Vec<&str> = found.split('\t').collect();
    if expected.len() != found.len() || expected.len() != COLUMNS.len() {
        let place = format_args!("result.tsv line {number}");
        let (expected, found) = (expected.join(" "), found.join(" "));
        return differences.push(DifferenceKind::Row, place, expected, found);
    }
    let columns = COLUMNS.iter().zip(expected.iter().zip(&found));
    let who = expected[CANDIDATE];
    for ((column, kind), (expected, found)) in columns {
        let place = format_args!("result.tsv line {number}, {column}, candidate {who}");
        differences.compare(*kind, place, expected, found);
    }
}

#[cfg(test)]
mod tests {
    use DifferenceKind as D;

    use super::*;
    use crate::test_exam::{TestExam, check};

    fn lines(exam: &TestExam) -> Vec<String> {
        exam.result.lines().map(str::to_owned).collect()
    }

    fn set_lines(exam: &mut TestExam, lines: &[String]) {
        exam.result = lines.join("\n") + "\n";
    }

    #[test]
    fn a_changed_column_is_found_by_its_kind() {
        check(|exam| exam.set_column(7, 0, "99"), &[D::Rank]);
        check(|exam| exam.set_column(7, 1, "99"), &[D::AreaRank]);
        check(|exam| exam.set_column(7, 7, "10.00"), &[D::Score]);
        check(|exam| exam.set_column(7, 8, "599999"), &[D::Score]);
        check(|exam| exam.set_column(7, 9, "99"), &[D::Score]);
        check(|exam| exam.set_column(7, 10, "-"), &[D::Score]);
        for (column, value) in [
            (3, "48"),
            (4, "9"),
            (5, "2"),
            (6, "9"),
            (11, "7"),
            (12, "1"),
            (13, "1"),
            (14, "organizer"),
            (15, "0000000000000000"),
        ] {
            check(|exam| exam.set_column(7, column, value), &[D::Row]);
        }
    }

    #[test]
    fn a_changed_header_is_found() {
        for (name, value) in [
            ("khoa-bang result", "1"),
            ("khoa-bang result", "3"),
            ("exam", "tuan-2"),
            ("key_version", "2"),
            ("rulings", "1\t-"),
            ("prediction", "5\t-"),
            ("excluded", "1"),
            ("ranking", "score"),
            ("counted", "last"),
            ("quanta_per_point", "10000"),
            ("persons", "13"),
            ("rank", "area_rank"),
        ] {
            check(|exam| exam.set_header(name, value), &[D::ResultHeader]);
        }
    }

    #[test]
    fn a_missing_row_is_one_difference() {
        let mut exam = TestExam::new();
        let mut all = lines(&exam);
        all.remove(16);
        set_lines(&mut exam, &all);
        let verdict = exam.verify().unwrap();
        assert_eq!(verdict.n_differences, 1);
        assert_eq!(verdict.differences[0].kind, D::RowMissing);
    }

    #[test]
    fn rows_of_nobody_and_rows_twice_are_found() {
        check(
            |exam| {
                let mut all = lines(exam);
                all.push(all[14].clone());
                set_lines(exam, &all);
            },
            &[D::RowExtra],
        );
        check(|exam| exam.result.push_str("13\t7\tffff\n"), &[D::RowExtra]);
    }

    #[test]
    fn rows_out_of_order_are_found() {
        check(
            |exam| {
                let mut all = lines(exam);
                all.swap(13, 14);
                set_lines(exam, &all);
            },
            &[D::RowOrder],
        );
    }

    #[test]
    fn a_trailing_tab_is_found() {
        check(
            |exam| exam.result.insert(exam.result.len() - 1, '\t'),
            &[D::Row],
        );
    }

    #[test]
    fn other_line_ends_are_found() {
        check(
            |exam| exam.result = exam.result.replace('\n', "\r\n"),
            &[D::ResultText],
        );
        check(
            |exam| exam.result.truncate(exam.result.len() - 1),
            &[D::ResultText],
        );
    }

    #[test]
    fn an_empty_result_is_found() {
        let kinds = [D::PaperHash, D::KeyHash, D::ResultHeader, D::RowMissing];
        check(|exam| exam.result.clear(), &kinds);
    }

    #[test]
    fn more_decimals_print_more_places() {
        let mut exam = TestExam::new();
        exam.exam
            .spec
            .as_mut()
            .unwrap()
            .rules
            .as_mut()
            .unwrap()
            .score_decimals = 3;
        let verdict = exam.verify().unwrap();
        assert_eq!(verdict.n_differences, 12);
        let has_three = |text: &str| {
            text.split_once('.')
                .is_some_and(|(_, places)| places.len() == 3)
        };
        assert!(
            verdict
                .differences
                .iter()
                .all(|found| has_three(&found.expected))
        );
    }
}
