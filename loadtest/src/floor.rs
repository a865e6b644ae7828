//! How far the engine is from a handler that does nothing else, on this machine, now.
//!
//! Four servers, each a child process on loopback, driven by the same client with the same message:
//! a bare echo against the engine on its embedded store, and a bare call of the store's script
//! against the engine on Redis. Rounds alternate, so that a slow minute of the machine hits both.
//! Start at [`run`].

pub(crate) mod bare;
mod drive;
mod setup;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use drive::Target;
use serde::Serialize;

use crate::{args::FloorArgs, child::Child, own_exam, redis_server::Redis, report::print};

/// Rounds of each server; odd, so that the median is one of them.
const ROUNDS: u32 = 5;
/// A round is never shorter: group commits and connections need a moment to find their pace.
const ROUND_MIN: Duration = Duration::from_millis(300);
/// Each server is driven so long before the first round.
const WARM_UP: Duration = Duration::from_millis(700);
/// Between two rounds, so that the one before has no work left in the background.
const REST: Duration = Duration::from_millis(200);

/// What was found; the names are read by other programs.
#[derive(Debug, Serialize)]
struct Floor {
    /// The engine on Redis against the bare script.
    f1_ratio: f64,
    /// The engine on its embedded store against the bare echo.
    f2_ratio: f64,
    echo_per_s: f64,
    embedded_per_s: f64,
    script_per_s: f64,
    redis_per_s: f64,
    details: Details,
}

#[derive(Debug, Serialize)]
struct Details {
    rounds: u32,
    round_s: f64,
    in_flight: u32,
    channels: u32,
    candidates: u32,
    echo_rounds: Vec<f64>,
    embedded_rounds: Vec<f64>,
    script_rounds: Vec<f64>,
    redis_rounds: Vec<f64>,
}

/// Measures all four and prints what was found.
pub(crate) async fn run(args: FloorArgs) -> Result<ExitCode> {
    let exam = own_exam::program(args.exam_bin.as_deref())?;
    let bank = own_exam::bank(args.bank.as_deref())?;
    let round = Duration::from_secs_f64(args.seconds / f64::from(ROUNDS)).max(ROUND_MIN);

    let (echo_rounds, embedded_rounds) = {
        let echo = Child::start(&own()?, &["echo-server"])
            .await
            .context("start the echo")?;
        let engine = setup::engine(&exam, &bank, None).await?;
        let bare = Target::bare(&echo.url, args.channels)?;
        let real = Target::of(&engine, args.channels).await?;
        alternate(bare, real, args.in_flight, round).await?
    };
    let (script_rounds, redis_rounds) = {
        let bare_redis = Redis::start().await?;
        let script = ["script-server", "--redis", &bare_redis.url];
        let script = Child::start(&own()?, &script)
            .await
            .context("start the script handler")?;
        let redis = Redis::start().await?;
        let engine = setup::engine(&exam, &bank, Some(&redis.url)).await?;
        let bare = Target::bare(&script.url, args.channels)?;
        let real = Target::of(&engine, args.channels).await?;
        alternate(bare, real, args.in_flight, round).await?
    };

    let floor = Floor::new(Details {
        rounds: ROUNDS,
        round_s: round.as_secs_f64(),
        in_flight: args.in_flight,
        channels: args.channels,
        candidates: setup::CANDIDATES,
        echo_rounds,
        embedded_rounds,
        script_rounds,
        redis_rounds,
    });
    print(&floor.text(args.json)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Drives two servers in turn; returns the rates of all rounds.
async fn alternate(
    mut bare: Target,
    mut real: Target,
    in_flight: u32,
    round: Duration,
) -> Result<(Vec<f64>, Vec<f64>)> {
    bare.drive(in_flight, WARM_UP).await?;
    real.drive(in_flight, WARM_UP).await?;
    let (mut bare_rounds, mut real_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (target, rounds) in [(&mut bare, &mut bare_rounds), (&mut real, &mut real_rounds)] {
            tokio::time::sleep(REST).await;
            rounds.push(target.drive(in_flight, round).await?);
        }
    }
    Ok((bare_rounds, real_rounds))
}

impl Floor {
    fn new(details: Details) -> Self {
        let echo_per_s = median(&details.echo_rounds);
        let embedded_per_s = median(&details.embedded_rounds);
        let script_per_s = median(&details.script_rounds);
        let redis_per_s = median(&details.redis_rounds);
        Self {
            f1_ratio: redis_per_s / script_per_s,
            f2_ratio: embedded_per_s / echo_per_s,
            echo_per_s,
            embedded_per_s,
            script_per_s,
            redis_per_s,
            details,
        }
    }

    fn text(&self, json: bool) -> Result<String> {
        if json {
            return Ok(serde_json::to_string(self).context("write the figures")? + "\n");
        }
        let Self { details, .. } = self;
        Ok(format!(
            "Câu đã lưu mỗi giây, trung vị {} vòng (answers per second, median of {} rounds of {:.1} s, {} in flight)\n\
             echo_per_s     {:>10.0}\n\
             embedded_per_s {:>10.0}\n\
             script_per_s   {:>10.0}\n\
             redis_per_s    {:>10.0}\n\
             f1_ratio       {:>10.3}  (redis / script)\n\
             f2_ratio       {:>10.3}  (embedded / echo)\n",
            details.rounds,
            details.rounds,
            details.round_s,
            details.in_flight,
            self.echo_per_s,
            self.embedded_per_s,
            self.script_per_s,
            self.redis_per_s,
            self.f1_ratio,
            self.f2_ratio,
        ))
    }
}

fn median(rounds: &[f64]) -> f64 {
    let mut rounds = rounds.to_vec();
    rounds.sort_unstable_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN)
}

fn own() -> Result<PathBuf> {
    std::env::current_exe().context("find this program")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor() -> Floor {
        Floor::new(Details {
            rounds: 3,
            round_s: 1.0,
            in_flight: 256,
            channels: 4,
            candidates: 2_000,
            echo_rounds: vec![100.0, 10.0, 80.0],
            embedded_rounds: vec![60.0, 40.0, 5.0],
            script_rounds: vec![50.0, 50.0, 50.0],
            redis_rounds: vec![35.0, 36.0, 90.0],
        })
    }

    #[test]
    fn one_slow_round_does_not_move_the_ratios() {
        let floor = floor();
        assert_eq!((floor.echo_per_s, floor.embedded_per_s), (80.0, 40.0));
        assert_eq!((floor.f2_ratio, floor.f1_ratio), (0.5, 0.72));
    }

    #[test]
    fn json_has_the_names_that_are_read() {
        let json = floor().text(true).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        let expected = [
            "details",
            "echo_per_s",
            "embedded_per_s",
            "f1_ratio",
            "f2_ratio",
            "redis_per_s",
            "script_per_s",
        ];
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
    }
}
