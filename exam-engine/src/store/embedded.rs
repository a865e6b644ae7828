//! The live store of one machine: fjall, one writer thread, one fsync for each batch of concurrent commits.
//!
//! Callers hand a commit over and wait. The writer ([`writer`]) takes whatever has gathered, checks versions and the
//! clock, writes all of it as one atomic batch, syncs, and only then answers. The sync of one batch is the gathering
//! time of the next, so there is no timer. Invariant (P1): nobody hears "saved" before the batch is on disk; after a
//! failed sync nobody does any more, until the process has started again and recovered.

mod writer;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, Readable};
use tokio::sync::{mpsc, oneshot};

use self::writer::{MAX_BATCH, Pending, RESERVE_BYTES, Writer};
use super::{Commit, Durability, Error, Field, Record, Result, SessionStore, keys, keys::ExamNo};
use crate::{
    clock::{Clock, Timestamp},
    id::{CandidateId, ExamId, SessionKey},
};

/// Sessions and log in a folder.
pub struct EmbeddedStore {
    tables: Arc<Tables>,
    reserve_bytes: Arc<AtomicU64>,
    sender: Mutex<Option<mpsc::Sender<Pending>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// The keyspaces, and what is known of them without asking.
struct Tables {
    db: Database,
    exams: Keyspace,
    live: Keyspace,
    log: Keyspace,
    due: Keyspace,
    numbers: RwLock<HashMap<ExamId, ExamNo>>,
    /// Why nothing is accepted, as the writer's constants say.
    trouble: AtomicU8,
    /// Last acknowledged position by exam and partition.
    ends: RwLock<HashMap<(ExamNo, u16), u64>>,
}

impl EmbeddedStore {
    /// Opens or makes the store in a folder; a second process on the same folder is refused.
    ///
    /// # Errors
    /// [`Error::Unavailable`] says why the folder cannot be used.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        crate::files::make_folder(folder).map_err(|error| Error::Unavailable(error.to_string()))?;
        let db = Database::builder(folder).open().map_err(|error| match error {
            fjall::Error::Locked => Error::Unavailable(format!(
                "thư mục {} đang được một tiến trình khác dùng, hãy dừng nó trước / another process uses this folder, stop it first",
                folder.display()
            )),
            other => unavailable(&other),
        })?;
        let tables = Arc::new(Tables::open(&db)?);
        let reserve_bytes = Arc::new(AtomicU64::new(RESERVE_BYTES));
        let (sender, receiver) = mpsc::channel(MAX_BATCH);
        let writer = Writer::new(
            db,
            folder,
            Arc::clone(&tables),
            Arc::clone(&reserve_bytes),
            clock,
        );
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self {
            tables,
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

impl Tables {
    fn open(db: &Database) -> Result<Self> {
        let keyspace = |name| {
            db.keyspace(name, KeyspaceCreateOptions::default)
                .map_err(|error| unavailable(&error))
        };
        let exams = keyspace("exams")?;
        let mut numbers = HashMap::new();
        for guard in exams.iter() {
            let (name, number) = guard.into_inner().map_err(|error| unavailable(&error))?;
            let name = std::str::from_utf8(&name).ok().and_then(ExamId::parse);
            let number = number.as_ref().try_into().map(ExamNo::from_be_bytes);
            let (Some(name), Ok(number)) = (name, number) else {
                return Err(Error::Corrupt("an exam's number cannot be read".to_owned()));
            };
            numbers.insert(name, number);
        }
        Ok(Self {
            db: db.clone(),
            exams,
            live: keyspace("live")?,
            log: keyspace("log")?,
            due: keyspace("due")?,
            numbers: RwLock::new(numbers),
            trouble: AtomicU8::new(writer::FINE),
            ends: RwLock::default(),
        })
    }

    fn number(&self, exam: &ExamId) -> Option<ExamNo> {
        self.numbers
            .read()
            .expect("no panic under this lock")
            .get(exam)
            .copied()
    }

    /// Returns the last position of a partition, asking the database only the first time.
    fn last_position(&self, exam: ExamNo, partition: u16) -> Result<u64> {
        if let Some(end) = self
            .ends
            .read()
            .expect("no panic under this lock")
            .get(&(exam, partition))
        {
            return Ok(*end);
        }
        let range =
            keys::embedded_log(exam, partition, 0)..=keys::embedded_log(exam, partition, u64::MAX);
        let end = match self.log.range(range).next_back() {
            None => 0,
            Some(guard) => {
                let key = guard.key().map_err(|error| unavailable(&error))?;
                let position = key
                    .last_chunk()
                    .ok_or_else(|| Error::Corrupt("a log key is too short".to_owned()))?;
                u64::from_be_bytes(*position)
            }
        };
        // The writer may have been here first, and it knows better.
        Ok(*self
            .ends
            .write()
            .expect("no panic under this lock")
            .entry((exam, partition))
            .or_insert(end))
    }
}

/// What stands before the bytes of the progress field: version, and the instant under which the candidate stands in the
/// deadline index.
const STAMP_BYTES: usize = 16;

#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    version: u64,
    due: u64,
}

impl Stamp {
    fn before(self, progress: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(STAMP_BYTES + progress.len());
        value.extend_from_slice(&self.version.to_be_bytes());
        value.extend_from_slice(&self.due.to_be_bytes());
        value.extend_from_slice(progress);
        value
    }

