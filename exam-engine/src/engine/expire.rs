//! Ends attempts whose time is over, within a second, by the store's deadline index.
//!
//! A task for each exam sleeps until the next deadline of the index, or shortly, because other engines add deadlines
//! too. Any engine may end any attempt: the store's version check lets one of them win.

use std::{sync::Arc, time::Duration};

use super::{Engine, LiveExam, Result};
use crate::{clock::Timestamp, id::CandidateId, session::Session};

/// Longest sleep between looks at the index: half of the second within which an attempt must end.
const LONGEST_SLEEP_MS: u64 = 250;
/// Attempts ended in one turn; the next turn follows at once.
const MAX_DUE: usize = 256;

impl Engine {
    /// Runs until dropped: ends attempts of one exam as they become due.
    pub async fn expire_attempts(self: Arc<Self>, exam: Arc<LiveExam>) {
        loop {
            let sleep_ms = self.expire_due(&exam).await.unwrap_or_else(|error| {
                tracing::warn!(exam.id = %exam.id, error = %error, "deadlines not looked at");
                LONGEST_SLEEP_MS
            });
            tokio::time::sleep(Duration::from_millis(sleep_ms)).await;
        }
    }

    /// Ends what is due now; returns how long nothing can become due.
    async fn expire_due(&self, exam: &LiveExam) -> Result<u64> {
        let now = self.clock.now();
        // An alarm stands for its whole millisecond: it is due once that has passed.
        let passed = Timestamp(now.0.saturating_sub(1));
        let (due, next) = self
            .store
            .due(&exam.id, exam.n_partitions, passed, MAX_DUE)
            .await?;
        for candidate in &due {
            self.expire(exam, *candidate).await?;
        }
        if due.len() == MAX_DUE {
            return Ok(0);
        }
        let next_in_ms = next.map_or(LONGEST_SLEEP_MS, |at| at.0.saturating_sub(now.0) + 2);
        Ok(next_in_ms.min(LONGEST_SLEEP_MS))
    }

    async fn expire(&self, exam: &LiveExam, candidate: CandidateId) -> Result<()> {
        exam.forget(candidate); // another engine may have moved the deadline
        let decide = |session: &Session| Ok(session.expire(&exam.rules, self.clock.now()));
        self.transact(exam, candidate, decide, |_| ()).await
    }
}
