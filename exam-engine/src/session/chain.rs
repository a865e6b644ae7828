//! The answer chain: each answer's hash covers all before it, so two parties agree on everything by comparing 32 bytes.
//!
//! SHA-256, because every browser computes it. Format: docs/FORMATS.md, section 3.

use sha2::{Digest, Sha256};

use super::Response;
use crate::id::{CandidateId, ExamId};

/// Head of an answer chain.
pub type Chain = [u8; 32];

/// Returns the head before the first answer.
#[must_use]
pub fn first_chain(
    exam: &ExamId,
    candidate: CandidateId,
    attempt: u32,
    form_code: &[u8; 8],
) -> Chain {
    let mut hasher = Sha256::new();
    hasher.update(b"khoa-bang chain v1");
    hasher.update([u8::try_from(exam.as_str().len()).expect("at most 40 characters")]);
    hasher.update(exam.as_str());
    hasher.update(candidate.0);
    hasher.update(attempt.to_le_bytes());
    hasher.update(form_code);
    hasher.finalize().into()
}

/// Returns the head behind one more answer.
#[must_use]
pub fn extend_chain(chain: &Chain, seq: u32, position: u32, response: &Response) -> Chain {
    let mut hasher = Sha256::new();
    hasher.update(chain);
    hasher.update(seq.to_le_bytes());
    hasher.update(position.to_le_bytes());
    match response {
        Response::Blank => hasher.update([0]),
        Response::Chosen(bits) => {
            hasher.update([1]);
            hasher.update(bits.to_le_bytes());
        }
        Response::Text(text) => {
            hasher.update([2]);
            hasher.update(text);
        }
        Response::Sequence(sequence) => {
            hasher.update([3]);
            hasher.update(sequence);
        }
    }
    hasher.finalize().into()
}
