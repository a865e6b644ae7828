//! How many calls of each class are worked on at once; what is too much hears it at once.
//!
//! Each class has a limit and a short queue of its own, and all together have a limit of which the lesser classes may fill
//! a part only: as load grows, boards are refused first and answers last. Start at [`Gate::enter`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng, RngExt};
use tokio::sync::Semaphore;

use super::Class;

/// Longest wait in a queue: with it a refusal is on its way within 50 ms of the arrival.
pub const QUEUE_PATIENCE: Duration = Duration::from_millis(40);
/// Shortest pause that a refused caller is told.
const RETRY_MIN_MS: u64 = 250;
/// Longest such pause of an idle server, and what full load adds.
const RETRY_IDLE_MS: u64 = 1_000;
const RETRY_FULL_MS: u64 = 9_000;

/// A device at rest asks this often: what an organizer does reaches it within two seconds.
const POLL_CALM_MS: u64 = 2_000;
/// Polls a second of one engine: a tenth or so of what it answers, and each may cost a look into the store. A million
/// devices ask every fifty seconds.
const POLLS_PER_S: u64 = 20_000;
/// A device asks at least this often, whatever happens: a pause is never further away than a minute.
const POLL_MAX_MS: u64 = 60_000;
/// What full load adds.
const POLL_FULL_MS: u64 = 13_000;

/// Limits by class, in the order of [`Class::ALL`].
#[derive(Clone, Copy, Debug)]
pub struct GateLimits {
    /// Calls at once.
    pub running: [usize; Class::ALL.len()],
    /// Calls that wait for their place.
    pub waiting: [usize; Class::ALL.len()],
    /// Calls at once of all classes but streams.
    pub in_all: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            running: [
                8_192, // a quarter of a second of the measured rate: who waits longer is better told
                16,    // a few organizers, each of whom does one thing after the other
                1_024, // each loads, draws and commits
                2_048, // no store is asked, but a paper is a large reply
                256,   // each asks the grader
                32,    // persons at consoles; the second runtime has few threads
                64,    // consoles that watch; each export reads the whole log
            ],
            waiting: [4_096, 16, 2_048, 1_024, 128, 32, 0], // about half a limit each; a stream is not waited for
            in_all: 8_192,                                  // some 10 KiB each
        }
    }
}

/// A call was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// Come again after this.
    pub retry_after_ms: u64,
}

struct Line {
    places: Semaphore,
    waiting: AtomicUsize,
    n_shed: AtomicU64,
}

impl Line {
    fn queue_up(&self, limit: usize) -> Option<Leave<'_>> {
        let n_before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let leave = Leave(&self.waiting);
        (n_before < limit).then_some(leave)
    }
}

/// The gate of one server.
pub struct Gate {
    limits: GateLimits,
    in_all: AtomicUsize,
    n_live: AtomicUsize,
    lines: [Line; Class::ALL.len()],
}

