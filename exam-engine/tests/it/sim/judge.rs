//! What must be true of the log after any simulation.

use std::{collections::BTreeMap, fmt};

use exam_engine::{
    engine::Engine,
    id::{CandidateId, ExamId},
    session::{Chain, Response, extend_chain, first_chain},
    store::decode_session,
};
use prost::Message;
use proto::exam::v1::{Event, event::Kind, response::Value};

use super::{
    GRACE_MS,
    device::Acknowledged,
    store::{Entry, SimStore},
};
use crate::harness::EXAM;

/// The promise that was broken, and how.
#[derive(Debug)]
pub(super) struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One attempt as the log tells it.
struct Attempt {
    epoch: u32,
    deadline_ms: u64,
    paused: bool,
    last_seq: u32,
    chain: Chain,
    answers: BTreeMap<u32, (u32, u32)>,
    ended: bool,
}

/// Returns the first promise that the log breaks.
pub(super) async fn judge(
    engine: &Engine,
    store: &SimStore,
    entries: &[Entry],
    acknowledged: &Acknowledged,
) -> Option<Violation> {
    let mut attempts: BTreeMap<(u8, u32), Attempt> = BTreeMap::new();
    for entry in entries {
        let event = Event::decode(entry.event.clone()).unwrap();
        if let Err(broken) = follow(&mut attempts, entry.at.0, event) {
            return Some(Violation(broken));
        }
    }
    if let Some(((person, attempt), _)) = attempts.iter().find(|(_, attempt)| !attempt.ended) {
        return Some(Violation(format!(
            "P5: attempt {attempt} of {person} never ended"
        )));
    }
    for ((person, attempt, seq), answer) in acknowledged {
        let logged = attempts
            .get(&(*person, *attempt))
            .and_then(|attempt| attempt.answers.get(seq));
        if logged != Some(answer) {
            return Some(Violation(format!(
                "P1: answer {seq} of {person}, attempt {attempt}: {answer:?} acknowledged, {logged:?} in the log"
            )));
        }
    }
    attempts
        .iter()
        .find_map(|((person, number), attempt)| {
            record_differs(engine, store, *person, *number, attempt)
        })
        .map(Violation)
}

