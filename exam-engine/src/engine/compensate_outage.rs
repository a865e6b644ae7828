//! Gives back the time that each candidate lost in an outage.
//!
//! What was lost is read from the log: the candidate's own receipts before, within and behind the outage. Attempts that
//! still run get it as an extension; those whose deadline fell into the outage run again for as long.

use std::collections::BTreeMap;

use proto::exam::v1::{Event, event::Kind};

use super::{Engine, LiveExam, Result, act_on_attempts::Scope};
use crate::{
    clock::Timestamp,
    id::CandidateId,
    session::{Action, Cause, EndedBy, LostTime, Outage, Session},
};

/// What was given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compensated {
    /// Running attempts with more time.
    pub n_extended: u64,
    /// Attempts running again.
    pub n_reopened: u64,
    /// Attempts that lost nothing.
    pub n_unaffected: u64,
    /// Attempts that could not be changed.
    pub n_failed: u64,
    /// Longest time given back.
    pub longest_ms: u64,
    /// All time given back.
    pub total_ms: u64,
}

/// The newest attempt of one candidate, as the log tells it.
struct Seen {
    attempt: u32,
    lost: LostTime,
    /// By the deadline, and when.
    ended: Option<(bool, Timestamp)>,
}

impl Engine {
    /// Extends or reopens the attempts that an outage touched; a dry run only counts.
    ///
    /// # Errors
    /// If there is no such exam, or its log cannot be read.
    pub async fn compensate_outage(
        &self,
        exam_id: &str,
        scope: &Scope,
        outage: Outage,
        cause: Cause,
        dry_run: bool,
    ) -> Result<Compensated> {
        let exam = self.published(exam_id)?;
        let lost = self.lost_times(&exam, scope, &outage).await?;
        let (mut result, cause) = (Compensated::default(), std::sync::Arc::new(cause));
        result.n_unaffected = lost.values().filter(|(_, lost_ms)| *lost_ms == 0).count() as u64;
        for reopen in [false, true] {
            let group: Vec<CandidateId> = lost
                .iter()
                .filter(|(_, (reopens, lost_ms))| *lost_ms > 0 && *reopens == reopen)
                .map(|(candidate, _)| *candidate)
                .collect();
            for candidate in &group {
                let lost_ms = lost[candidate].1;
                result.longest_ms = result.longest_ms.max(lost_ms);
                result.total_ms += lost_ms;
            }
            let decide = |candidate: CandidateId, session: &Session| {
                let lost_ms = lost[&candidate].1;
                let action = match session.progress.ended {
                    None => Action::Extend { by_ms: lost_ms },
                    Some((EndedBy::Deadline, _)) => Action::Reopen { time_ms: lost_ms },
                    Some(_) => return Ok(None), // submitted in the meantime
                };
                Ok(session.act(&exam.rules, action, &cause, self.clock.now())?)
            };
            let acted = self.change_each(&exam, group, decide, dry_run).await;
            let n = if reopen {
                &mut result.n_reopened
            } else {
                &mut result.n_extended
            };
            *n = acted.n_changed;
            result.n_unaffected += acted.n_unchanged;
            result.n_failed += acted.n_failed;
        }
        Ok(result)
    }

    /// Returns what each candidate lost, and whether the attempt has to run again for it.
    async fn lost_times(
        &self,
        exam: &LiveExam,
        scope: &Scope,
        outage: &Outage,
    ) -> Result<BTreeMap<CandidateId, (bool, u64)>> {
        let mut seen: BTreeMap<CandidateId, Seen> = BTreeMap::new();
        self.read_events(exam, |candidate, event| {
            let fits = !matches!(scope, Scope::Candidate(wanted) if *wanted != candidate);
            if fits {
                see(&mut seen, scope, outage, candidate, &event);
            }
        })
        .await?;
        let now = self.clock.now();
        let lost = |(candidate, seen): (CandidateId, Seen)| {
            let found = match seen.ended {
                None => Some((false, seen.lost.until(outage, now))),
                Some((true, at)) if (outage.from..=outage.to).contains(&at) => {
                    Some((true, seen.lost.until(outage, at)))
                }
                Some(_) => None,
            };
            found.map(|found| (candidate, found))
        };
        Ok(seen.into_iter().filter_map(lost).collect())
    }
}

fn see(
    seen: &mut BTreeMap<CandidateId, Seen>,
    scope: &Scope,
    outage: &Outage,
    candidate: CandidateId,
    event: &Event,
) {
    let at = Timestamp(event.at_ms);
    let known = seen
        .get_mut(&candidate)
        .filter(|known| known.attempt == event.attempt);
    match (&event.kind, known) {
        (Some(Kind::Started(started)), _) => {
            if scope.holds(&started.area, started.unit) {
                let lost = LostTime::from_start(at);
                seen.insert(
                    candidate,
                    Seen {
                        attempt: event.attempt,
                        lost,
                        ended: None,
                    },
                );
            } else {
                seen.remove(&candidate);
            }
        }
        (Some(Kind::Ended(ended)), Some(known)) => {
            let by_deadline = ended.by() == proto::exam::v1::EndedBy::Deadline;
            known.ended = Some((by_deadline, Timestamp(ended.ended_at_ms)));
        }
        (Some(Kind::Reopened(_)), Some(known)) => known.ended = None,
        // only the candidate's own doings are signs of a line
        (Some(Kind::Answered(_) | Kind::TakenOver(_) | Kind::Flagged(_)), Some(known)) => {
            known.lost.receipt(outage, at)
        }
        _ => {}
    }
}
