//! `exam exam codes`: access codes for the persons of a CSV file, all or none.

use std::{fs, path::Path};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressFinish};
use proto::exam::v1::{CodeRequest, IssueCodesRequest};

use super::{
    client::{Client, refusal},
    say,
};

pub(super) async fn run(client: &mut Client, id: &str, file: &Path) -> anyhow::Result<()> {
    let persons = read(file)?;
    let bar = ProgressBar::new(persons.len() as u64).with_finish(ProgressFinish::AndClear);
    let mut codes = Vec::with_capacity(persons.len());
    for page in persons.chunks(crate::engine::MAX_CODES) {
        let request = IssueCodesRequest {
            exam_id: id.to_owned(),
            persons: page.to_vec(),
        };
        let reply = client.issue_codes(request).await;
        let issued = reply.map_err(|status| refusal(&status))?.into_inner().codes;
        anyhow::ensure!(
            issued.len() == page.len(),
            "máy chủ trả về thiếu mã / the server sent too few codes"
        );
        codes.extend(issued);
        bar.inc(page.len() as u64);
    }
    bar.finish_and_clear();
    // Only now: a list that breaks off in the middle would be handed out as if it were whole.
    for (person, code) in persons.iter().zip(codes) {
        say(format_args!(
            "{},{},{code}",
            hex::encode(&person.candidate),
            person.area
        ));
    }
    Ok(())
}

/// Reads the persons of a file; a mistake is told with the file and its line.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<CodeRequest>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("không đọc được / cannot read {}", file.display()))?;
    parse(&text).with_context(|| file.display().to_string())
}

/// Reads the persons of a CSV file as Excel or a script writes it: commas or semicolons, with or without a header.
fn parse(text: &str) -> anyhow::Result<Vec<CodeRequest>> {
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().find(|line| !line.trim().is_empty());
    let delimiter = if first.is_some_and(|line| line.contains(';')) {
        b';'
    } else {
        b','
    };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let (mut persons, mut more) = (Vec::new(), More::default());
    for (index, row) in reader.records().enumerate() {
        let row = row.context("CSV")?;
        if index == 0 && is_header(&row) {
            more = More::find(&row);
            continue;
        }
        let line = row.position().map_or(0, csv::Position::line);
        persons.push(person(&row, more).with_context(|| {
            format!(
                "dòng {line}: cần `32 chữ số hex,mã tỉnh`, các cột khác là số / line {line}: expected `32 hexadecimal digits,area code`, other columns are numbers"
            )
        })?);
    }
    Ok(persons)
}

/// Ids and area codes have digits, titles of columns have none; so a mistyped first person is no header.
fn is_header(row: &csv::StringRecord) -> bool {
    !row.iter()
        .any(|field| field.chars().any(|c| c.is_ascii_digit()))
}

/// Columns that only a header can name: unit, time in percent, minutes on top.
#[derive(Clone, Copy, Default)]
struct More {
    unit: Option<usize>,
    time_percent: Option<usize>,
    extra_minutes: Option<usize>,
}

impl More {
    fn find(header: &csv::StringRecord) -> Self {
        let find = |names: [&str; 2]| {
            let is_named = |title: &str| {
                let title = title.to_lowercase();
                names.iter().any(|name| title.contains(name))
            };
            header.iter().position(is_named)
        };
        Self {
            unit: find(["đơn vị", "unit"]),
            time_percent: find(["phần trăm", "percent"]),
            extra_minutes: find(["phút", "minutes"]),
        }
    }
}

fn person(row: &csv::StringRecord, more: More) -> Option<CodeRequest> {
    let candidate = hex::decode(row.get(0)?).ok()?;
    let area = row.get(1).filter(|area| !area.is_empty())?;
    let number = |column: Option<usize>| match column.and_then(|column| row.get(column)) {
        None | Some("") => Some(0),
        Some(text) => text.parse::<u32>().ok(),
    };
    (candidate.len() == 16).then_some(CodeRequest {
        candidate: candidate.into(),
        area: area.to_owned(),
        unit: number(more.unit)?,
        time_percent: number(more.time_percent)?,
        extra_minutes: number(more.extra_minutes)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let persons = parse(&text.replace("ID", ID)).unwrap();
        let areas: Vec<&str> = persons.iter().map(|person| person.area.as_str()).collect();
        assert_eq!(areas, expected);
        assert!(
            persons
                .iter()
                .all(|person| hex::encode(&person.candidate) == ID)
        );
    }

    #[test]
    fn commas_semicolons_a_byte_order_mark_and_a_header_are_understood() {
        check("ID,01\nID, 79\n", &["01", "79"]);
        check(
            "\u{feff}Mã thí sinh;Mã tỉnh\r\nID;01\r\nID;79\r\n",
            &["01", "79"],
        );
        check("candidate,area,note\nID,01,x\nID,79\n\n", &["01", "79"]);
        check("", &[]);
    }

    #[test]
    fn a_header_names_unit_and_accommodation() {
        let text = "Mã thí sinh,Mã tỉnh,Đơn vị,Phần trăm giờ,Thêm phút\nID,01,7,150,\nID,79,,,10";
        let persons = parse(&text.replace("ID", ID)).unwrap();
        let more: Vec<_> = persons
            .iter()
            .map(|person| (person.unit, person.time_percent, person.extra_minutes))
            .collect();
        assert_eq!(more, [(7, 150, 0), (0, 0, 10)]);
        assert!(parse(&text.replace("ID", ID).replace("150", "a lot")).is_err());
    }

    #[test]
    fn a_mistyped_person_is_named_by_its_line_even_the_first() {
        for (text, line) in [
            ("ID0,01\nID,79", "line 1:"),
            ("xyz,01\nID,79", "line 1:"),
            ("id,area\nID,01\nID", "line 3:"),
            ("ID,01\nid,area", "line 2:"),
        ] {
            let error = parse(&text.replace("ID", ID)).unwrap_err();
            assert!(format!("{error:#}").contains(line), "{text}: {error:#}");
        }
    }
}
