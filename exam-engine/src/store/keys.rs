//! Keys, in one place.
//!
//! Redis (`p` = partition, decimal; the part in braces is the hash tag, so one partition lives on one node):
//!
//! | key | value | expiry | writer |
//! | --- | --- | --- | --- |
//! | `kb:{exam:p}:s:<16 bytes>` | hash: `v` version, `h` head, `p` progress, `a<u16 BE>` answers | none while the exam is kept | `commit.lua` |
//! | `kb:{exam:p}:log` | stream: ids `0-1`, `0-2`, …; field `e` an encoded event | trimmed from its beginning behind archive and graders | `commit.lua`; `trim_log` |
//! | `kb:{exam:p}:due` | sorted set: member candidate, score Unix milliseconds | members leave with the end | `commit.lua` |
//! | `kb:{exam:p}:barrier` | empty text, class `replicated` only: WAIT proves the reads before this write | overwritten | reads of records and log |
//! | `kb:{exams}:index` | hash: name of an exam, its revision | none | `put_exam.lua` |
//! | `kb:{exams}:e:<name>` | hash: `r` revision, `m` oldest format that may read it, `e` `exam.v1.Exam`; published ones also `p` paper half and `s` exam secret, both sealed (`engine/registry/seal.rs`) | none | `put_exam.lua` |
//! | `kb:{exams}:changes` | number of writes to the list of exams | none | `put_exam.lua` |
//! | `kb:{exams}:barrier` | as that of a partition, for the list of exams | overwritten | reads of exams and revisions |
//! | `kb:{exams}:secrets` | fingerprint of the secrets that all processes must hold (`secrets.rs`) | none | first process, `--accept-new-secrets` |
//!
//! Embedded (keyspaces of one fjall database; big-endian, so that byte order is key order). An exam is its number, given
//! at its first commit, so that the keys written for an answer are at most 20 bytes: fjall keeps those in place, and its
//! memory tables compare them without following a pointer.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `exams` | name | number u16 |
//! | `live` | exam u16, candidate, field u16 (0 progress, 1 head, 2.. answers) | progress: version u64, due instant u64 (0 for none), bytes; else bytes |
//! | `log` | exam u16, partition u16, position u64 | encoded event; fjall checksums its journal and blocks |
//! | `due` | exam u16, instant u64, candidate | empty |
//! | `trimmed` | exam u16, partition u16 | position u64 up to which the log is forgotten |

use super::Field;
use crate::{
    clock::Timestamp,
    id::{CandidateId, ExamId, SessionKey},
};

/// Name of the version field.
pub(super) const VERSION: &[u8] = b"v";

pub(super) fn field_name(field: Field) -> Vec<u8> {
    match field {
        Field::Head => b"h".to_vec(),
        Field::Progress => b"p".to_vec(),
        Field::Answer(position) => {
            let [high, low] = position.to_be_bytes();
            vec![b'a', high, low]
        }
    }
}

pub(super) fn parse_field(name: &[u8]) -> Option<Field> {
    match name {
        b"h" => Some(Field::Head),
        b"p" => Some(Field::Progress),
        [b'a', high, low] => Some(Field::Answer(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// Returns what stands between the braces of all keys of a partition.
pub(super) fn redis_tag(exam: &ExamId, partition: u32) -> String {
    format!("{exam}:{partition}")
}

pub(super) fn redis_record(key: &SessionKey) -> Vec<u8> {
    let mut name = format!("kb:{{{}:{}}}:s:", key.exam, key.partition).into_bytes();
    name.extend_from_slice(&key.candidate.0);
    name
}

pub(super) fn redis_log(exam: &ExamId, partition: u32) -> String {
    format!("kb:{{{exam}:{partition}}}:log")
}

pub(super) fn redis_due(exam: &ExamId, partition: u32) -> String {
    format!("kb:{{{exam}:{partition}}}:due")
}

pub(super) fn redis_barrier(exam: &ExamId, partition: u32) -> String {
    format!("kb:{{{exam}:{partition}}}:barrier")
}

/// Hash tag of the shared list of exams.
pub(super) const REDIS_EXAMS_TAG: &str = "exams";
pub(super) const REDIS_EXAM_INDEX: &str = "kb:{exams}:index";
pub(super) const REDIS_EXAM_CHANGES: &str = "kb:{exams}:changes";
pub(super) const REDIS_EXAMS_BARRIER: &str = "kb:{exams}:barrier";
pub(super) const REDIS_SECRETS: &str = "kb:{exams}:secrets";

pub(super) fn redis_exam(name: &str) -> String {
    format!("kb:{{exams}}:e:{name}")
}

/// Number of an exam in the embedded store.
pub(super) type ExamNo = u16;

const PROGRESS: u16 = 0;
const HEAD: u16 = 1;
const FIRST_ANSWER: u16 = 2;

/// Returns what all fields of a record begin with.
pub(super) fn embedded_record(exam: ExamNo, candidate: CandidateId) -> [u8; 18] {
    let mut key = [0; 18];
    key[..2].copy_from_slice(&exam.to_be_bytes());
    key[2..].copy_from_slice(&candidate.0);
    key
}

pub(super) fn embedded_field(exam: ExamNo, candidate: CandidateId, field: Field) -> [u8; 20] {
    let number = match field {
        Field::Progress => PROGRESS,
        Field::Head => HEAD,
        Field::Answer(position) => FIRST_ANSWER + position,
    };
    let mut key = [0; 20];
    key[..18].copy_from_slice(&embedded_record(exam, candidate));
    key[18..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn parse_embedded_field(rest: &[u8]) -> Option<Field> {
    match u16::from_be_bytes(rest.try_into().ok()?) {
        PROGRESS => Some(Field::Progress),
        HEAD => Some(Field::Head),
        answer => Some(Field::Answer(answer - FIRST_ANSWER)),
    }
}

pub(super) fn embedded_log(exam: ExamNo, partition: u16, position: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..2].copy_from_slice(&exam.to_be_bytes());
    key[2..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&position.to_be_bytes());
    key
}

pub(super) fn embedded_trimmed(exam: ExamNo, partition: u16) -> [u8; 4] {
    let [a, b] = exam.to_be_bytes();
    let [c, d] = partition.to_be_bytes();
    [a, b, c, d]
}

pub(super) fn embedded_due(exam: ExamNo, at: Timestamp, candidate: CandidateId) -> [u8; 26] {
    let mut key = [0; 26];
    key[..2].copy_from_slice(&exam.to_be_bytes());
    key[2..10].copy_from_slice(&at.0.to_be_bytes());
    key[10..].copy_from_slice(&candidate.0);
    key
}
