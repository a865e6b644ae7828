//! Which column holds what, by the words of the header row.

use std::collections::BTreeMap;

use super::sheet::{Cells, Sheet};
use crate::{
    import::grammar::{folded, letter_index},
    item::{MAX_OPTIONS, clean_text},
};

/// How far down a header may stand: titles, dates and instructions come before it.
const N_HEADER_ROWS: usize = 20;

const NUMBER: [&str; 10] = [
    "stt",
    "tt",
    "số tt",
    "số thứ tự",
    "câu",
    "câu số",
    "no",
    "number",
    "question #",
    "#",
];
const TOPIC: [&str; 13] = [
    "chủ đề",
    "hạng mục",
    "chuyên đề",
    "lĩnh vực",
    "phần",
    "chương",
    "nhóm",
    "nhóm câu hỏi",
    "bài",
    "topic",
    "category",
    "section",
    "chapter",
];
const BAND: [&str; 8] = [
    "mức độ",
    "mức",
    "độ khó",
    "mức độ nhận thức",
    "cấp độ",
    "level",
    "difficulty",
    "band",
];
const STEM: [&str; 12] = [
    "câu hỏi",
    "nội dung",
    "nội dung câu hỏi",
    "câu dẫn",
    "đề bài",
    "tên câu hỏi",
    "câu hỏi trắc nghiệm",
    "question",
    "question text",
    "question title",
    "text",
    "stem",
];
const OPTIONS: [&str; 10] = [
    "phương án trả lời",
    "các phương án",
    "các phương án trả lời",
    "phương án",
    "phương án lựa chọn",
    "lựa chọn",
    "các lựa chọn",
    "các đáp án",
    "options",
    "choices",
];
const KEY: [&str; 15] = [
    "đáp án đúng",
    "đáp án",
    "phương án đúng",
    "đa",
    "đa đúng",
    "câu trả lời đúng",
    "trả lời đúng",
    "kết quả",
    "key",
    "answer key",
    "correct answer",
    "correct answers",
    "correct",
    "correct option",
    "answer",
];
const EXPLANATION: [&str; 8] = [
    "giải thích",
    "lời giải",
    "hướng dẫn giải",
    "giải thích đáp án",
    "căn cứ",
    "explanation",
    "answer explanation",
    "rationale",
];
const OPTION_PREFIXES: [&str; 9] = [
    "đáp án",
    "phương án",
    "lựa chọn",
    "câu trả lời",
    "option",
    "answer",
    "choice",
    "đa",
    "pa",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Number,
    Topic,
    Band,
    Stem,
    Options,
    Option(usize),
    Key,
    Explanation,
}

/// Columns of a sheet, from 0.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// Row of the header, from 1.
    pub(super) line: usize,
    /// Its last row, where the letters of options stand below a common title.
    pub(super) last_line: usize,
    pub(super) number: Option<usize>,
    pub(super) topic: Option<usize>,
    pub(super) band: Option<usize>,
    pub(super) stem: usize,
    /// The one with all options.
    pub(super) options: Option<usize>,
    /// Those with an option each, by letter.
    pub(super) option_columns: Vec<Option<usize>>,
    pub(super) key: Option<usize>,
    pub(super) explanation: Option<usize>,
}

impl Columns {
    /// Returns the text of a cell; "" where there is none.
    #[expect(
        clippy::unused_self,
        reason = "reads as a question to the columns: columns.text(row, columns.key)"
    )]
    pub(super) fn text(&self, row: &Cells, column: Option<usize>) -> String {
        column
            .and_then(|column| row.get(&column))
            .map(|v| v.text.clone())
            .unwrap_or_default()
    }

    /// Returns the columns whose text candidates will read.
    pub(super) fn content(&self) -> impl Iterator<Item = usize> {
        let options = self
            .options
            .into_iter()
            .chain(self.option_columns.iter().flatten().copied());
        std::iter::once(self.stem).chain(options)
    }

    /// Reports whether a row is more than a number prepared for a question, and not the header once more.
    pub(super) fn has_content(&self, row: &Cells) -> bool {
        let is_filled = self
            .content()
            .chain(self.key)
            .any(|column| row.contains_key(&column));
        let stem = self.text(row, Some(self.stem));
        is_filled && role(&stem) != Some(Role::Stem)
    }
}

/// Finds the header: the first row that names a stem and options.
pub(super) fn find_header(sheet: &Sheet) -> Option<Columns> {
    let rows: Vec<(usize, &Cells)> = sheet
        .rows
        .range(..=N_HEADER_ROWS)
        .map(|(line, row)| (*line, row))
        .collect();
    rows.iter().enumerate().find_map(|(at, (line, row))| {
        let roles = roles(row);
        let below = rows
            .get(at + 1)
            .filter(|(next, row)| *next == line + 1 && letters_below(row));
        match below {
            Some((next, row)) => {
                let mut both = roles;
                both.retain(|role, _| *role != Role::Options);
                both.extend(self::roles(row));
                columns(*line, *next, &both)
            }
            None => columns(*line, *line, &roles),
        }
    })
}

/// Reports whether a row only names options by their letters, below "Phương án trả lời".
fn letters_below(row: &Cells) -> bool {
    let roles = roles(row);
    roles.len() > 1 && roles.keys().all(|role| matches!(role, Role::Option(_)))
}

