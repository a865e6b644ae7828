//! Faults on purpose, under load, on real processes: what was acknowledged must be there afterwards.
//!
//! A round opens an exam on a fresh folder, lets candidates work through a bad network, breaks something, lets everybody
//! come back by themselves, closes the exam, and holds every receipt ever given out against the archive. Controls break
//! a promise on purpose and must be found out: a suite whose controls hold proves nothing. Everything follows from the
//! printed seed but the scheduling of the machine. Start at [`run`]; each scenario is a file in `faults/`.

mod aof_torn;
mod clock_jump;
mod contest;
mod failover;
mod kill;
mod network;
mod power;
mod power_cut;
mod round;
mod site;
mod slow_sync;

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, bail};
use futures::future::LocalBoxFuture;
use round::{Outcome, Round, Tools};

use crate::{args::FaultsArgs, report::print};

/// Differences told of a broken round.
const MAX_TOLD: usize = 3;

/// One kind of fault.
struct Scenario {
    name: &'static str,
    /// A control must lose acknowledged answers.
    is_control: bool,
    play: for<'a> fn(&'a mut Round) -> LocalBoxFuture<'a, Result<Outcome>>,
}

macro_rules! scenario {
    ($name:literal, $play:path) => {
        Scenario {
            name: $name,
            is_control: false,
            play: |round| Box::pin($play(round)),
        }
    };
    (control $name:literal, $play:path) => {
        Scenario {
            is_control: true,
            ..scenario!($name, $play)
        }
    };
}

const SCENARIOS: [Scenario; 17] = [
    scenario!("kill-engine-embedded", kill::engine_embedded),
    scenario!("kill-engine-redis", kill::engine_redis),
    scenario!("kill-redis", kill::redis),
    scenario!("kill-both", kill::both),
    scenario!("slow-sync-embedded", slow_sync::embedded),
    scenario!("slow-sync-redis", slow_sync::redis),
    scenario!("power-cut-embedded", power_cut::embedded),
    scenario!("power-cut-redis", power_cut::redis),
    scenario!("aof-torn", aof_torn::play),
    scenario!("network-clients", network::clients),
    scenario!("network-redis", network::redis),
    scenario!("clock-jump-embedded", clock_jump::embedded),
    scenario!("clock-jump-redis", clock_jump::redis),
    scenario!("failover-sentinel", failover::sentinel),
    scenario!("failover-cluster", failover::cluster),
    scenario!(control "control-everysec", power_cut::control_everysec),
    scenario!(control "control-no-wait", failover::control_no_wait),
];

/// What became of a round.
enum Verdict {
    Held,
    ControlFailed,
    Broken(String),
    Skipped(String),
}

/// Sums over all rounds.
#[derive(Default)]
struct Totals {
    n_survived: u64,
    n_answers: u64,
    n_lost: u64,
    n_controls: u64,
    n_skipped: u64,
    n_broken: u64,
}

