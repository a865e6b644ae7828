//! The log outside the store: compressed, hashed segments in a folder or a bucket.
//!
//! A segment holds consecutive entries of one partition and the hash of the segment before it, so the whole log of a
//! partition hangs together. It is named by its first position and never written over: whoever writes it a second time
//! finds it there. Invariant: a segment is told to be stored only after it was read back and found right, and what is
//! read from here is checked each time. Start at [`Archive::store`] and [`Archive::read`]; the format is in
//! docs/FORMATS.md, section 9.

mod segment;
mod verify;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem, path::Path as Name,
};

pub use self::{
    segment::{MAX_CONTENT_BYTES, Segment},
    verify::PartitionSummary,
};
use crate::id::ExamId;

/// Why the archive refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer from the folder or bucket.
    #[error("kho lưu nhật ký không trả lời / the log archive does not answer: {0}")]
    Unavailable(String),
    /// Entries that the store has forgotten are not here.
    #[error(
        "kho lưu nhật ký thiếu đoạn: kỳ thi {exam}, phân vùng {partition}, vị trí {position} / the log archive lacks a segment: exam {exam}, partition {partition}, position {position}"
    )]
    Missing {
        /// The exam.
        exam: String,
        /// The partition.
        partition: u32,
        /// First position that is not there.
        position: u64,
    },
    /// A segment is not what it was.
    #[error("đoạn nhật ký {name} hỏng: {what} / the log segment {name} is damaged: {what}")]
    Damaged {
        /// Name of the segment.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The archive and the store hold two different logs: one of them is older, or the other has lost its end.
    #[error(
        "kho lưu nhật ký và kho bài thi khác nhau: kỳ thi {exam}, phân vùng {partition}, vị trí {position}; không lưu và không xóa gì nữa, hãy gọi người vận hành / the log archive and the store differ: exam {exam}, partition {partition}, position {position}; nothing is archived or forgotten any more, the operator must look"
    )]
    Differs {
        /// The exam.
        exam: String,
        /// The partition.
        partition: u32,
        /// Where.
        position: u64,
    },
    /// The archive holds what the store has never had: it belongs to another store, or the store was restored.
    #[error(
        "kho lưu nhật ký đi trước kho bài thi: kỳ thi {exam}, phân vùng {partition}, {archived} > {end}; hãy dùng kho lưu trong cùng bản sao lưu / the log archive is ahead of the store: exam {exam}, partition {partition}, {archived} > {end}; use the archive of the same backup"
    )]
    Ahead {
        /// The exam.
        exam: String,
        /// The partition.
        partition: u32,
        /// Last archived position.
        archived: u64,
        /// Last position of the store.
        end: u64,
    },
}

/// Result of the archive.
pub type Result<T> = std::result::Result<T, Error>;

/// When entries are written, and which are forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Entries in one segment.
    pub max_entries: usize,
    /// A segment with fewer entries is written once this has passed.
    pub max_age: Duration,
    /// Entries of a partition that stay in the store, so that a reader close behind never comes here.
    pub retained: u64,
}

impl Default for Policy {
    /// 16,384 entries are about 1.5 MB, well compressed; after a minute a lost disk costs at most that much of the
    /// archive; 20,000 entries of 115 bytes are 2 MB a partition in the store.
    fn default() -> Self {
        Self {
            max_entries: 16_384,
            max_age: Duration::from_secs(60),
            retained: 20_000,
        }
    }
}

/// Segments that stay in memory, some megabytes each: for a grader that builds anew, an export and two others at once.
const MAX_KEPT: usize = 4;

/// Segments of all exams.
pub struct Archive {
    objects: Arc<dyn ObjectStore>,
    policy: Policy,
    /// The segments read last, the newest in front: readers go through a partition in steps smaller than a segment.
    newest_read: Mutex<VecDeque<Arc<Segment>>>,
}

/// What a partition's archive ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Last archived position.
    pub last: u64,
    /// Hash of the last segment; zeros before the first.
    pub hash: [u8; 32],
}

