//! An organizer's action on one candidate, a unit, a province or everybody.
//!
//! Each attempt is changed by a commit of its own, as if its candidate had done it, so nothing stops while an action runs.
//! An action that broke off is called again with the same id and goes on where it stopped. A running client hears of it
//! with its next reply or poll.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::{StreamExt, stream};
use proto::exam::v1::{Event, event::Kind};

use super::{Engine, Error, LiveExam, MAX_ENTRIES, Result, expire::MAX_AT_ONCE};
use crate::{
    clock::Timestamp,
    id::CandidateId,
    session::{Action, Cause, Change, Session},
};

/// Attempts running at once in one exam: 16 bytes each in the list that an action makes.
const MAX_RUNNING: usize = 4_000_000;

/// Whose attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One candidate.
    Candidate(CandidateId),
    /// One unit.
    Unit(u32),
    /// One area.
    Area(String),
    /// Everybody.
    Everybody,
}

impl Scope {
    pub(super) fn holds(&self, area: &str, unit: u32) -> bool {
        match self {
            Self::Candidate(_) | Self::Everybody => true,
            Self::Unit(wanted) => *wanted == unit,
            Self::Area(wanted) => wanted == area,
        }
    }
}

/// What became of the attempts of a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// Changed, or would be.
    pub n_changed: u64,
    /// Needed no change.
    pub n_unchanged: u64,
    /// Could not be changed.
    pub n_failed: u64,
}

impl Engine {
    /// Acts on the newest attempt of everybody in the scope; a dry run only counts.
    ///
    /// # Errors
    /// If there is no such exam, or the store does not tell who is working.
    pub async fn act_on_attempts(
        &self,
        exam_id: &str,
        scope: &Scope,
        action: Action,
        cause: Cause,
        dry_run: bool,
    ) -> Result<Acted> {
        let exam = self.published(exam_id)?;
        let cause = Arc::new(cause);
        let candidates = match scope {
            Scope::Candidate(candidate) => vec![*candidate],
            _ if action.touches_ended() => self.everybody(&exam).await?,
            _ => self.working(&exam).await?,
        };
        let decide = |_: CandidateId, session: &Session| {
            if !scope.holds(&session.head.area, session.head.unit) {
                return Ok(None);
            }
            Ok(session.act(&exam.rules, action, &cause, self.clock.now())?)
        };
        Ok(self.change_each(&exam, candidates, decide, dry_run).await)
    }

    /// Returns everybody whose attempt runs, paused ones too: they are all in the deadline index.
    pub(super) async fn working(&self, exam: &LiveExam) -> Result<Vec<CandidateId>> {
        let (working, _) = self
            .store
            .due(
                &exam.id,
                exam.n_partitions,
                Timestamp(u64::MAX),
                MAX_RUNNING,
            )
            .await?;
        Ok(working)
    }

    /// Returns everybody who ever started. Reads the whole log, a second or so for a million entries.
    async fn everybody(&self, exam: &LiveExam) -> Result<Vec<CandidateId>> {
        let mut seen = BTreeSet::new();
        self.read_events(exam, |candidate, event| {
            if matches!(event.kind, Some(Kind::Started(_))) {
                seen.insert(candidate);
            }
        })
        .await?;
        Ok(seen.into_iter().collect())
    }

    /// Shows every event of the log, in order within a candidate.
    pub(super) async fn read_events(
        &self,
        exam: &LiveExam,
        mut see: impl FnMut(CandidateId, Event) + Send,
    ) -> Result<()> {
        let mut after = vec![0; exam.n_partitions as usize];
        loop {
            let batch = self.read_log(exam, &mut after).await?;
            let n_entries = batch.entries.len();
            for event in batch.entries.into_iter().filter_map(|entry| entry.event) {
                if let Some(candidate) = CandidateId::from_slice(&event.candidate) {
                    see(candidate, event);
                }
            }
            if n_entries < MAX_ENTRIES {
                return Ok(());
            }
        }
    }

    /// Changes many attempts at once, so that they share syncs. One that cannot be read must not keep the others waiting.
    pub(super) async fn change_each(
        &self,
        exam: &LiveExam,
        candidates: Vec<CandidateId>,
        decide: impl Fn(CandidateId, &Session) -> Result<Option<Change>> + Send + Sync,
        dry_run: bool,
    ) -> Acted {
        let (decide, n_changed) = (&decide, &AtomicU64::new(0));
        let n_all = candidates.len() as u64;
        let attempts = candidates.into_iter().map(|candidate| async move {
            exam.forget(candidate); // another engine may have gone on with it
            let changes = AtomicBool::new(false);
            let decide = |session: &Session| {
                let change = decide(candidate, session)?;
                changes.store(change.is_some(), Ordering::Relaxed);
                Ok(change.filter(|_| !dry_run))
            };
            let outcome = self.transact(exam, candidate, decide, |_| ()).await;
            match outcome {
                Ok(()) if changes.into_inner() => {
                    n_changed.fetch_add(1, Ordering::Relaxed);
                    false
                }
                Ok(()) | Err(Error::Token) => false, // nobody of this name has started
                Err(error) => {
                    tracing::error!(exam.id = %exam.id, error = %error, "attempt not changed");
                    true
                }
            }
        });
        let failed = stream::iter(attempts).buffer_unordered(MAX_AT_ONCE);
        let n_failed = failed
            .filter(|failed| std::future::ready(*failed))
            .count()
            .await as u64;
        let n_changed = n_changed.load(Ordering::Relaxed);
        Acted {
            n_changed,
            n_unchanged: n_all - n_changed - n_failed,
            n_failed,
        }
    }
}
