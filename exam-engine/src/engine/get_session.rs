//! Gives a device everything it needs to go on after a reload, and tells a running one what has changed.

use std::sync::Arc;

use super::{Engine, LiveExam, Result, Trust};
use crate::{
    clock::Timestamp,
    session::{EndedBy, Session},
    token::SessionRef,
};

/// What organizer and clock have done to a session; rides on every reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// When time is over.
    pub deadline: Timestamp,
    /// The clock stands.
    pub paused: bool,
    /// Who ended it.
    pub ended_by: Option<EndedBy>,
    /// It does not count.
    pub voided: bool,
    /// Present section.
    pub section: u16,
    /// When its time is over.
    pub section_deadline: Option<Timestamp>,
}

impl Engine {
    /// Returns the caller's session as stored.
    ///
    /// # Errors
    /// If another device has taken over, or a newer attempt has begun.
    pub async fn get_session(&self, caller: &SessionRef) -> Result<(Arc<LiveExam>, Session)> {
        let exam = self.exam_of(caller)?;
        let decide = |session: &Session| {
            session.check_writer(caller.attempt, caller.epoch)?;
            Ok(None)
        };
        let session = self
            .transact(
                &exam,
                caller.candidate,
                Trust::Store,
                decide,
                Session::clone,
            )
            .await?;
        Ok((exam, session))
    }

    /// Returns what organizer and clock have done to the caller's session, and the number of its next answer. Answered from
    /// memory where this engine holds the session: devices ask every few seconds.
    ///
    /// # Errors
    /// As [`Engine::get_session`].
    pub async fn poll_session(&self, caller: &SessionRef) -> Result<(SessionState, u32)> {
        let exam = self.exam_of(caller)?;
        let decide = |session: &Session| {
            session.check_writer(caller.attempt, caller.epoch)?;
            Ok(None)
        };
        self.transact(&exam, caller.candidate, Trust::Memory, decide, |session| {
            (self.state(&exam, session), session.progress.last_seq + 1)
        })
        .await
    }

    pub(crate) fn state(&self, exam: &LiveExam, session: &Session) -> SessionState {
        let (section, section_deadline) = session.section_at(&exam.rules, self.clock.now());
        SessionState {
            deadline: session.progress.deadline,
            paused: session.progress.paused_at.is_some(),
            ended_by: session.progress.ended.map(|(by, _)| by),
            voided: session.progress.voided,
            section,
            section_deadline,
        }
    }
}
