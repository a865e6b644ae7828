//! Writes the result file once more and compares it with the archive's.
//!
//! Start at [`render`] and [`compare`]. Source: `docs/FORMATS.md`, section 6.

use std::{collections::HashMap, fmt::Write};

use proto::exam::v1::{CountedAttempt, RankingKey};

use crate::{
    Archive, DifferenceKind, Error,
    difference::Differences,
    rank::{Ranking, Row},
};

/// Lines before the rows; the last one names the columns.
const N_HEADER_LINES: usize = 9;

/// The columns, and what it means if one differs.
const COLUMNS: [(&str, DifferenceKind); 12] = [
    ("rank", DifferenceKind::Rank),
    ("area_rank", DifferenceKind::AreaRank),
    ("candidate", DifferenceKind::Row),
    ("area", DifferenceKind::Row),
    ("attempt", DifferenceKind::Row),
    ("score", DifferenceKind::Score),
    ("quanta", DifferenceKind::Score),
    ("correct", DifferenceKind::Score),
    ("net_time_ms", DifferenceKind::Row),
    ("submitted_at_ms", DifferenceKind::Row),
    ("ended_by", DifferenceKind::Row),
    ("form", DifferenceKind::Row),
];

/// Index of the column that tells rows apart.
const CANDIDATE: usize = 2;

/// Returns the result file as it should be.
pub(crate) fn render(
    archive: &Archive,
    ranking: &Ranking,
    quanta_per_point: i128,
    rows: &[Row],
) -> Result<String, Error> {
    let decimals = archive.rules.score_decimals;
    if decimals > 4 {
        return Err(Error::invalid("decimal places of the score", decimals));
    }
    let keys: Vec<&str> = ranking.keys.iter().map(key_name).collect();
    let mut text = String::new();
    for (name, value) in [
        ("khoa-bang result", "1".to_owned()),
        ("exam", archive.spec.exam_id.clone()),
        ("paper", hex::encode(archive.paper_hash)),
        ("key", hex::encode(archive.key_hash)),
        ("ranking", keys.join(",")),
        ("counted", counted_name(ranking.counted).to_owned()),
        ("quanta_per_point", quanta_per_point.to_string()),
        ("persons", rows.len().to_string()),
    ] {
        line(&mut text, &[name, &value]);
    }
    line(&mut text, &COLUMNS.map(|(name, _)| name));
    for row in rows {
        write_row(&mut text, row, quanta_per_point, decimals)?;
    }
    Ok(text)
}

fn write_row(
    text: &mut String,
    row: &Row,
    quanta_per_point: i128,
    decimals: u32,
) -> Result<(), Error> {
    let standing = &row.standing;
    let points = standing.score.points;
    let quanta = points
        .whole_times(quanta_per_point)
        .ok_or_else(|| Error::invalid("score in quanta", format!("{points:?}")))?;
    let fields = [
        row.rank.to_string(),
        row.area_rank.to_string(),
        hex::encode(standing.candidate),
        standing.area.clone(),
        standing.attempt.to_string(),
        points.to_decimal(decimals),
        quanta.to_string(),
        standing.score.n_correct.to_string(),
        standing.net_time_ms.to_string(),
        standing.submitted_at_ms.to_string(),
        standing.ended_by.to_owned(),
        hex::encode(standing.form_code),
    ];
    line(text, &fields.each_ref().map(String::as_str));
    Ok(())
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
        RankingKey::Prediction | RankingKey::PredictionNotAbove => "prediction",
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
    if expected.len() != found.len() {
        let place = format_args!("result.tsv line {number}");
        let (expected, found) = (expected.join(" "), found.join(" "));
        return differences.push(DifferenceKind::Row, place, expected, found);
    }
    let columns = COLUMNS.iter().zip(expected.iter().zip(&found));
    for ((column, kind), (expected, found)) in columns {
        let place = format_args!("result.tsv line {number}, {column}");
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
        check(|exam| exam.set_column(7, 5, "10.00"), &[D::Score]);
        check(|exam| exam.set_column(7, 6, "599999"), &[D::Score]);
        check(|exam| exam.set_column(7, 7, "99"), &[D::Score]);
        for (column, value) in [
            (3, "48"),
            (4, "9"),
            (8, "1"),
            (9, "1"),
            (10, "organizer"),
            (11, "0000000000000000"),
        ] {
            check(|exam| exam.set_column(7, column, value), &[D::Row]);
        }
    }

    #[test]
    fn a_changed_header_is_found() {
        for (name, value) in [
            ("khoa-bang result", "2"),
            ("exam", "tuan-2"),
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
        all.remove(12);
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
                all.push(all[10].clone());
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
                all.swap(9, 10);
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
