//! Who may start when, how many attempts there are, and how another device takes a running attempt over.

use std::sync::Arc;

use question_bank::paper::Paper;

use super::{Alarm, Change, EndedBy, Error, Happening, Head, Progress, Session, first_chain};
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
}

impl Rules {
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

    /// Returns the number of the next attempt and of the attempts in its round, or why there is none.
    fn next_attempt(&self, prior: Option<&Session>, round: Round) -> Result<(u32, u32), Error> {
        let attempt = prior.map_or(1, |session| session.head.attempt + 1);
        let in_round = prior
            .filter(|session| session.head.round == round.round)
            .map_or(1, |session| session.head.attempts_in_round + 1);
        for (wanted, limit) in [
            (attempt, self.attempts_in_all),
            (in_round, self.attempts_per_round),
            (attempt, MAX_ATTEMPTS),
        ] {
            if limit != 0 && wanted > limit {
                return Err(Error::AttemptsExhausted { limit });
            }
        }
        Ok((attempt, in_round))
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
        let (attempt, attempts_in_round) = rules.next_attempt(prior, round)?;
        let paper = Arc::new(draw(attempt)?);
        let head = Head {
            attempt,
            round: round.round,
            attempts_in_round,
            area: ticket.area.clone(),
            unit: ticket.unit,
            started_at: now,
            form_code: paper.form_code,
        };
        let progress = Progress {
            epoch: 1,
            deadline: now.plus_ms(rules.duration_ms),
            last_seq: 0,
            chain: first_chain(exam, ticket.candidate, attempt, &paper.form_code),
            ended: None,
        };
        let session = Self {
            candidate: ticket.candidate,
            version: prior.map_or(0, |session| session.version),
            answers: vec![None; paper.entries.len()],
            head: head.clone(),
            progress,
            paper,
        };
        let change = Change {
            // A start between the last moment of a round and its commit is refused: the round was over.
            not_after: Some(Timestamp(round.closes_at.0 - 1)),
            new_head: Some(head),
            alarm: Alarm::Set(session.alarm_at(rules)),
            happenings: vec![Happening::Started],
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
        change.not_after = Some(self.alarm_at(rules));
        change.progress.epoch += 1;
        change.happenings.push(Happening::TakenOver);
        Ok(change)
    }

    /// Returns the instant after which nothing is accepted: the deadline and its grace.
    #[must_use]
    pub fn alarm_at(&self, rules: &Rules) -> Timestamp {
        self.progress.deadline.plus_ms(rules.grace_ms)
    }

    /// Ends the attempt because its time is over.
    ///
    /// Returns nothing if it has ended already or time is left.
    #[must_use]
    pub fn expire(&self, rules: &Rules, now: Timestamp) -> Option<Change> {
        let over = self.running() && now > self.alarm_at(rules);
        over.then(|| self.end(EndedBy::Deadline, self.progress.deadline, now))
    }
}
