//! The answer chain, computed as a candidate's device does.
//!
//! Invariant: after the answer `seq`, [`Chain::head`] is the head the engine must name for it.
//! Source: docs/FORMATS.md, section 3.

use proto::exam::v1::{Response, response::Value};
use sha2::{Digest, Sha256};

/// The chain of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    head: [u8; 32],
    last_seq: u32,
}

impl Chain {
    /// Starts the chain of an attempt.
    pub(crate) fn start(
        exam_id: &str,
        candidate: &[u8; 16],
        attempt: u32,
        form_code: &[u8; 8],
    ) -> Self {
        let exam_id_len = u8::try_from(exam_id.len()).expect("an exam's id has at most 40 bytes");
        let head = Sha256::new()
            .chain_update(b"khoa-bang chain v1")
            .chain_update([exam_id_len])
            .chain_update(exam_id)
            .chain_update(candidate)
            .chain_update(attempt.to_le_bytes())
            .chain_update(form_code)
            .finalize()
            .into();
        Self { head, last_seq: 0 }
    }

    /// Adds the next answer and returns its sequence number.
    pub(crate) fn push(&mut self, position: u32, response: &[u8]) -> u32 {
        self.last_seq += 1;
        self.head = Sha256::new()
            .chain_update(self.head)
            .chain_update(self.last_seq.to_le_bytes())
            .chain_update(position.to_le_bytes())
            .chain_update(response)
            .finalize()
            .into();
        self.last_seq
    }

    /// Returns its head, 32 bytes.
    pub(crate) fn head(&self) -> [u8; 32] {
        self.head
    }

    /// Returns the number of answers in it.
    pub(crate) fn last_seq(&self) -> u32 {
        self.last_seq
    }
}

/// Returns the canonical bytes of a response.
pub(crate) fn canonical(response: Option<&Response>) -> Vec<u8> {
    match response.and_then(|r| r.value.as_ref()) {
        None => vec![0],
        Some(Value::Chosen(bits)) => [&[1], &bits.to_le_bytes()[..]].concat(),
        Some(Value::Text(text)) => [&[2], text.as_bytes()].concat(),
        Some(Value::Sequence(sequence)) => [&[3], &sequence[..]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANDIDATE: [u8; 16] = [0x11; 16];
    const FORM: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

    fn response(value: Value) -> Option<Response> {
        Some(Response { value: Some(value) })
    }

    #[track_caller]
    fn check(answer: Option<&Response>, expected: &str) {
        assert_eq!(hex::encode(canonical(answer)), expected);
    }

    #[test]
    fn canonical_responses_are_those_of_the_formats() {
        check(None, "00");
        check(Some(&Response { value: None }), "00");
        check(response(Value::Chosen(0x0102)).as_ref(), "0102010000");
        check(response(Value::Text("é".to_owned())).as_ref(), "02c3a9");
        check(
            response(Value::Sequence(vec![2, 0, 1].into())).as_ref(),
            "03020001",
        );
    }

    /// The bytes are written out one by one here, so that a wrong order or width shows.
    #[test]
    fn the_chain_is_that_of_the_formats() {
        let mut bytes = b"khoa-bang chain v1".to_vec();
        bytes.push(4);
        bytes.extend_from_slice(b"demo");
        bytes.extend_from_slice(&[0x11; 16]);
        bytes.extend_from_slice(&[2, 0, 0, 0]);
        bytes.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let c0 = Sha256::digest(&bytes);
        let mut chain = Chain::start("demo", &CANDIDATE, 2, &FORM);
        assert_eq!(chain.head()[..], c0[..]);
        assert_eq!(chain.last_seq(), 0);

        let mut bytes = c0.to_vec();
        bytes.extend_from_slice(&[1, 0, 0, 0]); // seq
        bytes.extend_from_slice(&[7, 0, 0, 0]); // position
        bytes.extend_from_slice(&[1, 4, 0, 0, 0]); // the option shown third
        let c1 = Sha256::digest(&bytes);
        let third = canonical(response(Value::Chosen(4)).as_ref());
        assert_eq!(chain.push(7, &third), 1);
        assert_eq!(chain.head()[..], c1[..]);
        assert_eq!(
            hex::encode(chain.head()),
            "c992b1cbe1710122dfb2995ef2075c2012f869f5eb9c72d1c73bd21340c4bee1",
        );
    }
}
