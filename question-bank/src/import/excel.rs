//! Reads questions and keys from Excel files: a header row tells what the columns hold, each row below is a question.
//!
//! A sheet has its options in columns of their own or all in one cell, a line each. Start at [`import`];
//! `excel/sheet.rs` gives the cells, `excel/header.rs` finds the columns.

mod header;
mod sheet;

use self::{
    header::{Columns, find_header},
    sheet::{Sheet, Value, read_sheets},
};
use super::{
    Import, Problem,
    draft::{Draft, Unit, document_warning, finish},
    grammar::{Heading, announced_count, heading, inline_options, letter, option_label},
    key_table::{KeyTable, Row},
    package::Package,
};
use crate::{
    Result,
    item::{Band, clean_text},
};

/// Reads a workbook of questions.
pub(super) fn import(package: &mut Package<'_>, keys: Option<KeyTable>) -> Result<Import> {
    let sheets = read_sheets(package)?;
    let mut own_keys = KeyTable::default();
    let mut drafts = vec![];
    let mut problems = vec![];
    let mut announced = None;
    for sheet in &sheets {
        match find_header(sheet) {
            Some(columns) => {
                announced = announced.or_else(|| announced_count(&title(sheet, &columns)));
                read_questions(sheet, &columns, &mut drafts);
            }
            None if own_keys.read_table(&table_rows(sheet)) => {}
            None => problems.push(header_not_found(sheet)),
        }
    }
    if drafts.is_empty() {
        return Err(package.no_questions(
            "«Câu hỏi | Đáp án A | Đáp án B | … | Đáp án đúng», «Nội dung | Phương án trả lời | Đáp án», \
             «Question | Option 1 | Option 2 | … | Correct Answer»",
        ));
    }
    let keys = keys.or_else(|| Some(own_keys.clone()).filter(|keys| !keys.is_empty()));
    for (draft, stated) in &mut drafts {
        match &keys {
            Some(keys) => {
                draft.take_key_from(keys);
                draft.compare_key(stated, true);
                draft.compare_key(own_keys.stated(draft.number), false);
            }
            None => draft.take_key(stated, true),
        }
    }
    let drafts = drafts.into_iter().map(|(draft, _)| draft).collect();
    let mut import = finish(drafts, announced, keys.as_ref());
    import.problems.splice(0..0, problems);
    Ok(import)
}

/// Reads a workbook that holds keys.
pub(super) fn read_keys(package: &mut Package<'_>) -> Result<KeyTable> {
    let sheets = read_sheets(package)?;
    let mut keys = KeyTable::default();
    for sheet in &sheets {
        keys.read_table(&table_rows(sheet));
    }
    if keys.is_empty() {
        for row in sheets.iter().flat_map(table_rows) {
            keys.read_list(row.line, &row.cells.join(" "));
        }
    }
    Ok(keys)
}

fn header_not_found(sheet: &Sheet) -> Problem {
    let name = super::draft::quoted(&sheet.name);
    document_warning(
        "header_not_found",
        1,
        &format!(
            "bỏ qua trang tính «{name}» vì không có hàng tiêu đề; hãy thêm Câu hỏi, Đáp án A, …, Đáp án đúng"
        ),
        &format!(
            "sheet «{name}» has no header row and was skipped; add Câu hỏi, Đáp án A, …, Đáp án đúng"
        ),
    )
}

fn table_rows(sheet: &Sheet) -> Vec<Row> {
    let cell = |row: &sheet::Cells, column: usize| {
        row.get(&column).map(|v| v.text.clone()).unwrap_or_default()
    };
    sheet
        .rows
        .iter()
        .map(|(line, row)| {
            let n_columns = row.last_key_value().map_or(0, |(last, _)| last + 1);
            Row {
                line: *line,
                cells: (0..n_columns).map(|column| cell(row, column)).collect(),
            }
        })
        .collect()
}