/// A segment as stored.
#[derive(Clone, Debug)]
pub struct RawSegment {
    /// Its name in the archive.
    pub name: String,
    /// Its last position.
    pub last: u64,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Archive {
    /// Keeps segments in an object store.
    #[must_use]
    pub fn new(objects: Arc<dyn ObjectStore>, policy: Policy) -> Self {
        Self {
            objects,
            policy,
            newest_read: Mutex::default(),
        }
    }

    /// Keeps segments in a folder, each synced with its name.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the folder cannot be made.
    pub fn in_folder(folder: &Path, policy: Policy) -> Result<Self> {
        crate::files::make_folder(folder).map_err(|error| unavailable(&error))?;
        let objects =
            LocalFileSystem::new_with_prefix(folder).map_err(|error| unavailable(&error))?;
        Ok(Self::new(Arc::new(objects.with_fsync(true)), policy))
    }

    /// Opens a folder, or a bucket by `s3://name/prefix` with the settings of the environment (`AWS_…`).
    ///
    /// # Errors
    /// [`Error::Unavailable`] says what is wrong with it.
    pub fn open(place: &str, policy: Policy) -> Result<Self> {
        match place.strip_prefix("s3://") {
            None => Self::in_folder(Path::new(place), policy),
            Some(bucket) => Self::in_bucket(bucket, policy),
        }
    }

    #[cfg(feature = "bucket")]
    fn in_bucket(place: &str, policy: Policy) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default(); // somebody else may have done it
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let objects = object_store::aws::AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .build()
            .map_err(|error| unavailable(&error))?;
        let objects = object_store::prefix::PrefixStore::new(objects, prefix);
        Ok(Self::new(Arc::new(objects), policy))
    }

    #[cfg(not(feature = "bucket"))]
    fn in_bucket(_: &str, _: Policy) -> Result<Self> {
        Err(Error::Unavailable(
            "chương trình này được dựng không có phần bucket, hãy dựng với `--features bucket` hoặc dùng thư mục / this program was built without buckets, build it with `--features bucket` or use a folder".to_owned(),
        ))
    }

    /// Returns when entries are written and forgotten.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Returns what a partition's archive ends with.
    ///
    /// # Errors
    /// [`Error::Damaged`] if its last segment is.
    pub async fn head(&self, exam: &ExamId, partition: u32) -> Result<Head> {
        match self.names(exam, partition).await?.last_key_value() {
            None => Ok(Head::default()),
            Some((first, _)) => {
                let segment = self.segment(exam, partition, *first).await?;
                Ok(Head {
                    last: segment.last,
                    hash: segment.hash,
                })
            }
        }
    }

