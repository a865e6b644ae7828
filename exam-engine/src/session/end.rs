//! How an attempt ends, and who ended it.

use super::{Alarm, Chain, Change, Error, Happening, Rules, Session};
use crate::clock::Timestamp;

/// Who or what ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The candidate submitted.
    Candidate,
    /// The deadline passed.
    Deadline,
    /// An organizer ended it.
    Organizer,
}

impl Session {
    /// Decides on a submission. Nothing is to be committed if the candidate has submitted already.
    ///
    /// # Errors
    /// [`Error::SubmitMismatch`] if the device holds other answers than are stored, [`Error::Ended`] if somebody else
    /// ended the attempt, [`Error::DeadlinePassed`].
    pub fn submit(
        &self,
        last_seq: u32,
        chain: Option<Chain>,
        latest: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        let Self { progress, .. } = self;
        let same =
            last_seq == progress.last_seq && chain.is_none_or(|chain| chain == progress.chain);
        match progress.ended {
            Some((EndedBy::Candidate, _)) if same => return Ok(None),
            Some((by, _)) => return Err(Error::Ended { by }),
            None => {}
        }
        if !same {
            // Other answers under the same numbers: the device starts over from the first.
            let expected_seq = if last_seq > progress.last_seq {
                progress.last_seq + 1
            } else {
                1
            };
            return Err(Error::SubmitMismatch { expected_seq });
        }
        if now > latest {
            return Err(Error::DeadlinePassed {
                deadline: progress.deadline,
            });
        }
        let mut change = self.end(EndedBy::Candidate, now, now);
        change.not_after = Some(latest);
        Ok(Some(change))
    }

    /// Ends the attempt on an organizer's word; one whose time is over already ends by its deadline all the same.
    ///
    /// Returns nothing if it has ended already.
    #[must_use]
    pub fn end_by_organizer(&self, rules: &Rules, now: Timestamp) -> Option<Change> {
        let is_in_time = self.running() && now <= self.alarm_at(rules);
        if is_in_time {
            return Some(self.end(EndedBy::Organizer, now, now));
        }
        self.expire(rules, now)
    }

    pub(super) fn end(&self, by: EndedBy, ended_at: Timestamp, now: Timestamp) -> Change {
        let mut change = self.change(now);
        change.progress.ended = Some((by, ended_at));
        change.alarm = Alarm::Clear;
        change.happenings.push(Happening::Ended);
        change
    }
}
