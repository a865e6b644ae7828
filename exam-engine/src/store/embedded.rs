//! The live store of one machine: fjall, one writer thread, one fsync for each batch of concurrent commits.
//!
//! Callers hand a commit over and wait. The writer ([`writer`]) takes whatever has gathered, checks versions and the
//! clock, writes all of it as one atomic batch, syncs, and only then answers. The sync of one batch is the gathering
//! time of the next, so there is no timer. Invariant (P1): nobody hears "saved" before the batch is on disk; after a
//! failed sync nobody does any more, until the process has started again and recovered.

mod dump;
mod journal;
mod recovery;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use tokio::sync::{mpsc, oneshot};

use self::writer::{MAX_BATCH, Pending, RESERVE_BYTES, Writer};
pub use self::{dump::DumpSummary, journal::Scan, recovery::Recovery};
use super::{Commit, Durability, Error, Field, Record, Result, SessionStore, keys, keys::ExamNo};
use crate::{
    clock::{Clock, Timestamp},
    id::{CandidateId, ExamId, SessionKey},
};

/// Bytes of sealed journals from which fjall writes out whatever keeps the oldest one. With the journal in use a restart
/// reads some 400 MB again, a few seconds; with less, tables are written out and merged before they are worth it.
const JOURNAL_BYTES: u64 = 256 << 20;
/// Bytes of a memory table before it is written out: answers of one candidate come again and again, and what meets in
/// memory is never merged on disk.
const MEMTABLE_BYTES: u64 = 64 << 20;
/// Log entries forgotten in one batch: the writer's own batches wait for so many at most.
const TRIM_BATCH: u64 = 1_024;

/// What only tests set otherwise.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Without it nothing is promised: the negative control of the power cut.
    pub syncs: bool,
    /// Bytes of a memory table.
    pub memtable_bytes: u64,
    /// Bytes of sealed journals.
    pub journal_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            syncs: true,
            memtable_bytes: MEMTABLE_BYTES,
            journal_bytes: JOURNAL_BYTES,
        }
    }
}

/// Sessions and log in a folder.
pub struct EmbeddedStore {
    folder: PathBuf,
    recovery: Recovery,
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
    trimmed: Keyspace,
    numbers: RwLock<HashMap<ExamId, ExamNo>>,
    /// Why nothing is accepted, as the writer's constants say.
    trouble: AtomicU8,
    /// Last acknowledged position by exam and partition.
    ends: RwLock<HashMap<(ExamNo, u16), u64>>,
    /// Held while a partition is trimmed: two at once would go over the same entries.
    trimming: Mutex<()>,
}