    fn split(value: &[u8]) -> Result<(Self, &[u8])> {
        let short = || Error::Corrupt("the progress field is too short".to_owned());
        let (version, rest) = value.split_first_chunk().ok_or_else(short)?;
        let (due, progress) = rest.split_first_chunk().ok_or_else(short)?;
        Ok((
            Self {
                version: u64::from_be_bytes(*version),
                due: u64::from_be_bytes(*due),
            },
            progress,
        ))
    }
}

fn small(partition: u32) -> u16 {
    u16::try_from(partition).expect("exams have at most 256 partitions")
}

#[tonic::async_trait]
impl SessionStore for EmbeddedStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<Record>> {
        let Some(exam) = self.tables.number(&key.exam) else {
            return Ok(None);
        };
        let prefix = keys::embedded_record(exam, key.candidate);
        let mut record = Record::default();
        // A snapshot: fields of one commit are seen together or not at all.
        for guard in self.tables.db.snapshot().prefix(&self.tables.live, prefix) {
            let (name, value) = guard.into_inner().map_err(|error| unavailable(&error))?;
            let field = keys::parse_embedded_field(&name[prefix.len()..]);
            let field = field
                .ok_or_else(|| Error::Corrupt(format!("unknown field {}", hex::encode(&*name))))?;
            let mut value = &*value;
            if field == Field::Progress {
                let (stamp, progress) = Stamp::split(value)?;
                record.version = stamp.version;
                value = progress;
            }
            record.fields.push((field, Bytes::copy_from_slice(value)));
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
        let Some(exam) = self.tables.number(exam) else {
            return Ok(Vec::new());
        };
        // Nothing behind the acknowledged end is shown, even if the batch is in memory already.
        let end = self.tables.last_position(exam, small(partition))?;
        if after >= end {
            return Ok(Vec::new());
        }
        let position = |position| keys::embedded_log(exam, small(partition), position);
        self.tables
            .log
            .range(position(after + 1)..=position(end))
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
        let Some(exam) = self.tables.number(exam) else {
            return Ok(vec![0; n_partitions as usize]);
        };
        (0..n_partitions)
            .map(|partition| self.tables.last_position(exam, small(partition)))
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
        let Some(exam) = self.tables.number(exam) else {
            return Ok((due, None));
        };
        for guard in self.tables.due.prefix(exam.to_be_bytes()) {
            let key = guard.key().map_err(|error| unavailable(&error))?;
            let (at, candidate) = parse_due(&key[2..])?;
            if at > now || due.len() == limit {
                return Ok((due, Some(at)));
            }
            due.push(candidate);
        }
        Ok((due, None))
    }

    async fn check(&self) -> Result<()> {
        match self.tables.trouble.load(Ordering::Relaxed) {
            writer::FINE => Ok(()),
            trouble => Err(Error::Unavailable(writer::describe(trouble).to_owned())),
        }
    }

    async fn trim_log(&self, _exam: &ExamId, _partition: u32, _upto: u64) -> Result<()> {
        Err(Error::Unavailable("it trims nothing yet".to_owned()))
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
