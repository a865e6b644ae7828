//! The list of exams that several processes share, behind one trait: it compares a revision and knows no rule.
//!
//! Invariant: a write names the revision it has read, so that of two organizers' changes at once one is told to look
//! again. Two implementations: files of a data folder (`engine/registry/files.rs`) and Redis (`store/redis/exams.rs`).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Result;
use crate::clock::Timestamp;

/// An exam as it stands in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredExam {
    /// Engines that read an older format than this leave the exam alone.
    pub min_reader: u32,
    /// Encoded `exam.v1.Exam`.
    pub exam: Bytes,
    /// What published exams have besides; a write without it keeps what stands there.
    pub package: Option<StoredPackage>,
}

/// What engines need of a published exam, sealed where others than they can read it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPackage {
    /// The paper half.
    pub paper: Bytes,
    /// The exam secret, 32 bytes.
    pub secret: Bytes,
}

impl std::fmt::Debug for StoredPackage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredPackage") // it may hold questions and a secret
    }
}

/// A look at the table, cheap enough for several a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Changes with every write.
    pub changes: u64,
    /// When the look was taken, by the table's clock; nothing if no other process can write, so that it never ages.
    pub at: Option<Timestamp>,
}

/// All exams, with optimistic writes.
#[tonic::async_trait]
pub trait ExamTable: Send + Sync {
    /// Tells whether anything has changed, and what time it is.
    async fn look(&self) -> Result<Look>;

    /// Returns the revision of every exam by its name: the number of writes so far.
    async fn revisions(&self) -> Result<BTreeMap<String, u64>>;

    /// Returns an exam and its revision.
    async fn load_exam(&self, name: &str) -> Result<Option<(u64, StoredExam)>>;

    /// Writes an exam if its revision is the expected one, 0 for none; returns the new revision once it is durable.
    async fn put_exam(&self, name: &str, expected: u64, exam: StoredExam) -> Result<u64>;

    /// Leaves the fingerprint of the secrets if there is none yet, or in any case if told to replace it; tells whether
    /// it is the one that stands there.
    async fn claim_secrets(&self, fingerprint: &str, replace: bool) -> Result<bool>;
}
