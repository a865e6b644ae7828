//! The one thread that writes: checks, batches, syncs, answers.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use fjall::{Database, OwnedWriteBatch, PersistMode};
use tokio::sync::{mpsc, oneshot};

use super::{Stamp, Tables, small, unavailable};
use crate::{
    clock::{Clock, Timestamp},
    id::{CandidateId, ExamId, SessionKey},
    store::{AlarmChange, Commit, Error, Field, Result, keys, keys::ExamNo},
};

/// Commits in one batch: bounds the longest sync and the memory in flight; callers beyond it wait.
pub(super) const MAX_BATCH: usize = 1_024;
/// Free space below which nothing is accepted any more: room for fjall's journal (64 MiB steps), flushes and
/// compaction, so that the disk is never full in the middle of a batch.
pub(super) const RESERVE_BYTES: u64 = 256 << 20;
/// Free space is asked for again after this many batches; at 1,024 commits of about 1 KiB each that is 64 MiB.
const BATCHES_BETWEEN_CHECKS: u64 = 64;
/// Stamps kept in memory, 48 bytes each; beyond it they are forgotten and read again.
const MAX_STAMPS: usize = 2_000_000;

/// Commits are taken.
pub(super) const FINE: u8 = 0;
/// The reserve is touched; commits are taken again once there is room.
pub(super) const DISK_FULL: u8 = 1;
/// A write failed; the database must not be used any more.
pub(super) const HAS_FAILED: u8 = 2;

/// Says what to do about it.
pub(super) fn describe(trouble: u8) -> &'static str {
    if trouble == DISK_FULL {
        "ổ đĩa sắp đầy, hãy giải phóng dung lượng / the disk is almost full, make room"
    } else {
        "đĩa ghi lỗi, cần khởi động lại / writing failed, a restart is needed"
    }
}

/// A commit waiting for the writer.
pub(super) struct Pending {
    pub(super) key: SessionKey,
    pub(super) commit: Commit,
    pub(super) done: oneshot::Sender<Result<u64>>,
}

pub(super) struct Writer {
    db: Database,
    folder: PathBuf,
    tables: Arc<Tables>,
    reserve_bytes: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
    persist: PersistMode,
    /// With the number of the batch that wrote it last.
    stamps: HashMap<(ExamNo, CandidateId), (Stamp, u64)>,
    n_batches: u64,
    /// Positions that the present batch has given.
    ends: HashMap<(ExamNo, u16), u64>,
}

impl Writer {
    pub(super) fn new(
        db: Database,
        folder: &Path,
        tables: Arc<Tables>,
        reserve_bytes: Arc<AtomicU64>,
        clock: Arc<dyn Clock>,
        syncs: bool,
    ) -> Self {
        Self {
            db,
            folder: folder.to_owned(),
            tables,
            reserve_bytes,
            clock,
            persist: if syncs {
                PersistMode::SyncData
            } else {
                PersistMode::Buffer
            },
            stamps: HashMap::new(),
            n_batches: 0,
            ends: HashMap::new(),
        }
    }

    /// Runs until every sender is gone.
    pub(super) fn run(mut self, mut receiver: mpsc::Receiver<Pending>) {
        let mut waiting = Vec::with_capacity(MAX_BATCH);
        while receiver.blocking_recv_many(&mut waiting, MAX_BATCH) > 0 {
            if self.n_batches.is_multiple_of(BATCHES_BETWEEN_CHECKS) || self.trouble() == DISK_FULL
            {
                self.check_disk();
            }
            self.n_batches += 1;
            match self.trouble() {
                FINE => self.write(waiting.drain(..)),
                trouble => {
                    for pending in waiting.drain(..) {
                        let _ = pending
                            .done
                            .send(Err(Error::Unavailable(describe(trouble).to_owned()))); // the caller may have given up
                    }
                }
            }
        }
    }

    fn trouble(&self) -> u8 {
        self.tables.trouble.load(Ordering::Relaxed)
    }

    fn check_disk(&mut self) {
        let free = rustix::fs::statvfs(&self.folder)
            .map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let is_full = free < self.reserve_bytes.load(Ordering::Relaxed);
        let trouble = if is_full { DISK_FULL } else { FINE };
        if self.trouble() != HAS_FAILED {
            self.tables.trouble.store(trouble, Ordering::Relaxed);
        }
    }

    /// Writes a batch and answers.
    fn write(&mut self, waiting: impl Iterator<Item = Pending>) {
        let now = self.clock.now();
        let mut batch = self.db.batch().durability(Some(self.persist));
        let mut accepted = Vec::new();
        if self.stamps.len() > MAX_STAMPS {
            self.stamps.clear();
        }
        for Pending { key, commit, done } in waiting {
            match self.stage(&mut batch, &key, commit, now) {
                Ok(version) => accepted.push((done, version)),
                Err(error) => {
                    let _ = done.send(Err(error)); // the caller may have given up
                }
            }
        }
        if batch.is_empty() {
            return;
        }
        let outcome = batch.commit();
        match &outcome {
            Ok(()) => self
                .tables
                .ends
                .write()
                .expect("no panic under this lock")
                .extend(self.ends.drain()),
            Err(error) => {
                tracing::error!(error = %error, "batch not written");
                self.tables.trouble.store(HAS_FAILED, Ordering::Relaxed);
            }
        }
        for (done, version) in accepted {
            let answer = outcome.as_ref().map(|()| version).map_err(unavailable);
            let _ = done.send(answer); // the caller may have given up
        }
    }

