//! Who may start when, how many attempts there are, and how another device takes a running attempt over.

use std::sync::Arc;

use question_bank::paper::Paper;

use super::{
    Alarm, Change, EndedBy, Error, Happening, Head, Origin, Progress, SectionRule, Session,
    first_chain,
};
use crate::{
    clock::Timestamp,
    id::{CandidateId, ExamId},
};

/// Attempts of one person where the rules set no limit; graders number them with 16 bits.
const MAX_ATTEMPTS: u32 = 65_535;
/// Devices of one attempt: a phone that loses its page takes a new one each time, and a program gone wild fills a disk.
const MAX_DEVICES: u32 = 1_000;

/// One scored period; half open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// From 1.
    pub round: u32,
    /// First instant of starts.
    pub opens_at: Timestamp,
    /// First instant without starts.
    pub closes_at: Timestamp,
}

/// What the rules of a sitting need of an exam's rules.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Time for an attempt.
    pub duration_ms: u64,
    /// Answers are still accepted this long after the deadline.
    pub grace_ms: u64,
    /// Answers that a device says it made in time are accepted this long after the deadline.
    pub late_sync_ms: u64,
    /// Answers before the newest one are closed.
    pub forward_only: bool,
    /// In paper order.
    pub sections: Vec<SectionRule>,
    /// In order.
    pub rounds: Vec<Round>,
    /// 0 is no limit.
    pub attempts_per_round: u32,
    /// 0 is no limit.
    pub attempts_in_all: u32,
}

/// What an access code says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The person.
    pub candidate: CandidateId,
    /// Area code.
    pub area: String,
    /// Unit number, 0 for none.
    pub unit: u32,
    /// More time than the rules give.
    pub accommodation: Accommodation,
}

/// More time than the rules give, for a need that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accommodation {
    /// Time in percent of the rules' duration, 100 to 400.
    pub time_percent: u16,
    /// Minutes on top, at most 240.
    pub extra_minutes: u16,
}

impl Default for Accommodation {
    fn default() -> Self {
        Self {
            time_percent: 100,
            extra_minutes: 0,
        }
    }
}

impl Accommodation {
    /// Returns the time for an attempt.
    #[must_use]
    pub fn allotted_ms(self, duration_ms: u64) -> u64 {
        duration_ms * u64::from(self.time_percent) / 100 + u64::from(self.extra_minutes) * 60_000
    }

    /// Returns the time for a part of an attempt: minutes on top are shared out by length.
    #[must_use]
    pub fn stretch(self, part_ms: u64, duration_ms: u64) -> u64 {
        // both factors are below 2^30 milliseconds, so their product fits
        part_ms * self.allotted_ms(duration_ms) / duration_ms.max(1)
    }
}

impl Rules {
    /// Returns the instant after which nothing is accepted, by the deadline.
    #[must_use]
    pub fn closes_at(&self, deadline: Timestamp) -> Timestamp {
        deadline.plus_ms(self.grace_ms.max(self.late_sync_ms))
    }

    fn round_at(&self, now: Timestamp) -> Result<Round, Error> {
        let running = |round: &&Round| round.opens_at <= now && now < round.closes_at;
        self.rounds
            .iter()
            .find(running)
            .copied()
            .ok_or_else(|| Error::NotOpen {
                next_opens_at: self
                    .rounds
                    .iter()
                    .map(|round| round.opens_at)
                    .find(|opens_at| *opens_at > now),
            })
    }

    /// Returns the number of the next attempt, of the attempts in its round, and the retakes given so far in all and in the
    /// round, or why there is none.
    fn next_attempt(
        &self,
        prior: Option<&Session>,
        round: Round,
    ) -> Result<(u32, u32, (u32, u32)), Error> {
        let attempt = prior.map_or(1, |session| session.head.attempt + 1);
        let in_same_round = prior.filter(|session| session.head.round == round.round);
        let in_round = in_same_round.map_or(1, |session| session.head.attempts_in_round + 1);
        let given = |session: &Session| u32::from(session.progress.may_retake);
        let retakes = (
            prior.map_or(0, |session| session.head.retakes.0 + given(session)),
            in_same_round.map_or(0, |session| session.head.retakes.1 + given(session)),
        );
        for (wanted, limit) in [
            (attempt - retakes.0, self.attempts_in_all),
            (in_round - retakes.1, self.attempts_per_round),
            (attempt, MAX_ATTEMPTS),
        ] {
            if limit != 0 && wanted > limit {
                return Err(Error::AttemptsExhausted { limit });
            }
        }
        Ok((attempt, in_round, retakes))
    }

