//! Candidate ids, the partition each belongs to, and a hasher that trusts them to be random.

use std::{
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// Pseudonymous id of a person, 16 random bytes; ordered by its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CandidateId([u8; 16]);

impl CandidateId {
    /// Returns the id's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for CandidateId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for CandidateId {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl Hash for CandidateId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_le_bytes(self.0));
    }
}

impl fmt::Debug for CandidateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Returns the partition of a candidate in a log of `n_partitions` (docs/FORMATS.md section 7).
///
/// # Panics
/// If `n_partitions` is 0.
#[must_use]
pub fn partition_of(candidate: &CandidateId, n_partitions: u32) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"khoa-bang partition v1");
    hasher.update(&candidate.0);
    let hash = hasher.finalize();
    let first = hash
        .as_bytes()
        .first_chunk()
        .expect("a hash has four bytes");
    u32::from_le_bytes(*first) % n_partitions
}

/// Spreads ids that are random already, or small numbers, by one multiplication.
///
/// It resists no attacker who picks ids: operators pick them, at random.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

/// Builds [`IdHasher`]s.
pub(crate) type BuildIdHasher = BuildHasherDefault<IdHasher>;

impl IdHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        let (low, high) = halves(product);
        self.0 = low ^ high;
    }
}

/// Spreads some bytes over 64 bits.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = IdHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    fn write_u128(&mut self, number: u128) {
        let (low, high) = halves(number);
        self.mix(low ^ high.rotate_left(32));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
fn halves(number: u128) -> (u64, u64) {
    (number as u64, (number >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn hash(id: [u8; 16]) -> u64 {
        let mut hasher = IdHasher::default();
        CandidateId(id).hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn ids_that_only_count_up_still_spread() {
        for place in [0, 8, 12] {
            let hashes: HashSet<u64> = (0..10_000u32)
                .map(|n| {
                    let mut id = [0; 16];
                    id[place..place + 4].copy_from_slice(&n.to_le_bytes());
                    hash(id)
                })
                .collect();
            assert_eq!(hashes.len(), 10_000);
            let tops: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(tops.len() > 100, "{} of 128 tags used", tops.len());
        }
    }

    #[test]
    fn the_partition_is_the_one_of_the_format() {
        let id = CandidateId([7; 16]);
        let mut message = b"khoa-bang partition v1".to_vec();
        message.extend([7; 16]);
        let hash = blake3::hash(&message);
        let expected = u32::from_le_bytes(hash.as_bytes()[..4].try_into().unwrap());
        assert_eq!(partition_of(&id, 256), expected % 256);
        assert_eq!(partition_of(&id, 1), 0);
    }
}
