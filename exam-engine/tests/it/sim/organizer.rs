//! An organizer among the failures: gives time, stops clocks, ends, voids, reopens; calls again with the same id when a
//! call fails, and sometimes when it does not.

use exam_engine::{
    engine::Scope,
    id::CandidateId,
    session::{Action, Cause},
};
use proto::exam::v1::ReasonCode;

use super::{N_PERSONS, World};
use crate::harness::EXAM;

/// Calls until the action is done everywhere; the store is out of reach for three seconds at most.
const MAX_CALLS: u32 = 20;
const MOST_TIME_MS: u64 = 2_000;

/// What the organizer has done.
#[derive(Default)]
pub(super) struct Organizer {
    n_actions: u32,
    /// Upper bound of the time that any attempt was given.
    pub(super) given_ms: u64,
}

impl Organizer {
    /// Does something to somebody.
    pub(super) async fn act(&mut self, world: &World) {
        let time_ms = 1_000 + world.dice.below(MOST_TIME_MS - 1_000);
        let action = match world.dice.below(8) {
            0..3 => Action::Extend { by_ms: time_ms },
            3 => Action::Pause,
            4 => Action::Resume,
            5 => Action::Reopen { time_ms },
            6 => Action::Void {
                may_retake: world.dice.chance(50),
            },
            _ => Action::End,
        };
        let person = u8::try_from(world.dice.below(u64::from(N_PERSONS))).unwrap();
        let scope = match world.dice.below(3) {
            0 => Scope::Everybody,
            1 => Scope::Area("01".to_owned()),
            _ => Scope::Candidate(CandidateId([person; 16])),
        };
        self.given_ms += time_ms;
        self.call(world, &scope, action).await;
    }

    /// Lets every clock go on, so that every attempt can end.
    pub(super) async fn resume_all(&mut self, world: &World) {
        self.call(world, &Scope::Everybody, Action::Resume).await;
    }

    async fn call(&mut self, world: &World, scope: &Scope, action: Action) {
        self.n_actions += 1;
        let cause = Cause {
            action_id: self.n_actions.to_string(),
            reason: ReasonCode::Rehearsal,
            note: String::new(),
        };
        for _ in 0..MAX_CALLS {
            let engine = world.engine();
            let outcome = engine
                .act_on_attempts(EXAM, scope, None, action, cause.clone(), false)
                .await;
            let is_done = outcome.is_ok_and(|acted| acted.n_failed == 0);
            if is_done && !world.dice.chance(20) {
                return;
            }
            super::device::pause(world, 800).await;
        }
    }
}
