//! When each candidate starts: checks in before the opening, and waits for a turn after it.
//!
//! A slot is the opening plus a share of the start window that follows from exam, round and person, so that asking again
//! gives the same and no table is kept. Each clock runs from the own start. Start at [`Engine::check_in`] and
//! [`Engine::admit`]; decision 0017.

use std::sync::Arc;

use rand::RngExt;

use super::{Engine, Error, LiveExam, Result};
use crate::{
    admission::Turn,
    clock::Timestamp,
    id::{CandidateId, ExamId},
    session::{self, Round, Ticket},
    token::{CodeError, SlotKind, SlotRef},
};

/// Whoever waits looks again at least this often, so that the page shows how the queue moves.
const LOOK_AGAIN_MS: u64 = 15_000;
/// Pause of those for whom no place is left, spread.
const LOBBY_FULL_MS: std::ops::RangeInclusive<u64> = 20_000..=60_000;

/// What a candidate who came early hears.
pub struct CheckedIn {
    /// To be sent with the start.
    pub slot_token: String,
    /// Start then.
    pub starts_at: Timestamp,
    /// The engine's clock.
    pub now: Timestamp,
    /// The exam.
    pub exam: Arc<LiveExam>,
    /// Round of the slot.
    pub round: u32,
}

/// Not yet this candidate's turn.
#[derive(Debug)]
pub struct Wait {
    /// Place in the queue, 1 is next; 0 if only the time of the slot is awaited.
    pub position: u64,
    /// How long it will be.
    pub expected_ms: u64,
    /// Ask again after this.
    pub retry_after_ms: u64,
    /// With this.
    pub slot_token: String,
}

/// Returns the slot of a candidate in a round: its opening plus a share of the window, the same whenever it is asked for.
#[must_use]
pub fn slot(exam: &ExamId, candidate: CandidateId, round: &Round, window_ms: u64) -> Timestamp {
    let mut hasher = blake3::Hasher::new_derive_key("khoa-bang start slot v1");
    hasher.update(&round.round.to_le_bytes());
    hasher.update(&candidate.0);
    hasher.update(exam.as_str().as_bytes());
    let hash = hasher.finalize();
    let (share, _) = hash
        .as_bytes()
        .split_first_chunk()
        .expect("a hash has 32 bytes");
    let offset = (u128::from(u64::from_le_bytes(*share)) * u128::from(window_ms)) >> 64;
    round
        .opens_at
        .plus_ms(u64::try_from(offset).expect("less than the window"))
}

impl Engine {
    /// Tells the holder of an access code when to start. Needs no store.
    ///
    /// # Errors
    /// The code, or that no round is left.
    pub fn check_in(&self, access_code: &str) -> Result<CheckedIn> {
        let now = self.clock.now();
        let (tag, exam, ticket) = self.holder(access_code, now)?;
        let rounds = &exam.rules.rounds;
        let round = rounds.iter().find(|round| now < round.closes_at);
        let round = *round.ok_or(session::Error::NotOpen {
            next_opens_at: None,
        })?;
        let starts_at = slot(&exam.id, ticket.candidate, &round, exam.start_window_ms);
        let slot_token = self.signer.issue_slot(&SlotRef {
            kind: SlotKind::Slot,
            exam_tag: tag,
            candidate: ticket.candidate,
            round: round.round,
            at: starts_at,
        });
        Ok(CheckedIn {
            slot_token,
            starts_at,
            now,
            exam,
            round: round.round,
        })
    }

    pub(super) fn holder(
        &self,
        access_code: &str,
        now: Timestamp,
    ) -> Result<([u8; 8], Arc<LiveExam>, Ticket)> {
        let (tag, ticket) = self
            .signer
            .check_code(access_code, now)
            .map_err(Error::AccessCode)?;
        let exam = self.exams.by_tag(tag);
        let exam = exam?.ok_or(Error::AccessCode(CodeError::Invalid))?;
        Ok((tag, exam, ticket))
    }

    /// Lets a candidate start, or tells how long to wait. A slot token of another person, exam or round counts for nothing.
    pub(super) fn admit(
        &self,
        tag: [u8; 8],
        candidate: CandidateId,
        round: u32,
        slot_token: &str,
        now: Timestamp,
    ) -> Result<()> {
        let given = self
            .signer
            .check_slot(slot_token)
            .filter(|slot| (slot.exam_tag, slot.candidate, slot.round) == (tag, candidate, round));
        let place = match given {
            Some(SlotRef {
                kind: SlotKind::Slot,
                at,
                ..
            }) if at > now => {
                return Err(not_yet(0, at, now, slot_token.to_owned()));
            }
            Some(SlotRef {
                kind: SlotKind::Place,
                at,
                ..
            }) => Some(at),
            _ => None,
        };
        match self.lobby.ask((tag, candidate), place, now) {
            Turn::Now => Ok(()),
            Turn::Wait(place) => {
                let slot_token = self.signer.issue_slot(&SlotRef {
                    kind: SlotKind::Place,
                    exam_tag: tag,
                    candidate,
                    round,
                    at: place.at,
                });
                Err(not_yet(place.position, place.at, now, slot_token))
            }
            Turn::Full(_) => Err(Error::LobbyFull {
                retry_after_ms: rand::rng().random_range(LOBBY_FULL_MS),
            }),
        }
    }
}

fn not_yet(position: u64, at: Timestamp, now: Timestamp, slot_token: String) -> Error {
    let expected_ms = at.0.saturating_sub(now.0);
    Error::NotYet(Box::new(Wait {
        position,
        expected_ms,
        retry_after_ms: expected_ms.clamp(1, LOOK_AGAIN_MS),
        slot_token,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(number: u32) -> Round {
        Round {
            round: number,
            opens_at: Timestamp(1_000_000),
            closes_at: Timestamp(9_000_000),
        }
    }

    fn person(n: u32) -> CandidateId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_le_bytes());
        CandidateId(id)
    }

    #[test]
    fn slots_are_spread_evenly_over_the_window_and_stay() {
        let exam = ExamId::parse("thi-thu").unwrap();
        let mut counts = [0_u32; 60];
        for n in 0..60_000 {
            let at = slot(&exam, person(n), &round(1), 60_000);
            assert_eq!(at, slot(&exam, person(n), &round(1), 60_000));
            counts[usize::try_from((at.0 - 1_000_000) / 1_000).unwrap()] += 1;
        }
        // Chi-square with 59 degrees of freedom: above 98.3 in one of 1,000 honest draws. The draw is fixed.
        let chi: f64 = counts
            .iter()
            .map(|n| (f64::from(*n) - 1_000.0).powi(2) / 1_000.0)
            .sum();
        assert!(chi < 98.3, "{chi}");
    }

    #[test]
    fn without_a_window_everybody_starts_at_the_opening() {
        let exam = ExamId::parse("thi-thu").unwrap();
        assert_eq!(slot(&exam, person(1), &round(1), 0), Timestamp(1_000_000));
    }

    #[test]
    fn another_round_and_another_exam_give_another_slot() {
        let (one, two) = (
            ExamId::parse("thi-1").unwrap(),
            ExamId::parse("thi-2").unwrap(),
        );
        let of = |exam: &ExamId, number| slot(exam, person(1), &round(number), 1 << 40);
        assert_ne!(of(&one, 1), of(&one, 2));
        assert_ne!(of(&one, 1), of(&two, 1));
    }
}
