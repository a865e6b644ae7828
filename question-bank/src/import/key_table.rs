//! The table that says which option is right: column pairs `Câu` / `Đáp án`, rows of the same, or a plain list.

use std::collections::{BTreeMap, BTreeSet};

use super::grammar::{folded, listed_keys};
use crate::item::clean_text;

const NUMBER_HEADERS: [&str; 10] = [
    "câu",
    "câu số",
    "câu hỏi",
    "số câu",
    "stt",
    "tt",
    "question",
    "no",
    "question no",
    "#",
];
const KEY_HEADERS: [&str; 8] = [
    "đáp án",
    "đáp án đúng",
    "đa",
    "đ/án",
    "phương án đúng",
    "trả lời",
    "key",
    "answer",
];

/// One row of cells and where it stands.
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) cells: Vec<String>,
}

/// What the table says of one question.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) raw: String,
    pub(super) line: usize,
}

/// Keys by number of question.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyTable {
    entries: BTreeMap<u32, Entry>,
    contradictions: BTreeSet<u32>,
}

impl KeyTable {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// Returns the key that the table states, as written; empty where it has none.
    pub(super) fn stated(&self, number: u32) -> &str {
        self.get(number).map_or("", |entry| &entry.raw)
    }

    /// Reports whether the table names a number twice with different keys.
    pub(super) fn contradicts_itself(&self, number: u32) -> bool {
        self.contradictions.contains(&number)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.entries.keys().copied()
    }

    /// Adds what a table with headers says and reports whether it is a key table.
    pub(super) fn read_table(&mut self, rows: &[Row]) -> bool {
        let n_before = self.entries.len();
        for (at, row) in rows.iter().enumerate() {
            self.read_columns(&rows[at + 1..], &column_pairs(row));
            if let Some(keys) = rows.get(at + 1) {
                self.read_across(row, keys);
            }
        }
        self.entries.len() > n_before
    }

    /// Adds what a line lists: `1. B`, `1-A 2-C`.
    pub(super) fn read_list(&mut self, line: usize, text: &str) {
        let chars: Vec<char> = text.chars().collect();
        for (number, raw) in listed_keys(&chars) {
            self.add(number, &raw, line);
        }
    }

    /// Reads column pairs down to the next row that heads some itself.
    fn read_columns(&mut self, rows: &[Row], pairs: &[usize]) {
        if pairs.is_empty() {
            return;
        }
        for row in rows.iter().take_while(|row| column_pairs(row).is_empty()) {
            for column in pairs {
                if let (Some(number), Some(raw)) =
                    (row.cells.get(*column), row.cells.get(column + 1))
                    && let Some(number) = question_number(number)
                {
                    self.add(number, raw, row.line);
                }
            }
        }
    }

    /// Reads `Câu | 1 | 2 | 3` above `Đáp án | A | C | B`.
    fn read_across(&mut self, numbers: &Row, keys: &Row) {
        let heads = |row: &Row, words: &[&str]| {
            row.cells.first().is_some_and(|cell| is_header(cell, words))
        };
        if !heads(numbers, &NUMBER_HEADERS) || !heads(keys, &KEY_HEADERS) {
            return;
        }
        for (number, raw) in numbers.cells.iter().zip(&keys.cells).skip(1) {
            if let Some(number) = question_number(number) {
                self.add(number, raw, keys.line);
            }
        }
    }

    fn add(&mut self, number: u32, raw: &str, line: usize) {
        let raw = clean_text(raw);
        if raw.is_empty() {
            return;
        }
        let entry = self.entries.entry(number).or_insert_with(|| Entry {
            raw: raw.clone(),
            line,
        });
        if entry.raw != raw {
            self.contradictions.insert(number);
        }
    }
}

/// Returns the left columns of the pairs that a header row announces.
fn column_pairs(row: &Row) -> Vec<usize> {
    (1..row.cells.len())
        .filter(|right| {
            is_header(&row.cells[right - 1], &NUMBER_HEADERS)
                && is_header(&row.cells[*right], &KEY_HEADERS)
        })
        .map(|right| right - 1)
        .collect()
}

fn is_header(cell: &str, words: &[&str]) -> bool {
    words.contains(&folded(cell).as_str())
}

/// Reads "12", "12." and "Câu 12".
fn question_number(cell: &str) -> Option<u32> {
    let text = folded(cell);
    text.strip_prefix("câu")
        .unwrap_or(&text)
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[&[&str]]) -> Vec<Row> {
        cells
            .iter()
            .enumerate()
            .map(|(at, cells)| Row {
                line: at + 1,
                cells: cells.iter().map(|c| (*c).to_owned()).collect(),
            })
            .collect()
    }

    #[track_caller]
    fn check(cells: &[&[&str]], expected: &[(u32, &str)]) {
        let mut table = KeyTable::default();
        table.read_table(&rows(cells));
        let found: Vec<(u32, &str)> = table
            .numbers()
            .filter_map(|n| Some((n, table.get(n)?.raw.as_str())))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn column_pairs_are_read_across_blank_columns() {
        check(
            &[
                &["Câu", "Đáp án", "", "Câu", "Đáp án"],
                &["1", "B ", "", "3", "A, C"],
                &["Câu 2.", "d", "", "", ""],
            ],
            &[(1, "B"), (2, "d"), (3, "A, C")],
        );
    }

    #[test]
    fn rows_of_numbers_above_rows_of_keys_are_read() {
        check(
            &[
                &["Câu", "1", "2"],
                &["Đáp án", "A", "C"],
                &["Câu", "3", "4"],
                &["Đáp án", "B", "D"],
            ],
            &[(1, "A"), (2, "C"), (3, "B"), (4, "D")],
        );
    }

    #[test]
    fn a_table_of_questions_is_no_key_table() {
        check(&[&["STT", "Câu hỏi", "Đáp án"], &["1", "Hỏi?", "A"]], &[]);
        check(&[&["Họ tên", "Điểm"], &["1", "A"]], &[]);
    }

    #[test]
    fn two_keys_for_one_number_are_a_contradiction() {
        let mut table = KeyTable::default();
        table.read_list(1, "1-A 2-B 1-A");
        assert!(!table.contradicts_itself(1));
        table.read_list(2, "2-C");
        assert!(table.contradicts_itself(2));
    }
}
