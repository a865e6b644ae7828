//! A nation that starts at once, and then asks for five times what one machine can do (F7).
//!
//! First everybody is released within seconds. Then a closed loop shows the most that the machine saves. Then every
//! candidate's answers fall due at a rate that is a multiple of that, whether or not the ones before were taken, and
//! whoever is refused comes again as told; newcomers, readers, results and boards come besides. In the end the exam is
//! closed and every acknowledged start and answer is held against the archive. Start at [`run`].

mod crowd;
mod plot;
mod series;

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use crowd::Crowd;
use proto::exam::v1::ExamState;
use serde::Serialize;
use series::{Series, Shares};
use tokio::time::Instant;

use crate::{
    args::StormArgs,
    chain::canonical,
    cpu::{CpuTime, machine},
    herd::{Member, message},
    node::Node,
    own_exam::{self, person},
    report::print,
    scenario,
    verdict::{Acknowledged, Differences, Ending, Told, Verdict},
};

/// Items on the paper.
const N_ITEMS: u32 = 20;
/// The closed loop runs so long; the first second does not count.
const PEAK: Duration = Duration::from_secs(8);
/// Seconds at the head of a phase that do not count: queues fill, connections find their pace.
const RAMP_S: usize = 1;
const OVERLOAD_RAMP_S: usize = 3;
/// Pause between two phases, so that one leaves nothing to the next.
const REST: Duration = Duration::from_secs(2);
/// Closing tens of thousands of attempts and grading millions of answers takes so long at most.
const SETTLE: Duration = Duration::from_secs(600);
/// Targets.
const START_P99_MS: f64 = 1_000.0;
const GOODPUT_RATIO: f64 = 0.9;

/// What was found; the names are read by other programs.
#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    store: &'static str,
    candidates: u32,
    release_s: f64,
    f7_started: u64,
    f7_start_ms_p50: f64,
    f7_start_ms_p99: f64,
    f7_start_ms_max: f64,
    peak_per_s: f64,
    factor: f64,
    overload_s: u32,
    offered_per_s: f64,
    goodput_per_s: f64,
    f7_goodput_ratio: f64,
    f7_answers_shed_last: bool,
    shares: Shares,
    answers_acknowledged: u64,
    f7_lost: u64,
    verdict: String,
    /// Processors used by server and generator during the overload.
    server_cores: f64,
    generator_cores: f64,
    f7_ok: bool,
}

