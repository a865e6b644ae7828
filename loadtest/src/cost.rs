//! What a candidate costs: processor time of a whole exam (F9), and memory of a live session in Redis (F8).
//!
//! Candidates start, read their paper, save 30 answers one by one and submit; then everything is graded. Processor time is
//! that of all serving processes, less what they use when nothing happens. Start at [`run`].

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    args::CostArgs,
    client::candidate_clients,
    cpu::machine,
    herd::{self, Work},
    node::{Node, StoreKind},
    own_exam,
    report::print,
};

/// Items on the paper, all of them answered.
const N_ITEMS: u32 = 30;
/// Calls in flight: some group commit, no queue.
const IN_FLIGHT: usize = 64;
/// HTTP/2 connections.
const CHANNELS: u32 = 4;
/// The server is left alone so long to see what it uses when nothing happens.
const IDLE: Duration = Duration::from_secs(3);

/// What was found on one store; the names are read by other programs.
#[derive(Debug, Serialize)]
struct Cost {
    store: &'static str,
    candidates: u32,
    n_answers: u64,
    /// Processor milliseconds of a candidate's whole exam.
    cpu_ms: f64,
    /// Of these, the start with the paper, the answers, and the submission with all grading.
    start_ms: f64,
    answers_ms: f64,
    submit_ms: f64,
    /// Processors used when nothing happens.
    idle_cores: f64,
    /// Bytes of Redis a live session takes, log included; 0 on the embedded store.
    redis_bytes: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    f9_embedded_ms: f64,
    f9_redis_ms: f64,
    f8_bytes: f64,
    details: Vec<Cost>,
}

/// Measures both stores and prints what was found.
pub(crate) async fn run(args: CostArgs) -> Result<ExitCode> {
    let machine = machine();
    let embedded = measure(&args, StoreKind::Embedded).await?;
    let redis = measure(&args, StoreKind::Redis).await?;
    let report = Report {
        machine,
        f9_embedded_ms: embedded.cpu_ms,
        f9_redis_ms: redis.cpu_ms,
        f8_bytes: redis.redis_bytes,
        details: vec![embedded, redis],
    };
    print(&report.text(args.json)?)?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &CostArgs, store: StoreKind) -> Result<Cost> {
    let exam = own_exam::program(args.exam_bin.as_deref())?;
    let bank = own_exam::bank(args.bank.as_deref())?;
    let limits = [("--calls-per-session", "1000000")];
    let node = Node::open(&exam, &bank, store, N_ITEMS, &limits).await?;
    let clients = candidate_clients(&node.engine.url, CHANNELS)?;
    let codes = node.codes(0..args.candidates).await?;
    node.await_grader().await?;
    let bytes_before = used_memory(&node).await?;
    let idle_cores = idle_cores(&node).await?;

    let mut meter = Meter::new(&node, idle_cores)?;
    let herd = herd::start(&clients, codes, IN_FLIGHT, true).await?;
    let start_s = meter.lap()?;
    let herd = herd::work(&clients, herd, N_ITEMS, IN_FLIGHT, Work::Each(N_ITEMS)).await?;
    node.await_grader().await?;
    let answers_s = meter.lap()?;
    let bytes = used_memory(&node).await? - bytes_before;
    let mut meter = Meter::new(&node, idle_cores)?;
    herd::work(&clients, herd, N_ITEMS, IN_FLIGHT, Work::Submit).await?;
    node.await_grader().await?;
    let submit_s = meter.lap()?;

    let n = f64::from(args.candidates);
    let ms = |seconds: f64| seconds * 1_000.0 / n;
    Ok(Cost {
        store: store.name(),
        candidates: args.candidates,
        n_answers: u64::from(args.candidates) * u64::from(N_ITEMS),
        cpu_ms: ms(start_s + answers_s + submit_s),
        start_ms: ms(start_s),
        answers_ms: ms(answers_s),
        submit_ms: ms(submit_s),
        idle_cores,
        redis_bytes: bytes / n,
    })
}

/// Processor seconds lap by lap, less those of an idle server.
struct Meter<'a> {
    node: &'a Node,
    idle_cores: f64,
    since: tokio::time::Instant,
    before: crate::cpu::CpuTime,
}

impl<'a> Meter<'a> {
    fn new(node: &'a Node, idle_cores: f64) -> Result<Self> {
        Ok(Self {
            node,
            idle_cores,
            since: tokio::time::Instant::now(),
            before: node.cpu()?,
        })
    }

    fn lap(&mut self) -> Result<f64> {
        let now = self.node.cpu()?;
        let used = (now - self.before).seconds();
        let idle = self.idle_cores * self.since.elapsed().as_secs_f64();
        self.before = now;
        self.since = tokio::time::Instant::now();
        Ok((used - idle).max(0.0))
    }
}

/// Returns how many processors the server uses when nothing happens.
pub(crate) async fn idle_cores(node: &Node) -> Result<f64> {
    let before = node.cpu()?;
    tokio::time::sleep(IDLE).await;
    Ok((node.cpu()? - before).seconds() / IDLE.as_secs_f64())
}

async fn used_memory(node: &Node) -> Result<f64> {
    let Some(redis) = &node.redis else {
        return Ok(0.0);
    };
    let mut connection = redis.connect().await?;
    let info: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut connection)
        .await
        .context("INFO memory")?;
    let found = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let bytes = found.context("Redis tells no used_memory")?;
    bytes.trim().parse().context("used_memory is no number")
}

impl Report {
    fn text(&self, json: bool) -> Result<String> {
        if json {
            return Ok(serde_json::to_string(self).context("write the figures")? + "\n");
        }
        let mut text = format!(
            "Một thí sinh tốn bao nhiêu (what a candidate costs): {}\n",
            self.machine
        );
        for cost in &self.details {
            text += &format!(
                "{:<9} {:.3} ms CPU a candidate (start and paper {:.3}, {N_ITEMS} answers {:.3}, submission and grading {:.3}); \
                 idle {:.3} cores; {:.0} bytes of Redis a live session; {} candidates\n",
                cost.store,
                cost.cpu_ms,
                cost.start_ms,
                cost.answers_ms,
                cost.submit_ms,
                cost.idle_cores,
                cost.redis_bytes,
                cost.candidates,
            );
        }
        Ok(text)
    }
}
