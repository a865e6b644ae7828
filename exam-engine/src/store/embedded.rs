//! The live store of one machine: fjall, one writer thread, one fsync for each batch of concurrent commits.
//!
//! Callers hand a commit over and wait. The writer takes whatever has gathered, checks versions and the clock, writes
//! all of it as one atomic batch, syncs, and only then answers. The sync of one batch is the gathering time of the
//! next, so there is no timer. Invariant (P1): nobody hears "saved" before the batch is on disk; after a failed sync
//! nobody does any more, until the process has started again and recovered.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use tokio::sync::{mpsc, oneshot};

use super::{AlarmChange, Commit, Durability, Error, Record, Result, SessionStore, keys};
use crate::{
    clock::{Clock, Timestamp},
    id::{CandidateId, ExamId, SessionKey},
};

/// Commits in one batch: bounds the longest sync and the memory in flight; callers beyond it wait.
const MAX_BATCH: usize = 1_024;
/// Free space below which nothing is accepted any more: room for fjall's journal (64 MiB steps), flushes and
/// compaction, so that the disk is never full in the middle of a batch.
const RESERVE_BYTES: u64 = 256 << 20;
/// Free space is asked for again after this many batches; at 1,024 commits of about 1 KiB each that is 64 MiB.
const BATCHES_BETWEEN_CHECKS: u64 = 64;

/// A commit waiting for the writer.
struct Pending {
    key: SessionKey,
    commit: Commit,
    done: oneshot::Sender<Result<u64>>,
}