    /// Returns the time for an attempt: all sections' own, if each has one.
    fn allotted_ms(&self, accommodation: Accommodation) -> u64 {
        if self.sections.is_empty() || self.sections.iter().any(|section| section.time_ms == 0) {
            return accommodation.allotted_ms(self.duration_ms);
        }
        let stretch =
            |section: &SectionRule| accommodation.stretch(section.time_ms, self.duration_ms);
        self.sections.iter().map(stretch).sum()
    }
}

impl Session {
    /// Starts an attempt behind `prior`, the person's newest one, which must have ended. Returns the session as it will
    /// be and the change to commit.
    ///
    /// # Errors
    /// [`Error::NotOpen`] between rounds, [`Error::AttemptsExhausted`], and whatever the draw refuses as `E`.
    pub fn start<E: From<Error>>(
        exam: &ExamId,
        rules: &Rules,
        prior: Option<&Self>,
        ticket: &Ticket,
        now: Timestamp,
        draw: impl FnOnce(u32) -> Result<Paper, E>,
    ) -> Result<(Self, Change), E> {
        let round = rules.round_at(now)?;
        let (attempt, attempts_in_round, retakes) = rules.next_attempt(prior, round)?;
        let paper = Arc::new(draw(attempt)?);
        let head = Head {
            attempt,
            round: round.round,
            attempts_in_round,
            area: ticket.area.clone(),
            unit: ticket.unit,
            started_at: now,
            form_code: paper.form_code,
            accommodation: ticket.accommodation,
            retakes,
        };
        let progress = Progress {
            epoch: 1,
            deadline: now.plus_ms(rules.allotted_ms(ticket.accommodation)),
            last_seq: 0,
            chain: first_chain(exam, ticket.candidate, attempt, &paper.form_code),
            ended: None,
            paused_at: None,
            section: 0,
            section_began: now,
            section_deadline: None,
            closed: Vec::new(),
            furthest: 0,
            flags: Vec::new(),
            n_flaggings: 0,
            voided: false,
            may_retake: false,
            // An action that is called again must not reach the attempt that it made room for.
            actions: prior
                .map(|prior| prior.progress.actions.clone())
                .unwrap_or_default(),
        };
        let mut session = Self {
            candidate: ticket.candidate,
            version: prior.map_or(0, |session| session.version),
            answers: vec![None; paper.entries.len()],
            head: head.clone(),
            progress,
            paper,
        };
        session.progress.section_deadline = session.section_deadline(rules, 0, now);
        let change = Change {
            // A start between the last moment of a round and its commit is refused: the round was over.
            not_after: Some(Timestamp(round.closes_at.0 - 1)),
            new_head: Some(head),
            alarm: Alarm::Set(session.closes_at(rules)),
            happenings: vec![Happening::Started(Origin::default())],
            ..session.change(now)
        };
        Ok((session, change))
    }

    /// Gives the running attempt to the caller's device; older ones may not write any more.
    ///
    /// # Errors
    /// [`Error::Ended`] if nothing runs, [`Error::AttemptsExhausted`] after a thousand devices.
    pub fn take_over(&self, rules: &Rules, now: Timestamp) -> Result<Change, Error> {
        if let Some((by, _)) = self.progress.ended {
            return Err(Error::Ended { by });
        }
        if self.progress.epoch >= MAX_DEVICES {
            return Err(Error::AttemptsExhausted { limit: MAX_DEVICES });
        }
        let mut change = self.change(now);
        change.not_after = Some(self.closes_at(rules));
        change.progress.epoch += 1;
        change.happenings.push(Happening::TakenOver);
        Ok(change)
    }

    /// Returns the instant after which nothing is accepted: never while the clock stands.
    #[must_use]
    pub fn closes_at(&self, rules: &Rules) -> Timestamp {
        match self.progress.paused_at {
            Some(_) => Timestamp::NEVER,
            None => rules.closes_at(self.progress.deadline),
        }
    }

    /// Ends the attempt because its time is over.
    ///
    /// Returns nothing if it has ended already or time is left.
    #[must_use]
    pub fn expire(&self, rules: &Rules, now: Timestamp) -> Option<Change> {
        let over = self.running() && now > self.closes_at(rules);
        over.then(|| self.end(EndedBy::Deadline, self.progress.deadline, now))
    }
}
