//! What one candidate will do and when, drawn from the seed before the first call.
//!
//! Instants count from the candidate's arrival and do not wait for the engine, so a slow reply makes
//! the following calls late instead of rare. Invariant: (seed, number) gives one plan.

use std::{sync::Arc, time::Duration};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::{
    areas::Weights,
    args::{RunArgs, Spread},
};

/// Candidates of a hundred who change an answer after a given one.
const CHANGE_PERCENT: f64 = 8.0;
/// Changes of a hundred that take the answer back.
const CLEAR_PERCENT: f64 = 10.0;
/// Messages of a hundred that carry several answers, as after a gap in the radio.
const BATCH_PERCENT: f64 = 6.0;
/// Answers in the longest such message.
const BATCH_MAX: usize = 5;
/// Candidates of a hundred who ask for their result.
const RESULT_PERCENT: f64 = 10.0;
/// Nobody thinks longer than so many means: the tail of an exponential would hold up a run.
const THINK_MAX_MEANS: f64 = 8.0;

/// A person of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// The pseudonymous id.
    pub(crate) candidate: [u8; 16],
    /// Code of the area.
    pub(crate) area: Arc<str>,
}

/// One answer to give: the item, and the dice for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    /// Position on the paper.
    pub(crate) item_idx: u32,
    /// Randomness of this answer.
    pub(crate) dice: u64,
    /// Takes the answer back.
    pub(crate) clears: bool,
}

/// One message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// When, from the arrival on.
    pub(crate) at: Duration,
    /// Its answers.
    pub(crate) picks: Vec<Pick>,
}

/// Everything one candidate will do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Who.
    pub(crate) person: Person,
    /// Share of items for which the candidate follows the option most people would take.
    pub(crate) ability: f64,
    /// Messages in order.
    pub(crate) steps: Vec<Step>,
    /// Comes back by `GetSession` before this step.
    pub(crate) reconnects_at: Option<usize>,
    /// Goes on with another device before this step.
    pub(crate) takes_over_at: Option<usize>,
    /// Sends this step twice at once.
    pub(crate) twice_at: Option<usize>,
    /// When the candidate submits; never, if abandoned.
    pub(crate) submits_at: Option<Duration>,
    /// Asks for the own result.
    pub(crate) reads_result: bool,
}

/// The habits that all plans are drawn from.
pub(crate) struct Habits {
    seed: u64,
    n_items: u32,
    think: Duration,
    abandon: f64,
    reconnect: f64,
    takeover: f64,
    twice: f64,
    weights: Weights,
}

impl Habits {
    /// Takes them from the command line and the exam.
    pub(crate) fn new(args: &RunArgs, n_items: u32, weights: Weights) -> Self {
        Self {
            seed: args.seed,
            n_items,
            think: Duration::from_millis(u64::from(args.think_ms)),
            abandon: args.abandon_percent,
            reconnect: args.reconnect_percent,
            takeover: args.takeover_percent,
            twice: args.twice_percent,
            weights,
        }
    }

    /// Returns a person of the run by number.
    pub(crate) fn person(&self, number: u32) -> Person {
        self.person_and_rng(number).0
    }

    fn person_and_rng(&self, number: u32) -> (Person, ChaCha12Rng) {
        let mut rng = ChaCha12Rng::seed_from_u64(self.seed);
        rng.set_stream(u64::from(number) + 1); // stream 0 makes the arrivals
        let person = Person {
            candidate: rng.random(),
            area: self.weights.pick(rng.random()),
        };
        (person, rng)
    }

    /// Returns the plan of a person.
    pub(crate) fn plan(&self, number: u32) -> Plan {
        let (person, mut rng) = self.person_and_rng(number);
        let ability = rng.random();
        let (mut steps, end) = self.steps(&mut rng);
        let abandons = chance(&mut rng, self.abandon);
        if abandons {
            steps.truncate(rng.random_range(0..=steps.len()));
        }
        let n_steps = steps.len();
        Plan {
            person,
            ability,
            reconnects_at: some_step(&mut rng, self.reconnect, n_steps),
            takes_over_at: some_step(&mut rng, self.takeover, n_steps),
            twice_at: some_step(&mut rng, self.twice, n_steps),
            reads_result: chance(&mut rng, RESULT_PERCENT),
            submits_at: (!abandons).then_some(end),
            steps,
        }
    }

