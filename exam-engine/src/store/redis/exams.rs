//! The shared list of exams in Redis: one hash tag, so that a write and the number that tells of it are one step.
//!
//! Exams are few and change a few times in their lives; that one node holds all of them costs nothing, and an engine
//! learns of any change by one small read. What stands under which key: `keys.rs`.

use std::collections::BTreeMap;

use bytes::Bytes;
use redis::{Cmd, FromRedisValue};

use super::{Error, Kind, RedisStore, Result, keys, reply, slot};
use crate::{
    clock::Timestamp,
    store::{ExamTable, Look, StoredExam, StoredPackage},
};

/// Sent as they are: they are short, and run a few times a second at most.
const PUT: &str = include_str!("put_exam.lua");
/// The clock is that of the node that holds the table, so it goes by the table's key.
const LOOK: &str =
    "local time = redis.call('TIME') return {redis.call('GET', KEYS[1]) or '0', time[1], time[2]}";

const MIN_READER: &str = "m";
const EXAM: &str = "e";
const PAPER: &str = "p";
const SECRET: &str = "s";

impl RedisStore {
    /// Sends one command for a key of the table; in class `replicated` `Kind::Commit` waits for a replica, and so does
    /// `Kind::ProvenRead`, as [`RedisStore::proven_read`] does: no state of an exam is acted upon that a failover could
    /// take back.
    async fn table<T: FromRedisValue>(&self, kind: Kind, command: &Cmd) -> Result<T> {
        let slot = slot::slot_of(keys::REDIS_EXAMS_TAG);
        let commands = || {
            let mut commands = vec![command.clone()];
            if self.options.replicated && matches!(kind, Kind::ProvenRead) {
                let mut barrier = redis::cmd("SET");
                barrier.arg(keys::REDIS_EXAMS_BARRIER).arg("");
                commands.push(barrier);
            }
            commands
        };
        let values = self.nodes.call(slot, kind, commands).await?;
        reply::read(values.into_iter().next())
    }
}

#[tonic::async_trait]
impl ExamTable for RedisStore {
    async fn look(&self) -> Result<Look> {
        // Not proven: a change that is seen is acted upon only behind the proven reads that it leads to.
        let mut call = redis::cmd("EVAL");
        call.arg(LOOK).arg(1).arg(keys::REDIS_EXAM_CHANGES);
        let (changes, seconds, micros): (u64, u64, u64) = self.table(Kind::Read, &call).await?;
        Ok(Look {
            changes,
            at: Some(Timestamp(seconds * 1_000 + micros / 1_000)),
        })
    }

    async fn revisions(&self) -> Result<BTreeMap<String, u64>> {
        let mut read = redis::cmd("HGETALL");
        read.arg(keys::REDIS_EXAM_INDEX);
        self.table(Kind::ProvenRead, &read).await
    }

    async fn load_exam(&self, name: &str) -> Result<Option<(u64, StoredExam)>> {
        let mut read = redis::cmd("HGETALL");
        read.arg(keys::redis_exam(name));
        let mut fields: BTreeMap<String, Vec<u8>> = self.table(Kind::ProvenRead, &read).await?;
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
        let mut call = redis::cmd("EVAL");
        call.arg(PUT)
            .arg(3)
            .arg(keys::REDIS_EXAM_INDEX)
            .arg(keys::redis_exam(name))
            .arg(keys::REDIS_EXAM_CHANGES)
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
        match self.table::<i64>(Kind::Commit, &call).await? {
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
        let _: Option<String> = self.table(Kind::Commit, &set).await?;
        let mut get = redis::cmd("GET");
        get.arg(keys::REDIS_SECRETS);
        let found: Option<String> = self.table(Kind::Read, &get).await?;
        Ok(found.as_deref() == Some(fingerprint))
    }
}
