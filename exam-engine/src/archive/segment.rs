//! One segment as bytes (docs/FORMATS.md, section 9).

use bytes::{Buf, BufMut, Bytes};

use super::{Error, Result};
use crate::id::ExamId;

const MAGIC: &[u8; 16] = b"khoa-bang log s1";
/// Bytes of entries in one segment: bounds the memory that a damaged length could ask for.
pub const MAX_CONTENT_BYTES: usize = 64 << 20;

/// A segment, checked.
#[derive(Debug)]
pub struct Segment {
    /// Name it was read under.
    pub name: String,
    /// The exam.
    pub exam: String,
    /// The partition.
    pub partition: u32,
    /// First position.
    pub first: u64,
    /// Last position.
    pub last: u64,
    /// Hash of the segment before it, zeros for the first.
    pub previous: [u8; 32],
    /// Hash of its bytes as stored.
    pub hash: [u8; 32],
    /// Encoded events, by position.
    pub entries: Vec<Bytes>,
}

impl Segment {
    pub(super) fn holds(&self, exam: &ExamId, partition: u32, position: u64) -> bool {
        self.exam == exam.as_str()
            && self.partition == partition
            && (self.first..=self.last).contains(&position)
    }

    pub(super) fn damaged(&self, what: &str) -> Error {
        damaged(&self.name, what)
    }
}

fn damaged(name: &str, what: &str) -> Error {
    Error::Damaged {
        name: name.to_owned(),
        what: what.to_owned(),
    }
}

/// Encodes entries.
pub(super) fn encode(
    exam: &ExamId,
    partition: u32,
    first: u64,
    previous: [u8; 32],
    entries: &[Bytes],
) -> Vec<u8> {
    let mut content = Vec::new();
    for entry in entries {
        content.put_u32_le(u32::try_from(entry.len()).expect("an event is far below"));
        content.put_slice(entry);
    }
    let mut bytes = MAGIC.to_vec();
    bytes.put_u8(u8::try_from(exam.as_str().len()).expect("40 characters at most"));
    bytes.put_slice(exam.as_str().as_bytes());
    bytes.put_u32_le(partition);
    bytes.put_u64_le(first);
    bytes.put_u64_le(first + entries.len() as u64 - 1);
    bytes.put_slice(&previous);
    bytes.put_slice(blake3::hash(&content).as_bytes());
    bytes.put_u64_le(content.len() as u64);
    bytes.extend(lz4_flex::block::compress(&content));
    let hash = blake3::hash(&bytes);
    bytes.put_slice(hash.as_bytes());
    bytes
}

/// Decodes and checks a segment.
///
/// # Errors
/// [`Error::Damaged`].
pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<Segment> {
    let short = || damaged(name, "it ends too early");
    let (body, hash) = bytes.split_last_chunk::<32>().ok_or_else(short)?;
    if blake3::hash(body).as_bytes() != hash {
        return Err(damaged(name, "it has another hash"));
    }
    let mut rest = body
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged(name, "it is no segment"))?;
    let exam_len = usize::from(rest.try_get_u8().map_err(|_| short())?);
    let (exam, after_exam) = rest.split_at_checked(exam_len).ok_or_else(short)?;
    let exam = std::str::from_utf8(exam).map_err(|_| damaged(name, "the exam has no name"))?;
    rest = after_exam;
    let partition = rest.try_get_u32_le().map_err(|_| short())?;
    let first = rest.try_get_u64_le().map_err(|_| short())?;
    let last = rest.try_get_u64_le().map_err(|_| short())?;
    let mut hashes = [[0; 32]; 2];
    for hash in &mut hashes {
        rest.try_copy_to_slice(hash).map_err(|_| short())?;
    }
    let [previous, content_hash] = hashes;
    let content_len = rest.try_get_u64_le().map_err(|_| short())?;
    let content_len = usize::try_from(content_len)
        .ok()
        .filter(|len| *len <= MAX_CONTENT_BYTES);
    let content_len = content_len.ok_or_else(|| damaged(name, "its length cannot be"))?;
    let content = lz4_flex::block::decompress(rest, content_len)
        .map_err(|_| damaged(name, "it cannot be unpacked"))?;
    if blake3::hash(&content).as_bytes() != &content_hash {
        return Err(damaged(name, "its content has another hash"));
    }
    let mut content = Bytes::from(content);
    let mut entries = Vec::new();
    while !content.is_empty() {
        let len = content.try_get_u32_le().map_err(|_| short())? as usize;
        if len > content.len() {
            return Err(short());
        }
        entries.push(content.split_to(len));
    }
    if first == 0 || entries.is_empty() || last.checked_sub(first) != Some(entries.len() as u64 - 1)
    {
        return Err(damaged(name, "its positions do not fit its entries"));
    }
    Ok(Segment {
        name: name.to_owned(),
        exam: exam.to_owned(),
        partition,
        first,
        last,
        previous,
        hash: *hash,
        entries,
    })
}
