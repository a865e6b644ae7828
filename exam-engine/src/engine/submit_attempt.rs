//! Ends an attempt on its candidate's word.

use std::sync::Arc;

use super::{Engine, LiveExam, Receipt, Result, Trust};
use crate::{
    session::{Chain, Session},
    token::{ReceiptFacts, SessionRef},
};

/// A submitted attempt.
pub struct Submitted {
    /// Its exam.
    pub exam: Arc<LiveExam>,
    /// Proof for the device.
    pub receipt: Receipt,
    /// The attempt.
    pub session: Session,
    /// Proof for everybody.
    pub slip: String,
}

impl Engine {
    /// Ends the attempt; a repeated submission gets the same answer.
    ///
    /// # Errors
    /// If the device holds other answers than are stored, the attempt was ended by somebody else, or the store.
    pub async fn submit_attempt(
        &self,
        caller: &SessionRef,
        last_seq: u32,
        chain: Option<Chain>,
    ) -> Result<Submitted> {
        let exam = self.exam_of(caller)?;
        let decide = |session: &Session| {
            session.check_writer(caller.attempt, caller.epoch)?;
            Ok(session.submit(&exam.rules, last_seq, chain, self.clock.now())?)
        };
        let then = |session: &Session| (self.receipt(&exam, session), session.clone());
        let outcome = self
            .transact(&exam, caller.candidate, Trust::Memory, decide, then)
            .await;
        let (receipt, session) = self.as_deadline(&exam, caller, outcome).await?;
        let slip = self.slip(&exam, &session);
        Ok(Submitted {
            exam,
            receipt,
            session,
            slip,
        })
    }

    fn slip(&self, exam: &LiveExam, session: &Session) -> String {
        let ended_at = session
            .progress
            .ended
            .map_or(self.clock.now(), |(_, at)| at);
        self.signer.slip(
            &session.head.form_code,
            &ReceiptFacts {
                exam: &exam.id,
                candidate: session.candidate,
                attempt: session.head.attempt,
                seq: session.progress.last_seq,
                chain: &session.progress.chain,
                at: ended_at,
                durability: self.store.durability(),
            },
        )
    }
}
