//! Who and where: candidates, exams, and the partition that a candidate's records live in.

use std::{fmt, sync::Arc};

/// The pseudonymous id of a person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CandidateId(pub [u8; 16]);

impl CandidateId {
    /// Reads 16 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the partition of this candidate among `n_partitions` (docs/FORMATS.md, section 7).
    #[must_use]
    pub fn partition(self, n_partitions: u32) -> u32 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"khoa-bang partition v1").update(&self.0);
        let hash = hasher.finalize();
        let (first, _) = hash
            .as_bytes()
            .split_first_chunk()
            .expect("a hash has 32 bytes");
        u32::from_le_bytes(*first) % n_partitions
    }
}

impl fmt::Debug for CandidateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for CandidateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Name of an exam: lower-case letters, digits and hyphens, 1 to 40 characters; it stands in keys and file names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExamId(Arc<str>);

impl ExamId {
    /// Checks a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let fits = (1..=40).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| Self(name.into()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the 8 bytes that stand for the exam in tokens and codes.
    #[must_use]
    pub fn tag(&self) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(b"khoa-bang exam tag v1")
            .update(self.0.as_bytes());
        let mut tag = [0; 8];
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        tag
    }
}

impl fmt::Debug for ExamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ExamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the live record of one candidate in one exam lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// The exam.
    pub exam: ExamId,
    /// Partition of the candidate.
    pub partition: u32,
    /// The candidate.
    pub candidate: CandidateId,
}
