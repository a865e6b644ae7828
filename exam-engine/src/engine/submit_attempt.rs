//! Ends an attempt on its candidate's word.

use std::sync::Arc;

use super::{Engine, LiveExam, Receipt, Result};
use crate::{
    session::{Chain, Session},
    token::SessionRef,
};

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
    ) -> Result<(Arc<LiveExam>, Receipt, Session)> {
        let exam = self.exam_of(caller)?;
        let decide = |session: &Session| {
            session.check_writer(caller.attempt, caller.epoch)?;
            Ok(session.submit(
                last_seq,
                chain,
                session.alarm_at(&exam.rules),
                self.clock.now(),
            )?)
        };
        let then = |session: &Session| (self.receipt(&exam, session), session.clone());
        let outcome = self.transact(&exam, caller.candidate, decide, then).await;
        let (receipt, session) = self.as_deadline(&exam, caller, outcome).await?;
        Ok((exam, receipt, session))
    }
}
