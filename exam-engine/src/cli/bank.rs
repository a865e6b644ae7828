//! `exam bank`: imports, counts and releases, on the data folder.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressFinish};
use question_bank::import::{Import, Problem, Severity};
use serde_json::{Value, json};

use super::{
    log_file::{Entries, package},
    say,
};
use crate::bank::{Bank, ItemRecord, counts};

/// Largest document read: a bank of 20,000 items with pictures stays below; more is a mistake.
const MAX_FILE_BYTES: u64 = 256 << 20;

pub(super) fn import(
    data: &Path,
    file: &Path,
    key: Option<&Path>,
    as_json: bool,
    dry_run: bool,
) -> anyhow::Result<()> {
    let progress = ProgressBar::new_spinner().with_finish(ProgressFinish::AndClear);
    progress.enable_steady_tick(Duration::from_millis(100));
    progress.set_message(format!("đọc / reading {}", file.display()));
    let bytes = read(file)?;
    let key_bytes = key.map(read).transpose()?;
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let key_name = key.map(name);
    let key = key_name.as_deref().zip(key_bytes.as_deref());
    let import = question_bank::import::import(&name(file), &bytes, key)?;
    // Printing comes last: a reader that goes away must not keep the items out of the bank.
    let added = if dry_run {
        None
    } else {
        Some(Bank::new(data).add(&import)?)
    };
    progress.finish_and_clear();
    if as_json {
        say(to_json(&import));
        return Ok(());
    }
    report(&import);
    if let Some(added) = added {
        say(format_args!(
            "Đã thêm {} câu mới; {} câu đã có; {} câu giữ lại chờ sửa / {} new items, {} known, {} held back",
            added.n_new,
            added.n_known,
            added.n_held_back,
            added.n_new,
            added.n_known,
            added.n_held_back
        ));
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let place = || {
        format!(
            "không đọc được tệp / cannot read the file {}",
            file.display()
        )
    };
    let size = fs::metadata(file).with_context(place)?.len();
    anyhow::ensure!(
        size <= MAX_FILE_BYTES,
        "{}: tệp lớn hơn 256 MiB, hãy chia nhỏ / larger than 256 MiB, split it",
        file.display()
    );
    fs::read(file).with_context(place)
}

fn report(import: &Import) {
    let n_held_back = import.items.iter().filter(|item| item.held_back()).count();
    say(format_args!(
        "Tìm thấy {} câu, {} câu cần xem lại / {} items found, {} held back",
        import.items.len(),
        n_held_back,
        import.items.len(),
        n_held_back
    ));
    for problem in &import.problems {
        say(format_args!("  {}", line(problem)));
    }
    for item in &import.items {
        for problem in &item.problems {
            say(format_args!("  Câu {}: {}", item.number, line(problem)));
        }
    }
}

fn line(problem: &Problem) -> String {
    let mark = match problem.severity {
        Severity::Warning => "!",
        Severity::Error => "✗",
    };
    format!(
        "{mark} [{}] dòng {}: {}",
        problem.code, problem.line, problem.message
    )
}

fn to_json(import: &Import) -> Value {
    let problems = |problems: &[Problem]| -> Vec<Value> {
        problems
            .iter()
            .map(|problem| {
                let severity = match problem.severity {
                    Severity::Warning => "warning",
                    Severity::Error => "error",
                };
                json!({"code": problem.code, "severity": severity, "line": problem.line, "message": problem.message})
            })
            .collect()
    };
    let items: Vec<Value> = import
        .items
        .iter()
        .map(|imported| {
            let item = &imported.item;
            let letters: Vec<String> = item.key.iter().map(|index| char::from(b'A' + index).to_string()).collect();
            json!({
                "number": imported.number,
                "text": item.text,
                "options": item.options.iter().map(|option| option.text.as_str()).collect::<Vec<_>>(),
                "key": letters,
                "topic": item.topic,
                "problems": problems(&imported.problems),
            })
        })
        .collect();
    json!({"items": items, "problems": problems(&import.problems)})
}

pub(super) fn show(data: &Path) -> anyhow::Result<()> {
    let bank = Bank::new(data);
    let items = bank.items()?;
    anyhow::ensure!(
        !items.is_empty(),
        "ngân hàng trống, hãy chạy `exam bank import TỆP` / the bank is empty, run `exam bank import FILE`"
    );
    say(format_args!("{} câu / items", items.len()));
    for ((topic, band), count) in counts(&items) {
        say(format_args!(
            "{count:6}  {:<40} {band:?}",
            if topic.is_empty() {
                "(không chủ đề)"
            } else {
                topic
            }
        ));
    }
    Ok(())
}

pub(super) fn release(data: &Path) -> anyhow::Result<()> {
    let release = Bank::new(data).release()?;
    say(format_args!(
        "bản phát hành / release {}: {} câu / items, {}",
        release.number,
        release.items.len(),
        hex::encode(release.hash())
    ));
    Ok(())
}

/// Folds an archived exam and keeps what it says of its items.
pub(super) fn statistics(data: &Path, archive: &Path) -> anyhow::Result<()> {
    let mut fold = grader::Fold::new(Arc::new(package(archive)?));
    for entry in Entries::open(&archive.join("log.bin"))? {
        fold.apply_entry(&entry?)?;
    }
    let exam = fold.package().exam_id().to_owned();
    let records: Vec<ItemRecord> = fold
        .item_statistics()
        .into_iter()
        .map(|item| ItemRecord {
            item: item.item_id,
            revision: hex::encode(item.revision),
            exam: exam.clone(),
            n: item.n,
            facility: item.facility,
            discrimination: item.discrimination,
            a: item.a,
            a_se: item.a_se,
            b: item.b,
            b_se: item.b_se,
            n_alarms: item.alarms.len(),
        })
        .collect();
    Bank::new(data).keep_statistics(&exam, &records)?;
    let n_alarmed = records.iter().filter(|record| record.n_alarms > 0).count();
    say(format_args!(
        "Đã ghi thống kê của {0} câu, {n_alarmed} câu cần xem lại / statistics of {0} items kept, {n_alarmed} need a look",
        records.len()
    ));
    Ok(())
}
