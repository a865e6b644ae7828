//! Moves the log from the store to the archive: segment by segment, then forgets what is archived and graded.
//!
//! Any engine may do it, since a segment is never written over. Invariant: an entry is forgotten only after its segment
//! was read back from the archive and the grader has folded it; readers find it there ([`Engine::read_log`]).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proto::grader::v1::GetCountsRequest;
use tokio::time::Instant;

use super::{Engine, LiveExam, Result};
use crate::{
    archive::{self, Archive, Head, MAX_CONTENT_BYTES},
    store,
};

/// Pause between two looks at the log, at most; an idle exam costs one look a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// Where a partition stands.
#[derive(Default)]
struct Progress {
    head: Option<Head>,
    /// Hash of the last archived entry: the store must have the same one there.
    last_entry: Option<[u8; 32]>,
    /// Since when entries wait for a segment.
    waiting: Option<Instant>,
    trimmed: u64,
}

impl Engine {
    /// Archives and trims the log of one exam until the task is ended; without an archive it returns at once.
    pub async fn archive_log(self: Arc<Self>, exam: Arc<LiveExam>) {
        let Some(archive) = &self.archive else {
            return;
        };
        let pause = (archive.policy().max_age / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let mut partitions: Vec<Progress> = Vec::new();
        partitions.resize_with(exam.n_partitions as usize, Progress::default);
        let mut told = String::new();
        loop {
            match self.archive_turn(archive, &exam, &mut partitions).await {
                Ok(()) => told.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != told {
                        tracing::error!(exam.id = %exam.id, error = %error, "the log is not archived; nothing is forgotten meanwhile");
                        told = text; // once, not every second
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn archive_turn(
        &self,
        archive: &Archive,
        exam: &LiveExam,
        partitions: &mut [Progress],
    ) -> Result<()> {
        let ends = self.store.log_ends(&exam.id, exam.n_partitions).await?;
        let mut outcome = Ok(());
        for ((partition, progress), end) in (0u32..).zip(partitions.iter_mut()).zip(&ends) {
            let archived = self
                .archive_partition(archive, exam, partition, progress, *end)
                .await;
            if archived.is_err() {
                // What is remembered may be what is wrong; nothing of this partition is forgotten, the others go on.
                progress.head = None;
                outcome = outcome.and(archived);
            }
        }
        outcome.and(self.trim(archive, exam, partitions).await)
    }

    async fn archive_partition(
        &self,
        archive: &Archive,
        exam: &LiveExam,
        partition: u32,
        progress: &mut Progress,
        end: u64,
    ) -> Result<()> {
        let mut head = match progress.head {
            Some(head) => head,
            None => {
                let head = archive.head(&exam.id, partition).await?;
                progress.last_entry = None;
                if let Some(before) = head.last.checked_sub(1) {
                    let last = archive.read(&exam.id, partition, before, 1).await?;
                    progress.last_entry = last.first().map(|entry| hash(entry));
                    // Before anything is forgotten, not only before more is archived.
                    self.compare(exam, partition, head, progress.last_entry)
                        .await?;
                }
                head
            }
        };
        if head.last > end {
            return Err(archive::Error::Ahead {
                exam: exam.id.to_string(),
                partition,
                archived: head.last,
                end,
            }
            .into());
        }
        let policy = archive.policy();
        if head.last == end {
            progress.waiting = None;
        }
        let has_waited = |progress: &mut Progress| {
            let since = progress.waiting.get_or_insert_with(Instant::now);
            since.elapsed() >= policy.max_age
        };
        while head.last < end
            && (end - head.last >= policy.max_entries as u64 || has_waited(progress))
        {
            let entries = self
                .segment_entries(archive, exam, partition, head, progress.last_entry)
                .await?;
            let last = head.last + entries.len() as u64;
            head = archive.store(&exam.id, partition, head, &entries).await?;
            if head.last != last {
                progress.head = None; // another process wrote this segment: what it ends with is read the next time
                return Ok(());
            }
            progress.last_entry = entries.last().map(|entry| hash(entry));
            progress.head = Some(head);
        }
        progress.head = Some(head);
        Ok(())
    }

    /// Refuses an archive whose last entry is not the store's, if the store still has it.
    async fn compare(
        &self,
        exam: &LiveExam,
        partition: u32,
        head: Head,
        last_entry: Option<[u8; 32]>,
    ) -> Result<()> {
        let before = head.last - 1;
        let found = match self.store.read_log(&exam.id, partition, before, 1).await {
            Err(store::Error::Trimmed { .. }) => return Ok(()),
            outcome => outcome?,
        };
        match found.first() {
            Some(entry) if Some(hash(entry)) != last_entry => Err(archive::Error::Differs {
                exam: exam.id.to_string(),
                partition,
                position: head.last,
            }
            .into()),
            _ => Ok(()),
        }
    }

    async fn segment_entries(
        &self,
        archive: &Archive,
        exam: &LiveExam,
        partition: u32,
        head: Head,
        last_entry: Option<[u8; 32]>,
    ) -> Result<Vec<Bytes>> {
        // The last archived entry is read once more: after a failover, or beside a restored store, another one may stand there.
        let known = usize::from(last_entry.is_some());
        let after = head.last - known as u64;
        let limit = archive.policy().max_entries + known;
        let mut entries = match self.store.read_log(&exam.id, partition, after, limit).await {
            Err(store::Error::Trimmed { .. }) => {
                return Err(archive::Error::Missing {
                    exam: exam.id.to_string(),
                    partition,
                    position: head.last + 1,
                }
                .into());
            }
            outcome => outcome?,
        };
        if let Some(expected) = last_entry
            && !entries.is_empty()
            && hash(&entries.remove(0)) != expected
        {
            return Err(archive::Error::Differs {
                exam: exam.id.to_string(),
                partition,
                position: head.last,
            }
            .into());
        }
        if entries.is_empty() {
            let gap = format!("partition {partition} ends at {}", head.last);
            return Err(store::Error::Corrupt(gap).into());
        }
        let mut n_bytes = 0;
        let fits = entries.iter().take_while(|entry| {
            n_bytes += entry.len() + size_of::<u32>();
            n_bytes <= MAX_CONTENT_BYTES
        });
        let n_fitting = fits.count();
        entries.truncate(n_fitting);
        Ok(entries)
    }

    async fn trim(
        &self,
        archive: &Archive,
        exam: &LiveExam,
        partitions: &mut [Progress],
    ) -> Result<()> {
        let retained = archive.policy().retained;
        // Forgetting in steps of an eighth keeps the number of batches small.
        let step = (retained / 8).max(1);
        let is_due = |progress: &Progress, upto: u64| upto >= progress.trimmed + step;
        let archived = |progress: &Progress| {
            let head = progress.head.unwrap_or_default();
            head.last.saturating_sub(retained)
        };
        if !partitions
            .iter()
            .any(|progress| is_due(progress, archived(progress)))
        {
            return Ok(());
        }
        let request = GetCountsRequest {
            exam_id: exam.id.to_string(),
        };
        let counts = self
            .grader()
            .get_counts(self.to_grader(request))
            .await?
            .into_inner();
        for ((partition, progress), graded) in (0u32..).zip(partitions).zip(counts.positions) {
            let upto = archived(progress).min(graded.saturating_sub(retained));
            if is_due(progress, upto) {
                self.store.trim_log(&exam.id, partition, upto).await?;
                progress.trimmed = upto;
            }
        }
        Ok(())
    }
}

fn hash(entry: &[u8]) -> [u8; 32] {
    *blake3::hash(entry).as_bytes()
}
