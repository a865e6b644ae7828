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
    /// ended the attempt, [`Error::DeadlinePassed`], [`Error::Paused`].
    pub fn submit(
        &self,
        rules: &Rules,
        last_seq: u32,
        chain: Option<Chain>,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        let same = self.check_answers(last_seq, chain);
        match self.progress.ended {
            Some((EndedBy::Candidate, _)) if same.is_ok() => return Ok(None),
            Some((by, _)) => return Err(Error::Ended { by }),
            None => same?,
        }
        self.check_time(rules, now)?;
        let ended_at = now.min(self.latest_end(rules));
        let mut change = self.end(EndedBy::Candidate, ended_at, now);
        change.not_after = Some(self.closes_at(rules));
        Ok(Some(change))
    }

    /// Checks that the device holds the answers that are stored.
    pub(super) fn check_answers(&self, last_seq: u32, chain: Option<Chain>) -> Result<(), Error> {
        let progress = &self.progress;
        if last_seq == progress.last_seq && chain.is_none_or(|chain| chain == progress.chain) {
            return Ok(());
        }
        // Other answers under the same numbers: the device starts over from the first.
        let expected_seq = if last_seq > progress.last_seq {
            progress.last_seq + 1
        } else {
            1
        };
        Err(Error::SubmitMismatch { expected_seq })
    }

    /// Checks that the attempt runs, its clock goes, and something may still be accepted.
    pub(super) fn check_time(&self, rules: &Rules, now: Timestamp) -> Result<(), Error> {
        if let Some((by, _)) = self.progress.ended {
            return Err(Error::Ended { by });
        }
        if self.progress.paused_at.is_some() {
            return Err(Error::Paused);
        }
        if now > self.closes_at(rules) {
            return Err(Error::DeadlinePassed {
                deadline: self.progress.deadline,
            });
        }
        Ok(())
    }

    /// Returns the latest instant that an attempt may count as ended at: what came later was made before.
    pub(super) fn latest_end(&self, rules: &Rules) -> Timestamp {
        self.progress.deadline.plus_ms(rules.grace_ms)
    }

    pub(super) fn end(&self, by: EndedBy, ended_at: Timestamp, now: Timestamp) -> Change {
        let mut change = self.change(now);
        change.progress.ended = Some((by, ended_at));
        change.progress.paused_at = None;
        change.alarm = Alarm::Clear;
        change.happenings.push(Happening::Ended(None));
        change
    }
}
