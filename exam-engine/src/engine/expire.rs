//! Ends attempts whose time is over, within a second, by the store's deadline index.
//!
//! A task for each exam sleeps until the next deadline of the index, or shortly, because other engines add deadlines
//! too. Any engine may end any attempt: the store's version check lets one of them win.

use std::{sync::Arc, time::Duration};

use proto::exam::v1::ExamState;

use super::{Engine, LiveExam, Result};
use crate::{clock::Timestamp, session::Session};

/// Longest sleep between looks at the index: half of the second within which an attempt must end.
const LONGEST_SLEEP_MS: u64 = 250;
/// Sleep while nobody works in a closed exam; one that is reopened gets at least a second.
const CLOSED_SLEEP_MS: u64 = 1_000;
/// Commits of endings on their way at once: a batch of the embedded store takes 1,024, and answers come in between.
pub(super) const MAX_AT_ONCE: usize = 256;
/// Attempts ended in one turn; the next turn follows at once.
const MAX_DUE: usize = 256;

impl Engine {
    /// Ends attempts of one exam as they become due; of a closed one too, since attempts may be reopened.
    pub async fn expire_attempts(self: Arc<Self>, exam: Arc<LiveExam>) {
        loop {
            let sleep_ms = match self.expire_due(&exam).await {
                Ok(Some(sleep_ms)) => sleep_ms,
                Ok(None) if exam.state() == ExamState::Closed => {
                    exam.forget_all();
                    CLOSED_SLEEP_MS
                }
                Ok(None) => LONGEST_SLEEP_MS,
                Err(error) => {
                    tracing::debug!(exam.id = %exam.id, error = %error, "deadlines not looked at");
                    LONGEST_SLEEP_MS
                }
            };
            tokio::time::sleep(Duration::from_millis(sleep_ms)).await;
        }
    }

    /// Ends what is due now; returns how long nothing can become due, or nothing if nobody works.
    async fn expire_due(&self, exam: &LiveExam) -> Result<Option<u64>> {
        let now = self.clock.now();
        // An alarm stands for its whole millisecond: it is due once that has passed.
        let passed = Timestamp(now.0.saturating_sub(1));
        let (due, next) = self
            .store
            .due(&exam.id, exam.n_partitions, passed, MAX_DUE)
            .await?;
        let all = due.len() == MAX_DUE;
        let end = |_, session: &Session| session.expire(&exam.rules, self.clock.now()).into();
        let ended = self.change_each(exam, due, end, false).await;
        if ended.n_failed > 0 {
            return Ok(Some(LONGEST_SLEEP_MS)); // what cannot be ended now stays in the index
        }
        if all {
            return Ok(Some(0));
        }
        Ok(next.map(|at| (at.0.saturating_sub(now.0) + 2).min(LONGEST_SLEEP_MS)))
    }
}
