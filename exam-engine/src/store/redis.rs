//! The live store at scale: one short script a commit, streams as the log.
//!
//! Scripts go by EVALSHA, so their hash is their version and engines of two versions work side by side. Every commit
//! names the version it expects, so a command that the client repeats after a broken connection is refused, not
//! doubled. Keys: `keys.rs`. Source of the limits: Redis 7.0 command set; redis 1.8.

use std::time::Duration;

use bytes::Bytes;
use redis::{
    Client, ConnectionInfo, IntoConnectionInfo, RedisError, Script, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
    streams::StreamRangeReply,
};

use super::{AlarmChange, Commit, Durability, Error, Record, Result, SessionStore, keys};
use crate::{
    clock::Timestamp,
    id::{CandidateId, ExamId, SessionKey},
};

/// A command unanswered for this long counts as failed; the rpc's own limit is longer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections, taken in turn: one pipelined socket is enough for one core of Redis, a few spread the work of encoding.
const N_CONNECTIONS: usize = 4;

/// Sessions and log in Redis or Valkey.
pub struct RedisStore {
    connections: Vec<ConnectionManager>,
    script: Script,
    durability: Durability,
}

impl RedisStore {
    /// Connects and checks that the server's settings keep what receipts promise.
    ///
    /// # Errors
    /// [`Error::WeakSettings`] names the setting to change, unless `practice`; [`Error::Unavailable`].
    pub async fn connect(url: &str, practice: bool) -> Result<Self> {
        let info: ConnectionInfo = url
            .into_connection_info()
            .map_err(|error| unavailable(&error))?;
        let tcp = info.tcp_settings().clone().set_nodelay(true); // off by default in redis 1.x
        let client =
            Client::open(info.set_tcp_settings(tcp)).map_err(|error| unavailable(&error))?;
        let config = ConnectionManagerConfig::new()
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(500))
            .set_number_of_retries(1)
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_connection_timeout(Some(RESPONSE_TIMEOUT));
        let mut connections = Vec::with_capacity(N_CONNECTIONS);
        for _ in 0..N_CONNECTIONS {
            let connection =
                ConnectionManager::new_with_config(client.clone(), config.clone()).await;
            connections.push(connection.map_err(|error| unavailable(&error))?);
        }
        let durability = check_settings(&mut connections[0].clone(), practice).await?;
        Ok(Self {
            connections,
            script: Script::new(include_str!("commit.lua")),
            durability,
        })
    }

    /// The same candidate always takes the same connection, so its commits arrive in order.
    fn connection(&self, partition: u32) -> ConnectionManager {
        self.connections[partition as usize % self.connections.len()].clone()
    }
}

fn parse_position(id: &str) -> Option<u64> {
    id.strip_prefix("0-")?.parse().ok()
}

fn unavailable(error: &RedisError) -> Error {
    Error::Unavailable(error.to_string())
}

/// Settings that decide whether an acknowledged write survives, and what they must be.
const SETTINGS: [(&str, &str); 4] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    // With "yes" nothing is synced while the append-only file is rewritten.
    ("no-appendfsync-on-rewrite", "no"),
    ("maxmemory-policy", "noeviction"),
];

/// Reads version and settings of the server.
async fn check_settings(
    connection: &mut impl ConnectionLike,
    practice: bool,
) -> Result<Durability> {
    check_version(connection).await?;
    let mut weak = Vec::new();
    for (setting, wanted) in SETTINGS {
        let found: Vec<String> = match redis::cmd("CONFIG")
            .arg("GET")
            .arg(setting)
            .query_async(connection)
            .await
        {
            Ok(found) => found,
            Err(error) if practice && error.code().is_some() => Vec::new(), // a server that hides its settings
            Err(error) => return Err(unavailable(&error)),
        };
        let found = found.get(1).map_or("?", String::as_str);
        if found != wanted {
            weak.push(format!("{setting} {found} -> {wanted}"));
        }
    }
    match (weak.is_empty(), practice) {
        (true, _) => Ok(Durability::Single),
        (false, true) => Ok(Durability::Practice),
        (false, false) => Err(Error::WeakSettings(format!(
            "Redis chưa đủ bền cho kỳ thi chính thức; hãy đổi trong redis.conf, hoặc CONFIG SET rồi CONFIG REWRITE: {0}; hoặc dùng --practice khi thi thử / \
             Redis is not durable enough for an official exam; change in redis.conf, or CONFIG SET and then CONFIG REWRITE: {0}; or use --practice for a rehearsal",
            weak.join(", ")
        ))),
    }
}

/// Log ids `0-*` need Redis 7; an older server would refuse them in the middle of a script.
async fn check_version(connection: &mut impl ConnectionLike) -> Result<()> {
    let info: String = redis::cmd("INFO")
        .arg("server")
        .query_async(connection)
        .await
        .map_err(|error| unavailable(&error))?;
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap_or("?");
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 7) {
        return Ok(());
    }
    Err(Error::WeakSettings(format!(
        "cần Redis 7.0 trở lên hoặc Valkey, máy chủ này là {version} / Redis 7.0 or Valkey is needed, this server is {version}"
    )))
}

