//! Closes an exam, and signs the codes that let people in.

use std::sync::Arc;

use directory::area::Edition;
use proto::exam::v1::{Exam, ExamState, ReasonCode};

use super::{Engine, Error, LiveExam, Result};
use crate::{
    session::{Action, Cause, Session, Ticket},
    store,
};

/// Codes in one message.
pub const MAX_CODES: usize = 1_000;
/// Codes stay good this long after the last round, for results and complaints.
const CODE_LIFE_MS: u64 = 30 * 86_400_000;

impl Engine {
    /// Lets no further attempt start; ends running ones now if asked. A closed exam stays closed and may be asked again.
    ///
    /// # Errors
    /// [`Error::ExamState`] if the exam was never open, or the store.
    pub async fn close_exam(&self, exam_id: &str, end_running: bool) -> Result<(Exam, u64)> {
        let live = self.published(exam_id)?;
        let exam = self.shut(&live).await?;
        let n_ended = if end_running {
            self.end_running(&live).await?
        } else {
            0
        };
        Ok((exam, n_ended))
    }

    /// Returns once no process can start an attempt any more.
    async fn shut(&self, live: &LiveExam) -> Result<Exam> {
        let _writing = self.exams.begin_write().await?;
        let mut exam = live.exam().as_ref().clone();
        match exam.state() {
            ExamState::Closed => {}
            ExamState::Open => {
                exam.state = ExamState::Closed.into();
                self.exams.save(&exam, None).await?;
            }
            state => return Err(Error::ExamState { state }),
        }
        self.exams.settle(live.id.as_str()).await; // also if an earlier call was broken off while it waited
        Ok(exam)
    }

    async fn end_running(&self, exam: &LiveExam) -> Result<u64> {
        let cause = Arc::new(Cause {
            action_id: format!("close-{}", self.clock.now().0),
            reason: ReasonCode::Other,
            note: "kỳ thi đóng / the exam is closed".to_owned(),
        });
        let mut n_ended = 0;
        loop {
            let working = self.working(exam).await?;
            if working.is_empty() {
                return Ok(n_ended);
            }
            let end = |_, session: &Session| {
                session
                    .act(&exam.rules, Action::End, &cause, self.clock.now())
                    .into()
            };
            let ended = self.change_each(exam, working, end, false).await;
            n_ended += ended.changed.len() as u64;
            if ended.n_failed > 0 {
                let what = format!("{} attempts cannot be ended", ended.n_failed);
                return Err(store::Error::Unavailable(what).into());
            }
        }
    }

    /// Signs access codes.
    ///
    /// # Errors
    /// [`Error::AreaUnknown`], [`Error::Invalid`] for more than 1,000 persons.
    pub fn issue_codes(&self, exam_id: &str, persons: &[Ticket]) -> Result<Vec<String>> {
        if persons.is_empty() || persons.len() > MAX_CODES {
            return Err(Error::Invalid {
                field: "persons",
                what: "1 đến 1.000 người / 1 to 1,000 persons".to_owned(),
            });
        }
        let live = self.published(exam_id)?;
        let exam = live.exam();
        let rules = exam.spec.as_ref().and_then(|spec| spec.rules.as_ref());
        let rules = rules.ok_or(Error::ExamNotFound)?;
        let edition = Edition::parse(&rules.map_edition).ok_or(Error::ExamNotFound)?;
        let closes_at_ms = rules.rounds.last().map_or(0, |round| round.closes_at_ms);
        let last_second = u32::try_from((closes_at_ms + rules.duration_ms + CODE_LIFE_MS) / 1_000)
            .expect("rounds end before the year 2100");
        let issue = |ticket: &Ticket| {
            edition
                .area(&ticket.area)
                .ok_or_else(|| Error::AreaUnknown {
                    area: ticket.area.clone(),
                })?;
            Ok(self.signer.issue_code(live.id.tag(), ticket, last_second))
        };
        persons.iter().map(issue).collect()
    }
}
