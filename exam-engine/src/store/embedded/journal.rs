//! Looks through fjall's journal before fjall does, and changes nothing.
//!
//! fjall checks the sum of each batch, but where a batch does not even look like one it cuts the journal there and goes
//! on: right for a batch that a crash has interrupted, wrong for acknowledged ones behind a damaged byte. Batches are
//! written and synced one after another, so a crash leaves at most one of them incomplete, and it is the last.
//! Invariant (P1): a journal in which something complete stands behind a fault is refused, before anything is cut.
//! Start at [`scan`]. Source: `journal/entry.rs` of fjall 3.1.

use std::{fs, io, path::Path};

use xxhash_rust::xxh3::Xxh3;

use crate::store::{Error, Result};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// Tag, number of items u32, sequence number u64.
const START_BYTES: usize = 13;
/// Tag, sum u64, [`MAGIC`].
const END_BYTES: usize = 9 + MAGIC.len();
const MAGIC: [u8; 4] = *b"FJL\x03";
/// Tag, kind of value, compression, keyspace u64, length of the key u16, of the value u32, of what is stored u32.
const ITEM_BYTES: usize = 21;
/// The smallest piece that a disk writes whole: what never arrived reads as that many zeros.
const SECTOR_BYTES: usize = 512;

/// What stands in the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Journal files.
    pub n_files: usize,
    /// Whole batches.
    pub n_batches: u64,
    /// Bytes of whole batches: what opening reads again.
    pub n_bytes: u64,
    /// Bytes behind the last whole batch, which are cut off.
    pub n_cut_bytes: u64,
}

/// Reads all journals of a folder.
///
/// # Errors
/// [`Error::Corrupt`] names file and offset of what a crash cannot explain.
pub(super) fn scan(folder: &Path) -> Result<Scan> {
    let mut files = files(folder).map_err(|error| Error::Unavailable(error.to_string()))?;
    files.sort_unstable();
    let mut scan = Scan {
        n_files: files.len(),
        ..Scan::default()
    };
    let mut seqno = None;
    let last = files.last().copied();
    for number in files {
        let path = folder.join(format!("{number}.jnl"));
        let bytes =
            crate::files::read(&path).map_err(|error| Error::Unavailable(error.to_string()))?;
        let damaged = |at: usize, what: &str| {
            Error::Corrupt(format!(
                "nhật ký ghi {0} hỏng tại byte {at} ({what}); chưa thay đổi gì, hãy khôi phục bản sao lưu bằng `exam restore` / \
                 the journal {0} is damaged at byte {at} ({what}); nothing was changed, restore a backup by `exam restore`",
                path.display()
            ))
        };
        let mut at = 0;
        while let Ok(batch) = Batch::parse(&bytes[at..]) {
            if seqno.is_some_and(|last| batch.seqno <= last) {
                return Err(damaged(at, "sequence numbers do not rise"));
            }
            seqno = Some(batch.seqno);
            at += batch.len;
            scan.n_batches += 1;
        }
        scan.n_bytes += at as u64;
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if used <= at {
            continue;
        }
        if Some(number) != last {
            return Err(damaged(at, "a sealed journal ends in a broken batch"));
        }
        if let Some(what) = not_torn(&bytes, at, used) {
            return Err(damaged(at, what));
        }
        scan.n_cut_bytes += (used - at) as u64;
    }
    Ok(scan)
}

fn files(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jnl"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(numbers)
}

/// Says why what stands from `at` to `used` cannot be a batch that was interrupted; nothing if it can.
fn not_torn(bytes: &[u8], at: usize, used: usize) -> Option<&'static str> {
    let tail = &bytes[at..used];
    let mut first_end = None;
    for (index, window) in tail.windows(END_BYTES).enumerate() {
        if window[0] == END && window[9..] == MAGIC {
            first_end = Some(index + END_BYTES);
            break;
        }
    }
    match first_end {
        Some(end) if end < tail.len() => Some("whole batches stand behind it"),
        // The end arrived, so what is missing of the rest is missing by sectors.
        Some(_) if !has_empty_sector(bytes, at, used) => Some("the sum of the last batch is wrong"),
        Some(_) => None,
        None => match Batch::parse(tail) {
            Err(Fault::Trailer { at: end }) if tail.len() >= end + END_BYTES => {
                Some("the end of the last batch is wrong")
            }
            _ => None,
        },
    }
}

fn has_empty_sector(bytes: &[u8], from: usize, to: usize) -> bool {
    let first = from.next_multiple_of(SECTOR_BYTES);
    (first..to)
        .step_by(SECTOR_BYTES)
        .filter_map(|sector| bytes.get(sector..sector + SECTOR_BYTES))
        .any(|sector| sector.iter().all(|byte| *byte == 0))
}

/// Why bytes are no batch.
#[derive(Debug)]
enum Fault {
    /// They end too early, or something else stands there.
    Other,
    /// All items are there; what follows them is no end.
    Trailer { at: usize },
}

struct Batch {
    seqno: u64,
    len: usize,
}

impl Batch {
    fn parse(bytes: &[u8]) -> std::result::Result<Self, Fault> {
        let start = bytes.get(..START_BYTES).ok_or(Fault::Other)?;
        if start[0] != START {
            return Err(Fault::Other);
        }
        let n_items = u32::from_le_bytes(number(&start[1..])?);
        let seqno = u64::from_le_bytes(number(&start[5..])?);
        let mut at = START_BYTES;
        for _ in 0..n_items {
            at += item(bytes.get(at..).ok_or(Fault::Other)?)?;
        }
        let mut sum = Xxh3::new();
        sum.update(&bytes[START_BYTES..at]);
        let end = bytes.get(at..at + END_BYTES).ok_or(Fault::Other)?;
        if end[0] != END || end[9..] != MAGIC {
            return Err(Fault::Trailer { at });
        }
        if u64::from_le_bytes(number(&end[1..])?) != sum.digest() {
            return Err(Fault::Other);
        }
        Ok(Self {
            seqno,
            len: at + END_BYTES,
        })
    }
}

/// Returns the length of an item.
fn item(bytes: &[u8]) -> std::result::Result<usize, Fault> {
    match bytes.first() {
        Some(&ITEM) => {
            let head = bytes.get(..ITEM_BYTES).ok_or(Fault::Other)?;
            let key = u16::from_le_bytes(number(&head[11..])?) as usize;
            let stored = u32::from_le_bytes(number(&head[17..])?) as usize;
            let len = ITEM_BYTES + key + stored;
            (len <= bytes.len()).then_some(len).ok_or(Fault::Other)
        }
        Some(&CLEAR) if bytes.len() >= 9 => Ok(9),
        _ => Err(Fault::Other),
    }
}

fn number<const N: usize>(bytes: &[u8]) -> std::result::Result<[u8; N], Fault> {
    bytes.first_chunk().copied().ok_or(Fault::Other)
}