/// Plays the rounds and returns the program's exit status.
pub(crate) async fn run(args: FaultsArgs) -> Result<ExitCode> {
    let chosen: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| {
            args.scenario.is_empty() || args.scenario.contains(&scenario.name.to_owned())
        })
        .collect();
    if let Some(unknown) = args.scenario.iter().find(|name| !is_known(name)) {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!(
            "there is no scenario {unknown}; there are: {}",
            names.join(", ")
        );
    }
    let tools = Tools::find(&args).await?;
    let begun = Instant::now();
    let mut totals = Totals::default();
    for seed in args.seed..args.seed + u64::from(args.rounds) {
        for scenario in &chosen {
            if args
                .minutes
                .is_some_and(|minutes| begun.elapsed().as_secs() >= u64::from(minutes) * 60)
            {
                break;
            }
            play(scenario, seed, &tools, &mut totals).await?;
        }
    }
    print(&totals.line(&args, begun))?;
    Ok(if totals.n_broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn is_known(name: &str) -> bool {
    SCENARIOS.iter().any(|scenario| scenario.name == name)
}

async fn play(scenario: &Scenario, seed: u64, tools: &Tools, totals: &mut Totals) -> Result<()> {
    let begun = Instant::now();
    let mut round = Round::new(tools.clone(), scenario.name, seed);
    let outcome = (scenario.play)(&mut round).await;
    let (acknowledged, lost) = match &outcome {
        Ok(Outcome::Played(verdict)) => (
            verdict.n_acknowledged,
            verdict.n_acknowledged - verdict.n_found,
        ),
        _ => (0, 0),
    };
    let verdict = judge(scenario.is_control, outcome);
    totals.add(&verdict, round.faults.len(), acknowledged, lost);
    let word = match &verdict {
        Verdict::Held => "held".to_owned(),
        Verdict::ControlFailed => "control failed as it must".to_owned(),
        Verdict::Broken(why) => format!("BROKEN: {why}"),
        Verdict::Skipped(why) => format!("skipped: {why}"),
    };
    print(&format!(
        "{:<21} seed {seed:<4} answers {acknowledged:<6} lost {lost:<4} {:>4.0} s  {word}  [{}]\n",
        scenario.name,
        begun.elapsed().as_secs_f64(),
        round.faults.join("; "),
    ))
}

/// A control must have lost acknowledged answers; all others must have kept everything, in at least some load.
fn judge(is_control: bool, outcome: Result<Outcome>) -> Verdict {
    match outcome {
        Err(error) => Verdict::Broken(format!("{error:#}")),
        Ok(Outcome::Skipped(why)) => Verdict::Skipped(why),
        Ok(Outcome::Played(verdict)) => {
            let lost = verdict.n_acknowledged - verdict.n_found;
            let first = || {
                verdict.differences.kept[..verdict.differences.kept.len().min(MAX_TOLD)].join(" | ")
            };
            match (is_control, lost > 0) {
                (true, true) => Verdict::ControlFailed,
                (true, false) => Verdict::Broken("the control lost nothing".to_owned()),
                (false, _) if !verdict.ok => Verdict::Broken(first()),
                (false, _) if verdict.n_acknowledged == 0 => {
                    Verdict::Broken("nothing was acknowledged: no load, no proof".to_owned())
                }
                (false, _) => Verdict::Held,
            }
        }
    }
}

impl Totals {
    fn add(&mut self, verdict: &Verdict, n_faults: usize, acknowledged: u64, lost: u64) {
        match verdict {
            Verdict::Held => self.n_survived += n_faults as u64,
            Verdict::ControlFailed => self.n_controls += 1,
            Verdict::Broken(_) => self.n_broken += 1,
            Verdict::Skipped(_) => self.n_skipped += 1,
        }
        if !matches!(verdict, Verdict::ControlFailed) {
            self.n_answers += acknowledged;
            self.n_lost += lost;
        }
    }

    fn line(&self, args: &FaultsArgs, begun: Instant) -> String {
        let Self {
            n_survived,
            n_answers,
            n_lost,
            n_controls,
            n_skipped,
            n_broken,
        } = self;
        let word = if *n_broken == 0 { "ok" } else { "FAILED" };
        format!(
            "faults: {word}, {n_survived} faults survived, {n_answers} answers acknowledged, {n_lost} lost, \
             {n_controls} controls failed as they must, {n_broken} rounds broken, {n_skipped} skipped, \
             seeds {} to {}, {:.0} s\n",
            args.seed,
            args.seed + u64::from(args.rounds) - 1,
            begun.elapsed().as_secs_f64(),
        )
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::verdict::Verdict as Archive;

    fn archive(n_acknowledged: u64, n_found: u64) -> Result<Outcome> {
        Ok(Outcome::Played(Archive {
            ok: n_found == n_acknowledged,
            n_acknowledged,
            n_found,
            ..Archive::default()
        }))
    }

    #[track_caller]
    fn check(is_control: bool, outcome: Result<Outcome>, expected: &str) {
        let found = match judge(is_control, outcome) {
            Verdict::Held => "held",
            Verdict::ControlFailed => "control",
            Verdict::Broken(_) => "broken",
            Verdict::Skipped(_) => "skipped",
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn one_lost_answer_breaks_a_round_and_a_control_that_loses_none_breaks_the_suite() {
        check(false, archive(10, 10), "held");
        check(false, archive(10, 9), "broken");
        check(false, archive(0, 0), "broken");
        check(false, Err(anyhow!("the server did not start")), "broken");
        check(true, archive(10, 9), "control");
        check(true, archive(10, 10), "broken");
        check(true, Err(anyhow!("the server did not start")), "broken");
        check(false, Ok(Outcome::Skipped("no flag".to_owned())), "skipped");
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
    }
}
