//! Gives a device everything it needs to go on after a reload.

use std::sync::Arc;

use super::{Engine, LiveExam, Result};
use crate::{session::Session, token::SessionRef};

impl Engine {
    /// Returns the caller's session as stored.
    ///
    /// # Errors
    /// If another device has taken over, or a newer attempt has begun.
    pub async fn get_session(&self, caller: &SessionRef) -> Result<(Arc<LiveExam>, Session)> {
        let exam = self.exam_of(caller)?;
        exam.forget(caller.candidate); // another engine may have gone on with it
        let decide = |session: &Session| {
            session.check_writer(caller.attempt, caller.epoch)?;
            Ok(None)
        };
        let session = self
            .transact(&exam, caller.candidate, decide, Session::clone)
            .await?;
        Ok((exam, session))
    }
}
