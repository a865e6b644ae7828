//! Why a package, a log entry's place or a snapshot was refused.

/// A refusal of the grader. Impossible log entries are no errors: they go to the quarantine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A half of the package is not the one the exam names.
    #[error("the {what} does not have the hash the exam names")]
    HashMismatch {
        /// "paper half" or "key half".
        what: &'static str,
    },
    /// The key half was made for another paper half.
    #[error("the key half belongs to another paper half")]
    KeyOfOtherPaper,
    /// Bytes are no message of the wanted kind.
    #[error("the {what} cannot be decoded")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What prost said.
        source: prost::DecodeError,
    },
    /// A layout this software does not know.
    #[error("the {what} has format {format}, which this software does not know")]
    FormatUnknown {
        /// What was read.
        what: &'static str,
        /// Number found.
        format: u32,
    },
    /// Two parts name different exams.
    #[error("the {what} is of exam {found:?}, not of {expected:?}")]
    OtherExam {
        /// What was read.
        what: &'static str,
        /// Exam wanted.
        expected: String,
        /// Exam found.
        found: String,
    },
    /// A field of the exam or its package is missing or out of its range.
    #[error("the field {field} is missing or out of its range")]
    FieldInvalid {
        /// Path of the field, as in the protos.
        field: &'static str,
    },
    /// Items and keys are not one to one with equal revisions.
    #[error("item {item_id} has no key of its revision, or a key has no item")]
    KeyMismatch {
        /// Number of the item.
        item_id: u32,
    },
    /// The key of an item does not fit its type or its options.
    #[error("the key of item {item_id} does not fit the item")]
    KeyInvalid {
        /// Number of the item.
        item_id: u32,
    },
    /// A decision does not follow from the one before it, or says nothing that is known here.
    #[error("ruling {number} does not follow from the one before it")]
    RulingInvalid {
        /// Its place.
        number: u32,
    },
    /// The item is of a type that has no scoring rule here, or has too many or too few options.
    #[error("item {item_id} cannot be scored")]
    ItemUnsupported {
        /// Number of the item.
        item_id: u32,
    },
    /// Dropped items stretch the others' scores, which is defined for items of equal weight only.
    #[error("items cannot be dropped from an exam whose items have weights")]
    DroppedWithWeights,
    /// Marks times key counts leave 64 bits.
    #[error("the marks need more than 64 bits of quanta")]
    QuantaOverflow,
    /// The ranking rule does not fit the packed sort key.
    #[error("the ranking rule needs {bits} bits, 128 are there")]
    RankingTooWide {
        /// Bits needed.
        bits: u32,
    },
    /// More units than an exam may have.
    #[error("{n_units} units take part, 20000 may")]
    TooManyUnits {
        /// Units listed.
        n_units: usize,
    },
    /// A unit does not fit those listed before it.
    #[error("unit {unit} does not fit: {why}")]
    UnitInvalid {
        /// Its number.
        unit: u32,
        /// What is wrong.
        why: &'static str,
    },
    /// A partition the exam does not have.
    #[error("partition {partition} does not exist, the exam has {n_partitions}")]
    PartitionUnknown {
        /// Partition named by the entry.
        partition: u32,
        /// Partitions of the exam.
        n_partitions: u32,
    },
    /// An entry came before the ones in front of it; the caller reads again from the fold's positions.
    #[error("partition {partition} goes on at position {expected}, not {found}")]
    PositionGap {
        /// Partition of the entry.
        partition: u32,
        /// Position that must come next.
        expected: u64,
        /// Position that came.
        found: u64,
    },
    /// A snapshot's trailing hash does not match, or its contents contradict each other.
    #[error("the snapshot is damaged: {what}")]
    SnapshotDamaged {
        /// What does not fit.
        what: &'static str,
    },
    /// A snapshot was made with another package.
    #[error("the snapshot was made with another package")]
    SnapshotOfOtherPackage,
    /// A snapshot file could not be read or written.
    #[error("snapshot file {path}")]
    SnapshotFile {
        /// Path of the file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Result of the grader.
pub type Result<T> = std::result::Result<T, Error>;
