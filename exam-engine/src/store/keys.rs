//! Keys, in one place.
//!
//! Redis (`p` = partition, decimal; the part in braces is the hash tag, so one partition lives on one node):
//!
//! | key | value | expiry | writer |
//! | --- | --- | --- | --- |
//! | `kb:{exam:p}:s:<16 bytes>` | hash: `v` version, `h` head, `p` progress, `a<u16 BE>` answers | none while the exam is kept | `commit.lua` |
//! | `kb:{exam:p}:log` | stream: ids `0-1`, `0-2`, …; field `e` an encoded event | trimmed only behind archive and graders | `commit.lua` |
//! | `kb:{exam:p}:due` | sorted set: member candidate, score Unix milliseconds | members leave with the end | `commit.lua` |
//!
//! Embedded (keyspaces of one fjall database; big-endian, so that byte order is key order):
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `live` | exam `\0` candidate field | field; `v` holds version u64 and due instant u64 (0 for none) |
//! | `log` | exam `\0` partition u32, position u64 | encoded event; fjall checksums its journal and blocks |
//! | `due` | exam `\0` instant u64, candidate | empty |

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

fn prefixed(exam: &ExamId, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(exam.as_str().len() + 32);
    key.extend_from_slice(exam.as_str().as_bytes());
    key.push(0);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

pub(super) fn embedded_record(key: &SessionKey) -> Vec<u8> {
    prefixed(&key.exam, &[&key.candidate.0])
}

pub(super) fn embedded_log(exam: &ExamId, partition: u32, position: u64) -> Vec<u8> {
    prefixed(exam, &[&partition.to_be_bytes(), &position.to_be_bytes()])
}

pub(super) fn embedded_due(exam: &ExamId, at: Timestamp, candidate: CandidateId) -> Vec<u8> {
    prefixed(exam, &[&at.0.to_be_bytes(), &candidate.0])
}

pub(super) fn embedded_exam(exam: &ExamId) -> Vec<u8> {
    prefixed(exam, &[])
}
