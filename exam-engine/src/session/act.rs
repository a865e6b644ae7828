//! What organizers do to attempts: more time, the clock stopped and going on, an end, not to count, to run again.
//!
//! Invariant (P5): no action moves a deadline earlier. An action has an id and is applied to an attempt once, so that a call
//! that touches a whole country may be repeated until nothing is left to do. Start at [`Session::act`].

use std::sync::Arc;

use proto::exam::v1::ReasonCode;

use super::{Alarm, Change, EndedBy, Happening, Rules, Session};
use crate::clock::Timestamp;

/// Actions of organizers that a person's record remembers: a handful in practice; each takes 8 bytes. One that is a hundred
/// actions old is not called again.
const MAX_ACTIONS: usize = 100;

/// What is to be done to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// More time for a running attempt.
    Extend {
        /// How much.
        by_ms: u64,
    },
    /// Stop the clock.
    Pause,
    /// Let the clock go on.
    Resume,
    /// End with the answers that are there.
    End,
    /// Not to count; ends a running attempt.
    Void {
        /// The person may sit once more.
        may_retake: bool,
    },
    /// To count again.
    Restore,
    /// To run again.
    Reopen {
        /// Time from now.
        time_ms: u64,
    },
}

impl Action {
    /// Reports whether it may change attempts that have ended.
    #[must_use]
    pub fn touches_ended(self) -> bool {
        matches!(
            self,
            Self::Void { .. } | Self::Restore | Self::Reopen { .. }
        )
    }
}

/// What stands behind an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Chosen by the caller.
    pub action_id: String,
    /// Why, coded.
    pub reason: ReasonCode,
    /// Why, in words.
    pub note: String,
}

