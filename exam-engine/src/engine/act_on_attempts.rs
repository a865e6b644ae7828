//! An organizer's action on one candidate, a unit, a province or everybody.
//!
//! Each attempt is changed by a commit of its own, as if its candidate had done it, so nothing stops while an action runs.
//! An action that broke off is called again with the same id and goes on where it stopped. A running client hears of it
//! with its next reply or poll.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, stream};
use proto::exam::v1::{Event, event::Kind};

use super::{Engine, Error, LiveExam, Result, Trust, expire::MAX_AT_ONCE};
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// Whose attempt changed, or would.
    pub changed: Vec<CandidateId>,
    /// Attempts of the scope that needed no change.
    pub n_unchanged: u64,
    /// Attempts that could not be changed.
    pub n_failed: u64,
}

/// What is to become of one attempt.
pub(super) enum Decision {
    /// It is none of the scope.
    Outside,
    /// Nothing.
    Nothing,
    /// This.
    Change(Box<Change>),
}

impl From<Option<Change>> for Decision {
    fn from(change: Option<Change>) -> Self {
        change.map_or(Self::Nothing, |change| Self::Change(Box::new(change)))
    }
}

impl Engine {
    /// Acts on the newest attempt of everybody in the scope, or only on those with this number; a dry run only counts.
    ///
    /// # Errors
    /// If there is no such exam, its result is final, or the store does not tell who is working.
    pub async fn act_on_attempts(
        &self,
        exam_id: &str,
        scope: &Scope,
        attempt: Option<u32>,
        action: Action,
        cause: Cause,
        dry_run: bool,
    ) -> Result<Acted> {
        let exam = self.published(exam_id)?;
        exam.check_not_final()?;
        let cause = Arc::new(cause);
        let candidates = match scope {
            Scope::Candidate(candidate) => vec![*candidate],
            _ if action.touches_ended() => self.everybody(&exam).await?,
            _ => self.working(&exam).await?,
        };
        let decide = |_: CandidateId, session: &Session| {
            let head = &session.head;
            let is_meant = attempt.is_none_or(|attempt| attempt == head.attempt);
            if !is_meant || !scope.holds(&head.area, head.unit) {
                return Decision::Outside;
            }
            session
                .act(&exam.rules, action, &cause, self.clock.now())
                .into()
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
        let mut goal: Option<Vec<u64>> = None;
        loop {
            let batch = self.read_log(exam, &mut after).await?;
            for event in batch.entries.into_iter().filter_map(|entry| entry.event) {
                if let Some(candidate) = CandidateId::from_slice(&event.candidate) {
                    see(candidate, event);
                }
            }
            // A batch may be short without being the last one; what comes meanwhile is not waited for.
            let goal = goal.get_or_insert(batch.ends);
            if after
                .iter()
                .zip(goal.iter())
                .all(|(after, end)| after >= end)
            {
                return Ok(());
            }
        }
    }

    /// Changes many attempts at once, so that they share syncs. One that cannot be read must not keep the others waiting.
    pub(super) async fn change_each(
        &self,
        exam: &LiveExam,
        candidates: Vec<CandidateId>,
        decide: impl Fn(CandidateId, &Session) -> Decision + Send + Sync,
        dry_run: bool,
    ) -> Acted {
        let decide = &decide;
        let attempts = candidates.into_iter().map(|candidate| async move {
            let became = Mutex::new(Became::Outside);
            let decide = |session: &Session| {
                let (outcome, change) = match decide(candidate, session) {
                    Decision::Outside => (Became::Outside, None),
                    Decision::Nothing => (Became::Unchanged, None),
                    Decision::Change(change) => (Became::Changed, Some(*change)),
                };
                *became.lock().expect("no panic under this lock") = outcome;
                Ok(change.filter(|_| !dry_run))
            };
            // Another engine may have gone on with it.
            let outcome = self
                .transact(exam, candidate, Trust::Store, decide, |_| ())
                .await;
            let became = match outcome {
                Ok(()) => became.into_inner().expect("no panic under this lock"),
                Err(Error::Token) => Became::Outside, // nobody of this name has started
                Err(error) => {
                    tracing::error!(exam.id = %exam.id, error = %error, "attempt not changed");
                    Became::Failed
                }
            };
            (candidate, became)
        });
        let mut acted = Acted::default();
        let mut done = stream::iter(attempts).buffer_unordered(MAX_AT_ONCE);
        while let Some((candidate, became)) = done.next().await {
            match became {
                Became::Changed => acted.changed.push(candidate),
                Became::Unchanged => acted.n_unchanged += 1,
                Became::Failed => acted.n_failed += 1,
                Became::Outside => {}
            }
        }
        acted
    }
}

#[derive(Clone, Copy)]
enum Became {
    Changed,
    Unchanged,
    Outside,
    Failed,
}
