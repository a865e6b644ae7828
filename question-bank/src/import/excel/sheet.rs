//! The cells of a workbook as text, with a doubt where Excel holds something else than its author sees.

use std::{collections::BTreeMap, io::Cursor};

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx, XlsxError};

use crate::{Result, import::package::Package};

/// Most rows read of a sheet: more than any bank has, and little enough for memory.
const MAX_ROWS: u32 = 100_000;
/// Most columns read of a sheet; question sheets have about ten.
const MAX_COLUMNS: u32 = 64;

/// Most cells that merged ones may stand for: they cannot overlap, so a sound sheet has fewer than its rows times its
/// merged columns; a made-up one could repeat a region a million times.
const MAX_MERGED_CELLS: usize = 1_000_000;

/// Why a cell's text may not be what its author typed or sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Excel turned it into a date ("1/2").
    Date,
    /// It shows an error (`#REF!`).
    Fault,
    /// A number that is not whole; its format may show another text (50%).
    Fraction,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) doubt: Option<Doubt>,
}

/// Cells of a row by column, from 0.
pub(super) type Cells = BTreeMap<usize, Value>;

/// One visible sheet that is not empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Sheet {
    pub(super) name: String,
    /// Rows by their number in Excel, from 1.
    pub(super) rows: BTreeMap<usize, Cells>,
}

/// Reads the visible sheets of a workbook.
pub(super) fn read_sheets(package: &mut Package<'_>) -> Result<Vec<Sheet>> {
    package.check_unpacked_size()?;
    read_all(package.bytes())
        .map_err(|_| package.unreadable("bảng tính hỏng", "the workbook is damaged"))
}

fn read_all(bytes: &[u8]) -> std::result::Result<Vec<Sheet>, XlsxError> {
    let mut workbook = Xlsx::new(Cursor::new(bytes))?;
    let names: Vec<String> = workbook
        .sheets_metadata()
        .iter()
        .filter(|sheet| sheet.visible == SheetVisible::Visible && sheet.typ == SheetType::WorkSheet)
        .map(|sheet| sheet.name.clone())
        .collect();
    let mut sheets = vec![];
    for name in names {
        let mut sheet = read_cells(&mut workbook, &name)?;
        if !sheet.rows.is_empty() {
            fill_merged(&mut workbook, &mut sheet)?;
            sheets.push(sheet);
        }
    }
    Ok(sheets)
}

/// Takes cells one by one: a table of all of them, as far as a damaged address reaches, could exceed the memory.
fn read_cells(
    workbook: &mut Xlsx<Cursor<&[u8]>>,
    name: &str,
) -> std::result::Result<Sheet, XlsxError> {
    let mut sheet = Sheet {
        name: name.to_owned(),
        ..Sheet::default()
    };
    let mut cells = workbook.worksheet_cells_reader(name)?;
    while let Some(cell) = cells.next_cell()? {
        let (row, column) = cell.get_position();
        let value = value(cell.get_value());
        if row < MAX_ROWS && column < MAX_COLUMNS && !value.text.trim().is_empty() {
            let cells = sheet.rows.entry(row as usize + 1).or_default();
            cells.insert(column as usize, value);
        }
    }
    Ok(sheet)
}

/// A cell merged over several rows holds for each of them.
fn fill_merged(
    workbook: &mut Xlsx<Cursor<&[u8]>>,
    sheet: &mut Sheet,
) -> std::result::Result<(), XlsxError> {
    let mut n_left = MAX_MERGED_CELLS;
    for region in workbook.merge_cells_by_sheet_name(&sheet.name)? {
        let first = region.start.0 as usize + 1;
        let last = region.end.0.min(MAX_ROWS) as usize + 1;
        let column = region.start.1 as usize;
        let Some(value) = sheet
            .rows
            .get(&first)
            .and_then(|row| row.get(&column))
            .cloned()
        else {
            continue;
        };
        for (_, row) in sheet.rows.range_mut(first..=last.max(first)) {
            n_left = n_left
                .checked_sub(1)
                .ok_or(XlsxError::Unexpected("overlapping merged cells"))?;
            row.entry(column).or_insert_with(|| value.clone());
        }
    }
    Ok(())
}

fn value(value: &DataRef<'_>) -> Value {
    let plain = |text: String| Value { text, doubt: None };
    let doubtful = |text: String, doubt| Value {
        text,
        doubt: Some(doubt),
    };
    match value {
        DataRef::Empty => Value::default(),
        DataRef::String(text) => plain(text.clone()),
        DataRef::SharedString(text) => plain((*text).to_owned()),
        DataRef::Int(number) => plain(number.to_string()),
        // Whole numbers up to 15 digits are exact, and have no ".0" when written.
        DataRef::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            plain(number.to_string())
        }
        DataRef::Float(number) => doubtful(rounded(*number), Doubt::Fraction),
        DataRef::Bool(true) => plain("TRUE".to_owned()),
        DataRef::Bool(false) => plain("FALSE".to_owned()),
        DataRef::DateTime(date) => doubtful(date.as_f64().to_string(), Doubt::Date),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            doubtful(text.clone(), Doubt::Date)
        }
        DataRef::Error(error) => doubtful(error.to_string(), Doubt::Fault),
    }
}

/// Writes a number with the 15 digits that Excel keeps: 0.1 + 0.2 is 0.3.
fn rounded(number: f64) -> String {
    let written = format!("{number:.14e}");
    written.parse().unwrap_or(number).to_string()
}

/// Returns the letters of a column: A … Z, AA.
pub(super) fn column_name(column: usize) -> String {
    let letter = |n: usize| char::from(b'A' + u8::try_from(n % 26).unwrap_or(0));
    match column / 26 {
        0 => letter(column).to_string(),
        n => format!("{}{}", letter(n - 1), letter(column)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_excel_shows_them() {
        let text = |number: f64| value(&DataRef::Float(number)).text;
        assert_eq!(text(3.0), "3");
        assert_eq!(text(-1_200_000.0), "-1200000");
        assert_eq!(text(0.1 + 0.2), "0.3");
        assert_eq!(value(&DataRef::Float(0.5)).doubt, Some(Doubt::Fraction));
        assert_eq!(
            value(&DataRef::Float(f64::INFINITY)).doubt,
            Some(Doubt::Fraction)
        );
    }

    #[test]
    fn columns_are_named_as_in_excel() {
        let names: Vec<String> = [0, 25, 26, 63].map(column_name).to_vec();
        assert_eq!(names, ["A", "Z", "AA", "BL"]);
    }
}