    /// Stores entries behind a head, reads them back, and returns the new head.
    ///
    /// One that stands there already under the same first position is taken as it is, if it goes on from the head.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Damaged`] if what is read back is not what was written, or does not go on.
    pub async fn store(
        &self,
        exam: &ExamId,
        partition: u32,
        head: Head,
        entries: &[Bytes],
    ) -> Result<Head> {
        let first = head.last + 1;
        let bytes = segment::encode(exam, partition, first, head.hash, entries);
        let name = name(exam, partition, first);
        let options = PutOptions::from(PutMode::Create);
        match self.objects.put_opts(&name, bytes.into(), options).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(unavailable(&error)),
        }
        let segment = self.segment(exam, partition, first).await?;
        if segment.previous != head.hash {
            return Err(segment.damaged("it does not go on from the segment before it"));
        }
        // One that was there may be longer or shorter; its entries are those of this log, or it belongs to another.
        if segment
            .entries
            .iter()
            .zip(entries)
            .any(|(there, here)| there != here)
        {
            return Err(segment.damaged("it holds other entries than the store"));
        }
        Ok(Head {
            last: segment.last,
            hash: segment.hash,
        })
    }

    /// Returns at most `limit` entries behind a position: encoded events, without gaps, never none.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Unavailable`].
    pub async fn read(
        &self,
        exam: &ExamId,
        partition: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Bytes>> {
        let position = after + 1;
        let segment = match self.kept(exam, partition, position) {
            Some(segment) => segment,
            None => {
                let segment = Arc::new(self.segment_with(exam, partition, position).await?);
                let mut newest = self.newest_read.lock().expect("no panic under this lock");
                newest.truncate(MAX_KEPT - 1);
                newest.push_front(Arc::clone(&segment));
                segment
            }
        };
        let skipped =
            usize::try_from(position - segment.first).expect("a segment fits into memory");
        Ok(segment
            .entries
            .iter()
            .skip(skipped)
            .take(limit)
            .cloned()
            .collect())
    }

    fn kept(&self, exam: &ExamId, partition: u32, position: u64) -> Option<Arc<Segment>> {
        let mut newest = self.newest_read.lock().expect("no panic under this lock");
        let at = newest
            .iter()
            .position(|segment| segment.holds(exam, partition, position))?;
        let segment = newest.remove(at)?;
        newest.push_front(Arc::clone(&segment));
        Some(segment)
    }

    async fn segment_with(&self, exam: &ExamId, partition: u32, position: u64) -> Result<Segment> {
        let names = self.names(exam, partition).await?;
        let missing = || Error::Missing {
            exam: exam.to_string(),
            partition,
            position,
        };
        let (first, _) = names.range(..=position).next_back().ok_or_else(missing)?;
        let segment = self.segment(exam, partition, *first).await?;
        if !segment.holds(exam, partition, position) {
            return Err(missing());
        }
        Ok(segment)
    }

    /// Returns the segments of a partition by first position, with their names.
    async fn names(&self, exam: &ExamId, partition: u32) -> Result<BTreeMap<u64, Name>> {
        let folder = Name::from(format!("{exam}/{partition}"));
        let found = self
            .objects
            .list(Some(&folder))
            .try_collect::<Vec<_>>()
            .await;
        let mut names = BTreeMap::new();
        for object in found.map_err(|error| unavailable(&error))? {
            let first = object
                .location
                .filename()
                .and_then(|name| name.strip_suffix(".seg"));
            if let Some(first) = first.and_then(|first| first.parse().ok()) {
                names.insert(first, object.location);
            }
        }
        Ok(names)
    }

    /// Returns the segments of a partition as stored, by position, checked one by one.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Unavailable`].
    pub async fn raw_segments(&self, exam: &str, partition: u32) -> Result<Vec<RawSegment>> {
        let Some(exam) = ExamId::parse(exam) else {
            return Ok(Vec::new());
        };
        let mut segments = Vec::new();
        for (first, name) in self.names(&exam, partition).await? {
            let bytes = self.bytes(&exam, partition, first).await?;
            let last = segment::decode(name.as_ref(), &bytes)?.last;
            let name = name.to_string();
            segments.push(RawSegment { name, last, bytes });
        }
        Ok(segments)
    }

    async fn segment(&self, exam: &ExamId, partition: u32, first: u64) -> Result<Segment> {
        let bytes = self.bytes(exam, partition, first).await?;
        let segment = segment::decode(name(exam, partition, first).as_ref(), &bytes)?;
        if (segment.exam.as_str(), segment.partition, segment.first)
            != (exam.as_str(), partition, first)
        {
            return Err(segment.damaged("it stands under another name than its own"));
        }
        Ok(segment)
    }

    async fn bytes(&self, exam: &ExamId, partition: u32, first: u64) -> Result<Bytes> {
        let name = name(exam, partition, first);
        let found = async { self.objects.get(&name).await?.bytes().await }.await;
        found.map_err(|error| match error {
            object_store::Error::NotFound { .. } => Error::Missing {
                exam: exam.to_string(),
                partition,
                position: first,
            },
            error => unavailable(&error),
        })
    }
}

/// Digits enough for every u64, so that names sort as positions do.
fn name(exam: &ExamId, partition: u32, first: u64) -> Name {
    Name::from(format!("{exam}/{partition}/{first:020}.seg"))
}

fn unavailable(error: &impl std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}