fn roles(row: &Cells) -> BTreeMap<Role, usize> {
    let mut roles = BTreeMap::new();
    for (column, value) in row {
        if let Some(role) = role(&value.text) {
            roles.entry(role).or_insert(*column);
        }
    }
    roles
}

fn columns(line: usize, last_line: usize, roles: &BTreeMap<Role, usize>) -> Option<Columns> {
    let of = |role| roles.get(&role).copied();
    let mut option_columns: Vec<Option<usize>> = (0..MAX_OPTIONS)
        .map(|index| of(Role::Option(index)))
        .collect();
    while option_columns.last().is_some_and(Option::is_none) {
        option_columns.pop();
    }
    let n_option_columns = option_columns.iter().flatten().count();
    let options = of(Role::Options).filter(|_| n_option_columns < 2);
    let columns = Columns {
        line,
        last_line,
        number: of(Role::Number),
        topic: of(Role::Topic),
        band: of(Role::Band),
        stem: of(Role::Stem)?,
        options,
        option_columns: if options.is_some() {
            vec![]
        } else {
            option_columns
        },
        key: of(Role::Key),
        explanation: of(Role::Explanation),
    };
    (options.is_some() || n_option_columns > 1).then_some(columns)
}

fn role(cell: &str) -> Option<Role> {
    let words = header_words(cell);
    let is = |list: &[&str]| list.contains(&words.as_str());
    if let Some(index) = option_index(&words) {
        return Some(Role::Option(index));
    }
    [
        (is(&NUMBER), Role::Number),
        (is(&TOPIC), Role::Topic),
        (is(&BAND), Role::Band),
        (is(&STEM), Role::Stem),
        (is(&OPTIONS), Role::Options),
        (is(&KEY), Role::Key),
        (is(&EXPLANATION), Role::Explanation),
    ]
    .into_iter()
    .find_map(|(is_it, role)| is_it.then_some(role))
}

/// Reads "Đáp án A", "Option 1", "B" as the index of an option.
fn option_index(words: &str) -> Option<usize> {
    let rest = OPTION_PREFIXES
        .iter()
        .find_map(|prefix| words.strip_prefix(prefix)?.strip_prefix(' '));
    let name = rest.unwrap_or(words).trim();
    let mut chars = name.chars();
    if let (Some(letter), None) = (chars.next(), chars.next())
        && let Some((index, _)) = letter_index(letter)
    {
        return Some(usize::from(index));
    }
    let number: usize = rest?.trim().parse().ok()?;
    number.checked_sub(1).filter(|index| *index < MAX_OPTIONS)
}

/// Cuts what headers say besides: "Đáp án đúng (A/B/C/D) *", "Question - max 120 characters".
fn header_words(cell: &str) -> String {
    let text = clean_text(cell);
    let text = text.split('(').next().unwrap_or_default();
    let text = text.split(" - ").next().unwrap_or_default();
    folded(text.trim_end_matches(['*', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::excel::sheet::Value;

    fn sheet(rows: &[&[&str]]) -> Sheet {
        let mut sheet = Sheet::default();
        for (at, row) in rows.iter().enumerate() {
            let cells = row
                .iter()
                .enumerate()
                .filter(|(_, text)| !text.is_empty())
                .map(|(column, text)| {
                    let value = Value {
                        text: (*text).to_owned(),
                        doubt: None,
                    };
                    (column, value)
                });
            sheet.rows.insert(at + 1, cells.collect());
        }
        sheet
    }

    #[test]
    fn headers_are_found_below_titles_in_their_many_spellings() {
        let columns = find_header(&sheet(&[
            &["NGÂN HÀNG CÂU HỎI"],
            &[
                "STT",
                "Nội dung câu hỏi *",
                "Phương án A",
                "Phương án B",
                "Đáp án đúng (A/B)",
                "Mức độ",
                "Chủ đề:",
            ],
        ]));
        let columns = columns.unwrap();
        assert_eq!((columns.line, columns.stem, columns.key), (2, 1, Some(4)));
        assert_eq!(columns.option_columns, [Some(2), Some(3)]);
        assert_eq!(
            (columns.number, columns.band, columns.topic),
            (Some(0), Some(5), Some(6))
        );

        let columns = find_header(&sheet(&[&[
            "Question - max 120 characters",
            "Answer 1",
            "Answer 2",
            "Correct answer(s)",
        ]]));
        let columns = columns.unwrap();
        assert_eq!(
            (columns.option_columns, columns.key),
            (vec![Some(1), Some(2)], Some(3))
        );
    }

    #[test]
    fn letters_may_stand_below_a_common_title() {
        let columns = find_header(&sheet(&[
            &["Câu", "Câu hỏi", "Phương án trả lời", "", "", "Đáp án"],
            &["", "", "A", "B", "C", ""],
        ]));
        let columns = columns.unwrap();
        assert_eq!((columns.last_line, columns.options), (2, None));
        assert_eq!(columns.option_columns, [Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn a_sheet_of_other_things_has_no_header() {
        assert!(find_header(&sheet(&[&["Họ và tên", "Phòng"], &["Câu hỏi", "Đáp án"]])).is_none());
    }
}
