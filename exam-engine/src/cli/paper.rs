//! `exam paper`: rebuilds papers from an archive's published parts, so that nobody has to believe.

use std::{collections::HashSet, fs, path::Path};

use anyhow::Context;
use indicatif::ProgressBar;
use prost::Message;
use proto::exam::v1::{Exam, LogEntry, Started, event::Kind};
use question_bank::{
    draw::{Drawer, Scratch},
    release::read_paper_half,
};

use super::say;

struct Archive {
    drawer: Drawer,
    half: proto::bank::v1::PaperHalf,
    log: Vec<u8>,
}

/// An attempt: its candidate's id and its number.
type Attempt = ([u8; 16], u32);

fn read(folder: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let file = folder.join(name);
    fs::read(&file)
        .with_context(|| format!("hồ sơ thiếu tệp / the archive lacks {}", file.display()))
}

fn open(folder: &Path) -> anyhow::Result<Archive> {
    let exam = Exam::decode(read(folder, "exam.bin")?.as_slice()).context("exam.bin")?;
    let half = read_paper_half(&read(folder, "paper.bin")?, &exam.paper_hash)?;
    let secret = String::from_utf8(read(folder, "secret.hex")?).context("secret.hex")?;
    let secret = hex::decode(secret.trim()).context("secret.hex")?;
    anyhow::ensure!(
        blake3::hash(&secret).as_bytes()[..] == exam.secret_commitment[..],
        "khóa bốc đề không khớp cam kết đã công bố / the exam secret does not match its published commitment"
    );
    let secret = secret
        .try_into()
        .map_err(|_| anyhow::anyhow!("secret.hex: 32 byte"))?;
    Ok(Archive {
        drawer: Drawer::new(&half, &secret)?,
        half,
        log: read(folder, "log.bin")?,
    })
}

pub(super) fn rebuild(folder: &Path, candidate: &str, attempt: u32) -> anyhow::Result<()> {
    let archive = open(folder)?;
    let candidate: [u8; 16] = hex::decode(candidate)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .context("mã thí sinh gồm 32 chữ số hex / a candidate id has 32 hexadecimal digits")?;
    let paper = archive
        .drawer
        .draw(&candidate, attempt, &mut Scratch::default())?;
    say(format_args!(
        "mã đề / form {}",
        hex::encode(paper.form_code)
    ));
    for (number, (entry, order)) in (1..).zip(paper.shown()) {
        let item = &archive.half.items[entry.index as usize];
        say(format_args!(
            "Câu {number} (#{}): {}",
            item.item_id, item.text
        ));
        for (letter, index) in ('A'..).zip(order) {
            say(format_args!(
                "  {letter}. {}",
                item.options[usize::from(*index)].text
            ));
        }
    }
    Ok(())
}

pub(super) fn verify(folder: &Path) -> anyhow::Result<()> {
    let archive = open(folder)?;
    let ranked = ranked_attempts(&read(folder, "result.tsv")?).context("result.tsv")?;
    let mut rest = archive.log.as_slice();
    let progress = ProgressBar::new(rest.len() as u64);
    let mut scratch = Scratch::default();
    let (mut n_papers, mut n_different) = (0u64, 0u64);
    let mut started_attempts = HashSet::new();
    while !rest.is_empty() {
        let entry = LogEntry::decode_length_delimited(&mut rest).context("log.bin")?;
        progress.set_position((archive.log.len() - rest.len()) as u64);
        let event = entry.event.unwrap_or_default();
        let Some(Kind::Started(started)) = event.kind else {
            continue;
        };
        n_papers += 1;
        let candidate: [u8; 16] = event
            .candidate
            .as_ref()
            .try_into()
            .context("log.bin: candidate")?;
        started_attempts.insert((candidate, event.attempt));
        let paper = archive
            .drawer
            .draw(&candidate, event.attempt, &mut scratch)?;
        if !is_same(&paper, &started) {
            n_different += 1;
            say(format_args!(
                "khác / differs: {} lượt / attempt {}",
                hex::encode(candidate),
                event.attempt
            ));
        }
    }
    progress.finish_and_clear();
    say(format_args!(
        "{n_papers} đề đã dựng lại, {n_different} đề khác / {n_papers} papers rebuilt, {n_different} differ"
    ));
    anyhow::ensure!(
        n_different == 0,
        "có đề không dựng lại được từ khóa / some papers are not those of the secret"
    );
    let n_missing = ranked
        .iter()
        .filter(|attempt| !started_attempts.contains(*attempt))
        .count();
    anyhow::ensure!(
        n_missing == 0,
        "nhật ký thiếu: {n_missing} lượt trong result.tsv không có đề trong log.bin / the log is incomplete: {n_missing} attempts of result.tsv have no paper in log.bin"
    );
    Ok(())
}

/// Reads which attempts the result ranks; a result that was cut off is refused.
fn ranked_attempts(result: &[u8]) -> anyhow::Result<Vec<Attempt>> {
    let text = str::from_utf8(result)?;
    let n_persons: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("persons\t"))
        .context("không có dòng persons / no line persons")?
        .parse()?;
    let mut lines = text.lines().skip_while(|line| !line.starts_with("rank\t"));
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |name: &str| {
        let found = header.iter().position(|title| *title == name);
        found.with_context(|| format!("không có cột {name} / no column {name}"))
    };
    let (candidate, attempt) = (column("candidate")?, column("attempt")?);
    let parse = |line: &str| -> Option<Attempt> {
        let fields: Vec<&str> = line.split('\t').collect();
        let id = hex::decode(fields.get(candidate)?).ok()?;
        Some((id.try_into().ok()?, fields.get(attempt)?.parse().ok()?))
    };
    let attempts = lines
        .map(|line| parse(line).with_context(|| format!("dòng lạ / strange line: {line}")))
        .collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(
        attempts.len() == n_persons,
        "có {0} dòng thay vì {n_persons} / {0} rows instead of {n_persons}",
        attempts.len()
    );
    Ok(attempts)
}

fn is_same(paper: &question_bank::paper::Paper, started: &Started) -> bool {
    paper
        .entries
        .iter()
        .map(|entry| entry.item_id)
        .eq(started.item_ids.iter().copied())
        && paper.option_order == started.option_order
        && paper.form_code[..] == started.form_code[..]
        && paper.repaired == started.repaired
}