fn follow(
    attempts: &mut BTreeMap<(u8, u32), Attempt>,
    at_ms: u64,
    event: Event,
) -> Result<(), String> {
    let person = event.candidate[0];
    let name = (person, event.attempt);
    let candidate = CandidateId([person; 16]);
    let exam = ExamId::parse(EXAM).unwrap();
    if let Some(Kind::Started(started)) = event.kind {
        if attempts
            .iter()
            .any(|((other, _), attempt)| *other == person && !attempt.ended)
        {
            return Err(format!("P6: {name:?} started while another attempt runs"));
        }
        let form: [u8; 8] = started.form_code.as_ref().try_into().unwrap();
        let attempt = Attempt {
            epoch: event.epoch,
            deadline_ms: started.deadline_ms,
            paused: false,
            last_seq: 0,
            chain: first_chain(&exam, candidate, event.attempt, &form),
            answers: BTreeMap::new(),
            ended: false,
        };
        return match attempts.insert(name, attempt) {
            None => Ok(()),
            Some(_) => Err(format!("P2: {name:?} started twice")),
        };
    }
    let attempt = attempts
        .get_mut(&name)
        .ok_or_else(|| format!("P2: {name:?} was never started"))?;
    let kind = event.kind.unwrap();
    if attempt.ended
        && !matches!(
            kind,
            Kind::Voided(_) | Kind::Restored(_) | Kind::Reopened(_)
        )
    {
        return Err(format!("P5: {name:?} goes on after its end"));
    }
    match kind {
        Kind::Started(_) => unreachable!("handled above"),
        Kind::Extended(extended) => {
            move_deadline(
                attempt,
                attempt.deadline_ms + extended.by_ms,
                extended.deadline_ms,
            )?;
        }
        Kind::Paused(_) => attempt.paused = true,
        Kind::Resumed(resumed) => {
            attempt.paused = false;
            move_deadline(
                attempt,
                attempt.deadline_ms + resumed.paused_ms,
                resumed.deadline_ms,
            )?;
        }
        Kind::Reopened(reopened) => {
            attempt.ended = false;
            let expected = attempt.deadline_ms.max(reopened.deadline_ms);
            move_deadline(attempt, expected, reopened.deadline_ms)?;
        }
        Kind::Voided(_) | Kind::Restored(_) | Kind::Flagged(_) | Kind::SectionEntered(_) => {}
        Kind::TakenOver(taken_over) => {
            if taken_over.epoch != attempt.epoch + 1 {
                return Err(format!(
                    "P6: {name:?} went from epoch {} to {}",
                    attempt.epoch, taken_over.epoch
                ));
            }
            attempt.epoch = taken_over.epoch;
        }
        Kind::Answered(answered) => {
            if event.epoch != attempt.epoch {
                return Err(format!(
                    "P6: {name:?}: device {} wrote in epoch {}",
                    event.epoch, attempt.epoch
                ));
            }
            if answered.seq != attempt.last_seq + 1 {
                return Err(format!(
                    "P2: {name:?}: answer {} follows {}",
                    answered.seq, attempt.last_seq
                ));
            }
            if attempt.paused {
                return Err(format!("P5: {name:?} answers while its clock stands"));
            }
            let alarm_ms = attempt.deadline_ms + GRACE_MS;
            if at_ms > alarm_ms {
                return Err(format!(
                    "P5: {name:?}: answer {} came {} ms late",
                    answered.seq,
                    at_ms - alarm_ms
                ));
            }
            let Some(Value::Chosen(bits)) = answered.response.and_then(|response| response.value)
            else {
                return Err(format!(
                    "P2: {name:?}: answer {} is no choice",
                    answered.seq
                ));
            };
            attempt.last_seq = answered.seq;
            attempt.chain = extend_chain(
                &attempt.chain,
                answered.seq,
                answered.position,
                &Response::Chosen(bits),
            );
            attempt
                .answers
                .insert(answered.seq, (answered.position, bits));
        }
        Kind::Ended(ended) => {
            if ended.chain[..] != attempt.chain || ended.last_seq != attempt.last_seq {
                return Err(format!("P2: {name:?} ended with another chain"));
            }
            attempt.ended = true;
            attempt.paused = false;
        }
    }
    Ok(())
}

/// Deadlines only move later, by what the event says.
fn move_deadline(attempt: &mut Attempt, expected_ms: u64, told_ms: u64) -> Result<(), String> {
    if told_ms != expected_ms || told_ms < attempt.deadline_ms {
        return Err(format!(
            "P5: a deadline went from {} to {told_ms}",
            attempt.deadline_ms
        ));
    }
    attempt.deadline_ms = told_ms;
    Ok(())
}

/// The live record of a person's newest attempt is what the log tells.
fn record_differs(
    engine: &Engine,
    store: &SimStore,
    person: u8,
    number: u32,
    attempt: &Attempt,
) -> Option<String> {
    let candidate = CandidateId([person; 16]);
    let exam = engine.published(EXAM).unwrap();
    let draw = |attempt| {
        exam.draw(candidate, attempt)
            .map_err(|error| error.to_string())
    };
    let session = decode_session(candidate, store.record(candidate)?, draw).unwrap();
    if session.head.attempt != number {
        return None; // an older attempt: only the log knows it
    }
    let progress = &session.progress;
    let same = progress.chain == attempt.chain
        && progress.last_seq == attempt.last_seq
        && progress.epoch == attempt.epoch
        && progress.deadline.0 == attempt.deadline_ms
        && progress.ended.is_some();
    (!same).then(|| {
        format!("the live record of {person}, attempt {number}, is not what the log tells")
    })
}

/// Returns a hash of everything that happened.
pub(super) fn trace(entries: &[Entry], acknowledged: &Acknowledged) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for entry in entries {
        hasher.update(&entry.at.0.to_le_bytes());
        hasher.update(&entry.event);
    }
    hasher.update(format!("{acknowledged:?}").as_bytes());
    hasher.finalize()
}
