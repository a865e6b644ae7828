//! The shared list of exams in Redis: one hash tag, so that a write and the number that tells of it are one step.
//!
//! Exams are few and change a few times in their lives; that one node holds all of them costs nothing, and an engine
//! learns of any change by one small read. What stands under which key: `keys.rs`.

use std::{collections::BTreeMap, sync::LazyLock};

use bytes::Bytes;
use redis::Script;

use super::{Error, RedisStore, Result, keys, unavailable};
use crate::{
    clock::Timestamp,
    store::{ExamTable, Look, StoredExam, StoredPackage},
};

static PUT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("put_exam.lua")));
/// The clock is that of the node that holds the table, so it goes by the table's key.
static LOOK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME') return {redis.call('GET', KEYS[1]) or '0', time[1], time[2]}",
    )
});

const MIN_READER: &str = "m";
const EXAM: &str = "e";
const PAPER: &str = "p";
const SECRET: &str = "s";

#[tonic::async_trait]
impl ExamTable for RedisStore {
    async fn look(&self) -> Result<Look> {
        let (changes, seconds, micros): (u64, u64, u64) = LOOK
            .key(keys::REDIS_EXAM_CHANGES)
            .invoke_async(&mut self.table_connection())
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(Look {
            changes,
            at: Some(Timestamp(seconds * 1_000 + micros / 1_000)),
        })
    }

    async fn revisions(&self) -> Result<BTreeMap<String, u64>> {
        redis::cmd("HGETALL")
            .arg(keys::REDIS_EXAM_INDEX)
            .query_async(&mut self.table_connection())
            .await
            .map_err(|error| unavailable(&error))
    }

    async fn load_exam(&self, name: &str) -> Result<Option<(u64, StoredExam)>> {
        let mut fields: BTreeMap<String, Vec<u8>> = redis::cmd("HGETALL")
            .arg(keys::redis_exam(name))
            .query_async(&mut self.table_connection())
            .await
            .map_err(|error| unavailable(&error))?;
        if fields.is_empty() {
            return Ok(None);
        }
        let number = |field: &str| {
            let text = fields
                .get(field)
                .and_then(|value| std::str::from_utf8(value).ok());
            text.and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| {
                    Error::Corrupt(format!("exam {name}: the field {field} is no number"))
                })
        };
        let revision = number("r")?;
        let min_reader = u32::try_from(number(MIN_READER)?).unwrap_or(u32::MAX);
        let mut take = |field: &str| fields.remove(field).map(Bytes::from);
        let exam = take(EXAM)
            .ok_or_else(|| Error::Corrupt(format!("exam {name}: it has no description")))?;
        let package = take(PAPER)
            .zip(take(SECRET))
            .map(|(paper, secret)| StoredPackage { paper, secret });
        let stored = StoredExam {
            min_reader,
            exam,
            package,
        };
        Ok(Some((revision, stored)))
    }

    async fn put_exam(&self, name: &str, expected: u64, exam: StoredExam) -> Result<u64> {
        let mut call = PUT.key(keys::REDIS_EXAM_INDEX);
        call.key(keys::redis_exam(name))
            .key(keys::REDIS_EXAM_CHANGES)
            .arg(name)
            .arg(expected)
            .arg(expected + 1)
            .arg(MIN_READER)
            .arg(exam.min_reader)
            .arg(EXAM)
            .arg(&exam.exam[..]);
        if let Some(package) = &exam.package {
            call.arg(PAPER)
                .arg(&package.paper[..])
                .arg(SECRET)
                .arg(&package.secret[..]);
        }
        let outcome: i64 = call
            .invoke_async(&mut self.table_connection())
            .await
            .map_err(|error| unavailable(&error))?;
        match outcome {
            0 => Ok(expected + 1),
            1 => Err(Error::Conflict),
            other => Err(Error::Corrupt(format!("the script answered {other}"))),
        }
    }

    async fn claim_secrets(&self, fingerprint: &str, replace: bool) -> Result<bool> {
        let mut set = redis::cmd("SET");
        set.arg(keys::REDIS_SECRETS).arg(fingerprint);
        if !replace {
            set.arg("NX");
        }
        let _: Option<String> = set
            .query_async(&mut self.table_connection())
            .await
            .map_err(|error| unavailable(&error))?;
        let found: Option<String> = redis::cmd("GET")
            .arg(keys::REDIS_SECRETS)
            .query_async(&mut self.table_connection())
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(found.as_deref() == Some(fingerprint))
    }
}
