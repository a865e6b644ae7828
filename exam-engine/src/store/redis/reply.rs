//! What the server's answers mean.

use bytes::Bytes;
use redis::{FromRedisValue, Value};

use crate::{
    clock::Timestamp,
    id::CandidateId,
    store::{Error, Record, Result, keys},
};

/// Reads a value as the type that the command answers with.
pub(super) fn read<T: FromRedisValue>(value: Option<Value>) -> Result<T> {
    let value = value.ok_or_else(|| corrupt("an answer is missing"))?;
    T::from_redis_value(value).map_err(|error| corrupt(&error.to_string()))
}

fn corrupt(what: &str) -> Error {
    Error::Corrupt(what.to_owned())
}

/// Reads HGETALL of a record.
pub(super) fn record(value: Option<Value>) -> Result<Option<Record>> {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = read(value)?;
    let mut record = Record::default();
    for (name, value) in pairs {
        if name == keys::VERSION {
            let version = std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse().ok());
            record.version = version.ok_or_else(|| corrupt("the version is no number"))?;
        } else {
            let field = keys::parse_field(&name)
                .ok_or_else(|| corrupt(&format!("unknown field {}", hex::encode(&name))))?;
            record.fields.push((field, value.into()));
        }
    }
    Ok((record.version > 0).then_some(record))
}

type Entry = (String, Vec<(Vec<u8>, Vec<u8>)>);

/// Reads XRANGE: the entries behind a position, which must follow one another.
pub(super) fn entries(value: Option<Value>, partition: u32, after: u64) -> Result<Vec<Bytes>> {
    let found: Vec<Entry> = read(value)?;
    let mut entries = Vec::with_capacity(found.len());
    for (expected, (id, fields)) in (after + 1..).zip(found) {
        let position = position(&id)?;
        if position > expected && expected == after + 1 {
            return Err(Error::Trimmed { first: position });
        }
        if position != expected {
            return Err(corrupt(&format!(
                "partition {partition}: expected 0-{expected}, found {id}"
            )));
        }
        match fields.into_iter().find(|(name, _)| name == b"e") {
            Some((_, event)) => entries.push(event.into()),
            None => {
                return Err(corrupt(&format!(
                    "partition {partition}: entry {expected} has no event"
                )));
            }
        }
    }
    Ok(entries)
}

fn position(id: &str) -> Result<u64> {
    id.strip_prefix("0-")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| corrupt(&format!("a log entry has the id {id}")))
}

/// Where a log begins and ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Position of the first entry that is there; behind the end if there is none.
    pub(super) first: u64,
    /// Last position that was ever given.
    pub(super) end: u64,
}

/// Reads XINFO STREAM, whose only error that gets here is "no such key": what was never written to begins at 1 and ends at 0.
pub(super) fn extent(value: Option<Value>) -> Result<Extent> {
    if matches!(&value, Some(Value::ServerError(_))) {
        return Ok(Extent { first: 1, end: 0 });
    }
    let facts: Vec<Value> = read(value)?;
    let fact = |name: &str| {
        let mut pairs = facts.chunks_exact(2);
        let pair = pairs
            .find(|pair| String::from_redis_value_ref(&pair[0]).is_ok_and(|found| found == name));
        pair.map(|pair| pair[1].clone())
    };
    let end = position(&read::<String>(fact("last-generated-id"))?)?;
    let first = match fact("first-entry") {
        Some(Value::Array(entry)) => position(&read::<String>(entry.into_iter().next())?)?,
        _ => end + 1,
    };
    Ok(Extent { first, end })
}

/// Reads ZRANGE WITHSCORES of a deadline index.
pub(super) fn deadlines(value: Option<Value>) -> Result<Vec<(CandidateId, Timestamp)>> {
    let members: Vec<(Vec<u8>, f64)> = read(value)?;
    let read = |(member, score): (Vec<u8>, f64)| {
        let candidate = CandidateId::from_slice(&member)
            .ok_or_else(|| corrupt("a deadline's member has no 16 bytes"))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "scores are whole Unix milliseconds, exact in an f64"
        )]
        let at = Timestamp(score as u64);
        Ok((candidate, at))
    };
    members.into_iter().map(read).collect()
}
