//! `exam exam results`: the final result as CSV and Excel, from the canonical file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use directory::area::Edition;
use proto::exam::v1::GetExamRequest;
use rust_xlsxwriter::{Format, Workbook};

use super::{
    client::{self, Client, refusal},
    say,
};

/// The header as people read it, one column a field of the canonical file, with the area's name put in.
const HEADER: [&str; 17] = [
    "Hạng",
    "Hạng trong tỉnh",
    "Mã thí sinh",
    "Mã tỉnh",
    "Tỉnh, thành",
    "Đơn vị",
    "Vòng",
    "Lượt",
    "Điểm",
    "Điểm (lượng tử)",
    "Số câu đúng",
    "Đạt",
    "Dự đoán",
    "Thời gian làm bài (ms)",
    "Nộp lúc (ms)",
    "Kết thúc bởi",
    "Mã đề",
];

pub(super) async fn run(
    client: &mut Client,
    id: &str,
    csv: Option<&Path>,
    xlsx: Option<&Path>,
) -> anyhow::Result<()> {
    let exam = client
        .get_exam(GetExamRequest {
            exam_id: id.to_owned(),
        })
        .await
        .map_err(|status| refusal(&status))?;
    let rules = exam
        .into_inner()
        .exam
        .and_then(|exam| exam.spec)
        .and_then(|spec| spec.rules)
        .unwrap_or_default();
    let edition = Edition::parse(&rules.map_edition).unwrap_or(Edition::Vn63);
    let mut result = Vec::new();
    client::archive(client, id, &["result.tsv"], |file, data| {
        if file == "result.tsv" {
            result.extend_from_slice(data);
        }
        Ok(())
    })
    .await?;
    let hash = blake3::hash(&result);
    let text = String::from_utf8(result)?;
    let rows = rows(&text, edition);
    match (csv, xlsx) {
        (None, None) => say(&text),
        (csv, xlsx) => {
            if let Some(file) = csv {
                write_csv(file, &rows)?;
            }
            if let Some(file) = xlsx {
                write_xlsx(file, &rows)?;
            }
            say(format_args!(
                "{} người / persons; mã băm của kết quả / result hash {hash}",
                rows.len()
            ));
        }
    }
    Ok(())
}

/// Checks that a file can be made where it is wanted: before the download, not after.
pub(super) fn check_place(file: &Path) -> anyhow::Result<()> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    anyhow::ensure!(
        folder.is_dir() && !file.is_dir(),
        "không ghi được {0}: thư mục {1} phải có sẵn / cannot write {0}: the folder {1} must exist",
        file.display(),
        folder.display()
    );
    Ok(())
}

fn cannot_write(file: &Path) -> String {
    format!("không ghi được / cannot write {}", file.display())
}

fn rows(text: &str, edition: Edition) -> Vec<Vec<String>> {
    text.lines()
        .skip_while(|line| !line.starts_with("rank\t"))
        .skip(1)
        .map(|line| {
            let mut fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            let name = fields
                .get(3)
                .and_then(|code| edition.area(code))
                .map(|area| area.short_name.clone());
            fields.insert(4.min(fields.len()), name.unwrap_or_default());
            fields
        })
        .collect()
}

fn write_csv(file: &Path, rows: &[Vec<String>]) -> anyhow::Result<()> {
    // Excel with Vietnamese settings expects a byte-order mark and semicolons.
    let mut bytes = "\u{feff}".as_bytes().to_vec();
    let mut writer = csv::WriterBuilder::new()
        .delimiter(b';')
        .from_writer(&mut bytes);
    writer.write_record(HEADER)?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.flush()?;
    drop(writer);
    fs::write(file, bytes).with_context(|| cannot_write(file))
}

fn write_xlsx(file: &Path, rows: &[Vec<String>]) -> anyhow::Result<()> {
    let mut workbook = Workbook::new();
    let bold = Format::new().set_bold();
    let sheet = workbook.add_worksheet();
    sheet.set_name("Kết quả")?.set_freeze_panes(1, 0)?;
    for (column, title) in (0u16..).zip(HEADER) {
        sheet.write_with_format(0, column, title, &bold)?;
    }
    for (row, fields) in (1u32..).zip(rows) {
        for (column, field) in (0u16..).zip(fields) {
            // Codes keep their zeros as text; figures are figures.
            let is_figure = matches!(column, 0 | 1 | 5..=10 | 12..=14);
            match field.parse::<f64>() {
                Ok(number) if is_figure => sheet.write(row, column, number)?,
                _ => sheet.write(row, column, field.as_str())?,
            };
        }
    }
    sheet.autofit();
    workbook.save(file).with_context(|| cannot_write(file))
}
