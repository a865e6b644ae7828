//! A candidate's devices: send, send again, send twice, lose calls, hand over to another device, submit or walk away.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use exam_engine::{
    engine::{Error, Receipt, Result},
    session::{self, NewAnswer, Response},
    store,
    token::SessionRef,
};

use super::World;
use crate::harness::N_ITEMS;

/// What was acknowledged: by person, attempt and number, the position and the choice.
pub(super) type Acknowledged = BTreeMap<(u8, u32, u32), (u32, u32)>;

/// Devices that a person uses at most.
const MAX_DEVICES: u32 = 4;

/// One person's contest, device after device.
pub(super) async fn sit(
    world: World,
    person: u8,
    code: String,
    acknowledged: Rc<RefCell<Acknowledged>>,
) {
    pause(&world, 3_000).await;
    for _ in 0..MAX_DEVICES {
        let Some(started) = start(&world, &code).await else {
            return; // the exam takes no more attempts of this person
        };
        let device = Device {
            world: world.clone(),
            person,
            token: started.0,
            acknowledged: Rc::clone(&acknowledged),
        };
        if !device.work(started.1).await {
            return;
        }
    }
}

pub(super) async fn pause(world: &World, up_to_ms: u64) {
    tokio::time::sleep(Duration::from_millis(world.dice.below(up_to_ms))).await;
}

/// Starts or takes over; returns the token and the next number.
async fn start(world: &World, code: &str) -> Option<(SessionRef, u32)> {
    loop {
        match world
            .engine()
            .start_attempt(code, "", &exam_engine::engine::Origin::default())
            .await
        {
            Ok(started) => {
                let engine = world.engine();
                let token = engine.check_token(&started.token).unwrap();
                return Some((token, started.session.progress.last_seq + 1));
            }
            Err(error) if is_passing(&error) => pause(world, 500).await,
            Err(_) => return None,
        }
    }
}

fn is_passing(error: &Error) -> bool {
    matches!(
        error,
        Error::Store(store::Error::Unavailable(_) | store::Error::Conflict)
    )
}

struct Device {
    world: World,
    person: u8,
    token: SessionRef,
    acknowledged: Rc<RefCell<Acknowledged>>,
}

/// What a device does next.
enum Next {
    GoOn,
    /// The person takes another device.
    HandOver,
    /// The attempt is over for this person.
    Over,
}

impl Device {
    /// Works until the attempt is over or handed over; returns whether another device follows.
    async fn work(&self, mut seq: u32) -> bool {
        loop {
            pause(&self.world, 1_200).await;
            let next = match self.world.dice.below(30) {
                0 => Next::HandOver,
                1 => Next::Over, // walks away; the deadline ends it
                2 => self.submit(seq - 1).await,
                _ => {
                    let next = self.answer(seq).await;
                    seq += 1;
                    next
                }
            };
            match next {
                Next::GoOn => {}
                Next::HandOver => return true,
                Next::Over => return false,
            }
        }
    }

    /// Sends one answer until it is acknowledged or refused for good; sometimes twice at once.
    async fn answer(&self, seq: u32) -> Next {
        let dice = &self.world.dice;
        let (position, bits) = (
            u32::try_from(dice.below(u64::from(N_ITEMS))).unwrap(),
            1 << dice.below(4),
        );
        let answer = NewAnswer {
            seq,
            position,
            response: Response::Chosen(bits),
            made_at: None,
        };
        loop {
            let outcome = if dice.chance(10) {
                let (first, second) = tokio::join!(self.save(&answer), self.save(&answer));
                first.or(second)
            } else {
                self.save(&answer).await
            };
            match outcome {
                Ok(receipt) => {
                    assert!(receipt.seq >= seq, "a receipt covers what it acknowledges");
                    self.acknowledged
                        .borrow_mut()
                        .insert((self.person, self.token.attempt, seq), (position, bits));
                    return Next::GoOn;
                }
                Err(error) if is_passing(&error) => pause(&self.world, 500).await,
                Err(Error::Session(session::Error::Paused)) => pause(&self.world, 1_000).await,
                Err(Error::Session(session::Error::TakenOver { .. })) => return Next::Over,
                Err(_) => return Next::Over,
            }
        }
    }

    /// One call; its answer may be lost on the way, and the device does not wait for ever.
    async fn save(&self, answer: &NewAnswer) -> Result<Receipt> {
        let lost = || Error::Store(store::Error::Unavailable("lost on the way".to_owned()));
        let engine = self.world.engine();
        let call = engine.save_answers(&self.token, std::slice::from_ref(answer), None);
        let patience = Duration::from_millis(200 + self.world.dice.below(4_000));
        let outcome = tokio::time::timeout(patience, call)
            .await
            .map_err(|_| lost())?;
        if self.world.dice.chance(5) {
            Err(lost())
        } else {
            outcome.map(|(receipt, _)| receipt)
        }
    }

    async fn submit(&self, last_seq: u32) -> Next {
        loop {
            match self
                .world
                .engine()
                .submit_attempt(&self.token, last_seq, None)
                .await
            {
                // Some people come again for another attempt.
                Ok(_) if self.world.dice.chance(50) => return Next::HandOver,
                Ok(_) => return Next::Over,
                Err(error) if is_passing(&error) => pause(&self.world, 500).await,
                Err(Error::Session(session::Error::Paused)) => pause(&self.world, 1_000).await,
                Err(_) => return Next::Over,
            }
        }
    }
}
