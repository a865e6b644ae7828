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

#[cfg(test)]
mod tests {
    use DifferenceKind as D;
    use proto::exam::v1::{BoardState, Cause, PredictionRuling, Voided, event};

    use super::*;
    use crate::test_exam::TestExam;

    const AUDITOR: [u8; 32] = [0xa0; 32];

    fn audited() -> TestExam {
        let mut exam = TestExam::new();
        let key = SigningKey::from_bytes(&AUDITOR).verifying_key();
        exam.exam.verdict_key = key.as_bytes().to_vec().into();
        exam
    }

    /// Signs the archive as it is and makes its result final.
    fn finalize(exam: &mut TestExam) {
        let verdict = sign_verdict(&exam.archive(), &AUDITOR).unwrap();
        let result_hash = blake3::hash(exam.result.as_bytes());
        exam.decide(Kind::Board(BoardRuling {
            state: BoardState::Final.into(),
            result_hash: result_hash.as_bytes().to_vec().into(),
            verdict: verdict.to_vec().into(),
            ..BoardRuling::default()
        }));
    }

    fn is_refused(exam: &TestExam, key: [u8; 32]) -> bool {
        matches!(
            sign_verdict(&exam.archive(), &key),
            Err(Error::Verdict { .. })
        )
    }

    fn last_board(exam: &mut TestExam) -> &mut BoardRuling {
        match &mut exam.exam.rulings.last_mut().unwrap().kind {
            Some(Kind::Board(board)) => board,
            other => panic!("{other:?}"),
        }
    }

    /// An attempt of a tied person at the end of the ranking, voided behind everything else.
    fn void(exam: &mut TestExam) {
        let last = *exam.events_of(5, 1).last().unwrap();
        let mut entry = exam.log[last].clone();
        entry.event.as_mut().unwrap().kind = Some(event::Kind::Voided(Voided {
            may_retake: false,
            cause: Some(Cause {
                action_id: "x".to_owned(),
                ..Cause::default()
            }),
        }));
        let partition = entry.partition;
        let end = exam
            .log
            .iter()
            .rposition(|other| other.partition == partition)
            .unwrap();
        exam.log.insert(end + 1, entry);
        exam.renumber();
    }

    #[test]
    fn a_verdict_signs_what_the_page_says() {
        let exam = audited();
        let archive = exam.archive();
        let verdict = sign_verdict(&archive, &AUDITOR).unwrap();
        check_verdict(&archive, &verdict).unwrap();
        let dir = exam.write();
        let hash = |file| *blake3::hash(&std::fs::read(dir.path().join(file)).unwrap()).as_bytes();
        let signed = [
            b"khoa-bang verdict v1\x06tuan-1".as_slice(),
            &hash("result.tsv"),
            &hash("log.bin"),
            &hash("exam.bin"),
        ];
        let signature = Signature::from_bytes(&verdict);
        let key = SigningKey::from_bytes(&AUDITOR).verifying_key();
        key.verify_strict(&signed.concat(), &signature).unwrap();
    }

    #[test]
    fn nothing_wrong_is_signed() {
        let mut exam = audited();
        assert!(!is_refused(&exam, AUDITOR));
        assert!(is_refused(&exam, [1; 32]), "another key");
        exam.set_column(7, 0, "99");
        assert!(is_refused(&exam, AUDITOR));
        assert!(
            is_refused(&TestExam::new(), AUDITOR),
            "an exam without an auditor"
        );
    }

    #[test]
    fn a_verdict_is_on_this_archive_only() {
        let exam = audited();
        let verdict = sign_verdict(&exam.archive(), &AUDITOR).unwrap();
        let refused = |change: fn(&mut TestExam)| {
            let mut exam = audited();
            change(&mut exam);
            check_verdict(&exam.archive(), &verdict).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|exam| exam.set_column(7, 0, "99")));
        assert!(refused(void));
        assert!(refused(|exam| exam.rules().grace_ms += 1));
        assert!(refused(|exam| exam.exam.verdict_key = vec![7; 32].into()));
        assert!(refused(|exam| exam.exam.verdict_key.clear()));
        assert!(check_verdict(&exam.archive(), &verdict[..63]).is_err());
    }

    #[test]
    fn a_final_result_has_the_auditors_verdict() {
        let mut exam = audited();
        finalize(&mut exam);
        assert_eq!(exam.kinds(), []);
        last_board(&mut exam).verdict = vec![0; 64].into();
        assert_eq!(exam.kinds(), [D::FinalVerdict]);
        last_board(&mut exam).verdict.clear();
        assert_eq!(exam.kinds(), [D::FinalVerdict]);
        exam.exam.verdict_key.clear();
        assert_eq!(
            exam.kinds(),
            [D::FinalVerdict],
            "no auditor, no final result"
        );
    }

    #[test]
    fn a_final_result_is_the_one_that_was_judged() {
        let mut exam = audited();
        finalize(&mut exam);
        last_board(&mut exam).result_hash = vec![0; 32].into();
        assert_eq!(exam.kinds(), [D::FinalVerdict]);

        let mut exam = audited();
        finalize(&mut exam);
        exam.exam.spec.as_mut().unwrap().title.push('!');
        assert_eq!(exam.kinds(), [D::FinalVerdict], "another exam record");

        let mut exam = audited();
        finalize(&mut exam);
        void(&mut exam);
        exam.write_result();
        assert_eq!(
            exam.kinds(),
            [D::FinalVerdict],
            "somebody is voided behind it"
        );
    }

    #[test]
    fn a_corrected_result_needs_a_verdict_of_its_own() {
        let mut exam = audited();
        finalize(&mut exam);
        void(&mut exam);
        exam.decide(Kind::Prediction(PredictionRuling::default()));
        exam.write_result();
        assert_eq!(exam.kinds(), [], "the old verdict was on another log");
        finalize(&mut exam);
        assert_eq!(exam.kinds(), []);
        let n = exam.exam.rulings.len();
        exam.exam.rulings[n - 2].note = "x".to_owned();
        assert_eq!(
            exam.kinds(),
            [D::RulingChain, D::FinalVerdict, D::ResultHeader]
        );
    }

    #[test]
    fn an_old_verdict_is_checked_while_the_log_is_the_same() {
        let mut exam = audited();
        finalize(&mut exam);
        exam.decide(Kind::Prediction(PredictionRuling::default()));
        exam.write_result();
        assert_eq!(exam.kinds(), []);
        let Some(Kind::Board(board)) = &mut exam.exam.rulings[0].kind else {
            panic!("the first one is final");
        };
        board.verdict = vec![0; 64].into();
        exam.seal_rulings();
        exam.write_result();
        assert_eq!(exam.kinds(), [D::FinalVerdict]);
    }
}
