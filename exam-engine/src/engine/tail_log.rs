//! Reads the log of an exam for graders and archives.

use prost::{Message, bytes::Bytes};
use proto::exam::v1::{Event, LogEntry};

use super::{Engine, Error, LiveExam, Result};
use crate::store;

/// Entries in one batch: about 100 KiB of answers, far below a message's limit, and few enough to be read promptly.
pub const MAX_ENTRIES: usize = 1_024;

/// Some entries, and where the log ends.
#[derive(Debug, Default)]
pub struct TailBatch {
    /// In order within each partition.
    pub entries: Vec<LogEntry>,
    /// Last position of each partition when this was read.
    pub ends: Vec<u64>,
}

impl Engine {
    /// Reads at most [`MAX_ENTRIES`] behind `after`, one last position a partition, and moves `after` on.
    ///
    /// # Errors
    /// [`Error::PositionUnknown`] if the reader is ahead of the log, which means that the log has lost its end.
    pub async fn read_log(&self, exam: &LiveExam, after: &mut [u64]) -> Result<TailBatch> {
        let ends = self.store.log_ends(&exam.id, exam.n_partitions).await?;
        let mut entries = Vec::new();
        for ((partition, after), end) in (0u32..).zip(after.iter_mut()).zip(&ends) {
            if *after > *end {
                return Err(Error::PositionUnknown {
                    partition,
                    position: *after,
                });
            }
            if *after == *end || entries.len() == MAX_ENTRIES {
                continue;
            }
            let limit = MAX_ENTRIES - entries.len();
            for event in self.log_entries(exam, partition, *after, limit).await? {
                *after += 1;
                entries.push(LogEntry {
                    partition,
                    position: *after,
                    event: Some(decode(event)?),
                });
            }
        }
        Ok(TailBatch { entries, ends })
    }

    /// Reads the log of a partition, from the archive what the store has forgotten.
    pub(super) async fn log_entries(
        &self,
        exam: &LiveExam,
        partition: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>> {
        match self.store.read_log(&exam.id, partition, after, limit).await {
            Err(store::Error::Trimmed { first }) => {
                let Some(archive) = &self.archive else {
                    return Err(store::Error::Trimmed { first }.into());
                };
                let n_forgotten = usize::try_from(first - after - 1).unwrap_or(limit);
                let limit = limit.min(n_forgotten); // the rest is read from the store, the next time
                Ok(archive.read(&exam.id, partition, after, limit).await?)
            }
            outcome => Ok(outcome?),
        }
    }
}

pub(super) fn decode(event: Bytes) -> Result<Event> {
    Event::decode(event).map_err(|error| store::Error::Corrupt(error.to_string()).into())
}
