//! A running attempt as one device knows it, and what it can check by itself.
//!
//! Invariant: the chain holds exactly the answers made so far, sent or not. Nothing here waits.

use std::collections::BTreeMap;

use proto::exam::v1::{
    Answer, GetPaperResponse, GetSessionResponse, Receipt, Response, SessionInfo, ShownItem,
    StartAttemptResponse,
};
use tonic::metadata::{Ascii, MetadataValue};

use super::choose;
use crate::{
    chain::{Chain, canonical},
    client::bearer,
    plan::{Pick, Plan, Step},
};

/// What a check says when it fails.
pub(super) type Check = Result<(), String>;

/// A running attempt on one device.
pub(super) struct Attempt {
    /// The right to write.
    pub(super) token: MetadataValue<Ascii>,
    /// Number of the attempt.
    pub(super) number: u32,
    /// The answers made so far.
    pub(super) chain: Chain,
    /// The paper's items.
    pub(super) items: Vec<ShownItem>,
    /// Starts whose reply was never seen; each may still take the attempt over.
    pub(super) doubtful_starts: u32,
    epoch: u32,
    deadline_ms: u64,
    /// Canonical bytes of the newest answer by position.
    newest: BTreeMap<u32, Vec<u8>>,
}

impl Attempt {
    /// Takes the reply to the first start.
    pub(super) fn begin(
        exam_id: &str,
        candidate: &[u8; 16],
        start: &StartAttemptResponse,
        n_retries: u32,
    ) -> Result<Self, String> {
        let session = session(start)?;
        let form_code = hex::decode(&session.form_code).ok();
        let form_code = form_code.and_then(|bytes| bytes.try_into().ok());
        let form_code = form_code.ok_or("the form code is not 8 bytes")?;
        let chain = Chain::start(exam_id, candidate, session.attempt, &form_code);
        if session.exam_id != exam_id {
            return Err("the attempt is one of another exam".to_owned());
        }
        if session.chain != chain.head()[..] || session.next_seq != 1 {
            return Err("a new attempt does not begin at the start of its chain".to_owned());
        }
        Ok(Self {
            token: token(start)?,
            number: session.attempt,
            chain,
            items: Vec::new(),
            doubtful_starts: n_retries,
            epoch: session.epoch,
            deadline_ms: session.deadline_ms,
            newest: BTreeMap::new(),
        })
    }

    /// Goes on with the token of a later start; `n_retries` of its replies were never seen.
    pub(super) fn go_on(&mut self, start: &StartAttemptResponse, n_retries: u32) -> Check {
        self.token = token(start)?;
        self.epoch = session(start)?.epoch;
        self.doubtful_starts += n_retries;
        Ok(())
    }

    /// Takes the paper.
    pub(super) fn take_paper(&mut self, paper: GetPaperResponse) -> Check {
        let items = paper.sections.into_iter().flat_map(|section| section.items);
        self.items = items.collect();
        let positions = self.items.iter().map(|item| item.position);
        if positions
            .zip(0..)
            .any(|(found, expected)| found != expected)
        {
            return Err("positions on the paper are not 0, 1, 2, …".to_owned());
        }
        Ok(())
    }

    /// Makes the answers of a step, with their numbers.
    pub(super) fn answers(&mut self, plan: &Plan, step: &Step) -> Vec<Answer> {
        let answers = step.picks.iter();
        answers
            .filter_map(|pick| self.answer(plan.ability, pick))
            .collect()
    }

    fn answer(&mut self, ability: f64, pick: &Pick) -> Option<Answer> {
        let item = self.items.get(usize::try_from(pick.item_idx).ok()?)?;
        let response: Option<Response> =
            (!pick.clears).then(|| choose::response(item, ability, pick.dice));
        let canonical = canonical(response.as_ref());
        let seq = self.chain.push(item.position, &canonical);
        self.newest.insert(item.position, canonical);
        Some(Answer {
            seq,
            position: item.position,
            response,
            ..Answer::default()
        })
    }

    /// Tells whether a receipt covers every answer made so far.
    pub(super) fn is_covered(&self, receipt: Option<&Receipt>) -> bool {
        receipt.is_some_and(|receipt| receipt.seq >= self.chain.last_seq())
    }

    /// A receipt must name the newest answer, and the chain as this device computes it.
    pub(super) fn check_receipt(&self, receipt: Option<&Receipt>) -> Check {
        let receipt = receipt.ok_or("a reply without a receipt")?;
        let last_seq = self.chain.last_seq();
        if receipt.seq != last_seq {
            let found = receipt.seq;
            return Err(format!("the receipt covers answer {found}, not {last_seq}"));
        }
        if receipt.chain != self.chain.head()[..] {
            return Err("the receipt's chain is not the device's".to_owned());
        }
        if receipt.mac.len() != 32 {
            return Err("the receipt is not signed".to_owned());
        }
        Ok(())
    }

    /// The deadline may move later only.
    pub(super) fn check_deadline(&mut self, deadline_ms: u64) -> Check {
        let before = std::mem::replace(&mut self.deadline_ms, deadline_ms);
        if deadline_ms < before {
            return Err("the deadline moved earlier".to_owned());
        }
        Ok(())
    }

    /// A session seen again must stand where this device left it.
    pub(super) fn check_session(&mut self, session: &SessionInfo) -> Check {
        if session.next_seq != self.chain.last_seq() + 1 {
            let next = session.next_seq;
            return Err(format!(
                "the engine waits for answer {next}, which is not the next"
            ));
        }
        if session.chain != self.chain.head()[..] {
            return Err("the session's chain is not the device's".to_owned());
        }
        self.check_deadline(session.deadline_ms)
    }

    /// A start that takes over must say so.
    pub(super) fn check_takeover(&self, start: &StartAttemptResponse) -> Check {
        if !start.resumed {
            return Err("a running attempt was not resumed".to_owned());
        }
        if session(start)?.epoch <= self.epoch {
            return Err("a takeover did not raise the epoch".to_owned());
        }
        Ok(())
    }

    /// After a reload the answers must stand as they were given; a blank may be left out.
    pub(super) fn check_stored(&self, reply: &GetSessionResponse) -> Check {
        let answers = reply.answers.iter();
        let stored = answers.map(|a| (a.position, canonical(a.response.as_ref())));
        let given = self.newest.iter().map(|(p, r)| (*p, r.clone()));
        if not_blank(stored) != not_blank(given) {
            return Err("after a reload other answers stand than were acknowledged".to_owned());
        }
        Ok(())
    }
}

fn not_blank(answers: impl Iterator<Item = (u32, Vec<u8>)>) -> BTreeMap<u32, Vec<u8>> {
    answers.filter(|(_, response)| *response != [0]).collect()
}

/// Returns the session of a start.
pub(super) fn session(start: &StartAttemptResponse) -> Result<&SessionInfo, String> {
    let session = start.session.as_ref();
    session.ok_or_else(|| "a start without a session".to_owned())
}

fn token(start: &StartAttemptResponse) -> Result<MetadataValue<Ascii>, String> {
    bearer(&start.session_token).map_err(|_| "the token does not fit a header".to_owned())
}
