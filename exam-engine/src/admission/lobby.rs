//! Starts one after the other: a bucket of starts a second, and behind it a queue that needs no memory.
//!
//! Whoever comes when the bucket is empty gets the next start that nobody has: an instant, which is signed into the slot
//! token of the refusal. Coming back with it after that instant is a start. So the order is first come, first served, a
//! restart forgets nobody, and the queue is one number. Whoever never comes back leaves a start unused. Start at
//! [`Lobby::ask`]; decision 0017.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Mutex,
};

use super::{
    bucket::{Rate, TokenBucket},
    table::Table,
};
use crate::{clock::Timestamp, id::CandidateId};

const NS_PER_MS: u64 = 1_000_000;
/// Nobody is told to wait longer than this: beyond it the organizer must add machines or spread the starts.
const LONGEST_WAIT_MS: u64 = 1_800_000;
/// Places are good for so long after their turn: a page in the background wakes once a minute.
pub(crate) const PLACE_LIFE_MS: u64 = 600_000;
/// Persons whose place is remembered, so that asking without a token gives no second one; 1 MiB.
const N_REMEMBERED: usize = 65_536;

/// A place in the order of starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The start is this candidate's from then on.
    pub at: Timestamp,
    /// Place in the queue; 1 is next.
    pub position: u64,
}

/// What a candidate hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Start.
    Now,
    /// Wait.
    Wait(Place),
    /// No place is left; ask again after so many milliseconds.
    Full(u64),
}

/// The order of starts of one engine.
pub struct Lobby {
    rate: Rate,
    bucket: Mutex<TokenBucket>,
    remembered: Table,
    hasher: RandomState,
}

