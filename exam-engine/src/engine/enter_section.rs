//! Leaves a timed section for the next one.

use super::{Engine, Result, SessionState, Trust};
use crate::{
    session::{Chain, Session},
    token::SessionRef,
};

impl Engine {
    /// Begins the next section; one that has begun already is begun again without effect.
    ///
    /// # Errors
    /// If the device holds other answers than are stored, the section is not the next one, or the attempt stands or is over.
    pub async fn enter_section(
        &self,
        caller: &SessionRef,
        section: u32,
        last_seq: u32,
        chain: Option<Chain>,
    ) -> Result<SessionState> {
        let exam = self.exam_of(caller)?;
        let decide = |session: &Session| {
            session.check_writer(caller.attempt, caller.epoch)?;
            Ok(session.enter_section(&exam.rules, section, last_seq, chain, self.clock.now())?)
        };
        let state = self
            .transact(&exam, caller.candidate, Trust::Memory, decide, |session| {
                self.state(&exam, session)
            })
            .await;
        self.as_deadline(&exam, caller, state).await
    }
}
