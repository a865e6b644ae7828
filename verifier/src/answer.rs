//! The canonical bytes of a response and the chain over the answers of an attempt.
//!
//! Source: `docs/FORMATS.md`, section 3.

use proto::exam::v1::{Response, response::Value};
use sha2::{Digest, Sha256};

use crate::archive::StoredAnswer;

/// Returns a response as the chain hashes it.
pub(crate) fn canonical(response: &Response) -> Vec<u8> {
    match &response.value {
        None => vec![0],
        Some(Value::Chosen(bits)) => tagged(1, &bits.to_le_bytes()),
        Some(Value::Text(text)) => tagged(2, text.as_bytes()),
        Some(Value::Sequence(sequence)) => tagged(3, sequence),
    }
}

fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag], bytes].concat()
}

/// Returns the head of the chain over the answers, which stand by rising seq.
pub(crate) fn chain_head<'a>(
    exam_id: &str,
    candidate: &[u8; 16],
    attempt: u32,
    form_code: &[u8; 8],
    answers: impl IntoIterator<Item = &'a StoredAnswer>,
) -> [u8; 32] {
    let length = u8::try_from(exam_id.len()).unwrap_or(u8::MAX); // ids have at most 40 characters
    let start = Sha256::new()
        .chain_update(b"khoa-bang chain v1")
        .chain_update([length])
        .chain_update(exam_id)
        .chain_update(candidate)
        .chain_update(attempt.to_le_bytes())
        .chain_update(form_code)
        .finalize();
    let link = |head: [u8; 32], answer: &StoredAnswer| {
        let next = Sha256::new()
            .chain_update(head)
            .chain_update(answer.seq.to_le_bytes())
            .chain_update(answer.position.to_le_bytes())
            .chain_update(canonical(&answer.response))
            .finalize();
        next.into()
    };
    answers.into_iter().fold(start.into(), link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(value: Option<Value>) -> Response {
        Response { value }
    }

    #[test]
    fn each_kind_of_response_has_its_own_bytes() {
        assert_eq!(canonical(&response(None)), [0]);
        assert_eq!(
            canonical(&response(Some(Value::Chosen(0)))),
            [1, 0, 0, 0, 0]
        );
        assert_eq!(
            canonical(&response(Some(Value::Chosen(0x0102)))),
            [1, 2, 1, 0, 0]
        );
        assert_eq!(
            canonical(&response(Some(Value::Text("é".to_owned())))),
            [2, 0xc3, 0xa9]
        );
        let sequence = Value::Sequence(vec![2, 0, 1].into());
        assert_eq!(canonical(&response(Some(sequence))), [3, 2, 0, 1]);
    }

    // The expected heads were computed with Python's hashlib from the page alone.
    #[test]
    fn the_chain_is_the_one_of_the_page() {
        let answers = [
            StoredAnswer {
                seq: 1,
                position: 0,
                response: response(Some(Value::Chosen(4))),
            },
            StoredAnswer {
                seq: 2,
                position: 3,
                response: response(None),
            },
        ];
        let head = |n| {
            hex::encode(chain_head(
                "tuan-1",
                &[7; 16],
                2,
                b"formcode",
                &answers[..n],
            ))
        };
        assert_eq!(
            head(0),
            "cf6f14e826c172b58b8c27c57c04f2e5eb41c083cd0b48de19d4c90a57f0d31b"
        );
        assert_eq!(
            head(1),
            "c066311168e001b18120bb1a8fc545da5d4371b27ddd008942f1e44801e8dca0"
        );
        assert_eq!(
            head(2),
            "6d385bced91aa2760f2606c3dfc46a6dc1b09f1c399514db69d0d7aa594d0257"
        );
    }
}