impl Cause {
    fn hash(&self) -> u64 {
        let hash = blake3::hash(self.action_id.as_bytes());
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

impl Session {
    /// Decides on an organizer's action. Returns nothing if there is nothing to do: it was applied before, or the attempt is
    /// not in the state that the action is for.
    #[must_use]
    pub fn act(
        &self,
        rules: &Rules,
        action: Action,
        cause: &Arc<Cause>,
        now: Timestamp,
    ) -> Option<Change> {
        let hash = cause.hash();
        if self.progress.actions.contains(&hash) {
            return None;
        }
        let needs_time = matches!(action, Action::Pause | Action::End);
        if needs_time && let Some(expired) = self.expire(rules, now) {
            return Some(expired); // its time was over before the organizer's word, which has nothing left to do
        }
        let mut change = self.decide_action(rules, action, cause, now)?;
        let actions = &mut change.progress.actions;
        if actions.len() >= MAX_ACTIONS {
            actions.remove(0);
        }
        actions.push(hash);
        Some(change)
    }

    fn decide_action(
        &self,
        rules: &Rules,
        action: Action,
        cause: &Arc<Cause>,
        now: Timestamp,
    ) -> Option<Change> {
        match (action, self.running()) {
            (Action::Extend { by_ms }, true) => Some(self.extend(rules, by_ms, cause, now)),
            (Action::Pause, true) if self.progress.paused_at.is_none() => {
                Some(self.pause(rules, cause, now))
            }
            (Action::Resume, true) => self.resume(rules, cause, now),
            (Action::End, true) => Some(self.end_by_organizer(rules, cause, now)),
            (Action::Void { may_retake }, _) if !self.progress.voided => {
                Some(self.void(rules, may_retake, cause, now))
            }
            (Action::Restore, false) if self.progress.voided => Some(self.restore(cause, now)),
            (Action::Reopen { time_ms }, false) if !self.progress.voided => {
                Some(self.reopen(rules, time_ms, cause, now))
            }
            _ => None,
        }
    }

    fn extend(&self, rules: &Rules, by_ms: u64, cause: &Arc<Cause>, now: Timestamp) -> Change {
        // Behind the deadline only late answers are awaited: the time that is given begins now.
        let from = self.progress.paused_at.unwrap_or(now);
        let by_ms = by_ms + from.0.saturating_sub(self.progress.deadline.0);
        let mut change = self.change(now);
        self.roll_sections(rules, &mut change, now);
        change.shift_deadlines(by_ms);
        change.alarm = self.alarm(rules, &change);
        change.happenings.push(Happening::Extended {
            by_ms,
            cause: Arc::clone(cause),
        });
        change
    }

    fn pause(&self, rules: &Rules, cause: &Arc<Cause>, now: Timestamp) -> Change {
        let mut change = self.change(now);
        self.roll_sections(rules, &mut change, now);
        change.progress.paused_at = Some(now);
        change.alarm = self.alarm(rules, &change);
        change.happenings.push(Happening::Paused(Arc::clone(cause)));
        change
    }

    fn resume(&self, rules: &Rules, cause: &Arc<Cause>, now: Timestamp) -> Option<Change> {
        let paused_ms = now.0.saturating_sub(self.progress.paused_at?.0);
        let mut change = self.change(now);
        change.progress.paused_at = None;
        change.shift_deadlines(paused_ms);
        change.alarm = self.alarm(rules, &change);
        change.happenings.push(Happening::Resumed {
            paused_ms,
            cause: Arc::clone(cause),
        });
        Some(change)
    }

    /// A paused attempt ends when its clock was stopped.
    fn end_by_organizer(&self, rules: &Rules, cause: &Arc<Cause>, now: Timestamp) -> Change {
        let ended_at = self
            .progress
            .paused_at
            .unwrap_or(now)
            .min(self.latest_end(rules));
        let mut change = self.end(EndedBy::Organizer, ended_at, now);
        change.happenings = vec![Happening::Ended(Some(Arc::clone(cause)))];
        change
    }

    fn void(&self, rules: &Rules, may_retake: bool, cause: &Arc<Cause>, now: Timestamp) -> Change {
        let mut change = match self.expire(rules, now) {
            Some(expired) => expired,
            None if self.running() => self.end_by_organizer(rules, cause, now),
            None => self.change(now),
        };
        change.progress.voided = true;
        change.progress.may_retake = may_retake;
        change.happenings.push(Happening::Voided(Arc::clone(cause)));
        change
    }

    fn restore(&self, cause: &Arc<Cause>, now: Timestamp) -> Change {
        let mut change = self.change(now);
        change.progress.voided = false;
        change.progress.may_retake = false;
        change
            .happenings
            .push(Happening::Restored(Arc::clone(cause)));
        change
    }

    fn reopen(&self, rules: &Rules, time_ms: u64, cause: &Arc<Cause>, now: Timestamp) -> Change {
        let ended_at = self.progress.ended.map_or(now, |(_, at)| at);
        let idle_ms = now.0.saturating_sub(ended_at.0);
        let mut change = self.change(now);
        // Sections that time closed before the end stay closed; the present one goes on with what it had left.
        self.roll_sections(rules, &mut change, ended_at);
        change.happenings.clear();
        let progress = &mut change.progress;
        progress.ended = None;
        progress.paused_at = None;
        progress.deadline = progress.deadline.max(now.plus_ms(time_ms));
        progress.section_deadline = progress.section_deadline.map(|at| {
            let left_ms = at.0.saturating_sub(ended_at.0);
            now.plus_ms(left_ms.max(time_ms))
        });
        change.alarm = self.alarm(rules, &change);
        change.happenings.push(Happening::Reopened {
            idle_ms,
            cause: Arc::clone(cause),
        });
        change
    }

    fn alarm(&self, rules: &Rules, change: &Change) -> Alarm {
        let paused = change.progress.paused_at.is_some();
        Alarm::Set(if paused {
            Timestamp::NEVER
        } else {
            rules.closes_at(change.progress.deadline)
        })
    }
}

impl Change {
    fn shift_deadlines(&mut self, by_ms: u64) {
        let progress = &mut self.progress;
        progress.deadline = progress.deadline.plus_ms(by_ms);
        progress.section_deadline = progress.section_deadline.map(|at| at.plus_ms(by_ms));
    }
}