/// Sessions and log in a folder.
pub struct EmbeddedStore {
    live: Keyspace,
    log: Keyspace,
    due: Keyspace,
    ends: Arc<Ends>,
    reserve_bytes: Arc<AtomicU64>,
    sender: Mutex<Option<mpsc::Sender<Pending>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Last position by exam and partition.
type Ends = Mutex<HashMap<(ExamId, u32), u64>>;

impl EmbeddedStore {
    /// Opens or makes the store in a folder; a second process on the same folder is refused.
    ///
    /// # Errors
    /// [`Error::Unavailable`] says why the folder cannot be used.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let db = Database::builder(folder).open().map_err(|error| match error {
            fjall::Error::Locked => Error::Unavailable(format!(
                "thư mục {} đang được một tiến trình khác dùng, hãy dừng nó trước / another process uses this folder, stop it first",
                folder.display()
            )),
            other => unavailable(&other),
        })?;
        let keyspace = |name| {
            db.keyspace(name, KeyspaceCreateOptions::default)
                .map_err(|error| unavailable(&error))
        };
        let (live, log, due) = (keyspace("live")?, keyspace("log")?, keyspace("due")?);
        let ends = Arc::new(Ends::default());
        let reserve_bytes = Arc::new(AtomicU64::new(RESERVE_BYTES));
        let (sender, receiver) = mpsc::channel(MAX_BATCH);
        let writer = Writer {
            folder: folder.to_owned(),
            live: live.clone(),
            log: log.clone(),
            due: due.clone(),
            ends: Arc::clone(&ends),
            reserve_bytes: Arc::clone(&reserve_bytes),
            disk_is_full: AtomicBool::new(false),
            clock,
            db,
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self {
            live,
            log,
            due,
            ends,
            reserve_bytes,
            sender: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Sets the free space below which nothing is accepted.
    pub fn set_reserve_bytes(&self, bytes: u64) {
        self.reserve_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Stops the writer after what it has accepted.
    pub fn close(&self) {
        drop(self.sender.lock().expect("no panic under this lock").take());
        if let Some(writer) = self.writer.lock().expect("no panic under this lock").take() {
            let _ = writer.join(); // a panic was reported by the thread itself
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.close();
    }
}

fn unavailable(error: &fjall::Error) -> Error {
    Error::Unavailable(error.to_string())
}

/// What the `v` field holds: version, and the instant under which the candidate stands in the deadline index.
fn encode_version(version: u64, due: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&version.to_be_bytes());
    bytes[8..].copy_from_slice(&due.to_be_bytes());
    bytes
}

fn decode_version(bytes: &[u8]) -> Result<(u64, u64)> {
    let bytes: &[u8; 16] = bytes
        .try_into()
        .map_err(|_| Error::Corrupt("the version has no 16 bytes".to_owned()))?;
    let (version, due) = bytes.split_at(8);
    let number = |half: &[u8]| u64::from_be_bytes(half.try_into().expect("half of 16 bytes"));
    Ok((number(version), number(due)))
}

struct Writer {
    db: Database,
    folder: PathBuf,
    live: Keyspace,
    log: Keyspace,
    due: Keyspace,
    ends: Arc<Ends>,
    reserve_bytes: Arc<AtomicU64>,
    disk_is_full: AtomicBool,
    clock: Arc<dyn Clock>,
}

/// What a batch has changed so far and the database does not know yet.
#[derive(Default)]
struct Overlay {
    versions: HashMap<(ExamId, CandidateId), (u64, u64)>,
    ends: HashMap<(ExamId, u32), u64>,
}

impl Writer {
    fn run(self, mut receiver: mpsc::Receiver<Pending>) {
        let mut waiting = Vec::with_capacity(MAX_BATCH);
        let mut failed = false;
        let mut n_batches = 0u64;
        while receiver.blocking_recv_many(&mut waiting, MAX_BATCH) > 0 {
            if n_batches.is_multiple_of(BATCHES_BETWEEN_CHECKS)
                || self.disk_is_full.load(Ordering::Relaxed)
            {
                self.check_disk();
            }
            n_batches += 1;
            let refusal = match (failed, self.disk_is_full.load(Ordering::Relaxed)) {
                (true, _) => {
                    Some("đĩa ghi lỗi, cần khởi động lại / writing failed, a restart is needed")
                }
                (false, true) => Some(
                    "ổ đĩa sắp đầy, hãy giải phóng dung lượng / the disk is almost full, make room",
                ),
                (false, false) => None,
            };
            if let Some(refusal) = refusal {
                for pending in waiting.drain(..) {
                    let _ = pending
                        .done
                        .send(Err(Error::Unavailable(refusal.to_owned()))); // the caller may have given up
                }
                continue;
            }
            failed = !self.write(waiting.drain(..));
        }
    }

    fn check_disk(&self) {
        let free = rustix::fs::statvfs(&self.folder)
            .map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let full = free < self.reserve_bytes.load(Ordering::Relaxed);
        if full != self.disk_is_full.swap(full, Ordering::Relaxed) {
            tracing::error!(disk.full = full, disk.free_bytes = free, "disk reserve");
        }
    }

    /// Writes a batch and answers; returns false if the database must not be used any more.
    fn write(&self, waiting: impl Iterator<Item = Pending>) -> bool {
        let now = self.clock.now();
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        let mut overlay = Overlay::default();
        let mut accepted = Vec::new();
        for Pending { key, commit, done } in waiting {
            match self.stage(&mut batch, &mut overlay, &key, commit, now) {
                Ok(version) => accepted.push((done, version)),
                Err(error) => {
                    let _ = done.send(Err(error)); // the caller may have given up
                }
            }
        }
        if accepted.is_empty() {
            return true;
        }
        let outcome = batch.commit();
        if let Err(error) = &outcome {
            tracing::error!(error = %error, "batch not written");
        } else {
            self.ends
                .lock()
                .expect("no panic under this lock")
                .extend(overlay.ends);
        }
        for (done, version) in accepted {
            let answer = outcome.as_ref().map(|()| version).map_err(unavailable);
            let _ = done.send(answer); // the caller may have given up
        }
        outcome.is_ok()
    }

    /// Checks one commit and adds it to the batch, all or nothing.
    fn stage(
        &self,
        batch: &mut OwnedWriteBatch,
        overlay: &mut Overlay,
        key: &SessionKey,
        commit: Commit,
        now: Timestamp,
    ) -> Result<u64> {
        let record = keys::embedded_record(key);
        let field = |name: &[u8]| [record.as_slice(), name].concat();
        let known = overlay
            .versions
            .get(&(key.exam.clone(), key.candidate))
            .copied();
        let (version, due) = match known {
            Some(known) => known,
            None => match self
                .live
                .get(field(keys::VERSION))
                .map_err(|error| unavailable(&error))?
            {
                Some(bytes) => decode_version(&bytes)?,
                None => (0, 0),
            },
        };
        if version != commit.expected_version {
            return Err(Error::Conflict);
        }
        if commit.not_after.is_some_and(|limit| now > limit) {
            return Err(Error::TooLate);
        }
        let mut end = self.end(overlay, &key.exam, key.partition)?;
        if commit.reset {
            for guard in self.live.prefix(&record) {
                batch.remove(
                    &self.live,
                    guard.key().map_err(|error| unavailable(&error))?,
                );
            }
        }
        for (name, value) in commit.fields {
            batch.insert(&self.live, field(&keys::field_name(name)), value.as_ref());
        }
        let new_due = match commit.alarm {
            AlarmChange::Keep => due,
            AlarmChange::Set(at) => at.0,
            AlarmChange::Clear => 0,
        };
        if new_due != due {
            if due != 0 {
                batch.remove(
                    &self.due,
                    keys::embedded_due(&key.exam, Timestamp(due), key.candidate),
                );
            }
            if new_due != 0 {
                batch.insert(
                    &self.due,
                    keys::embedded_due(&key.exam, Timestamp(new_due), key.candidate),
                    b"".as_slice(),
                );
            }
        }
        for event in commit.events {
            end += 1;
            batch.insert(
                &self.log,
                keys::embedded_log(&key.exam, key.partition, end),
                event.as_ref(),
            );
        }
        batch.insert(
            &self.live,
            field(keys::VERSION),
            encode_version(version + 1, new_due).as_slice(),
        );
        overlay
            .versions
            .insert((key.exam.clone(), key.candidate), (version + 1, new_due));
        overlay.ends.insert((key.exam.clone(), key.partition), end);
        Ok(version + 1)
    }

    fn end(&self, overlay: &Overlay, exam: &ExamId, partition: u32) -> Result<u64> {
        match overlay.ends.get(&(exam.clone(), partition)) {
            Some(end) => Ok(*end),
            None => last_position(&self.log, &self.ends, exam, partition),
        }
    }
}

/// Returns the last position of a partition, asking the database only the first time.
fn last_position(log: &Keyspace, ends: &Ends, exam: &ExamId, partition: u32) -> Result<u64> {
    let mut ends = ends.lock().expect("no panic under this lock");
    if let Some(end) = ends.get(&(exam.clone(), partition)) {
        return Ok(*end);
    }
    let range =
        keys::embedded_log(exam, partition, 0)..=keys::embedded_log(exam, partition, u64::MAX);
    let end = match log.range(range).next_back() {
        None => 0,
        Some(guard) => {
            let key = guard.key().map_err(|error| unavailable(&error))?;
            let position = key
                .last_chunk()
                .ok_or_else(|| Error::Corrupt("a log key is too short".to_owned()))?;
            u64::from_be_bytes(*position)
        }
    };
    ends.insert((exam.clone(), partition), end);
    Ok(end)
}

#[tonic::async_trait]
impl SessionStore for EmbeddedStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<Record>> {
        let prefix = keys::embedded_record(key);
        let mut record = Record::default();
        for guard in self.live.prefix(&prefix) {
            let (name, value) = guard.into_inner().map_err(|error| unavailable(&error))?;
            match &name[prefix.len()..] {
                keys::VERSION => record.version = decode_version(&value)?.0,
                other => {
                    let field = keys::parse_field(other).ok_or_else(|| {
                        Error::Corrupt(format!("unknown field {}", hex::encode(other)))
                    })?;
                    record.fields.push((field, Bytes::copy_from_slice(&value)));
                }
            }
        }
        Ok((record.version > 0).then_some(record))
    }

    async fn commit(&self, key: &SessionKey, commit: Commit) -> Result<u64> {
        let closed = || Error::Unavailable("the store is closing".to_owned());
        let sender = self
            .sender
            .lock()
            .expect("no panic under this lock")
            .clone()
            .ok_or_else(closed)?;
        let (done, answer) = oneshot::channel();
        sender
            .send(Pending {
                key: key.clone(),
                commit,
                done,
            })
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    async fn read_log(
        &self,
        exam: &ExamId,
        partition: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>> {
        // Nothing behind the acknowledged end is shown, even if the batch is in memory already.
        let end = last_position(&self.log, &self.ends, exam, partition)?;
        if after >= end {
            return Ok(Vec::new());
        }
        let range = keys::embedded_log(exam, partition, after + 1)
            ..=keys::embedded_log(exam, partition, end);
        self.log
            .range(range)
            .take(limit)
            .map(|guard| {
                guard
                    .value()
                    .map(|value| Bytes::copy_from_slice(&value))
                    .map_err(|error| unavailable(&error))
            })
            .collect()
    }

    async fn log_ends(&self, exam: &ExamId, n_partitions: u32) -> Result<Vec<u64>> {
        (0..n_partitions)
            .map(|partition| last_position(&self.log, &self.ends, exam, partition))
            .collect()
    }

    async fn due(
        &self,
        exam: &ExamId,
        _n_partitions: u32,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<CandidateId>, Option<Timestamp>)> {
        let mut due = Vec::new();
        let prefix = keys::embedded_exam(exam);
        for guard in self.due.prefix(&prefix) {
            let key = guard.key().map_err(|error| unavailable(&error))?;
            let (at, candidate) = parse_due(&key[prefix.len()..])?;
            if at > now || due.len() == limit {
                return Ok((due, Some(at)));
            }
            due.push(candidate);
        }
        Ok((due, None))
    }

    fn durability(&self) -> Durability {
        Durability::Single
    }
}

fn parse_due(rest: &[u8]) -> Result<(Timestamp, CandidateId)> {
    let corrupt = || Error::Corrupt("a deadline key has another length".to_owned());
    let (at, candidate) = rest.split_first_chunk().ok_or_else(corrupt)?;
    let candidate = CandidateId::from_slice(candidate).ok_or_else(corrupt)?;
    Ok((Timestamp(u64::from_be_bytes(*at)), candidate))
}