/// The right to be worked on; given back when dropped.
pub struct Permit {
    gate: Arc<Gate>,
    class: Class,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.lines[self.class.index()].places.add_permits(1);
        if self.class != Class::Stream {
            self.gate.in_all.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Gate {
    /// Makes an empty gate.
    #[must_use]
    pub fn new(limits: GateLimits) -> Arc<Self> {
        Arc::new(Self {
            lines: limits.running.map(|running| Line {
                places: Semaphore::new(running),
                waiting: AtomicUsize::new(0),
                n_shed: AtomicU64::new(0),
            }),
            in_all: AtomicUsize::new(0),
            n_live: AtomicUsize::new(0),
            limits,
        })
    }

    /// Returns how many calls of a class were refused so far.
    #[must_use]
    pub fn n_shed(&self, class: Class) -> u64 {
        self.lines[class.index()].n_shed.load(Ordering::Relaxed)
    }

    /// Learns how many sessions this engine holds; told once a second.
    pub fn set_live(&self, n_live: usize) {
        self.n_live.store(n_live, Ordering::Relaxed);
    }

    /// Returns how many sessions this engine held when it was last told.
    #[must_use]
    pub fn n_live(&self) -> usize {
        self.n_live.load(Ordering::Relaxed)
    }

    /// Tells a device when to ask again: every two seconds in calm, less often the more devices ask and the fuller it is.
    #[must_use]
    pub fn next_poll_ms(&self) -> u32 {
        let load = self.in_all.load(Ordering::Relaxed).min(self.limits.in_all);
        let more = POLL_FULL_MS * load as u64 / self.limits.in_all.max(1) as u64;
        let n_live = self.n_live() as u64;
        let calm = POLL_CALM_MS.max(n_live.saturating_mul(1_000) / POLLS_PER_S);
        u32::try_from((calm + more).min(POLL_MAX_MS)).expect("a minute at most")
    }

    /// Returns how many calls of a class are worked on.
    #[must_use]
    pub fn n_running(&self, class: Class) -> usize {
        let line = &self.lines[class.index()];
        self.limits.running[class.index()].saturating_sub(line.places.available_permits())
    }

    /// Lets a call in if there is a place now; nothing is counted as refused.
    #[must_use]
    pub fn try_enter(self: &Arc<Self>, class: Class) -> Option<Permit> {
        if self.is_above(class) {
            return None;
        }
        let place = self.lines[class.index()].places.try_acquire().ok()?;
        place.forget();
        Some(self.permit(class))
    }

    /// Lets a call in, at once or after a short wait.
    ///
    /// # Errors
    /// [`Shed`] if all is full, within [`QUEUE_PATIENCE`].
    pub async fn enter(self: &Arc<Self>, class: Class) -> Result<Permit, Shed> {
        if let Some(permit) = self.try_enter(class) {
            return Ok(permit);
        }
        let line = &self.lines[class.index()];
        let _queued = (!self.is_above(class))
            .then(|| line.queue_up(self.limits.waiting[class.index()]))
            .flatten()
            .ok_or_else(|| self.shed(class))?;
        match tokio::time::timeout(QUEUE_PATIENCE, line.places.acquire()).await {
            Ok(Ok(place)) if !self.is_above(class) => {
                place.forget();
                Ok(self.permit(class))
            }
            _ => Err(self.shed(class)),
        }
    }

    fn permit(self: &Arc<Self>, class: Class) -> Permit {
        if class != Class::Stream {
            self.in_all.fetch_add(1, Ordering::Relaxed);
        }
        Permit {
            gate: Arc::clone(self),
            class,
        }
    }

    fn is_above(&self, class: Class) -> bool {
        self.in_all.load(Ordering::Relaxed) * 100 >= self.limits.in_all * class.ceiling_percent()
    }

    fn shed(&self, class: Class) -> Shed {
        self.lines[class.index()]
            .n_shed
            .fetch_add(1, Ordering::Relaxed);
        let load = self.in_all.load(Ordering::Relaxed) * 100 / self.limits.in_all.max(1);
        Shed {
            retry_after_ms: retry_after_ms(load, &mut rand::rng()),
        }
    }
}

/// Leaves the queue, also when the caller goes away.
struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Draws a pause that grows with the load (percent) and spreads those who were refused together.
fn retry_after_ms(load: usize, rng: &mut impl Rng) -> u64 {
    let load = u64::try_from(load.min(100)).expect("at most 100");
    rng.random_range(RETRY_MIN_MS..=RETRY_IDLE_MS + RETRY_FULL_MS * load / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(in_all: usize) -> Arc<Gate> {
        Gate::new(GateLimits {
            running: [100; Class::ALL.len()],
            waiting: [2; Class::ALL.len()],
            in_all,
        })
    }

    #[test]
    fn devices_ask_less_often_the_fuller_it_is() {
        let gate = gate(100);
        assert_eq!(gate.next_poll_ms(), 2_000);
        let permits: Vec<_> = (0..50).map(|_| gate.try_enter(Class::Answer)).collect();
        assert_eq!(gate.next_poll_ms(), 8_500);
        drop(permits);
        assert_eq!(gate.next_poll_ms(), 2_000);
    }

    #[test]
    fn polls_stay_below_their_rate_however_many_devices_there_are() {
        let gate = gate(100);
        for (n_live, expected_ms) in [
            (0, 2_000),
            (40_000, 2_000),
            (100_000, 5_000),
            (1_000_000, 50_000),
            (usize::MAX, 60_000),
        ] {
            gate.set_live(n_live);
            assert_eq!(gate.next_poll_ms(), expected_ms, "{n_live}");
        }
        gate.set_live(1_000_000);
        let _permits: Vec<_> = (0..100).map(|_| gate.try_enter(Class::Answer)).collect();
        assert_eq!(gate.next_poll_ms(), 60_000, "a full server adds no more");
    }

    #[test]
    fn as_load_grows_boards_are_refused_first_and_answers_last() {
        let gate = gate(100);
        let mut permits = Vec::new();
        let mut refused_at = [0; Class::ALL.len()];
        for n in 0..=100 {
            for class in Class::ALL {
                if gate.try_enter(class).is_none() && refused_at[class.index()] == 0 {
                    refused_at[class.index()] = n;
                }
            }
            permits.extend(gate.try_enter(Class::Answer));
        }
        // Organizers' actions are not refused at all (0), however full it is.
        assert_eq!(refused_at, [100, 0, 85, 75, 60, 50, 40]);
        drop(permits);
        assert!(
            Class::ALL
                .iter()
                .all(|class| gate.try_enter(*class).is_some())
        );
    }

    #[test]
    fn a_pause_gets_through_when_answers_have_filled_everything() {
        let gate = Gate::new(GateLimits::default());
        let all: Vec<_> = (0..gate.limits.in_all)
            .map(|_| gate.try_enter(Class::Answer).unwrap())
            .collect();
        assert!(gate.try_enter(Class::Answer).is_none(), "it is full");
        let enter = |rpc: &str| {
            let class = Class::of(&format!("/exam.v1.OrganizerService/{rpc}"));
            gate.try_enter(class)
        };
        for rpc in [
            "ActOnAttempts",
            "CompensateOutage",
            "CreateExam",
            "PublishExam",
            "OpenExam",
            "CloseExam",
        ] {
            assert!(enter(rpc).is_some(), "{rpc}");
        }
        // Negative control: a board is not let in, nor more actions at once than there are places.
        assert!(enter("GetStandings").is_none());
        let acts: Vec<_> = (0..100).map_while(|_| enter("ActOnAttempts")).collect();
        assert_eq!(acts.len(), 16);
        drop(all);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_class_refuses_within_its_patience_and_others_go_on() {
        let gate = Gate::new(GateLimits {
            running: [1; Class::ALL.len()],
            waiting: [1; Class::ALL.len()],
            in_all: 100,
        });
        let held = gate.enter(Class::Board).await.unwrap();
        let begun = tokio::time::Instant::now();
        let (first, second) = tokio::join!(gate.enter(Class::Board), gate.enter(Class::Board));
        assert!(first.is_err(), "it waited in vain");
        assert!(second.is_err(), "the queue was full");
        assert!(begun.elapsed() < Duration::from_millis(50));
        assert_eq!(gate.n_shed(Class::Board), 2);
        gate.enter(Class::Answer).await.unwrap();
        let (waiting, ()) = tokio::join!(gate.enter(Class::Board), async { drop(held) });
        waiting.unwrap();
        assert_eq!(gate.n_shed(Class::Board), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_the_queue_gives_the_place_back() {
        let gate = Gate::new(GateLimits {
            running: [0; Class::ALL.len()],
            waiting: [1; Class::ALL.len()],
            in_all: 100,
        });
        for _ in 0..3 {
            let gone =
                tokio::time::timeout(Duration::from_millis(1), gate.enter(Class::Answer)).await;
            assert!(gone.is_err(), "the queue took it");
        }
    }

    #[test]
    fn pauses_are_spread_and_grow_with_the_load() {
        let mut rng = rand::rng();
        let mut highest = |load| {
            let pauses: Vec<u64> = (0..2_000).map(|_| retry_after_ms(load, &mut rng)).collect();
            assert!(pauses.iter().all(|ms| *ms >= RETRY_MIN_MS));
            assert!(
                pauses
                    .iter()
                    .collect::<std::collections::HashSet<_>>()
                    .len()
                    > 100
            );
            pauses.into_iter().max().unwrap()
        };
        assert!(highest(0) <= 1_000);
        assert!(highest(100) > 5_000);
    }
}
