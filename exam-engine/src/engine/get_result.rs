//! Tells a candidate the own result, when the exam's policy allows.

use std::time::Duration;

use proto::{
    exam::v1::{BoardState, Correction, ExamState, GetResultResponse, ResultPolicy},
    grader::v1::{GetStandingRequest, GetStandingResponse},
};
use tonic::Code;

use super::{Engine, Error, Result, Trust};
use crate::{session::Session, token::SessionRef};

/// The grader is some 50 ms behind; a candidate who asks right after submitting waits this often for this long.
const GRADER_TRIES: u32 = 10;
const GRADER_PAUSE: Duration = Duration::from_millis(50);

impl Engine {
    /// Returns the result of the caller's attempt.
    ///
    /// # Errors
    /// [`Error::ResultNotReady`] while the attempt runs or is not graded, or before the close if the policy says so.
    pub async fn get_result(&self, caller: &SessionRef) -> Result<GetResultResponse> {
        let exam = self.exam_of(caller)?;
        let policy = {
            let exam = exam.exam();
            let rules = exam.spec.as_ref().and_then(|spec| spec.rules.as_ref());
            rules.map_or(ResultPolicy::AfterClose, |rules| rules.result_policy())
        };
        if policy != ResultPolicy::AtEnd && exam.state() != ExamState::Closed {
            return Err(Error::ResultNotReady);
        }
        let is_running =
            |session: &Session| session.running() && session.head.attempt == caller.attempt;
        if self
            .transact(
                &exam,
                caller.candidate,
                Trust::Memory,
                |_| Ok(None),
                is_running,
            )
            .await?
        {
            return Err(Error::ResultNotReady);
        }
        let request = GetStandingRequest {
            exam_id: exam.id.as_str().to_owned(),
            candidate: caller.candidate.0.to_vec().into(),
            attempt: caller.attempt,
            public: true,
        };
        let standing = self.standing(request).await?;
        let counted = standing.counted.clone().unwrap_or_default();
        let board = exam.board();
        Ok(GetResultResponse {
            score: standing.score.clone(),
            max_score: standing.max_score.clone(),
            n_correct: standing.n_correct,
            n_items: standing.n_items,
            net_time_ms: standing.net_time_ms,
            rank: counted.rank,
            area_rank: standing.area_rank,
            n_ranked: standing.n_ranked,
            counted_attempt: counted.attempt,
            passed: standing.passed,
            corrections: corrections(&standing),
            frozen: board == BoardState::Frozen,
            r#final: board == BoardState::Final,
        })
    }

    /// Waits a moment for a grader that has not folded the end of the attempt yet.
    async fn standing(&self, request: GetStandingRequest) -> Result<GetStandingResponse> {
        let mut tries = 0;
        loop {
            match self
                .grader()
                .get_standing(self.to_grader(request.clone()))
                .await
            {
                Ok(standing) => return Ok(standing.into_inner()),
                Err(status)
                    if !matches!(status.code(), Code::NotFound | Code::FailedPrecondition) =>
                {
                    return Err(status.into());
                }
                Err(_) if tries == GRADER_TRIES => return Err(Error::ResultNotReady),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(GRADER_PAUSE).await;
        }
    }
}

/// Returns the decisions that changed a score after its attempt had ended.
fn corrections(standing: &GetStandingResponse) -> Vec<Correction> {
    let pairs = standing.scores.iter().zip(standing.scores.iter().skip(1));
    pairs
        .filter(|(before, after)| before.score != after.score && after.at_ms > standing.ended_at_ms)
        .map(|(before, after)| Correction {
            at_ms: after.at_ms,
            note: after.note.clone(),
            score_before: before.score.clone(),
            score_after: after.score.clone(),
        })
        .collect()
}