fn title(sheet: &Sheet, columns: &Columns) -> String {
    let above = sheet
        .rows
        .range(..columns.line)
        .flat_map(|(_, row)| row.values());
    above.map(|v| v.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// Adds the questions of a sheet, each with the key that its row states.
fn read_questions(sheet: &Sheet, columns: &Columns, drafts: &mut Vec<(Draft, String)>) {
    let usual = usual_options(sheet, columns);
    let mut section = String::new();
    for (line, row) in sheet.rows.range(columns.last_line + 1..) {
        if let Some(topic) = section_title(row, columns) {
            section = topic;
        } else if columns.has_content(row) {
            let order = u32::try_from(drafts.len() + 1).unwrap_or(u32::MAX);
            let mut draft = read_question(*line, row, columns, usual, order);
            if draft.topic.is_empty() && columns.topic.is_none() {
                draft.topic.clone_from(&section);
            }
            drafts.push((draft, columns.text(row, columns.key)));
        }
    }
}

/// A row with nothing but "Phần 1: ..." in one cell heads the rows below it.
fn section_title(row: &sheet::Cells, columns: &Columns) -> Option<String> {
    let mut cells = row.values().filter(|v| !v.text.trim().is_empty());
    let only = cells.next().filter(|_| cells.next().is_none())?;
    let chars: Vec<char> = only.text.chars().collect();
    match heading(&chars, false)? {
        Heading::Sure(topic) | Heading::Roman(_, topic) if columns.topic.is_none() => Some(topic),
        _ => None,
    }
}

fn read_question(
    line: usize,
    row: &sheet::Cells,
    columns: &Columns,
    usual: usize,
    order: u32,
) -> Draft {
    let text = |column| clean_text(&columns.text(row, column));
    let mut draft = Draft {
        number: text(columns.number)
            .trim_matches(['.', ' '])
            .parse()
            .unwrap_or(order),
        line,
        unit: Unit::Row,
        text: text(Some(columns.stem)),
        options: vec![],
        key: vec![],
        topic: text(columns.topic),
        band: Band::Unstated,
        explanation: text(columns.explanation),
        problems: vec![],
    };
    let band = text(columns.band);
    match Band::parse(&band) {
        Some(band) => draft.band = band,
        None if band.is_empty() => {}
        None => draft.warn(
            "band_unknown",
            &format!(
                "không hiểu mức độ «{}»; hãy ghi NB, TH, VD hoặc VDC",
                super::draft::quoted(&band)
            ),
            &format!(
                "unknown difficulty «{}»; write NB, TH, VD or VDC",
                super::draft::quoted(&band)
            ),
        ),
    }
    match columns.options {
        Some(column) => {
            let cell = divide_options(&columns.text(row, Some(column)), usual);
            report_letters(&mut draft, &cell);
            draft.options = cell.options;
        }
        None => draft.options = option_columns(row, columns),
    }
    for column in columns.content() {
        if let Some(value) = row.get(&column) {
            report_value(&mut draft, value, column);
        }
    }
    draft
}

/// Options keep the letters of their columns, so an empty one in the middle stays and is reported.
fn option_columns(row: &sheet::Cells, columns: &Columns) -> Vec<String> {
    let mut options: Vec<String> = columns
        .option_columns
        .iter()
        .map(|column| clean_text(&columns.text(row, *column)))
        .collect();
    while options.last().is_some_and(String::is_empty) {
        options.pop();
    }
    options
}

/// What Excel made of a cell may not be what its author typed or sees.
fn report_value(draft: &mut Draft, value: &Value, column: usize) {
    let name = sheet::column_name(column);
    match value.doubt {
        None => {}
        Some(sheet::Doubt::Date) => draft.hold(
            "cell_date",
            &format!("ô cột {name} đã bị Excel đổi thành ngày tháng; hãy định dạng ô là Text rồi gõ lại"),
            &format!("Excel turned the cell in column {name} into a date; format it as Text and type it again"),
        ),
        Some(sheet::Doubt::Fault) => draft.hold(
            "cell_error",
            &format!("ô cột {name} báo lỗi ({}); hãy sửa công thức", value.text),
            &format!("the cell in column {name} shows an error ({}); correct the formula", value.text),
        ),
        Some(sheet::Doubt::Fraction) => draft.warn(
            "cell_number",
            &format!("ô cột {name} là số {}, có thể hiển thị khác; hãy định dạng ô là Text", value.text),
            &format!("the cell in column {name} is the number {}, which may be shown otherwise; format it as Text", value.text),
        ),
    }
}

/// The options of one cell.
#[derive(Debug, Default, PartialEq, Eq)]
struct OptionCell {
    options: Vec<String>,
    /// An option whose letter was missing was taken for one all the same.
    letter_missing: Option<u8>,
    letters_out_of_order: bool,
}

fn report_letters(draft: &mut Draft, cell: &OptionCell) {
    if let Some(index) = cell.letter_missing {
        let letter = letter(index);
        draft.warn(
            "letter_missing",
            &format!("một dòng không chữ cái được hiểu là phương án {letter}; hãy xem lại"),
            &format!("a line without letter was taken for option {letter}; please check"),
        );
    }
    if cell.letters_out_of_order {
        draft.hold(
            "letters_out_of_order",
            "chữ cái phương án lặp hoặc nhảy cóc; hãy sửa lại A., B., C.",
            "option letters are repeated or skipped; correct A., B., C.",
        );
    }
}

/// Returns the number of options that most cells of the sheet have.
fn usual_options(sheet: &Sheet, columns: &Columns) -> usize {
    let mut counts = [0_usize; 16];
    for (_, row) in sheet.rows.range(columns.last_line + 1..) {
        let cell = divide_options(&columns.text(row, columns.options), 0);
        counts[cell.options.len().min(15)] += 1;
    }
    (2..16).max_by_key(|n| counts[*n]).unwrap_or(0)
}

/// Divides the options of one cell. A line without letter goes on the line before it; only where the cell has fewer
/// options than usual and the line begins like a sentence, it is an option whose letter was forgotten.
fn divide_options(cell: &str, usual: usize) -> OptionCell {
    let lines: Vec<Vec<char>> = cell
        .lines()
        .map(|line| line.trim().chars().collect::<Vec<char>>())
        .filter(|line| !line.is_empty())
        .collect();
    if !lines
        .iter()
        .any(|line| option_label(line).is_some_and(|label| label.index == 0))
    {
        return OptionCell {
            options: lines.iter().map(|line| without_bullet(line)).collect(),
            ..OptionCell::default()
        };
    }
    let n_labelled = lines
        .iter()
        .filter(|line| option_label(line).is_some())
        .count();
    let mut n_missing = usual.saturating_sub(n_labelled);
    let mut divided = OptionCell::default();
    for (at, line) in lines.iter().enumerate() {
        let n_options = divided.options.len();
        if let Some(label) = option_label(line) {
            divided.letters_out_of_order |= usize::from(label.index) != n_options;
            let mut starts = inline_options(line, label.index + 1, label.lower_case);
            if lines
                .get(at + 1)
                .is_some_and(|next| option_label(next).is_some_and(|l| l.index == label.index + 1))
            {
                starts.clear();
            }
            starts.insert(0, 0);
            divided.options.extend(labelled(line, &starts));
        } else if n_missing > 0
            && n_options > 0
            && line[0].is_uppercase()
            && is_gap(&lines[at + 1..], n_options)
        {
            n_missing -= 1;
            divided.letter_missing = u8::try_from(n_options).ok();
            divided
                .options
                .push(clean_text(&line.iter().collect::<String>()));
        } else if let Some(last) = divided.options.last_mut() {
            *last = clean_text(&format!("{last} {}", line.iter().collect::<String>()));
        }
    }
    divided
}

/// Reports whether the next letter leaves room for one option before it.
fn is_gap(rest: &[Vec<char>], n_options: usize) -> bool {
    let next = rest.iter().find_map(|line| option_label(line));
    next.is_none_or(|label| usize::from(label.index) == n_options + 1)
}

fn labelled(line: &[char], starts: &[usize]) -> Vec<String> {
    let ends = starts.iter().skip(1).copied().chain([line.len()]);
    starts
        .iter()
        .zip(ends)
        .filter_map(|(start, end)| {
            let part = &line[*start..end];
            let label = option_label(part)?;
            Some(clean_text(
                &part[label.text_start..].iter().collect::<String>(),
            ))
        })
        .collect()
}

fn without_bullet(line: &[char]) -> String {
    let text: String = line.iter().collect();
    clean_text(text.trim_start_matches(['-', '–', '•', '+', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cell: &str, usual: usize, options: &[&str], letter_missing: Option<u8>) {
        let found = divide_options(cell, usual);
        assert_eq!(found.options, options);
        assert_eq!(found.letter_missing, letter_missing);
        assert!(!found.letters_out_of_order);
    }

    #[test]
    fn a_line_without_letter_goes_on_the_line_before() {
        check("A. x\nvà y\nB .  z\n\nC. w", 3, &["x và y", "z", "w"], None);
        check("A. Sông\nHồng\nB. z", 2, &["Sông Hồng", "z"], None);
    }

    #[test]
    fn a_forgotten_letter_is_found_where_an_option_is_missing() {
        check(
            "A. Một\nB. Hai\nC. Ba\nBốn",
            4,
            &["Một", "Hai", "Ba", "Bốn"],
            Some(3),
        );
        check(
            "A. Một\nHai\nC. Ba\nD. Bốn",
            4,
            &["Một", "Hai", "Ba", "Bốn"],
            Some(1),
        );
        check(
            "A. Một\nB. Hai\nhai nữa\nC. Ba",
            4,
            &["Một", "Hai hai nữa", "Ba"],
            None,
        );
    }

    #[test]
    fn options_in_a_cell_may_lack_all_letters_or_share_a_line() {
        check("- Một\n- Hai", 2, &["Một", "Hai"], None);
        check("A. Một  B. Hai\nC. Ba", 3, &["Một", "Hai", "Ba"], None);
        check("", 4, &[], None);
    }

    #[test]
    fn skipped_letters_are_noticed() {
        assert!(divide_options("A. x\nC. y", 2).letters_out_of_order);
    }
}
