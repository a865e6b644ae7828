//! The whole store as one stream of bytes, and back: what a backup holds.
//!
//! All keyspaces are read from one snapshot, so a commit is in it whole or not at all, and nobody waits for it. Format:
//! docs/FORMATS.md, section 10.

use std::{collections::BTreeMap, io::Read, path::Path};

use bytes::{BufMut, Bytes, BytesMut};
use fjall::{Database, PersistMode, Readable};
use tokio::sync::mpsc;

use super::{MEMTABLE_BYTES, Tables, unavailable};
use crate::store::{Error, Result};

/// What a dump begins and ends with; without the end it is not whole.
const BEGIN: &[u8; 16] = b"khoa-bang dump 1";
const END: u8 = 0xff;
/// Bytes of a piece: a message of gRPC holds it easily.
const PIECE_BYTES: usize = 256 << 10;
/// Keys and values are far smaller: a longer one is damage, not data.
const MAX_BYTES: u32 = 16 << 20;
/// Entries written in one batch of a restoration.
const RESTORE_BATCH: usize = 4_096;

/// Keyspaces by their number in a dump.
pub(super) const NAMES: [&str; 5] = ["exams", "live", "log", "due", "trimmed"];

/// Sends the store; a reader that went away ends it.
pub(super) fn write(tables: &Tables, pieces: &mpsc::Sender<Result<Bytes>>) -> Result<()> {
    let snapshot = tables.db.snapshot();
    let mut buffer = BytesMut::with_capacity(PIECE_BYTES * 2);
    buffer.put_slice(BEGIN);
    let all = [
        &tables.exams,
        &tables.live,
        &tables.log,
        &tables.due,
        &tables.trimmed,
    ];
    for (number, keyspace) in (0u8..).zip(all) {
        for guard in snapshot.iter(keyspace) {
            let (key, value) = guard.into_inner().map_err(|error| unavailable(&error))?;
            buffer.put_u8(number);
            for part in [&key[..], &value[..]] {
                let len = u32::try_from(part.len()).expect("a message's limit is far below");
                buffer.put_u32_le(len);
                buffer.put_slice(part);
            }
            if buffer.len() >= PIECE_BYTES
                && pieces.blocking_send(Ok(buffer.split().freeze())).is_err()
            {
                return Ok(()); // the reader has gone
            }
        }
    }
    buffer.put_u8(END);
    let _ = pieces.blocking_send(Ok(buffer.freeze())); // the reader may have gone
    Ok(())
}

/// Reads a dump, entry by entry: number of the keyspace, key, value.
///
/// # Errors
/// [`Error::Corrupt`] if it is damaged or not whole.
pub(super) fn read(
    dump: &mut impl Read,
    mut entry: impl FnMut(usize, &[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let mut begin = [0; BEGIN.len()];
    fill(dump, &mut begin)?;
    if begin != *BEGIN {
        return Err(damaged());
    }
    let (mut key, mut value) = (Vec::new(), Vec::new());
    loop {
        let mut number = [0];
        fill(dump, &mut number)?;
        match number[0] {
            END => return Ok(()),
            number if usize::from(number) < NAMES.len() => {
                part(dump, &mut key)?;
                part(dump, &mut value)?;
                entry(usize::from(number), &key, &value)?;
            }
            _ => return Err(damaged()),
        }
    }
}

/// What a dump holds of the log, by exam and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpSummary {
    /// Last positions.
    pub ends: BTreeMap<(String, u32), u64>,
    /// Positions up to which the log is forgotten; only an archive has those entries.
    pub trimmed: BTreeMap<(String, u32), u64>,
}

/// Reads a dump to its end.
pub(super) fn summary(dump: &mut impl Read) -> Result<DumpSummary> {
    let mut names = BTreeMap::new();
    let mut summary = DumpSummary::default();
    // `exams` is the first keyspace, so every number has its name by then.
    read(dump, |number, key, value| {
        let slot = |slot: &[u8]| {
            let (exam, partition) = slot.split_at_checked(2).ok_or_else(damaged)?;
            let name: &String = names.get(exam).ok_or_else(damaged)?;
            let partition = partition.try_into().map_err(|_| damaged())?;
            Ok::<_, Error>((name.clone(), u32::from(u16::from_be_bytes(partition))))
        };
        match NAMES[number] {
            "exams" => {
                let name = String::from_utf8(key.to_vec()).map_err(|_| damaged())?;
                names.insert(value.to_vec(), name);
            }
            "log" => {
                let (partition, position) = key.split_last_chunk().ok_or_else(damaged)?;
                summary
                    .ends
                    .insert(slot(partition)?, u64::from_be_bytes(*position));
            }
            "trimmed" => {
                let mark = value
                    .try_into()
                    .map(u64::from_be_bytes)
                    .map_err(|_| damaged())?;
                let slot = slot(key)?;
                summary.ends.entry(slot.clone()).or_insert(mark);
                summary.trimmed.insert(slot, mark);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(summary)
}

/// Makes a store from a dump, in a folder that has none.
///
/// # Errors
/// [`Error::Corrupt`] if the dump is damaged, [`Error::Unavailable`] if the folder cannot be written.
pub(super) fn restore(folder: &Path, dump: &mut impl Read) -> Result<()> {
    crate::files::make_folder(folder).map_err(|error| Error::Unavailable(error.to_string()))?;
    let db = Database::builder(folder)
        .open()
        .map_err(|error| unavailable(&error))?;
    let tables = Tables::open(&db, MEMTABLE_BYTES)?;
    let all = [
        &tables.exams,
        &tables.live,
        &tables.log,
        &tables.due,
        &tables.trimmed,
    ];
    let mut batch = db.batch();
    read(dump, |number, key, value| {
        batch.insert(all[number], key, value);
        if batch.len() >= RESTORE_BATCH {
            let full = std::mem::replace(&mut batch, db.batch());
            full.commit().map_err(|error| unavailable(&error))?;
        }
        Ok(())
    })?;
    batch.commit().map_err(|error| unavailable(&error))?;
    db.persist(PersistMode::SyncAll)
        .map_err(|error| unavailable(&error))
}

fn part(dump: &mut impl Read, bytes: &mut Vec<u8>) -> Result<()> {
    let mut len = [0; 4];
    fill(dump, &mut len)?;
    let len = u32::from_le_bytes(len);
    if len > MAX_BYTES {
        return Err(damaged());
    }
    bytes.resize(len as usize, 0);
    fill(dump, bytes)
}

fn fill(dump: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    dump.read_exact(bytes).map_err(|_| damaged())
}

fn damaged() -> Error {
    Error::Corrupt(
        "bản chụp kho dữ liệu hỏng hoặc thiếu / the dump of the live store is damaged or not whole"
            .to_owned(),
    )
}
