//! Decisions on an exam since its publication: the newest of each kind is in force.
//!
//! Invariant: the chain is whole; a [`Package`](crate::Package) is made with what is in force, so that folds under
//! the same decisions are equal. Source: docs/FORMATS.md section 11.

use bytes::Bytes;
use prost::Message;
use proto::exam::v1::{BoardRuling, BoardState, Exam, Ruling, ruling::Kind};

use crate::{
    error::{Error, Result},
    id::CandidateId,
};

/// Most persons left out: organizers, authors and the secretariat; an exam record stays small.
const MAX_EXCLUDED: usize = 10_000;

/// What is in force.
#[derive(Clone, Debug, Default)]
pub struct Rulings {
    /// Hashes of the key halves so far; the last one is in force.
    pub key_hashes: Vec<Bytes>,
    /// The quantity that was to be predicted, and its definition.
    pub prediction: Option<(u64, String)>,
    /// Who is left out, by rising id.
    pub excluded: Vec<CandidateId>,
    /// What is shown.
    pub board: Option<BoardRuling>,
    /// Number of rulings that concern the result.
    pub n_on_result: u32,
    /// Hash of the last of them.
    pub last_on_result: Option<[u8; 32]>,
    /// Number of all rulings.
    pub n_all: u32,
    /// Hash of the last one.
    pub last: Option<[u8; 32]>,
}

impl Rulings {
    /// Returns the hash of the key half in force.
    #[must_use]
    pub fn key_hash(&self) -> &[u8] {
        self.key_hashes.last().map_or(&[], |hash| hash)
    }

    /// Reads the decisions of an exam.
    ///
    /// # Errors
    /// [`Error::RulingInvalid`] for one that does not follow from the one before it, or says nothing.
    pub fn read(exam: &Exam) -> Result<Self> {
        let mut rulings = Self {
            key_hashes: vec![exam.key_hash.clone()],
            ..Self::default()
        };
        let mut previous = None;
        for (number, ruling) in (1..).zip(&exam.rulings) {
            let follows = ruling.number == number
                && *ruling.previous == *previous.as_ref().map_or(&[][..], |hash: &[u8; 32]| hash);
            let hash = hash(ruling);
            (follows && rulings.take(ruling, hash).is_some())
                .then_some(())
                .ok_or(Error::RulingInvalid { number })?;
            previous = Some(hash);
            rulings.n_all = number;
        }
        rulings.last = previous;
        Ok(rulings)
    }

    fn take(&mut self, ruling: &Ruling, hash: [u8; 32]) -> Option<()> {
        match ruling.kind.as_ref()? {
            Kind::Key(key) => self.key_hashes.push(key.key_hash.clone()),
            Kind::Prediction(prediction) => {
                self.prediction = Some((prediction.quantity, prediction.definition.clone()));
            }
            Kind::Exclusion(exclusion) => {
                let ids = exclusion.candidates.iter();
                let ids: Option<Vec<CandidateId>> =
                    ids.map(|id| CandidateId::try_from(&**id).ok()).collect();
                let ids = ids.filter(|ids| ids.len() <= MAX_EXCLUDED)?;
                ids.windows(2).all(|pair| pair[0] < pair[1]).then_some(())?;
                self.excluded = ids;
            }
            Kind::Board(board) => {
                (board.state() != BoardState::Unspecified).then_some(())?;
                self.board = Some(board.clone());
                return Some(());
            }
        }
        self.n_on_result += 1;
        self.last_on_result = Some(hash);
        Some(())
    }
}

/// Returns the hash by which the next ruling names this one.
#[must_use]
pub fn hash(ruling: &Ruling) -> [u8; 32] {
    *blake3::hash(&ruling.encode_to_vec()).as_bytes()
}

/// Appends a decision to an exam: its number and the hash of the one before are set here.
pub fn append(exam: &mut Exam, mut ruling: Ruling) {
    ruling.number = exam.rulings.last().map_or(0, |last| last.number) + 1;
    ruling.previous = exam
        .rulings
        .last()
        .map(|last| hash(last).to_vec().into())
        .unwrap_or_default();
    exam.rulings.push(ruling);
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::{ExclusionRuling, KeyRuling, PredictionRuling};

    use super::*;

    fn ruling(kind: Kind) -> Ruling {
        Ruling {
            kind: Some(kind),
            ..Ruling::default()
        }
    }

    fn exam() -> Exam {
        let mut exam = Exam {
            key_hash: vec![1; 32].into(),
            ..Exam::default()
        };
        let key = |byte: u8| KeyRuling {
            key_version: 2,
            key_hash: vec![byte; 32].into(),
            item_ids: vec![1],
        };
        append(&mut exam, ruling(Kind::Key(key(2))));
        append(
            &mut exam,
            ruling(Kind::Prediction(PredictionRuling {
                quantity: 457_428,
                definition: "số người dự thi".to_owned(),
            })),
        );
        append(
            &mut exam,
            ruling(Kind::Exclusion(ExclusionRuling {
                candidates: vec![vec![1; 16].into(), vec![2; 16].into()],
            })),
        );
        append(&mut exam, ruling(Kind::Key(key(3))));
        exam
    }

    #[test]
    fn the_newest_of_each_kind_is_in_force() {
        let rulings = Rulings::read(&exam()).unwrap();
        assert_eq!(*rulings.key_hashes[2], [3; 32]);
        assert_eq!(rulings.prediction.unwrap().0, 457_428);
        assert_eq!((rulings.excluded.len(), rulings.n_on_result), (2, 4));
        assert_eq!(Rulings::read(&Exam::default()).unwrap().n_on_result, 0);
    }

    #[test]
    fn a_chain_with_a_ruling_changed_or_taken_out_is_refused() {
        let refused = |change: fn(&mut Exam)| {
            let mut exam = exam();
            change(&mut exam);
            match Rulings::read(&exam) {
                Err(Error::RulingInvalid { number }) => number,
                other => panic!("must be refused: {other:?}"),
            }
        };
        assert_eq!(refused(|exam| drop(exam.rulings.remove(1))), 2);
        assert_eq!(refused(|exam| exam.rulings[0].note = "x".to_owned()), 2);
        assert_eq!(refused(|exam| exam.rulings.swap(2, 3)), 3);
        assert_eq!(refused(|exam| exam.rulings[3].kind = None), 4);
        assert_eq!(refused(|exam| exam.rulings[0].number = 2), 1);
    }

    #[test]
    fn a_list_that_is_not_in_order_is_refused() {
        let mut exam = Exam::default();
        let candidates = vec![vec![2; 16].into(), vec![2; 16].into()];
        append(
            &mut exam,
            ruling(Kind::Exclusion(ExclusionRuling { candidates })),
        );
        assert!(Rulings::read(&exam).is_err());
    }
}
