//! Stores answers and proves it.

use super::{Engine, Error, LiveExam, Result, SessionState, Trust};
use crate::{
    clock::Timestamp,
    session::{self, Chain, NewAnswer, Session},
    store::{self, Durability},
    token::{ReceiptFacts, SessionRef},
};

/// Answers in one message: what a phone gathers in a tunnel; more would delay others.
pub const MAX_ANSWERS: usize = 32;

/// Proof that answers are stored.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// All answers up to this number.
    pub seq: u32,
    /// Head of the chain there.
    pub chain: Chain,
    /// When it was given.
    pub at: Timestamp,
    /// How durable they are.
    pub durability: Durability,
    /// HMAC-SHA256 (docs/FORMATS.md, section 3).
    pub mac: [u8; 32],
}

impl Engine {
    /// Stores a candidate's answers; returns once they are durable.
    ///
    /// # Errors
    /// The first answer at fault, the deadline, another device, or the store; then nothing of the message is stored, or
    /// sending it again finds out.
    pub async fn save_answers(
        &self,
        caller: &SessionRef,
        answers: &[NewAnswer],
        flags: Option<&[u8]>,
    ) -> Result<(Receipt, SessionState)> {
        if answers.len() > MAX_ANSWERS {
            return Err(Error::TooManyAnswers);
        }
        let exam = self.exam_of(caller)?;
        let shape = |index| exam.shape(index);
        let decide = |session: &Session| {
            session.check_writer(caller.attempt, caller.epoch)?;
            Ok(session.save_answers(&exam.rules, shape, answers, flags, self.clock.now())?)
        };
        let saved = self
            .transact(&exam, caller.candidate, Trust::Memory, decide, |session| {
                (self.receipt(&exam, session), self.state(&exam, session))
            })
            .await;
        self.as_deadline(&exam, caller, saved).await
    }

    pub(super) fn receipt(&self, exam: &LiveExam, session: &Session) -> Receipt {
        let (at, durability) = (self.clock.now(), self.store.durability());
        let mac = self.signer.receipt_mac(&ReceiptFacts {
            exam: &exam.id,
            candidate: session.candidate,
            attempt: session.head.attempt,
            seq: session.progress.last_seq,
            chain: &session.progress.chain,
            at,
            durability,
        });
        Receipt {
            seq: session.progress.last_seq,
            chain: session.progress.chain,
            at,
            durability,
            mac,
        }
    }

    /// The store's clock may refuse what this engine's clock allowed; to the candidate that is the deadline.
    pub(super) async fn as_deadline<T>(
        &self,
        exam: &LiveExam,
        caller: &SessionRef,
        outcome: Result<T>,
    ) -> Result<T> {
        match outcome {
            Err(Error::Store(store::Error::TooLate)) => {
                let session = self
                    .load(exam, &exam.key(caller.candidate))
                    .await?
                    .ok_or(Error::Token)?;
                Err(session::Error::DeadlinePassed {
                    deadline: session.progress.deadline,
                }
                .into())
            }
            other => other,
        }
    }
}