impl Lobby {
    /// Opens the doors.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            bucket: Mutex::default(),
            remembered: Table::new(N_REMEMBERED),
            hasher: RandomState::new(),
        }
    }

    /// Asks for a start, with the place that was given before, if one was. A start or a place is this candidate's
    /// afterwards.
    #[must_use]
    pub fn ask(
        &self,
        who: ([u8; 8], CandidateId),
        place: Option<Timestamp>,
        now: Timestamp,
    ) -> Turn {
        let key = self.hasher.hash_one((who.0, who.1.0));
        let good = |at: &Timestamp| at.plus_ms(PLACE_LIFE_MS) >= now;
        self.remembered.update(key, |remembered| {
            let place = place.filter(good).or_else(|| {
                let at = Timestamp(*remembered);
                (*remembered != 0 && good(&at)).then_some(at)
            });
            let turn = match place {
                Some(at) => self.come_back(at, now),
                None => self.come(now),
            };
            *remembered = match turn {
                Turn::Wait(place) => place.at.0,
                Turn::Now | Turn::Full(_) => 0,
            };
            turn
        })
    }

    fn come(&self, now: Timestamp) -> Turn {
        let now_ns = now.0.saturating_mul(NS_PER_MS);
        let mut bucket = self.bucket.lock().expect("no panic under this lock");
        match bucket.book(self.rate, now_ns, LONGEST_WAIT_MS * NS_PER_MS) {
            Ok(at_ns) if at_ns <= now_ns => Turn::Now,
            Ok(at_ns) => Turn::Wait(self.place(Timestamp(at_ns.div_ceil(NS_PER_MS)), now)),
            Err(wait_ns) => Turn::Full(wait_ns.div_ceil(NS_PER_MS)),
        }
    }

    fn come_back(&self, at: Timestamp, now: Timestamp) -> Turn {
        if at <= now {
            return Turn::Now; // this start was kept
        }
        let latest = Timestamp(at.0.min(now.0 + LONGEST_WAIT_MS));
        let mut bucket = self.bucket.lock().expect("no panic under this lock");
        bucket.given_until(self.rate, latest.0.saturating_mul(NS_PER_MS)); // after a restart
        Turn::Wait(self.place(at, now))
    }

    fn place(&self, at: Timestamp, now: Timestamp) -> Place {
        let wait_ns = (at.0 - now.0).saturating_mul(NS_PER_MS);
        Place {
            at,
            position: wait_ns.div_ceil(self.rate.interval_ns()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_s: 10,
        burst: 2,
    };
    const NOW: Timestamp = Timestamp(1_764_000_000_000);

    fn who(n: u8) -> ([u8; 8], CandidateId) {
        ([1; 8], CandidateId([n; 16]))
    }

    fn at(turn: Turn) -> Timestamp {
        match turn {
            Turn::Wait(place) => place.at,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_comes_first_starts_first_and_everybody_starts() {
        let lobby = Lobby::new(RATE);
        let mut turns: Vec<(u8, Option<Timestamp>)> = Vec::new();
        for n in 0..50 {
            match lobby.ask(who(n), None, NOW) {
                Turn::Now => turns.push((n, None)),
                Turn::Wait(place) => {
                    assert_eq!(place.position, u64::from(n) - 1);
                    turns.push((n, Some(place.at)));
                }
                Turn::Full(_) => panic!("there is room"),
            }
        }
        assert_eq!(turns.iter().filter(|(_, at)| at.is_none()).count(), 2);
        // They come back in reverse, each at its turn: nobody is late, no start is given twice.
        for (n, at) in turns.iter().rev() {
            if let Some(at) = at {
                assert!(matches!(
                    lobby.ask(who(*n), Some(*at), Timestamp(at.0 - 1)),
                    Turn::Wait(_)
                ));
                assert_eq!(lobby.ask(who(*n), Some(*at), *at), Turn::Now);
            }
        }
        let places: Vec<_> = turns.iter().filter_map(|(_, at)| *at).collect();
        assert!(places.is_sorted());
        assert_eq!(places.last(), Some(&NOW.plus_ms(4_800)));
    }

    #[test]
    fn asking_again_without_the_token_gives_no_second_place() {
        let lobby = Lobby::new(RATE);
        for n in 0..2 {
            assert_eq!(lobby.ask(who(n), None, NOW), Turn::Now);
        }
        let place = at(lobby.ask(who(2), None, NOW));
        for _ in 0..1_000 {
            assert_eq!(at(lobby.ask(who(2), None, NOW)), place);
        }
        assert_eq!(at(lobby.ask(who(3), None, NOW)), NOW.plus_ms(200));
    }

    #[test]
    fn new_ones_do_not_pass_those_who_wait_also_after_a_restart() {
        let lobby = Lobby::new(RATE);
        for n in 0..20 {
            let _ = lobby.ask(who(n), None, NOW);
        }
        let last = at(lobby.ask(who(20), None, NOW));
        let restarted = Lobby::new(RATE);
        assert_eq!(at(restarted.ask(who(20), Some(last), NOW)), last);
        let newcomer = at(restarted.ask(who(21), None, NOW));
        assert!(newcomer > last, "{newcomer:?}");
        // Negative control: a restarted engine that saw no token would let the newcomer pass.
        assert_eq!(Lobby::new(RATE).ask(who(21), None, NOW), Turn::Now);
    }

    #[test]
    fn the_queue_has_an_end() {
        let lobby = Lobby::new(Rate { per_s: 1, burst: 1 });
        let full = (0..=u16::MAX).find_map(|n| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&n.to_le_bytes());
            match lobby.ask(([0; 8], CandidateId(id)), None, NOW) {
                Turn::Full(retry) => Some((n, retry)),
                _ => None,
            }
        });
        let (n, retry) = full.expect("it never filled");
        assert_eq!(u64::from(n), LONGEST_WAIT_MS / 1_000 + 1);
        assert!(retry > LONGEST_WAIT_MS);
    }

    #[test]
    fn a_place_of_long_ago_is_none() {
        let lobby = Lobby::new(RATE);
        for n in 0..2 {
            assert_eq!(lobby.ask(who(n), None, NOW), Turn::Now);
        }
        let old = Timestamp(NOW.0 - PLACE_LIFE_MS - 1);
        assert!(matches!(lobby.ask(who(3), Some(old), NOW), Turn::Wait(_)));
    }
}
