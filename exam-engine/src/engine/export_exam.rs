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
/// The files of an archive, besides the later versions of the key.
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
    pub file: String,
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
        if let Some(strange) = files.iter().find(|file| !is_file(file)) {
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
        let from_grader = |file: &String| file == "result.tsv" || file.starts_with("key");
        if files.is_empty() || files.iter().any(from_grader) {
            self.send_result(&live, ends, wanted, &pieces).await?;
        }
        Ok(())
    }

    /// Hashes what an auditor's verdict is about, as the archive would hold it now.
    pub(super) async fn hash_archive(&self, exam_id: &str) -> Result<Hashes> {
        let (sender, mut pieces) = mpsc::channel(1);
        let files = ["exam.bin", "log.bin", "result.tsv"].map(str::to_owned);
        let export = self.export_exam(exam_id, &files, sender);
        let hash = async {
            let mut hashers = [(); 3].map(|()| blake3::Hasher::new());
            while let Some(piece) = pieces.recv().await {
                let piece = piece?;
                let at = files.iter().position(|file| *file == piece.file);
                hashers[at.expect("no other file was asked for")].update(&piece.data);
            }
            let [exam, log, result] = hashers.map(|hasher| *hasher.finalize().as_bytes());
            Ok(Hashes { exam, log, result })
        };
        let (exported, hashes) = tokio::join!(export, hash);
        exported.and(hashes)
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
                    .log_entries(exam, partition, position, super::MAX_ENTRIES)
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
        live: &super::LiveExam,
        ends: Vec<u64>,
        wanted: impl Fn(&str) -> bool,
        pieces: &mpsc::Sender<Result<ArchivePiece>>,
    ) -> Result<()> {
        let request = ExportResultRequest {
            exam_id: live.id.as_str().to_owned(),
            ends,
            n_rulings: u32::try_from(live.exam().rulings.len()).expect("few decisions"),
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
            if wanted(&piece.file) {
                send(pieces, &piece.file, piece.data).await;
            }
        }
        Ok(())
    }
}

/// Tells whether an archive can have such a file.
fn is_file(name: &str) -> bool {
    let version = name
        .strip_prefix("key-")
        .and_then(|rest| rest.strip_suffix(".bin"));
    let is_key = version.is_some_and(|version| version.parse::<u32>().is_ok_and(|v| v > 1));
    is_key || FILES.contains(&name)
}

/// Hashes of the files that a verdict is about.
pub(super) struct Hashes {
    pub(super) exam: [u8; 32],
    pub(super) log: [u8; 32],
    pub(super) result: [u8; 32],
}

async fn send(pieces: &mpsc::Sender<Result<ArchivePiece>>, file: &str, data: impl Into<Bytes>) {
    let mut data: Bytes = data.into();
    loop {
        let piece = ArchivePiece {
            file: file.to_owned(),
            data: data.split_to(data.len().min(PIECE)),
        };
        let _ = pieces.send(Ok(piece)).await; // the reader may have gone
        if data.is_empty() {
            return;
        }
    }
}
