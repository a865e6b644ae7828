//! Gives back the time that each candidate lost in an outage.
//!
//! What was lost is read from the log: the candidate's own receipts before, within and behind the outage, without the time in
//! which the clock stood or the attempt was ended. Attempts that still run get it as an extension; those that the deadline has
//! ended since the outage began run again for as long. An outage is declared once it is over, so most of the latter have ended.

use std::{collections::BTreeMap, sync::Arc};

use proto::exam::v1::{EndedBy as WireEndedBy, Event, event::Kind};

use super::{
    Engine, LiveExam, Result,
    act_on_attempts::{Decision, Scope},
};
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
    /// Attempts that lost nothing, or have it back already.
    pub n_unaffected: u64,
    /// Attempts that could not be changed.
    pub n_failed: u64,
    /// Longest time given back.
    pub longest_ms: u64,
    /// All time given back.
    pub total_ms: u64,
}

/// What one candidate lost in the newest attempt.
#[derive(Clone, Copy)]
struct Loss {
    attempt: u32,
    reopens: bool,
    lost_ms: u64,
}

impl Engine {
    /// Extends or reopens the attempts that an outage touched; a dry run only counts.
    ///
    /// # Errors
    /// If there is no such exam, its result is final, or its log cannot be read.
    pub async fn compensate_outage(
        &self,
        exam_id: &str,
        scope: &Scope,
        outage: Outage,
        cause: Cause,
        dry_run: bool,
    ) -> Result<Compensated> {
        let exam = self.published(exam_id)?;
        exam.check_not_final()?;
        let losses = self.losses(&exam, scope, &outage).await?;
        let (mut given, cause) = (Compensated::default(), Arc::new(cause));
        given.n_unaffected = losses.values().filter(|loss| loss.lost_ms == 0).count() as u64;
        for reopens in [false, true] {
            let group = losses
                .iter()
                .filter(|(_, loss)| loss.lost_ms > 0 && loss.reopens == reopens)
                .map(|(candidate, _)| *candidate);
            let decide = |candidate: CandidateId, session: &Session| {
                let loss = losses[&candidate];
                if session.head.attempt != loss.attempt {
                    return Decision::Nothing; // a newer one has begun since
                }
                let time_ms = loss.lost_ms;
                let action = match session.progress.ended {
                    None => Action::Extend { by_ms: time_ms },
                    Some((EndedBy::Deadline, _)) => Action::Reopen { time_ms },
                    Some(_) => return Decision::Nothing, // submitted in the meantime
                };
                session
                    .act(&exam.rules, action, &cause, self.clock.now())
                    .into()
            };
            let acted = self
                .change_each(&exam, group.collect(), decide, dry_run)
                .await;
            for candidate in &acted.changed {
                let lost_ms = losses[candidate].lost_ms;
                given.longest_ms = given.longest_ms.max(lost_ms);
                given.total_ms += lost_ms;
            }
            let n = if reopens {
                &mut given.n_reopened
            } else {
                &mut given.n_extended
            };
            *n = acted.changed.len() as u64;
            given.n_unaffected += acted.n_unchanged;
            given.n_failed += acted.n_failed;
        }
        Ok(given)
    }

    /// Returns what each candidate lost.
    async fn losses(
        &self,
        exam: &LiveExam,
        scope: &Scope,
        outage: &Outage,
    ) -> Result<BTreeMap<CandidateId, Loss>> {
        let mut seen: BTreeMap<CandidateId, Seen> = BTreeMap::new();
        self.read_events(exam, |candidate, event| {
            let fits = !matches!(scope, Scope::Candidate(wanted) if *wanted != candidate);
            if fits {
                see(&mut seen, scope, outage, candidate, &event);
            }
        })
        .await?;
        let now = self.clock.now();
        let loss = |(candidate, seen): (CandidateId, Seen)| {
            seen.loss(outage, now).map(|loss| (candidate, loss))
        };
        Ok(seen.into_iter().filter_map(loss).collect())
    }
}

/// The newest attempt of one candidate, as the log tells it.
struct Seen {
    attempt: u32,
    deadline: Timestamp,
    lost: LostTime,
    stands: Stands,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Running,
    Paused,
    /// By the deadline, and when.
    Ended(bool, Timestamp),
}

impl Seen {
    fn loss(self, outage: &Outage, now: Timestamp) -> Option<Loss> {
        let (reopens, lost_ms) = match self.stands {
            // Behind the deadline nobody works, even if late answers are still awaited.
            Stands::Running => (false, self.lost.until(outage, now.min(self.deadline))),
            Stands::Paused => (false, self.lost.so_far()),
            Stands::Ended(true, at) if at >= outage.from => (true, self.lost.so_far()),
            Stands::Ended(..) => return None,
        };
        Some(Loss {
            attempt: self.attempt,
            reopens,
            lost_ms,
        })
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
    let Some(kind) = &event.kind else { return };
    if let Kind::Started(started) = kind {
        seen.remove(&candidate);
        if scope.holds(&started.area, started.unit) {
            let started = Seen {
                attempt: event.attempt,
                deadline: Timestamp(started.deadline_ms),
                lost: LostTime::from_start(at),
                stands: Stands::Running,
            };
            seen.insert(candidate, started);
        }
        return;
    }
    let known = seen.get_mut(&candidate);
    let Some(known) = known.filter(|known| known.attempt == event.attempt) else {
        return;
    };
    match kind {
        // only the candidate's own doings are signs of a line
        Kind::Answered(_) | Kind::TakenOver(_) | Kind::Flagged(_) => known.lost.receipt(outage, at),
        Kind::SectionEntered(entered) if entered.entered_at_ms == event.at_ms => {
            known.lost.receipt(outage, at);
        }
        Kind::Extended(extended) => known.deadline = Timestamp(extended.deadline_ms),
        Kind::Paused(_) => {
            known.lost.receipt(outage, at);
            known.stands = Stands::Paused;
        }
        Kind::Resumed(resumed) => {
            known.lost.skip_to(at);
            known.deadline = Timestamp(resumed.deadline_ms);
            known.stands = Stands::Running;
        }
        Kind::Ended(ended) => {
            let ended_at = Timestamp(ended.ended_at_ms);
            if known.stands == Stands::Running {
                known.lost.receipt(outage, ended_at);
            }
            known.stands = Stands::Ended(ended.by() == WireEndedBy::Deadline, ended_at);
        }
        Kind::Reopened(reopened) => {
            known.lost.skip_to(at);
            known.deadline = Timestamp(reopened.deadline_ms);
            known.stands = Stands::Running;
        }
        Kind::Started(_) | Kind::SectionEntered(_) | Kind::Voided(_) | Kind::Restored(_) => {}
    }
}