    /// Item after item, with changes and batches, and the instant of the submission.
    fn steps(&self, rng: &mut impl Rng) -> (Vec<Step>, Duration) {
        let mut steps: Vec<Step> = Vec::new();
        let mut at = Duration::ZERO;
        let mut batch_left = 0;
        for item_idx in 0..self.n_items {
            at += self.think(rng);
            let mut picks = vec![pick(rng, item_idx, false)];
            if chance(rng, CHANGE_PERCENT) {
                let earlier = rng.random_range(0..=item_idx);
                let clears = chance(rng, CLEAR_PERCENT);
                picks.push(pick(rng, earlier, clears));
            }
            match steps.last_mut() {
                Some(last) if batch_left > 0 => {
                    batch_left -= 1;
                    last.at = at; // the whole batch leaves when the radio is back
                    last.picks.append(&mut picks);
                }
                _ => {
                    steps.push(Step { at, picks });
                    if chance(rng, BATCH_PERCENT) {
                        batch_left = rng.random_range(1..BATCH_MAX);
                    }
                }
            }
        }
        (steps, at + self.think(rng))
    }

    /// Exponential, as the gaps of independent events are.
    fn think(&self, rng: &mut impl Rng) -> Duration {
        let share: f64 = rng.random();
        self.think
            .mul_f64((-(1.0 - share).ln()).min(THINK_MAX_MEANS))
    }
}

/// Returns the instants of all arrivals, as [`crate::arrivals::arrivals`] makes them.
pub(crate) fn arrivals(args: &RunArgs) -> Vec<Duration> {
    let ramp = Duration::from_secs_f64(args.arrivals_s);
    let spread: Spread = args.arrivals;
    crate::arrivals::arrivals(args.seed, args.candidates, ramp, spread)
}

fn pick(rng: &mut impl Rng, item_idx: u32, clears: bool) -> Pick {
    Pick {
        item_idx,
        dice: rng.random(),
        clears,
    }
}

fn chance(rng: &mut impl Rng, percent: f64) -> bool {
    rng.random::<f64>() * 100.0 < percent
}

fn some_step(rng: &mut impl Rng, percent: f64, n_steps: usize) -> Option<usize> {
    (chance(rng, percent) && n_steps > 0).then(|| rng.random_range(0..n_steps))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn habits(rest: &[&str]) -> Habits {
        let needed = [
            "loadtest",
            "run",
            "--server=http://127.0.0.1:1",
            "--organizer-token-file=token",
            "--exam=demo",
        ];
        let args = Args::try_parse_from([&needed, rest].concat()).unwrap();
        let Command::Run(args) = args.command else {
            panic!("not a run");
        };
        Habits::new(&args, 20, Weights::new(&[], "vn-63"))
    }

    #[test]
    fn one_seed_gives_one_plan() {
        let (one, other) = (habits(&["--seed=5"]), habits(&["--seed=6"]));
        assert_eq!(one.plan(3), habits(&["--seed=5"]).plan(3));
        assert_eq!(one.plan(3).person, one.person(3));
        assert_ne!(one.plan(3), one.plan(4));
        assert_ne!(one.person(3), other.person(3));
    }

    #[test]
    fn every_item_is_answered_in_rising_time_and_small_messages() {
        let habits = habits(&["--abandon-percent=0"]);
        for number in 0..200 {
            let plan = habits.plan(number);
            let answered: std::collections::BTreeSet<u32> = plan
                .steps
                .iter()
                .flat_map(|s| &s.picks)
                .map(|p| p.item_idx)
                .collect();
            assert_eq!(answered, (0..20).collect());
            assert!(plan.steps.is_sorted_by_key(|s| s.at));
            assert!(plan.steps.iter().all(|s| (1..=32).contains(&s.picks.len())));
            assert!(plan.submits_at >= plan.steps.last().map(|s| s.at));
        }
    }

    #[test]
    fn shares_are_those_asked_for() {
        let habits = habits(&["--abandon-percent=20", "--takeover-percent=50"]);
        let plans: Vec<Plan> = (0..2_000).map(|n| habits.plan(n)).collect();
        let abandoned = plans.iter().filter(|p| p.submits_at.is_none()).count();
        assert!((330..470).contains(&abandoned), "{abandoned}");
        let taken_over = plans.iter().filter(|p| p.takes_over_at.is_some()).count();
        assert!((850..1_100).contains(&taken_over), "{taken_over}");
    }

    #[test]
    fn thinking_takes_the_mean_asked_for() {
        let habits = habits(&["--think-ms=400", "--abandon-percent=0"]);
        let sum: Duration = (0..500).filter_map(|n| habits.plan(n).submits_at).sum();
        let mean_ms = sum.as_secs_f64() * 1_000.0 / (500.0 * 21.0);
        assert!((380.0..420.0).contains(&mean_ms), "{mean_ms}");
    }
}
