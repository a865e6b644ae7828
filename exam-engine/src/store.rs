//! Live sessions and the log behind one trait: the store knows no rule of an exam.
//!
//! [`SessionStore::commit`] is one atomic step: if the record's version is the expected one and the store's clock has
//! not passed `not_after`, fields, deadline index and log entries are written together, durably, before it returns.
//! Invariant (P1): what was acknowledged is on stable storage of the class that [`SessionStore::durability`] tells.
//! Two implementations, [`EmbeddedStore`] and [`RedisStore`], pass one suite (`tests/it/store_suite.rs`).

mod embedded;
mod exam_table;
mod keys;
mod record;
mod redis;

use bytes::Bytes;
pub use embedded::EmbeddedStore;
pub use exam_table::{ExamTable, Look, StoredExam, StoredPackage};
pub use record::{Corrupt, decode_session, encode_change};
pub(crate) use record::{ended_by_to_wire, response_from_wire, response_to_wire};

pub use self::redis::{RedisOptions, RedisStore};
use crate::{
    clock::Timestamp,
    id::{CandidateId, ExamId, SessionKey},
};

/// One field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// What does not change while an attempt runs.
    Head,
    /// What changes.
    Progress,
    /// The newest answer of a position.
    Answer(u16),
}

/// A record as stored.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Number of commits so far.
    pub version: u64,
    /// In no order.
    pub fields: Vec<(Field, Bytes)>,
}

/// How the deadline index changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmChange {
    /// Not at all.
    Keep,
    /// The candidate is due at this instant.
    Set(Timestamp),
    /// The candidate is no longer due.
    Clear,
}

/// One atomic step.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The version that must stand; 0 means that there is no record.
    pub expected_version: u64,
    /// Refused when the store's clock is past this.
    pub not_after: Option<Timestamp>,
    /// Drops all fields before writing.
    pub reset: bool,
    /// To be written.
    pub fields: Vec<(Field, Bytes)>,
    /// Deadline index.
    pub alarm: AlarmChange,
    /// To be appended to the log of the partition, in order; encoded `exam.v1.Event`.
    pub events: Vec<Bytes>,
}

/// How durable an acknowledged commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Not proven durable; for practice only.
    Practice,
    /// On stable storage of one machine.
    Single,
    /// On stable storage of one machine and received by another.
    Replicated,
}

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else wrote in between; load again and decide again.
    #[error("the record has moved on")]
    Conflict,
    /// The store's clock is past `not_after`.
    #[error("the store's clock is past the limit")]
    TooLate,
    /// No answer, or no certain one: the commit may or may not stand. Load again before deciding.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// Stored bytes cannot be read.
    #[error("stored bytes cannot be read: {0}")]
    Corrupt(String),
    /// Too many commits and reads wait for the store; this one was not sent. Come back.
    #[error("too much waits for the store")]
    Busy,
    /// The entries asked for were trimmed; they are in the archive.
    #[error("the log begins behind position {first}")]
    Trimmed {
        /// Position of the first entry that is still there.
        first: u64,
    },
    /// The address of the store has none of the forms that there are.
    #[error("{0}")]
    BadAddress(String),
    /// The server's settings cannot keep the promise.
    #[error("{0}")]
    WeakSettings(String),
}

/// Result of the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Live sessions and the log.
#[tonic::async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Returns the record of a candidate.
    async fn load(&self, key: &SessionKey) -> Result<Option<Record>>;

    /// Tells whether another process has gone on from this version of a record, which a reader of memory must know;
    /// never if the store belongs to one process.
    async fn has_moved_on(&self, _key: &SessionKey, _version: u64) -> Result<bool> {
        Ok(false)
    }

    /// Writes all or nothing; returns the new version once it is durable.
    async fn commit(&self, key: &SessionKey, commit: Commit) -> Result<u64>;

    /// Returns at most `limit` entries behind a position of a partition: encoded `exam.v1.Event`s, by rising position
    /// from `after + 1` without gaps.
    async fn read_log(
        &self,
        exam: &ExamId,
        partition: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>>;

    /// Returns the last position of each partition, 0 for none.
    async fn log_ends(&self, exam: &ExamId, n_partitions: u32) -> Result<Vec<u64>>;

    /// Forgets the entries of a partition up to and including a position: only behind archive and graders.
    async fn trim_log(&self, exam: &ExamId, partition: u32, upto: u64) -> Result<()>;

    /// Returns at most `limit` candidates of an exam that are due at `now`, and the instant at which the next one is.
    async fn due(
        &self,
        exam: &ExamId,
        n_partitions: u32,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<CandidateId>, Option<Timestamp>)>;

    /// Checks that commits are taken, as durably as [`SessionStore::durability`] says.
    async fn check(&self) -> Result<()>;

    /// Tells how durable a commit is.
    fn durability(&self) -> Durability;

    /// Returns the list of exams that all processes of this store share; nothing if the store belongs to one process,
    /// whose data folder then holds the exams.
    fn exams(&self) -> Option<&dyn ExamTable> {
        None
    }
}
