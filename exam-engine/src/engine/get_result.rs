//! Tells a candidate the own result, when the exam's policy allows.

use proto::{exam::v1::{ExamState, GetResultResponse, ResultPolicy}, grader::v1::GetStandingRequest};
use tonic::Code;

use super::{Engine, Error, Result};
use crate::token::SessionRef;

impl Engine {
    /// Returns the result of the caller's attempt.
    ///
    /// # Errors
    /// [`Error::ResultNotReady`] while the attempt runs or is not graded, or before the close if the policy says so.
    pub async fn get_result(&self, caller: &SessionRef) -> Result<GetResultResponse> {
        let exam = self.exam_of(caller)?;
        let policy = exam.exam().spec.and_then(|spec| spec.rules).unwrap_or_default().result_policy();
        if policy != ResultPolicy::AtEnd && exam.state() != ExamState::Closed {
            return Err(Error::ResultNotReady);
        }
        let request = self.to_grader(GetStandingRequest {
            exam_id: exam.id.as_str().to_owned(),
            candidate: caller.candidate.0.to_vec().into(),
            attempt: caller.attempt,
        });
        let standing = self.grader().get_standing(request).await.map_err(|status| match status.code() {
            Code::NotFound | Code::FailedPrecondition => Error::ResultNotReady,
            _ => status.into(),
        })?;
        let standing = standing.into_inner();
        let counted = standing.counted.unwrap_or_default();
        Ok(GetResultResponse {
            score: standing.score,
            max_score: standing.max_score,
            n_correct: standing.n_correct,
            n_items: standing.n_items,
            net_time_ms: standing.net_time_ms,
            rank: counted.rank,
            area_rank: standing.area_rank,
            n_ranked: standing.n_ranked,
            counted_attempt: counted.attempt,
        })
    }
}