/// Plays all phases, judges, and prints what was found.
pub(crate) async fn run(args: StormArgs) -> Result<ExitCode> {
    let machine = machine();
    let exam = own_exam::program(args.exam_bin.as_deref())?;
    let bank = own_exam::bank(args.bank.as_deref())?;
    let per_s = (f64::from(args.candidates) / args.release_s.max(0.1)).ceil() * 2.0;
    let per_s = format!("{per_s:.0}");
    let options = [
        ("--starts-per-second", per_s.as_str()),
        ("--calls-per-session", "1000000"),
    ];
    let node = Node::open(&exam, &bank, args.store, N_ITEMS, &options).await?;
    let series = Arc::new(Series::new());
    let mut crowd = Crowd::enter(&node, &args, Arc::clone(&series)).await?;

    let started = crowd.start().await?;
    tokio::time::sleep(REST).await;
    let peak_from = series.second();
    crowd.peak(PEAK).await?;
    let peak_per_s = series.goodput(
        peak_from + RAMP_S,
        series.second().max(peak_from + RAMP_S + 1),
    );
    tokio::time::sleep(REST).await;

    let cpu = (node.cpu()?, CpuTime::of(&[std::process::id()])?);
    let overload_from = series.second();
    let since = Instant::now();
    crowd.overload(peak_per_s * args.factor).await?;
    let lasted = since.elapsed().as_secs_f64();
    let cores = (
        (node.cpu()? - cpu.0).seconds() / lasted,
        (CpuTime::of(&[std::process::id()])? - cpu.1).seconds() / lasted,
    );
    let counted = overload_from + OVERLOAD_RAMP_S..overload_from + args.overload_s as usize;
    let goodput_per_s = series.goodput(counted.start, counted.end);
    let shares = series.shares(counted.clone());

    let verdict = judge(&node, crowd.told()).await?;
    if let Some(file) = &args.plot {
        let marks = plot::Marks {
            peak_from,
            overload_from,
            overload_until: counted.end,
            peak_per_s,
        };
        draw(file, &plot::svg(&series, &marks))?;
    }
    let lost = verdict.n_acknowledged - verdict.n_found;
    let ratio = goodput_per_s / peak_per_s;
    let is_shed_last = shares.answers_are_shed_last();
    let report = Report {
        machine,
        store: args.store.name(),
        candidates: args.candidates,
        release_s: args.release_s,
        f7_started: started.count,
        f7_start_ms_p50: started.latency_ms_p50,
        f7_start_ms_p99: started.latency_ms_p99,
        f7_start_ms_max: started.latency_ms_max,
        peak_per_s,
        factor: args.factor,
        overload_s: args.overload_s,
        offered_per_s: series.offered(counted.start, counted.end),
        goodput_per_s,
        f7_goodput_ratio: ratio,
        f7_answers_shed_last: is_shed_last,
        shares,
        answers_acknowledged: verdict.n_acknowledged,
        f7_lost: lost,
        f7_ok: verdict.ok
            && started.count == u64::from(args.candidates)
            && started.latency_ms_p99 < START_P99_MS
            && ratio >= GOODPUT_RATIO
            && is_shed_last,
        verdict: verdict.to_string(),
        server_cores: cores.0,
        generator_cores: cores.1,
    };
    print(&report.text(args.json)?)?;
    Ok(if verdict.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Closes the exam and holds what was acknowledged against the archive.
async fn judge(node: &Node, told: Vec<Told>) -> Result<Verdict> {
    let organizer = node.organizer()?;
    organizer.close(true).await?;
    let until = Instant::now() + SETTLE;
    let is_over = |state: &proto::exam::v1::WatchExamResponse| {
        let working = state.total.as_ref().map_or(1, |total| total.working);
        working == 0 && state.lag == 0 && state.state() == ExamState::Closed
    };
    let (state, is_settled) = organizer.watch_until(until, is_over).await?;
    anyhow::ensure!(is_settled, "not graded in time: lag {}", state.lag);
    let (top, _) = organizer.standings("", 10).await?;
    let archive = tempfile::tempdir().context("make a temporary folder")?;
    organizer.export(archive.path()).await?;
    scenario::judge(told, top, archive.path(), Differences::default()).await
}

/// What a candidate of the crowd was told: everything up to its last acknowledged number.
fn told(number: u32, member: &Member) -> Told {
    let person = person(number);
    let answers = (1..=member.last_seq).flat_map(|seq| message(seq, N_ITEMS).answers);
    let acknowledged = answers.map(|answer| Acknowledged {
        seq: answer.seq,
        position: answer.position,
        response: canonical(answer.response.as_ref()),
    });
    Told {
        attempt: 1,
        acknowledged: acknowledged.collect(),
        ending: Ending::Unknown,
        ..Told::nothing(person.candidate, person.area)
    }
}

fn draw(file: &Path, svg: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    std::fs::write(file, svg).with_context(|| format!("write {}", file.display()))
}

impl Report {
    fn text(&self, json: bool) -> Result<String> {
        if json {
            return Ok(serde_json::to_string(self).context("write the figures")? + "\n");
        }
        let word = if self.f7_ok { "ok" } else { "miss" };
        Ok(format!(
            "Cơn bão giờ mở đề (start storm), {}, {}\n\
             {} candidates within {:.0} s: {} started, p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms\n\
             peak {:.0} answers/s; {:.1}x of it for {} s: {:.0}/s due, {:.0}/s saved = {:.3} of the peak\n\
             shed of the calls sent: {}; answers last: {}\n\
             server {:.2} cores, generator {:.2} cores during the overload\n\
             {}\n\
             F7 {word}\n",
            self.store,
            self.machine,
            self.candidates,
            self.release_s,
            self.f7_started,
            self.f7_start_ms_p50,
            self.f7_start_ms_p99,
            self.f7_start_ms_max,
            self.peak_per_s,
            self.factor,
            self.overload_s,
            self.offered_per_s,
            self.goodput_per_s,
            self.f7_goodput_ratio,
            self.shares,
            self.f7_answers_shed_last,
            self.server_cores,
            self.generator_cores,
            self.verdict,
        ))
    }
}
