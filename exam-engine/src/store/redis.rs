//! The live store at scale: one short script a commit, streams as the log.
//!
//! Scripts go by EVALSHA, so their hash is their version and engines of two versions work side by side. Every commit
//! names the version it expects, so a commit that comes twice is refused, not doubled. One server, Sentinel, Cluster and
//! Valkey are spoken to by one mechanism: `redis/nodes.rs` finds the primary of a partition, `redis/lane.rs` sends to it.
//! Keys: `keys.rs`. Operation: docs/REDIS.md. Source of the limits: Redis 7.0 command set; redis 1.8.

mod address;
mod dial;
mod exams;
mod lane;
mod nodes;
mod reply;
mod settings;
mod slot;
mod trouble;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::future::try_join_all;
use redis::{Cmd, Script, Value};

use self::{
    address::Address,
    nodes::{Kind, Nodes},
    reply::Extent,
};
use super::{
    AlarmChange, Commit, Durability, Error, ExamTable, Record, Result, SessionStore, keys,
};
use crate::{
    clock::Timestamp,
    id::{CandidateId, ExamId, SessionKey},
};

/// Room for the arguments of a commit of one answer, so that they are copied once.
const COMMIT_BYTES: usize = 512;

/// How the store at scale is used.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Accepts settings that may lose acknowledged commits; receipts then say so.
    pub practice: bool,
    /// Acknowledges only what a replica has, too.
    pub replicated: bool,
    /// PEM of the authority that signed the servers' certificates, if not a public one.
    pub ca: Option<Vec<u8>>,
}

/// Sessions and log in Redis or Valkey.
pub struct RedisStore {
    nodes: Nodes,
    script_hash: String,
    options: RedisOptions,
    durability: Durability,
    /// The last check found settings that do not keep what receipts say.
    is_weak: AtomicBool,
}

impl RedisStore {
    /// Connects in class `single`; see [`RedisStore::open`].
    ///
    /// # Errors
    /// As [`RedisStore::open`].
    pub async fn connect(url: &str, practice: bool) -> Result<Self> {
        let options = RedisOptions {
            practice,
            ..RedisOptions::default()
        };
        Self::open(url, options).await
    }

    /// Connects to whatever the address names and checks that the servers' settings keep what receipts promise.
    ///
    /// # Errors
    /// [`Error::BadAddress`] says which forms there are; [`Error::WeakSettings`] names the setting to change, unless
    /// practice allows it; [`Error::Unavailable`].
    pub async fn open(url: &str, options: RedisOptions) -> Result<Self> {
        let address = Address::parse(url, options.ca.as_deref())?;
        let nodes = Nodes::find(address, options.replicated).await?;
        let mut durability = settings::check(&nodes, &options).await?;
        if options.replicated && durability == Durability::Replicated {
            durability = settings::check_replicas(&nodes, &options).await?;
        }
        Ok(Self {
            nodes,
            script_hash: Script::new(dial::SCRIPT).get_hash().to_owned(),
            options,
            durability,
            is_weak: AtomicBool::new(false),
        })
    }

    async fn call(
        &self,
        exam: &ExamId,
        partition: u32,
        kind: Kind,
        commands: impl Fn() -> Vec<Cmd>,
    ) -> Result<std::vec::IntoIter<Value>> {
        let slot = if self.nodes.is_cluster() {
            slot::slot_of(&keys::redis_tag(exam, partition))
        } else {
            0
        };
        let values = self.nodes.call(slot, kind, commands).await?;
        Ok(values.into_iter())
    }

    /// Sends a read whose answer leads to a receipt or a score.
    ///
    /// What stands on the primary may be a commit that was refused because no replica confirmed it in time. So in class
    /// `replicated` a write follows the read, and both are answered only after WAIT counted a replica that has this write
    /// and with it everything before it.
    async fn proven_read(
        &self,
        exam: &ExamId,
        partition: u32,
        read: impl Fn() -> Cmd,
    ) -> Result<Option<Value>> {
        let commands = || {
            let mut commands = vec![read()];
            if self.options.replicated {
                let mut barrier = redis::cmd("SET");
                barrier.arg(keys::redis_barrier(exam, partition)).arg("");
                commands.push(barrier);
            }
            commands
        };
        let mut values = self
            .call(exam, partition, Kind::ProvenRead, commands)
            .await?;
        Ok(values.next())
    }

    /// Returns where a log begins and ends.
    async fn extent(&self, exam: &ExamId, partition: u32) -> Result<Extent> {
        let key = keys::redis_log(exam, partition);
        let commands = || {
            let mut info = redis::cmd("XINFO");
            info.arg("STREAM").arg(&key);
            vec![info]
        };
        reply::extent(
            self.call(exam, partition, Kind::Read, commands)
                .await?
                .next(),
        )
    }

