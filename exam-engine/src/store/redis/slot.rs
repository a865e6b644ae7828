//! Which of a cluster's 16,384 slots a key belongs to, and who has them. Source: Redis Cluster specification, "Key distribution model".

use redis::{ConnectionInfo, ErrorKind, RedisError, RedisResult, Value};

use super::{address::beside, dial::open};

/// A slot of a cluster.
pub(super) type Slot = u16;

/// Slots of every cluster.
pub(super) const N_SLOTS: u16 = 16_384;

/// Returns the slot of all keys with this hash tag (what stands between the braces).
pub(super) fn slot_of(tag: &str) -> Slot {
    crc16(tag.as_bytes()) % N_SLOTS
}

/// CRC-16/XMODEM: polynomial 0x1021, begins with 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

/// A range of slots and its primary.
pub(super) struct SlotRange {
    pub(super) first: Slot,
    pub(super) last: Slot,
    pub(super) info: ConnectionInfo,
}

/// Asks a node who has which slots.
pub(super) async fn slots(whom: &ConnectionInfo) -> RedisResult<Vec<SlotRange>> {
    let mut connection = open(whom).await?;
    let reply: Vec<Vec<Value>> = redis::cmd("CLUSTER")
        .arg("SLOTS")
        .query_async(&mut connection)
        .await?;
    let unreadable = || RedisError::from((ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS"));
    let read = |range: Vec<Value>| {
        let [
            Value::Int(first),
            Value::Int(last),
            Value::Array(primary),
            ..,
        ] = &range[..]
        else {
            return Err(unreadable());
        };
        let [host, Value::Int(port), ..] = &primary[..] else {
            return Err(unreadable());
        };
        let slot = |number: &i64| Slot::try_from(*number).map_err(|_| unreadable());
        let port = slot(port)?;
        // A node that does not know its own name leaves it out: it is the one that was asked.
        let host: Option<String> = redis::from_redis_value_ref(host)?;
        let info = match host.filter(|host| !host.is_empty()) {
            Some(host) => beside(whom, &host, port),
            None => whom.clone(),
        };
        Ok(SlotRange {
            first: slot(first)?,
            last: slot(last)?,
            info,
        })
    };
    reply.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        // As CLUSTER KEYSLOT answers.
        assert_eq!((slot_of("foo"), slot_of("somekey")), (12_182, 11_058));
    }
}
