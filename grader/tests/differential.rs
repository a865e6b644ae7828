//! Random exams, sat by random candidates, graded by the product and by the second implementation.
//!
//! Every exact score, printed score, pass, number of right items, prediction, and every rank in country, area, unit,
//! group and round must be equal, and what one of both refuses, the other refuses as well.
//! `DIFFERENTIAL_POLICIES` and `DIFFERENTIAL_CANDIDATES` make it longer. Exam number i follows from `DIFFERENTIAL_SEED` + i
//! alone, so a failure is played again by its own seed and one policy.

#[path = "differential/blueprint.rs"]
mod blueprint;
#[path = "differential/compare.rs"]
mod compare;
#[path = "differential/contest.rs"]
mod contest;
#[path = "differential/defect.rs"]
mod defect;
#[path = "differential/item.rs"]
mod item;
#[path = "differential/policy.rs"]
mod policy;
#[path = "differential/response.rs"]
mod response;
#[path = "differential/words.rs"]
mod words;

use std::{
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    compare::{Graders, differences},
    contest::Contest,
    defect::break_something,
    policy::Policy,
};

/// Most exams that are told of.
const MOST: usize = 20;

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    policies: u64,
    refused: u64,
    candidates: u64,
    attempts: u64,
    scores_above_zero: u64,
    ranks: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.policies += other.policies;
        self.refused += other.refused;
        self.candidates += other.candidates;
        self.attempts += other.attempts;
        self.scores_above_zero += other.scores_above_zero;
        self.ranks += other.ranks;
    }
}

/// A seed or a size, from the environment.
fn setting(name: &str, usual: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(usual, |text| text.parse().expect("settings are numbers"))
}

/// Picks one of some values.
fn pick<T: Clone>(rng: &mut StdRng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())].clone()
}

/// Plays one exam and compares what both make of it.
fn play(seed: u64, n_candidates: u64) -> Result<Tally, Vec<String>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let policy = Policy::random(&mut rng);
    let graders = Graders::new(&policy).map_err(|difference| vec![difference])?;
    let mut tally = Tally {
        policies: 1,
        ..Tally::default()
    };
    let Some(graders) = graders else {
        tally.refused = 1;
        return Ok(tally);
    };
    let contest = Contest::random(&policy, n_candidates, &mut rng);
    tally.candidates = n_candidates;
    tally.attempts = contest.sittings.len() as u64;
    let found = differences(&policy, &graders, &contest, &contest);
    tally.scores_above_zero = found.n_above_zero;
    tally.ranks = found.n_ranks;
    if found.differences.is_empty() {
        Ok(tally)
    } else {
        Err(found.differences)
    }
}

#[test]
fn both_implementations_give_every_score_and_every_rank() {
    let first = setting("DIFFERENTIAL_SEED", 1);
    let n_policies = setting("DIFFERENTIAL_POLICIES", 60);
    let n_candidates = setting("DIFFERENTIAL_CANDIDATES", 200);
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + n_policies {
                return tally;
            }
            tally += play(seed, n_candidates).unwrap_or_else(|differences| {
                panic!(
                    "DIFFERENTIAL_SEED={seed} DIFFERENTIAL_POLICIES=1 DIFFERENTIAL_CANDIDATES={n_candidates}: {differences:#?}"
                )
            });
        }
    };
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            tally += thread.join().expect("its panic tells the seed");
        }
    });
    println!("seeds from {first}: {tally:?} in {:?}", began.elapsed());
    assert!(
        tally.refused * 2 < tally.policies,
        "too little was compared"
    );
    assert!(
        tally.scores_above_zero * 2 > tally.attempts,
        "too little was earned"
    );
    assert!(tally.ranks > tally.candidates);
}

#[test]
fn what_one_refuses_both_refuse() {
    let first = setting("DIFFERENTIAL_SEED", 1);
    let n_defects = setting("DIFFERENTIAL_DEFECTS", 1_500);
    let mut n_refused = 0;
    let mut differences = Vec::new();
    for seed in first..first + n_defects {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut policy = Policy::random(&mut rng);
        let what = break_something(&mut policy, &mut rng);
        match Graders::new(&policy) {
            Ok(graders) => n_refused += u64::from(graders.is_none()),
            Err(difference) => differences.push(format!("seed {seed}: {what}: {difference}")),
        }
    }
    assert!(
        differences.is_empty(),
        "{} exams: {:#?}",
        differences.len(),
        differences.iter().take(MOST).collect::<Vec<_>>()
    );
    println!("{n_refused} of {n_defects} exams refused");
    assert!(n_refused * 3 > n_defects && n_refused < n_defects);
}

/// Exams that are not refused, with some sittings of each.
fn played() -> impl Iterator<Item = (Policy, Graders, Contest)> {
    (0..60).filter_map(|seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        let policy = Policy::random(&mut rng);
        let graders = Graders::new(&policy).expect("both say the same")?;
        let contest = Contest::random(&policy, 40, &mut rng);
        Some((policy, graders, contest))
    })
}

#[test]
fn a_key_that_is_not_the_same_is_noticed() {
    let (mut n_changed, mut n_noticed) = (0, 0);
    for (policy, _, contest) in played() {
        let mut other = policy.clone();
        let n_keys = other.invert_single_choices();
        if n_keys == 0 {
            continue;
        }
        let graders = Graders::of(&policy, &other).expect("the key is possible");
        let graders = graders.expect("the exam was not refused before");
        let found = differences(&policy, &graders, &contest, &contest);
        n_changed += 1;
        n_noticed += u64::from(!found.differences.is_empty());
    }
    assert!(
        n_changed > 5 && n_noticed == n_changed,
        "{n_noticed} of {n_changed}"
    );
}

#[test]
fn an_answer_that_is_not_the_same_is_noticed() {
    let mut n_changed = 0;
    for (policy, graders, contest) in played() {
        let mut other = contest.clone();
        let is_other = other
            .sittings
            .iter_mut()
            .any(|sitting| sitting.lose_a_point(&graders.scorer));
        if is_other {
            n_changed += 1;
            let found = differences(&policy, &graders, &contest, &other);
            assert!(!found.differences.is_empty());
        }
    }
    assert!(n_changed > 10, "{n_changed}");
}

#[test]
fn an_instant_that_is_not_the_same_is_noticed() {
    let mut n_noticed = 0;
    for (policy, graders, contest) in played() {
        let mut other = contest.clone();
        // no score depends on it, some ranks do
        for sitting in &mut other.sittings {
            sitting.started_at_ms += sitting.ended_at_ms % 3_000;
            sitting.ended_at_ms += sitting.ended_at_ms % 3_000;
        }
        let found = differences(&policy, &graders, &contest, &other);
        let is_rank =
            |difference: &String| difference.contains("round") || difference.contains("rank");
        n_noticed += u64::from(found.differences.iter().any(is_rank));
    }
    assert!(n_noticed > 3, "{n_noticed}");
}
