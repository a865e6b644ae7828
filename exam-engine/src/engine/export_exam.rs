//! Writes the archive of a closed exam (docs/FORMATS.md, section 7), piece by piece.
//!
//! Invariant (P10): nothing is exported while an attempt runs or may start, or the grader has not folded the whole log.

use std::time::Duration;

use prost::{Message, bytes::Bytes};
use proto::{
    exam::v1::{ExamState, LogEntry},
    grader::v1::ExportResultRequest,
};
use tokio::sync::mpsc;
use tonic::Code;

use super::{Engine, Error, Result};
use crate::{clock::Timestamp, store};

/// Bytes in one piece.
const PIECE: usize = 256 << 10;
/// The files of an archive.
const FILES: [&str; 6] = [
    "exam.bin",
    "paper.bin",
    "key.bin",
    "secret.hex",
    "log.bin",
    "result.tsv",
];
/// How long the grader may take to catch up before the caller is told to come again.
const GRADER_PATIENCE: Duration = Duration::from_secs(30);

/// A piece of one file of the archive.
pub struct ArchivePiece {
    /// File name; pieces of one file follow each other.
    pub file: &'static str,
    /// The bytes.
    pub data: Bytes,
}

impl Engine {
    /// Sends the pieces of the archive's files, of all or of those named; a reader that went away ends it.
    ///
    /// # Errors
    /// [`Error::ExamState`] unless closed, [`Error::ResultNotReady`] while attempts run or grading is behind.
    pub async fn export_exam(
        &self,
        exam_id: &str,
        files: &[String],
        pieces: mpsc::Sender<Result<ArchivePiece>>,
    ) -> Result<()> {
        let wanted = |file: &str| files.is_empty() || files.iter().any(|wanted| wanted == file);
        if let Some(strange) = files.iter().find(|file| !FILES.contains(&file.as_str())) {
            return Err(Error::Invalid {
                field: "files",
                what: format!(
                    "hồ sơ không có tệp {strange:?} / the archive has no file {strange:?}: {}",
                    FILES.join(", ")
                ),
            });
        }
        let live = self.published(exam_id)?;
        if live.state() != ExamState::Closed {
            return Err(Error::ExamState {
                state: live.state(),
            });
        }
        self.exams.settle(exam_id).await;
        let (running, next) = self
            .store
            .due(&live.id, live.n_partitions, Timestamp(0), 1)
            .await?;
        if !running.is_empty() || next.is_some() {
            return Err(Error::ResultNotReady);
        }
        let package = self.exams.package(exam_id).await?;
        let secret = format!("{}\n", hex::encode(package.secret));
        for (file, data) in [
            ("exam.bin", live.exam().encode_to_vec()),
            ("paper.bin", package.paper),
            ("secret.hex", secret.into_bytes()),
        ] {
            if wanted(file) {
                send(&pieces, file, data).await;
            }
        }
        let ends = self.store.log_ends(&live.id, live.n_partitions).await?;
        if wanted("log.bin") {
            self.send_log(&live, &ends, &pieces).await?;
        }
        if wanted("key.bin") || wanted("result.tsv") {
            self.send_result(exam_id, ends, wanted, &pieces).await?;
        }
        Ok(())
    }

    /// Partition after partition: the order of the archive.
    async fn send_log(
        &self,
        exam: &super::LiveExam,
        ends: &[u64],
        pieces: &mpsc::Sender<Result<ArchivePiece>>,
    ) -> Result<()> {
        let mut buffer = Vec::with_capacity(PIECE);
        for (partition, end) in (0u32..).zip(ends) {
            let mut position = 0;
            while position < *end {
                let events = self
                    .store
                    .read_log(&exam.id, partition, position, super::MAX_ENTRIES)
                    .await?;
                if events.is_empty() {
                    let gap = format!("partition {partition} ends at {position}, not at {end}");
                    return Err(store::Error::Corrupt(gap).into());
                }
                for event in events {
                    position += 1;
                    let entry = LogEntry {
                        partition,
                        position,
                        event: Some(super::tail_log::decode(event)?),
                    };
                    entry
                        .encode_length_delimited(&mut buffer)
                        .expect("a Vec grows");
                }
                if pieces.is_closed() {
                    return Ok(()); // the reader has gone
                }
                if buffer.len() >= PIECE {
                    send(pieces, "log.bin", std::mem::take(&mut buffer)).await;
                }
            }
        }
        send(pieces, "log.bin", buffer).await;
        Ok(())
    }

    async fn send_result(
        &self,
        exam_id: &str,
        ends: Vec<u64>,
        wanted: impl Fn(&str) -> bool,
        pieces: &mpsc::Sender<Result<ArchivePiece>>,
    ) -> Result<()> {
        let request = ExportResultRequest {
            exam_id: exam_id.to_owned(),
            ends,
        };
        let give_up = tokio::time::Instant::now() + GRADER_PATIENCE;
        let mut stream = loop {
            match self
                .grader()
                .export_result(self.to_grader(request.clone()))
                .await
            {
                Ok(stream) => break stream.into_inner(),
                Err(status) if status.code() == Code::FailedPrecondition => {
                    if tokio::time::Instant::now() > give_up {
                        return Err(Error::ResultNotReady);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(status) => return Err(status.into()),
            }
        };
        while let Some(piece) = stream.message().await? {
            let file = match piece.file.as_str() {
                "result.tsv" => "result.tsv",
                _ => "key.bin",
            };
            if wanted(file) {
                send(pieces, file, piece.data).await;
            }
        }
        Ok(())
    }
}

async fn send(
    pieces: &mpsc::Sender<Result<ArchivePiece>>,
    file: &'static str,
    data: impl Into<Bytes>,
) {
    let mut data: Bytes = data.into();
    loop {
        let piece = data.split_to(data.len().min(PIECE));
        let _ = pieces.send(Ok(ArchivePiece { file, data: piece })).await; // the reader may have gone
        if data.is_empty() {
            return;
        }
    }
}
