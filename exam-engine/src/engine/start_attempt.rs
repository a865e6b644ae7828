//! Starts an attempt, or gives a running one to the caller's device.

use std::{net::IpAddr, sync::Arc};

use proto::exam::v1::ExamState;

use super::{Engine, Error, LiveExam, MAX_TRIES, Result};
use crate::{
    session::{self, Change, Happening, Session, Ticket},
    store::{self, encode_change},
    token::SessionRef,
};

/// A running attempt and the right to write to it.
pub struct StartedAttempt {
    /// To be sent with every later call.
    pub token: String,
    /// The attempt.
    pub session: Session,
    /// Its exam.
    pub exam: Arc<LiveExam>,
    /// It was running already.
    pub resumed: bool,
}

/// Where a call came from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// Network address, if it stands for one caller.
    pub address: Option<IpAddr>,
    /// The id that the device has chosen for itself; empty for none.
    pub device_id: &'a str,
}

impl Engine {
    /// Starts an attempt for the holder of an access code, at its turn; `slot_token` keeps the place, empty for none.
    /// A running attempt goes on at once: its time runs. Where the call came from goes into the log, hashed.
    ///
    /// # Errors
    /// The code, the exam's state, the rounds, the number of attempts, the order of starts, or the store.
    pub async fn start_attempt(
        &self,
        access_code: &str,
        slot_token: &str,
        from: &Origin<'_>,
    ) -> Result<StartedAttempt> {
        let (tag, exam, ticket) = self.holder(access_code, self.clock.now())?;
        let key = exam.key(ticket.candidate);
        let mut is_admitted = false;
        for _ in 0..MAX_TRIES {
            let mut slot = exam.lock(ticket.candidate).await;
            *slot = None; // whatever happens now, memory must not know less than the store
            // Another engine may have gone on with it: what counts is in the store.
            let prior = self.load(&exam, &key).await?;
            let (mut session, mut change, step) =
                self.decide_start(&exam, prior.as_ref(), &ticket)?;
            if step == Step::Start {
                change.happenings = vec![Happening::Started(self.tag(tag, from))];
            }
            if step == Step::Start && !is_admitted {
                let (round, now) = (session.head.round, session.head.started_at);
                if let Err(error) = self.admit(tag, ticket.candidate, round, slot_token, now) {
                    exam.forget(ticket.candidate); // who waits takes no room
                    return Err(error);
                }
                is_admitted = true;
            }
            let mut commit = encode_change(&session, &change);
            let by_rules = commit.not_after;
            if step == Step::Start {
                // Somebody may have closed the exam since this process looked: it starts nothing on old knowledge.
                let known_until = self.exams.known_until();
                commit.not_after = Some(by_rules.map_or(known_until, |at| at.min(known_until)));
            }
            let is_leased = commit.not_after != by_rules;
            match self.store.commit(&key, commit).await {
                Ok(version) => session.apply(change, version),
                Err(store::Error::Conflict) => continue,
                // The store's clock is past the deadline that this engine's clock has not reached yet.
                Err(store::Error::TooLate) if step != Step::Start => continue,
                Err(store::Error::TooLate) if is_leased => {
                    let old = "the list of exams was not read lately".to_owned();
                    return Err(store::Error::Unavailable(old).into());
                }
                Err(store::Error::TooLate) => {
                    return Err(session::Error::NotOpen {
                        next_opens_at: None,
                    }
                    .into());
                }
                Err(error) => return Err(error.into()),
            }
            if step == Step::Expire {
                continue; // the old attempt is over now; the next turn starts a new one, if one is left
            }
            *slot = Some(session.clone());
            let token = self.signer.issue_token(&SessionRef {
                exam_tag: tag,
                candidate: ticket.candidate,
                attempt: session.head.attempt,
                epoch: session.progress.epoch,
            });
            drop(slot);
            return Ok(StartedAttempt {
                token,
                session,
                exam,
                resumed: step == Step::TakeOver,
            });
        }
        Err(store::Error::Conflict.into())
    }

    fn tag(&self, exam_tag: [u8; 8], from: &Origin<'_>) -> session::Origin {
        let tag = |what: &str| self.signer.tag(exam_tag, what.as_bytes());
        let of_device = |id: &str| tag(&format!("device {id}"));
        session::Origin {
            address_tag: from
                .address
                .map_or(0, |address| tag(&format!("address {address}"))),
            device_tag: Some(from.device_id)
                .filter(|id| !id.is_empty())
                .map_or(0, of_device),
        }
    }

    fn decide_start(
        &self,
        exam: &LiveExam,
        prior: Option<&Session>,
        ticket: &Ticket,
    ) -> Result<(Session, Change, Step)> {
        let now = self.clock.now();
        if let Some(running) = prior.filter(|session| session.running()) {
            return Ok(match running.expire(&exam.rules, now) {
                Some(change) => (running.clone(), change, Step::Expire),
                None => (
                    running.clone(),
                    running.take_over(&exam.rules, now)?,
                    Step::TakeOver,
                ),
            });
        }
        if exam.state() != ExamState::Open {
            return Err(session::Error::NotOpen {
                next_opens_at: None,
            }
            .into());
        }
        let draw = |attempt| exam.draw(ticket.candidate, attempt).map_err(Error::from);
        let (session, change) = Session::start(&exam.id, &exam.rules, prior, ticket, now, draw)?;
        Ok((session, change, Step::Start))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    TakeOver,
    Expire,
}