    /// Checks one commit and adds it to the batch, all or nothing.
    fn stage(
        &mut self,
        batch: &mut OwnedWriteBatch,
        key: &SessionKey,
        commit: Commit,
        now: Timestamp,
    ) -> Result<u64> {
        let exam = self.number(batch, &key.exam)?;
        let candidate = key.candidate;
        let (stamp, written_in) = self.stamp(exam, candidate)?;
        // A batch has one sequence number: one key twice in it would have no order, so nobody commits twice in a batch.
        if stamp.version != commit.expected_version || written_in == self.n_batches {
            return Err(Error::Conflict);
        }
        if commit.not_after.is_some_and(|limit| now > limit) {
            return Err(Error::TooLate);
        }
        let slot = (exam, small(key.partition));
        let mut end = match self.ends.get(&slot) {
            Some(end) => *end,
            None => self.tables.last_position(slot.0, slot.1)?,
        };
        if commit.reset {
            self.reset(batch, exam, candidate, &commit.fields)?;
        }
        let due = match commit.alarm {
            AlarmChange::Keep => stamp.due,
            AlarmChange::Set(at) => at.0,
            AlarmChange::Clear => 0,
        };
        self.move_due(batch, exam, candidate, stamp.due, due);
        let stamp = Stamp {
            version: stamp.version + 1,
            due,
        };
        for (field, value) in commit.fields {
            let name = keys::embedded_field(exam, candidate, field);
            if field == Field::Progress {
                batch.insert(&self.tables.live, name, stamp.before(&value));
            } else {
                batch.insert(&self.tables.live, name, &value[..]);
            }
        }
        for event in commit.events {
            end += 1;
            batch.insert(
                &self.tables.log,
                keys::embedded_log(exam, slot.1, end),
                &event[..],
            );
        }
        self.stamps
            .insert((exam, candidate), (stamp, self.n_batches));
        self.ends.insert(slot, end);
        Ok(stamp.version)
    }

    /// Returns the exam's number, giving it one with its first commit.
    fn number(&self, batch: &mut OwnedWriteBatch, exam: &ExamId) -> Result<ExamNo> {
        if let Some(number) = self.tables.number(exam) {
            return Ok(number);
        }
        let mut numbers = self
            .tables
            .numbers
            .write()
            .expect("no panic under this lock");
        let number = ExamNo::try_from(numbers.len())
            .map_err(|_| Error::Unavailable("65,536 exams in one folder".to_owned()))?;
        batch.insert(&self.tables.exams, exam.as_str(), number.to_be_bytes());
        numbers.insert(exam.clone(), number);
        Ok(number)
    }

    fn stamp(&self, exam: ExamNo, candidate: CandidateId) -> Result<(Stamp, u64)> {
        if let Some(stamp) = self.stamps.get(&(exam, candidate)) {
            return Ok(*stamp);
        }
        let name = keys::embedded_field(exam, candidate, Field::Progress);
        match self
            .tables
            .live
            .get(name)
            .map_err(|error| unavailable(&error))?
        {
            Some(value) => Ok((Stamp::split(&value)?.0, 0)),
            None => Ok((Stamp::default(), 0)),
        }
    }

    /// Drops all fields of a record but those that are written in the same commit.
    fn reset(
        &self,
        batch: &mut OwnedWriteBatch,
        exam: ExamNo,
        candidate: CandidateId,
        written: &[(Field, Bytes)],
    ) -> Result<()> {
        let mut dropped = Vec::new();
        for guard in self
            .tables
            .live
            .prefix(keys::embedded_record(exam, candidate))
        {
            let name = guard.key().map_err(|error| unavailable(&error))?;
            let is_written = |(field, _): &(Field, Bytes)| {
                name[..] == keys::embedded_field(exam, candidate, *field)
            };
            if !written.iter().any(is_written) {
                dropped.push(name);
            }
        }
        for name in dropped {
            batch.remove(&self.tables.live, name);
        }
        Ok(())
    }

    fn move_due(
        &self,
        batch: &mut OwnedWriteBatch,
        exam: ExamNo,
        candidate: CandidateId,
        from: u64,
        to: u64,
    ) {
        if from == to {
            return;
        }
        if from != 0 {
            batch.remove(
                &self.tables.due,
                keys::embedded_due(exam, Timestamp(from), candidate),
            );
        }
        if to != 0 {
            batch.insert(
                &self.tables.due,
                keys::embedded_due(exam, Timestamp(to), candidate),
                [0u8; 0],
            );
        }
    }
}
