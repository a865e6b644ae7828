//! Whether an answer costs more when more sessions live (F12): processor time an answer at rising numbers of sessions.
//!
//! Sessions are started through the engine, none is made up; answers come from random ones, so that whatever is kept is
//! touched everywhere. Each level is measured several times and the median counts. Start at [`run`].

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    args::GrowthArgs,
    client::{CandidateClient, candidate_clients},
    cost::idle_cores,
    cpu::machine,
    herd::{self, Member, Work},
    node::{Node, StoreKind},
    own_exam,
    report::print,
};

/// Live sessions at which an answer is measured.
const LEVELS: [u32; 3] = [10_000, 100_000, 1_000_000];
/// Levels of the quick form.
const N_QUICK: usize = 2;
/// Items on the paper.
const N_ITEMS: u32 = 30;
/// Calls in flight.
const IN_FLIGHT: usize = 256;
/// HTTP/2 connections.
const CHANNELS: u32 = 4;
/// Measurements at each level; odd, so that the median is one of them.
const ROUNDS: u64 = 5;
/// Answers in each: some seconds of work, thousands of ticks of the kernel's clock.
const N_ANSWERS: u64 = 60_000;
/// A server that uses less by itself has no work left from before; it gets so many looks of some seconds for that.
const QUIET_CORES: f64 = 0.05;
const QUIET_LOOKS: u32 = 40;
/// Access codes in memory at once: they are needed for the start only.
const START_PAGE: u32 = 20_000;

/// One level on one store.
#[derive(Debug, Serialize)]
struct Level {
    store: &'static str,
    sessions: u32,
    /// Processor microseconds an answer, median.
    cpu_us: f64,
    /// All rounds.
    rounds_us: Vec<f64>,
    /// What starting the sessions took, seconds.
    starts_s: f64,
    /// Memory of engine and Redis, MiB.
    memory_mib: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    /// Last level against the first, by store.
    f12_embedded_ratio: f64,
    f12_redis_ratio: f64,
    seconds: f64,
    levels: Vec<Level>,
}

/// Measures the stores asked for and prints what was found.
pub(crate) async fn run(args: GrowthArgs) -> Result<ExitCode> {
    let begun = Instant::now();
    let machine = machine();
    let n_levels = if args.quick { N_QUICK } else { LEVELS.len() };
    let mut levels = Vec::new();
    for store in [StoreKind::Embedded, StoreKind::Redis] {
        if args.store.is_none_or(|only| only == store) {
            measure(&args, store, &LEVELS[..n_levels], &mut levels).await?;
        }
    }
    let report = Report {
        machine,
        f12_embedded_ratio: ratio(&levels, StoreKind::Embedded),
        f12_redis_ratio: ratio(&levels, StoreKind::Redis),
        seconds: begun.elapsed().as_secs_f64(),
        levels,
    };
    print(&report.text(args.json)?)?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    args: &GrowthArgs,
    store: StoreKind,
    levels: &[u32],
    found: &mut Vec<Level>,
) -> Result<()> {
    let exam = own_exam::program(args.exam_bin.as_deref())?;
    let bank = own_exam::bank(args.bank.as_deref())?;
    let limits = [
        ("--starts-per-second", "1000000"),
        ("--calls-per-session", "1000000"),
    ];
    let node = Node::open(&exam, &bank, store, N_ITEMS, &limits).await?;
    let clients = candidate_clients(&node.engine.url, CHANNELS)?;
    let mut herd = Vec::new();
    for sessions in levels {
        let begun = Instant::now();
        grow(&node, &clients, &mut herd, *sessions).await?;
        let starts_s = begun.elapsed().as_secs_f64();
        node.await_grader().await?;
        let idle = quiet(&node).await?;
        let mut rounds_us = Vec::new();
        for round in 0..ROUNDS {
            let (before, since) = (node.cpu()?, Instant::now());
            let work = Work::Random {
                n: N_ANSWERS,
                seed: u64::from(*sessions) + (round << 32),
            };
            let n_before = n_answers(&herd);
            herd = herd::work(&clients, herd, N_ITEMS, IN_FLIGHT, work).await?;
            node.await_grader().await?;
            let used = (node.cpu()? - before).seconds();
            let own = used - idle * since.elapsed().as_secs_f64();
            rounds_us.push(own * 1e6 / (n_answers(&herd) - n_before) as f64);
        }
        let level = Level {
            store: store.name(),
            sessions: *sessions,
            cpu_us: median(&rounds_us),
            rounds_us,
            starts_s,
            memory_mib: node.memory_mib()?,
        };
        eprintln!("{}", level.line());
        found.push(level);
    }
    Ok(())
}