#[tonic::async_trait]
impl SessionStore for RedisStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<Record>> {
        let pairs: Vec<(Vec<u8>, Vec<u8>)> = redis::cmd("HGETALL")
            .arg(keys::redis_record(key))
            .query_async(&mut self.connection(key.partition))
            .await
            .map_err(|error| unavailable(&error))?;
        let mut record = Record::default();
        for (name, value) in pairs {
            if name == keys::VERSION {
                let version = std::str::from_utf8(&value)
                    .ok()
                    .and_then(|text| text.parse().ok());
                record.version =
                    version.ok_or_else(|| Error::Corrupt("the version is no number".to_owned()))?;
            } else {
                let field = keys::parse_field(&name).ok_or_else(|| {
                    Error::Corrupt(format!("unknown field {}", hex::encode(&name)))
                })?;
                record.fields.push((field, value.into()));
            }
        }
        Ok((record.version > 0).then_some(record))
    }

    async fn commit(&self, key: &SessionKey, commit: Commit) -> Result<u64> {
        let version = commit.expected_version + 1;
        let mut call = self.script.key(keys::redis_record(key));
        call.key(keys::redis_log(&key.exam, key.partition))
            .key(keys::redis_due(&key.exam, key.partition));
        call.arg(commit.expected_version).arg(version);
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
        let outcome: i64 = call
            .invoke_async(&mut self.connection(key.partition))
            .await
            .map_err(|error| unavailable(&error))?;
        match outcome {
            0 => Ok(version),
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
        let reply: StreamRangeReply = redis::cmd("XRANGE")
            .arg(keys::redis_log(exam, partition))
            .arg(format!("(0-{after}"))
            .arg("+")
            .arg("COUNT")
            .arg(limit)
            .query_async(&mut self.connection(partition))
            .await
            .map_err(|error| unavailable(&error))?;
        let mut entries = Vec::with_capacity(reply.ids.len());
        for (expected, entry) in (after + 1..).zip(reply.ids) {
            if expected == after + 1
                && let Some(first) = parse_position(&entry.id)
                && first > expected
            {
                return Err(Error::Trimmed { first });
            }
            if entry.id != format!("0-{expected}") {
                return Err(Error::Corrupt(format!(
                    "partition {partition}: expected 0-{expected}, found {}",
                    entry.id
                )));
            }
            match entry.map.get("e") {
                Some(Value::BulkString(bytes)) => entries.push(Bytes::copy_from_slice(bytes)),
                _ => {
                    return Err(Error::Corrupt(format!(
                        "partition {partition}: entry {expected} has no event"
                    )));
                }
            }
        }
        Ok(entries)
    }

    /// Keeps the last entry, which tells where the log ends.
    async fn trim_log(&self, exam: &ExamId, partition: u32, upto: u64) -> Result<()> {
        let end = self.log_ends(exam, partition + 1).await?[partition as usize];
        redis::cmd("XTRIM")
            .arg(keys::redis_log(exam, partition))
            .arg("MINID")
            .arg(format!("0-{}", end.min(upto + 1)))
            .query_async(&mut self.connection(partition))
            .await
            .map_err(|error| unavailable(&error))
    }

    async fn log_ends(&self, exam: &ExamId, n_partitions: u32) -> Result<Vec<u64>> {
        let mut pipe = redis::pipe();
        for partition in 0..n_partitions {
            pipe.cmd("XREVRANGE")
                .arg(keys::redis_log(exam, partition))
                .arg("+")
                .arg("-")
                .arg("COUNT")
                .arg(1);
        }
        let replies: Vec<StreamRangeReply> = pipe
            .query_async(&mut self.connection(0))
            .await
            .map_err(|error| unavailable(&error))?;
        replies
            .into_iter()
            .map(|reply| match reply.ids.first() {
                None => Ok(0),
                Some(entry) => parse_position(&entry.id)
                    .ok_or_else(|| Error::Corrupt(format!("a log entry has the id {}", entry.id))),
            })
            .collect()
    }

    async fn due(
        &self,
        exam: &ExamId,
        n_partitions: u32,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<CandidateId>, Option<Timestamp>)> {
        let mut pipe = redis::pipe();
        for partition in 0..n_partitions {
            let key = keys::redis_due(exam, partition);
            // One more than is due, to learn when the next one is.
            pipe.cmd("ZRANGE")
                .arg(key)
                .arg(0)
                .arg(limit)
                .arg("WITHSCORES");
        }
        let replies: Vec<Vec<(Vec<u8>, f64)>> = pipe
            .query_async(&mut self.connection(0))
            .await
            .map_err(|error| unavailable(&error))?;
        let mut due = Vec::new();
        let mut next: Option<Timestamp> = None;
        for (member, score) in replies.into_iter().flatten() {
            let candidate = CandidateId::from_slice(&member)
                .ok_or_else(|| Error::Corrupt("a deadline's member has no 16 bytes".to_owned()))?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "scores are whole Unix milliseconds, exact in an f64"
            )]
            let at = Timestamp(score as u64);
            if at <= now && due.len() < limit {
                due.push(candidate);
            } else {
                next = Some(next.map_or(at, |known| known.min(at)));
            }
        }
        Ok((due, next))
    }

    async fn check(&self) -> Result<()> {
        let practice = self.durability == Durability::Practice;
        check_settings(&mut self.connection(0), practice)
            .await
            .map(|_| ())
    }

    fn durability(&self) -> Durability {
        self.durability
    }
}