    fn commit_command(&self, key: &SessionKey, commit: &Commit) -> Cmd {
        let n_arguments = 16 + commit.fields.len() * 2 + commit.events.len();
        let mut call = Cmd::with_capacity(n_arguments, COMMIT_BYTES);
        call.arg("EVALSHA").arg(&self.script_hash).arg(3);
        call.arg(keys::redis_record(key))
            .arg(keys::redis_log(&key.exam, key.partition))
            .arg(keys::redis_due(&key.exam, key.partition));
        call.arg(commit.expected_version)
            .arg(commit.expected_version + 1);
        match commit.not_after {
            Some(limit) => call.arg(limit.0),
            None => call.arg(""),
        };
        call.arg(if commit.reset { "1" } else { "0" });
        match commit.alarm {
            AlarmChange::Keep => call.arg(""),
            AlarmChange::Clear => call.arg("-"),
            AlarmChange::Set(at) => call.arg(at.0),
        };
        call.arg(&key.candidate.0[..]).arg(commit.fields.len() * 2);
        for (field, value) in &commit.fields {
            call.arg(keys::field_name(*field)).arg(&value[..]);
        }
        for event in &commit.events {
            call.arg(&event[..]);
        }
        call
    }
}

#[tonic::async_trait]
impl SessionStore for RedisStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<Record>> {
        let name = keys::redis_record(key);
        let read = || {
            let mut read = redis::cmd("HGETALL");
            read.arg(&name);
            read
        };
        reply::record(self.proven_read(&key.exam, key.partition, read).await?)
    }

    async fn has_moved_on(&self, key: &SessionKey, version: u64) -> Result<bool> {
        let name = keys::redis_record(key);
        let read = || {
            let mut read = redis::cmd("HGET");
            read.arg(&name).arg(keys::VERSION);
            vec![read]
        };
        let mut values = self
            .call(&key.exam, key.partition, Kind::Read, read)
            .await?;
        let found: Option<u64> = reply::read(values.next())?;
        Ok(found.unwrap_or_default() != version)
    }

    async fn commit(&self, key: &SessionKey, commit: Commit) -> Result<u64> {
        if self.is_weak.load(Ordering::Relaxed) {
            return Err(Error::WeakSettings(
                "cấu hình Redis đã yếu đi / the settings of Redis have become weaker".to_owned(),
            ));
        }
        let commands = || vec![self.commit_command(key, &commit)];
        let mut values = self
            .call(&key.exam, key.partition, Kind::Commit, commands)
            .await?;
        match reply::read(values.next())? {
            0 => Ok(commit.expected_version + 1),
            1 => Err(Error::Conflict),
            2 => Err(Error::TooLate),
            other => Err(Error::Corrupt(format!("the script answered {other}"))),
        }
    }

    async fn read_log(
        &self,
        exam: &ExamId,
        partition: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>> {
        let key = keys::redis_log(exam, partition);
        let read = || {
            let mut read = redis::cmd("XRANGE");
            read.arg(&key).arg(format!("(0-{after}")).arg("+");
            read.arg("COUNT").arg(limit);
            read
        };
        let value = self.proven_read(exam, partition, read).await?;
        let entries = reply::entries(value, partition, after)?;
        if entries.is_empty() && limit > 0 {
            // Nothing new, or all that there was is trimmed.
            let Extent { first, end } = self.extent(exam, partition).await?;
            if after < end && after + 1 < first {
                return Err(Error::Trimmed { first });
            }
        }
        Ok(entries)
    }

    async fn log_ends(&self, exam: &ExamId, n_partitions: u32) -> Result<Vec<u64>> {
        let ends = (0..n_partitions).map(async |partition| {
            let extent = self.extent(exam, partition).await?;
            Ok(extent.end)
        });
        try_join_all(ends).await
    }

    async fn trim_log(&self, exam: &ExamId, partition: u32, upto: u64) -> Result<()> {
        let key = keys::redis_log(exam, partition);
        let commands = || {
            let mut trim = redis::cmd("XTRIM");
            trim.arg(&key).arg("MINID").arg("=");
            trim.arg(format!("0-{}", upto.saturating_add(1)));
            vec![trim]
        };
        self.call(exam, partition, Kind::Read, commands)
            .await
            .map(drop)
    }

    async fn due(
        &self,
        exam: &ExamId,
        n_partitions: u32,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<CandidateId>, Option<Timestamp>)> {
        let each = (0..n_partitions).map(async |partition| {
            let key = keys::redis_due(exam, partition);
            let commands = || {
                let mut first = redis::cmd("ZRANGE");
                first.arg(&key).arg(0);
                first.arg(limit).arg("WITHSCORES"); // one more than is due, to learn when the next one is
                vec![first]
            };
            let mut values = self.call(exam, partition, Kind::Read, commands).await?;
            reply::deadlines(values.next())
        });
        let mut due = Vec::new();
        let mut next: Option<Timestamp> = None;
        for (candidate, at) in try_join_all(each).await?.into_iter().flatten() {
            if at <= now && due.len() < limit {
                due.push(candidate);
            } else {
                next = Some(next.map_or(at, |known| known.min(at)));
            }
        }
        Ok((due, next))
    }

    async fn check(&self) -> Result<()> {
        let outcome = settings::check(&self.nodes, &self.options).await;
        // Without an answer it stays as it was: who cannot be asked takes no commits either.
        match &outcome {
            Ok(found) => {
                let is_weak =
                    *found == Durability::Practice && self.durability != Durability::Practice;
                self.is_weak.store(is_weak, Ordering::Relaxed);
            }
            Err(Error::WeakSettings(_)) => self.is_weak.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
        outcome.map(drop)
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn exams(&self) -> Option<&dyn ExamTable> {
        Some(self)
    }
}