/// Waits until the store has sorted what the starts left behind; returns what the server then uses by itself.
async fn quiet(node: &Node) -> Result<f64> {
    let mut idle = idle_cores(node).await?;
    for _ in 0..QUIET_LOOKS {
        if idle < QUIET_CORES {
            break;
        }
        idle = idle_cores(node).await?;
    }
    Ok(idle)
}

/// Starts attempts until so many live.
async fn grow(
    node: &Node,
    clients: &[CandidateClient],
    herd: &mut Vec<Member>,
    sessions: u32,
) -> Result<()> {
    let mut n = u32::try_from(herd.len()).context("too many sessions")?;
    while n < sessions {
        let until = sessions.min(n + START_PAGE);
        let codes = node.codes(n..until).await?;
        herd.extend(herd::start(clients, codes, IN_FLIGHT, false).await?);
        n = until;
    }
    Ok(())
}

fn n_answers(herd: &[Member]) -> u64 {
    herd.iter().map(|member| u64::from(member.last_seq)).sum()
}

fn median(rounds: &[f64]) -> f64 {
    let mut rounds = rounds.to_vec();
    rounds.sort_unstable_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The last level of a store against its first; 0 if it was not measured.
fn ratio(levels: &[Level], store: StoreKind) -> f64 {
    let mut own = levels.iter().filter(|level| level.store == store.name());
    match (own.next(), own.next_back()) {
        (Some(first), Some(last)) => last.cpu_us / first.cpu_us,
        _ => 0.0,
    }
}

impl Level {
    fn line(&self) -> String {
        let rounds: Vec<String> = self.rounds_us.iter().map(|us| format!("{us:.1}")).collect();
        format!(
            "{:<9} {:>9} sessions  {:>6.1} µs CPU an answer ({})  started in {:.0} s  {:.0} MiB",
            self.store,
            self.sessions,
            self.cpu_us,
            rounds.join(" "),
            self.starts_s,
            self.memory_mib,
        )
    }
}

impl Report {
    fn text(&self, json: bool) -> Result<String> {
        if json {
            return Ok(serde_json::to_string(self).context("write the figures")? + "\n");
        }
        let lines: Vec<String> = self.levels.iter().map(Level::line).collect();
        Ok(format!(
            "Câu trả lời có đắt lên khi đông thí sinh? (does an answer cost more with more sessions?) {}\n{}\n\
             embedded ×{:.3}, redis ×{:.3} (last level / first; 0: not measured), {:.0} s in all\n",
            self.machine,
            lines.join("\n"),
            self.f12_embedded_ratio,
            self.f12_redis_ratio,
            self.seconds,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(store: StoreKind, sessions: u32, cpu_us: f64) -> Level {
        Level {
            store: store.name(),
            sessions,
            cpu_us,
            rounds_us: vec![cpu_us],
            starts_s: 1.0,
            memory_mib: 1.0,
        }
    }

    #[test]
    fn the_ratio_is_that_of_the_last_level_to_the_first() {
        let levels = [
            level(StoreKind::Embedded, 10_000, 50.0),
            level(StoreKind::Embedded, 100_000, 90.0),
            level(StoreKind::Embedded, 1_000_000, 60.0),
            level(StoreKind::Redis, 10_000, 10.0),
        ];
        assert!((ratio(&levels, StoreKind::Embedded) - 1.2).abs() < 1e-9);
        assert!(ratio(&levels, StoreKind::Redis).abs() < 1e-9);
    }

    #[test]
    fn one_slow_round_does_not_count() {
        assert!((median(&[5.0, 100.0, 6.0]) - 6.0).abs() < 1e-9);
    }
}
