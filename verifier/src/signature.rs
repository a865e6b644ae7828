//! The auditor's verdict: a signature over result, log and exam as the archive holds them.
//!
//! Invariant: nothing is signed in which a difference was found. Source: `docs/FORMATS.md`, section 11.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use proto::exam::v1::{BoardRuling, ruling::Kind};

use crate::{Archive, DifferenceKind, Error, difference::Differences, verify};

/// Signs that the archive's result follows from its log, with the private half of the exam's `verdict_key`.
///
/// # Errors
/// Those of [`verify`]; [`Error::Verdict`] if a difference was found or the key is not the exam's.
pub fn sign_verdict(archive: &Archive, signing_key: &[u8; 32]) -> Result<[u8; 64], Error> {
    let key = SigningKey::from_bytes(signing_key);
    if archive.exam.verdict_key != key.verifying_key().as_bytes()[..] {
        return Err(refused("the exam names another verdict key"));
    }
    let verdict = verify(archive)?;
    if !verdict.ok() {
        let n = verdict.n_differences;
        return Err(refused(format!("the archive has {n} differences")));
    }
    Ok(key.sign(&signed_bytes(archive)).to_bytes())
}

/// Checks an auditor's verdict on the archive as it stands.
///
/// # Errors
/// [`Error::Verdict`].
pub fn check_verdict(archive: &Archive, verdict: &[u8]) -> Result<(), Error> {
    check(&archive.exam.verdict_key, &signed_bytes(archive), verdict).map_err(refused)
}

/// Checks a ruling that made a result final: it stands on the exam as it was before that ruling.
pub(crate) fn check_final(
    archive: &Archive,
    index: usize,
    place: &str,
    board: &BoardRuling,
    differences: &mut Differences,
) {
    let kind = DifferenceKind::FinalVerdict;
    let mut later = archive.exam.rulings.iter().skip(index + 1);
    let is_newest_result = later.all(|ruling| matches!(ruling.kind, Some(Kind::Board(_))));
    if is_newest_result {
        let hash = blake3::hash(&archive.result);
        let at = format_args!("{place}, result");
        differences.compare_bytes(kind, at, hash.as_bytes(), &board.result_hash);
    }
    if !is_newest_result && !has_whole_log(archive, index) {
        return; // signed over a log that has grown since
    }
    let exam = archive.exam_before(index);
    let checked = exam
        .ok_or("the rulings do not stand together")
        .and_then(|exam| {
            let signed = bytes(archive, &board.result_hash, &exam);
            check(&archive.exam.verdict_key, &signed, &board.verdict)
        });
    if let Err(what) = checked {
        differences.push(kind, format_args!("{place}, verdict"), "a verdict", what);
    }
}

/// Tells whether nothing happened since a ruling.
fn has_whole_log(archive: &Archive, ruling: usize) -> bool {
    let positions = (0_u32..).zip(&archive.exam.rulings[ruling].positions);
    let end = |partition| archive.log_ends.get(&partition).copied().unwrap_or(0);
    positions
        .into_iter()
        .all(|(partition, position)| end(partition) == *position)
}

fn check(key: &[u8], signed: &[u8], signature: &[u8]) -> Result<(), &'static str> {
    let key: [u8; 32] = key
        .try_into()
        .map_err(|_| "the exam's verdict key has no 32 bytes")?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| "the exam's verdict key is none")?;
    let signature = Signature::from_slice(signature).map_err(|_| "it has no 64 bytes")?;
    key.verify_strict(signed, &signature)
        .map_err(|_| "it was not signed with the exam's verdict key, or over something else")
}

fn signed_bytes(archive: &Archive) -> Vec<u8> {
    let result_hash = blake3::hash(&archive.result);
    bytes(archive, result_hash.as_bytes(), &archive.exam_bytes)
}

fn bytes(archive: &Archive, result_hash: &[u8], exam: &[u8]) -> Vec<u8> {
    let id = archive.spec.exam_id.as_bytes();
    [
        b"khoa-bang verdict v1",
        &[u8::try_from(id.len()).unwrap_or(u8::MAX)][..], // ids have at most 40 characters
        id,
        result_hash,
        &archive.log_hash,
        blake3::hash(exam).as_bytes(),
    ]
    .concat()
}

fn refused(what: impl Into<String>) -> Error {
    Error::Verdict { what: what.into() }
}
