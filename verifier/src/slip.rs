//! The slip of a submission: what a candidate holds in hand, checked with the exam's published key alone.
//!
//! Source: `docs/FORMATS.md`, section 3.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, VerifyingKey};
use proto::exam::v1::Ended;

use crate::{Archive, Error};

/// What a genuine slip says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slip {
    /// The exam.
    pub exam_id: String,
    /// The candidate.
    pub candidate: [u8; 16],
    /// Number of the attempt.
    pub attempt: u32,
    /// First 8 bytes of the paper's hash.
    pub form_code: [u8; 8],
    /// Number of answers.
    pub last_seq: u32,
    /// Head of the answer chain.
    pub chain: [u8; 32],
    /// Unix milliseconds, when the attempt ended.
    pub ended_at_ms: u64,
    /// How durable the answers were: 1 practice, 2 single, 3 replicated.
    pub durability: u8,
}

impl Slip {
    /// Reads a slip that was signed with the private half of `key`, 32 bytes.
    ///
    /// # Errors
    /// [`Error::Slip`].
    pub fn verify(text: &str, key: &[u8]) -> Result<Self, Error> {
        let wrong = |what| Error::Slip { what };
        let mut parts = text.trim().split('.');
        let (Some("KB1"), Some(body), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("it is not KB1.<text>.<signature>"));
        };
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes());
        let body = decode(body).map_err(|_| wrong("its text is mistyped"))?;
        let signature = decode(signature)
            .ok()
            .and_then(|bytes| Signature::from_slice(&bytes).ok());
        let signature = signature.ok_or(wrong("its signature is mistyped"))?;
        let key: [u8; 32] = key
            .try_into()
            .map_err(|_| wrong("the key has no 32 bytes"))?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| wrong("the key is none"))?;
        let signed = [b"khoa-bang slip v1", &body[..]].concat();
        key.verify_strict(&signed, &signature)
            .map_err(|_| wrong("it was not signed with this key, or was changed"))?;
        Self::parse(&body).ok_or(wrong("its text is of another format"))
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let (n_exam, rest) = body.split_first()?;
        let (exam, rest) = rest.split_at_checked(usize::from(*n_exam))?;
        let (candidate, rest) = rest.split_first_chunk()?;
        let (attempt, rest) = rest.split_first_chunk()?;
        let (form_code, rest) = rest.split_first_chunk()?;
        let (last_seq, rest) = rest.split_first_chunk()?;
        let (chain, rest) = rest.split_first_chunk()?;
        let (ended_at_ms, rest) = rest.split_first_chunk()?;
        let [durability] = *rest else { return None };
        Some(Self {
            exam_id: String::from_utf8(exam.to_vec()).ok()?,
            candidate: *candidate,
            attempt: u32::from_le_bytes(*attempt),
            form_code: *form_code,
            last_seq: u32::from_le_bytes(*last_seq),
            chain: *chain,
            ended_at_ms: u64::from_le_bytes(*ended_at_ms),
            durability,
        })
    }

    /// Compares with an archive: the same exam, and an attempt that ended with exactly these answers.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what differs.
    pub fn compare(&self, archive: &Archive) -> Result<(), Error> {
        if self.exam_id != archive.spec.exam_id {
            return Err(Error::invalid("exam of the slip", &self.exam_id));
        }
        let attempt = archive.attempt(&self.candidate, self.attempt);
        let attempt = attempt.ok_or_else(|| Error::invalid("attempt of the slip", self))?;
        let fits = |ended: &Ended| {
            ended.last_seq == self.last_seq
                && ended.chain[..] == self.chain
                && ended.ended_at_ms == self.ended_at_ms
        };
        if attempt.started.form_code[..] != self.form_code {
            return Err(Error::invalid("form code of the slip", self));
        }
        // One that was reopened has a slip for each submission.
        if !attempt.ends.iter().any(fits) {
            return Err(Error::invalid("answers and end of the slip", self));
        }
        Ok(())
    }
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}, lượt / attempt {}, đề / paper {}, {} câu trả lời / answers, {} ms, chuỗi / chain {}",
            self.exam_id,
            hex::encode(self.candidate),
            self.attempt,
            hex::encode(self.form_code),
            self.last_seq,
            self.ended_at_ms,
            hex::encode(self.chain),
        )
    }
}