impl EmbeddedStore {
    /// Opens or makes the store in a folder; a second process on the same folder is refused.
    ///
    /// # Errors
    /// [`Error::Unavailable`] says why the folder cannot be used, [`Error::Corrupt`] what in it is damaged.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(folder, clock, Settings::default())
    }

    /// Opens it as tests need it.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    #[doc(hidden)]
    pub fn open_with(folder: &Path, clock: Arc<dyn Clock>, settings: Settings) -> Result<Self> {
        let named = |error: std::io::Error| Error::Unavailable(error.to_string());
        crate::files::make_folder(folder).map_err(named)?;
        let journal = journal::scan(folder)?;
        let mark = recovery::read_mark(folder)?;
        let db = Database::builder(folder)
            .max_journaling_size(settings.journal_bytes)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => Error::Unavailable(format!(
                    "thư mục {} đang được một tiến trình khác dùng, hãy dừng nó trước / another process uses this folder, stop it first",
                    folder.display()
                )),
                other => refused(&other),
            })?;
        let tables = Arc::new(Tables::open(&db, settings.memtable_bytes)?);
        let recovery = Recovery {
            is_new: journal.n_files == 0,
            was_clean: mark.is_some(),
            journal,
            ends: tables.all_ends()?,
        };
        tables.check_mark(mark.unwrap_or_default())?;
        recovery::remove_mark(folder).map_err(named)?;
        recovery.report(folder);
        let reserve_bytes = Arc::new(AtomicU64::new(RESERVE_BYTES));
        let (sender, receiver) = mpsc::channel(MAX_BATCH);
        let writer = Writer::new(
            db,
            folder,
            Arc::clone(&tables),
            Arc::clone(&reserve_bytes),
            clock,
            settings.syncs,
        );
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(named)?;
        Ok(Self {
            folder: folder.to_owned(),
            recovery,
            tables,
            reserve_bytes,
            sender: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Returns what opening has found.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Makes a store from a dump, in a folder that has none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the dump is damaged, [`Error::Unavailable`] if the folder cannot be written.
    pub fn restore(folder: &Path, dump: &mut impl std::io::Read) -> Result<()> {
        dump::restore(folder, dump)
    }

    /// Checks that a dump is whole and tells what of the log is in it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the dump is damaged or not whole.
    pub fn read_dump(dump: &mut impl std::io::Read) -> Result<DumpSummary> {
        dump::summary(dump)
    }

    /// Sets the free space below which nothing is accepted.
    pub fn set_reserve_bytes(&self, bytes: u64) {
        self.reserve_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Stops the writer after what it has accepted.
    pub fn close(&self) {
        drop(self.sender.lock().expect("no panic under this lock").take());
        if let Some(writer) = self.writer.lock().expect("no panic under this lock").take() {
            let is_whole = writer.join().is_ok(); // a panic was reported by the thread itself
            if is_whole && self.tables.trouble.load(Ordering::Relaxed) != writer::HAS_FAILED {
                let ends = self.tables.ends.read().expect("no panic under this lock");
                let ends = ends.iter().map(|(slot, end)| (*slot, *end));
                if let Err(error) = recovery::write_mark(&self.folder, ends) {
                    tracing::error!(error = %error, "the stop in order could not be noted");
                }
            }
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Sums that are wrong are told apart from a disk that does not answer: trying again does not mend them.
fn unavailable(error: &fjall::Error) -> Error {
    use fjall::Error as E;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "fjall may add more; all others are a disk that does not answer"
    )]
    match error {
        E::Storage(fjall::LsmError::Io(_)) | E::Io(_) | E::Poisoned => {
            Error::Unavailable(error.to_string())
        }
        E::Storage(_)
        | E::JournalRecovery(_)
        | E::InvalidTrailer
        | E::InvalidTag(_)
        | E::Decompress(_) => Error::Corrupt(format!(
            "kho dữ liệu bài thi hỏng, hãy khôi phục bản sao lưu bằng `exam restore` / the live store is damaged, restore a backup by `exam restore`: {error}"
        )),
        _ => Error::Unavailable(error.to_string()),
    }
}

/// While opening, also what is missing or ends too early is damage.
fn refused(error: &fjall::Error) -> Error {
    match unavailable(error) {
        Error::Unavailable(what) => Error::Unavailable(format!(
            "không mở được kho dữ liệu bài thi; hãy xem ổ đĩa, hoặc khôi phục bản sao lưu bằng `exam restore` / cannot open the live store; check the disk, or restore a backup by `exam restore`: {what}"
        )),
        other => other,
    }
}

impl Tables {
    fn open(db: &Database, memtable_bytes: u64) -> Result<Self> {
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes);
        let keyspace = |name| {
            db.keyspace(name, options)
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
            trimmed: keyspace("trimmed")?,
            numbers: RwLock::new(numbers),
            trouble: AtomicU8::new(writer::FINE),
            ends: RwLock::default(),
            trimming: Mutex::default(),
        })
    }

    /// Returns the last positions of all partitions that have any.
    fn all_ends(&self) -> Result<BTreeMap<(String, u32), u64>> {
        let numbers = self.numbers.read().expect("no panic under this lock");
        let mut ends = BTreeMap::new();
        for (exam, number) in &*numbers {
            let mut partition = 0;
            while let Some(next) = self.next_partition(*number, partition)? {
                let end = self.last_position(*number, next)?;
                ends.insert((exam.to_string(), u32::from(next)), end);
                partition = next + 1;
            }
        }
        Ok(ends)
    }

    /// Returns the first partition from this one on that has ever had an entry.
    fn next_partition(&self, exam: ExamNo, from: u16) -> Result<Option<u16>> {
        let to_end = keys::embedded_log(exam, u16::MAX, u64::MAX);
        let in_log = self.log.range(keys::embedded_log(exam, from, 0)..=to_end);
        let marks = keys::embedded_trimmed(exam, from)..=keys::embedded_trimmed(exam, u16::MAX);
        let in_marks = self.trimmed.range(marks);
        let mut found = None;
        for guard in [in_log, in_marks]
            .into_iter()
            .filter_map(|mut keys| keys.next())
        {
            let key = guard.key().map_err(|error| unavailable(&error))?;
            let partition = key.get(2..4).and_then(|bytes| bytes.try_into().ok());
            let partition = u16::from_be_bytes(
                partition.ok_or_else(|| Error::Corrupt("a log key is too short".to_owned()))?,
            );
            found = Some(found.map_or(partition, |known: u16| known.min(partition)));
        }
        Ok(found)
    }

    /// Refuses a log that ends before the positions of the last stop in order.
    fn check_mark(&self, mark: recovery::Ends) -> Result<()> {
        for ((exam, partition), end) in mark {
            let found = self.last_position(exam, partition)?;
            if found < end {
                return Err(Error::Corrupt(format!(
                    "nhật ký thi mất đoạn cuối: phân vùng {partition} dừng ở {found}, trước đây đến {end}; hãy khôi phục bản sao lưu bằng `exam restore` / \
                     the log has lost its end: partition {partition} ends at {found}, it has been at {end}; restore a backup by `exam restore`"
                )));
            }
        }
        Ok(())
    }

    /// Returns the position up to which a partition is forgotten.
    fn trimmed(&self, exam: ExamNo, partition: u16) -> Result<u64> {
        let mark = self.trimmed.get(keys::embedded_trimmed(exam, partition));
        match mark.map_err(|error| unavailable(&error))? {
            None => Ok(0),
            Some(position) => {
                let position = position.as_ref().try_into().map(u64::from_be_bytes);
                position
                    .map_err(|_| Error::Corrupt("a mark of the log has another length".to_owned()))
            }
        }
    }

    /// Forgets entries, oldest first, each batch with the new mark.
    fn trim(&self, exam: ExamNo, partition: u16, upto: u64) -> Result<()> {
        let _turn = self.trimming.lock().expect("no panic under this lock");
        let mut mark = self.trimmed(exam, partition)?;
        let upto = upto.min(self.last_position(exam, partition)?);
        while mark < upto {
            let next = upto.min(mark + TRIM_BATCH);
            let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
            for position in mark + 1..=next {
                batch.remove(&self.log, keys::embedded_log(exam, partition, position));
            }
            batch.insert(
                &self.trimmed,
                keys::embedded_trimmed(exam, partition),
                next.to_be_bytes(),
            );
            batch.commit().map_err(|error| unavailable(&error))?;
            mark = next;
        }
        Ok(())
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
            None => self.trimmed(exam, partition)?,
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
        let trimmed = |after| match self.tables.trimmed(exam, small(partition))? {
            mark if after < mark => Err(Error::Trimmed { first: mark + 1 }),
            _ => Ok(()),
        };
        trimmed(after)?;
        let position = |position| keys::embedded_log(exam, small(partition), position);
        let mut entries = Vec::new();
        let range = self.tables.log.range(position(after + 1)..=position(end));
        for (expected, guard) in (after + 1..).zip(range.take(limit)) {
            let (key, value) = guard.into_inner().map_err(|error| unavailable(&error))?;
            if key[..] != position(expected) {
                trimmed(after)?; // while this was read
                return Err(Error::Corrupt(format!(
                    "entry {expected} of partition {partition} is missing"
                )));
            }
            entries.push(Bytes::copy_from_slice(&value));
        }
        Ok(entries)
    }

    async fn trim_log(&self, exam: &ExamId, partition: u32, upto: u64) -> Result<()> {
        let Some(exam) = self.tables.number(exam) else {
            return Ok(());
        };
        let tables = Arc::clone(&self.tables);
        let trim = move || tables.trim(exam, small(partition), upto);
        let trimmed = tokio::task::spawn_blocking(trim).await;
        trimmed.map_err(|error| Error::Unavailable(error.to_string()))?
    }

    async fn dump(&self, pieces: mpsc::Sender<Result<Bytes>>) -> Result<()> {
        let tables = Arc::clone(&self.tables);
        let dumped = tokio::task::spawn_blocking(move || dump::write(&tables, &pieces)).await;
        dumped.map_err(|error| Error::Unavailable(error.to_string()))?
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
