//! `exam log`: checks the archive of the log and reads it back.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::Context;
use prost::Message;
use proto::exam::v1::{Event, LogEntry};

use super::say;
use crate::{
    archive::{Archive, Error, PartitionSummary, Policy},
    id::ExamId,
};

fn open(data: &Path, archive: Option<&str>) -> anyhow::Result<Archive> {
    let place = data.join("archive").display().to_string();
    let place = archive.unwrap_or(&place);
    let is_there = place.starts_with("s3://") || Path::new(place).is_dir();
    anyhow::ensure!(
        is_there,
        "không có thư mục {place} / there is no folder {place}"
    );
    Ok(Archive::open(place, Policy::default())?)
}

fn exam_id(id: &str) -> anyhow::Result<ExamId> {
    ExamId::parse(id).with_context(|| format!("tên kỳ thi sai / no name of an exam: {id}"))
}

fn tell(exam: &ExamId, partitions: &[PartitionSummary]) {
    for partition in partitions {
        say(format_args!(
            "{exam} {}: {} đoạn / segments, 1..{}, {}",
            partition.partition,
            partition.n_segments,
            partition.last,
            hex::encode(partition.hash)
        ));
    }
    let n_entries: u64 = partitions.iter().map(|partition| partition.last).sum();
    say(format_args!(
        "{exam}: đúng, {n_entries} mục / right, {n_entries} entries"
    ));
}

pub(super) fn verify(data: &Path, archive: Option<&str>, id: Option<&str>) -> anyhow::Result<()> {
    let archive = open(data, archive)?;
    runtime()?.block_on(async {
        let exams = match id {
            Some(id) => vec![exam_id(id)?],
            None => archive.exams().await?,
        };
        for exam in exams {
            let partitions = archive.replay(&exam, |_, _, _| Ok(())).await?;
            anyhow::ensure!(
                !partitions.is_empty(),
                "kho lưu nhật ký không có kỳ thi {exam} / the log archive has no exam {exam}"
            );
            tell(&exam, &partitions);
        }
        Ok(())
    })
}

pub(super) fn replay(
    data: &Path,
    archive: Option<&str>,
    id: &str,
    file: &Path,
) -> anyhow::Result<()> {
    let archive = open(data, archive)?;
    let exam = exam_id(id)?;
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    let cannot_write = || format!("không ghi được / cannot write {}", new.display());
    let mut out = BufWriter::new(File::create(new).with_context(cannot_write)?);
    let mut failed = None;
    let partitions = runtime()?.block_on(archive.replay(&exam, |partition, position, event| {
        let damaged = |what: String| Error::Damaged {
            name: format!("{exam}/{partition}"),
            what,
        };
        let event = Event::decode(event.clone()).map_err(|error| damaged(error.to_string()))?;
        let entry = LogEntry {
            partition,
            position,
            event: Some(event),
        };
        if failed.is_none() {
            failed = out.write_all(&entry.encode_length_delimited_to_vec()).err();
        }
        Ok(())
    }))?;
    let written = failed.map_or(Ok(()), Err).and_then(|()| {
        out.flush()?;
        out.get_ref().sync_all()?;
        std::fs::rename(new, file)
    });
    written.with_context(cannot_write)?;
    tell(&exam, &partitions);
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
