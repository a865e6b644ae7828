//! The story of a run: read the exam, hand out codes, let candidates work, end it, and judge.
//!
//! Invariant: the run ends in bounded time whatever the engine does, and always with a verdict or an
//! error. Start at [`run`].

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use proto::exam::v1::{Exam, ExamRules, ExamState, ResultPolicy, WatchExamResponse};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    areas::Weights,
    args::RunArgs,
    candidate::{World, play},
    client::Clients,
    latency::Metrics,
    organizer::Organizer,
    plan::{Habits, Person, arrivals},
    report::{AreaRow, Rates, Report},
    verdict::{self, Differences, Told},
};

/// Time between the hand-out of codes and the first arrival.
const LEAD: Duration = Duration::from_millis(200);
/// How long behind the last deadline expired attempts may still run: starts may have been late by an outage.
const EXPIRY_SLACK: Duration = Duration::from_secs(90);
/// How long grading may take behind the close, for any number of answers,
const SETTLE_BASE: Duration = Duration::from_secs(120);
/// and for each answer: a tenth of a core's expected speed is a fault.
const SETTLE_PER_ANSWER: Duration = Duration::from_micros(10);
/// The generator must wake candidates within this, else latencies are partly its own.
const LATENESS_LIMIT_MS: f64 = 100.0;
/// How often the answers acknowledged are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Plays a run and returns the program's exit status.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode> {
    let organizer = Organizer::new(args.server.url(), &args.organizer_token_file, &args.exam_id)?;
    let exam = organizer.exam().await?;
    let rules = checked(&exam)?;
    let metrics = Arc::new(Metrics::new());

    let (told, rates, last_end) = work(&args, &organizer, &exam, &rules, &metrics).await?;

    let mut differences = Differences::default();
    close(&organizer, last_end, args.wait_s, &mut differences).await?;
    let state = settle(&organizer, &metrics, &mut differences).await?;
    let (top, n_ranked) = organizer.standings("", args.top.max(1)).await?;
    let areas = areas(&organizer, &state, &rules.map_edition).await?;

    let archive = Archive::new(args.archive_dir.as_deref())?;
    organizer.export(archive.path()).await?;
    let verdict = judge(told, top.clone(), archive.path(), differences).await?;

    let lateness = metrics.lateness();
    let report = Report {
        exam_id: args.exam_id.clone(),
        title: exam.spec.map(|spec| spec.title).unwrap_or_default(),
        seed: args.seed,
        late: lateness.latency_ms_p99 > LATENESS_LIMIT_MS,
        lateness,
        rates,
        n_ranked,
        top: top.iter().take(args.top as usize).map(Into::into).collect(),
        areas,
        latencies: metrics.percentiles(),
        retries: metrics.retries(),
        refusals: metrics.refusals(),
        archive: archive.leave(verdict.ok),
        verdict,
    };
    report.write(args.json.as_deref())?;
    Ok(if report.verdict.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Hands out codes and lets all candidates work. Returns what they were told, how fast it went, and
/// the instant of the last deadline.
async fn work(
    args: &RunArgs,
    organizer: &Organizer,
    exam: &Exam,
    rules: &ExamRules,
    metrics: &Arc<Metrics>,
) -> Result<(Vec<Told>, Rates, Instant)> {
    let weights = Weights::new(&rules.registered, &rules.map_edition);
    let edition = &rules.map_edition;
    ensure!(
        !weights.is_empty(),
        "no areas are known in the map edition {edition:?}"
    );
    let habits = Arc::new(Habits::new(args, exam.n_items, weights));
    let persons: Vec<Person> = (0..args.candidates).map(|n| habits.person(n)).collect();
    let codes = organizer.codes(&persons).await?;
    let world = World {
        clients: Clients::new(args.server.url(), args.channels, metrics.clone())?,
        metrics: metrics.clone(),
        exam_id: args.exam_id.clone(),
        results_at_end: rules.result_policy() == ResultPolicy::AtEnd,
    };
    let arrivals = arrivals(args);
    let begun = Instant::now() + LEAD;
    let told = play_all(Arc::new(world), habits, codes, &arrivals, begun);
    let (told, peak) = tokio::join!(told, tick(metrics, args.candidates));
    let last_end = begun
        + Duration::from_secs_f64(args.arrivals_s)
        + Duration::from_millis(rules.duration_ms + rules.grace_ms);
    Ok((told, rates(metrics, begun.elapsed(), peak), last_end))
}

fn checked(exam: &Exam) -> Result<ExamRules> {
    ensure!(
        exam.state() == ExamState::Open,
        "the exam must be open, it is {}",
        exam.state().as_str_name()
    );
    ensure!(exam.n_items > 0, "the exam has no items");
    let spec = exam.spec.as_ref().context("the exam has no spec")?;
    spec.rules.clone().context("the exam has no rules")
}

/// Lets every candidate arrive at its instant, and waits for all.
pub(crate) async fn play_all(
    world: Arc<World>,
    habits: Arc<Habits>,
    codes: Vec<String>,
    arrivals: &[Duration],
    begun: Instant,
) -> Vec<Told> {
    let mut candidates = JoinSet::new();
    for ((number, code), arrival) in (0..).zip(codes).zip(arrivals) {
        let arrival = begun + *arrival;
        if arrival > Instant::now() {
            tokio::time::sleep_until(arrival).await;
            world.metrics.record_lateness(arrival.elapsed());
        }
        let (world, habits) = (world.clone(), habits.clone());
        candidates.spawn(async move {
            let plan = habits.plan(number);
            play(world, plan, code, number, arrival).await
        });
    }
    candidates.join_all().await
}

/// Watches until all candidates are done; returns the most answers acknowledged in a second.
async fn tick(metrics: &Metrics, n_candidates: u32) -> u64 {
    let bar = progress(n_candidates);
    let (mut before, mut peak) = (0, 0);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let acknowledged = metrics.acknowledged.load(Ordering::Relaxed);
        let per_s = acknowledged - before;
        peak = peak.max(per_s);
        before = acknowledged;
        let started = metrics.started.load(Ordering::Relaxed);
        let done = metrics.done.load(Ordering::Relaxed);
        bar.set_position(done);
        bar.set_message(format!(
            "{started} đã vào (started) · {acknowledged} câu (answers) · {per_s}/s"
        ));
        if done >= u64::from(n_candidates) {
            bar.finish_and_clear();
            return peak;
        }
    }
}

fn progress(n_candidates: u32) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} xong (done) · {msg}");
    ProgressBar::new(u64::from(n_candidates))
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn rates(metrics: &Metrics, elapsed: Duration, peak: u64) -> Rates {
    let acknowledged = metrics.acknowledged.load(Ordering::Relaxed);
    Rates {
        elapsed_s: elapsed.as_secs_f64(),
        started: metrics.started.load(Ordering::Relaxed),
        acknowledged,
        answers_per_s: acknowledged as f64 / elapsed.as_secs_f64().max(0.001),
        answers_per_s_peak: peak,
    }
}

/// Waits until deadlines have ended all attempts, if that is soon, and closes the exam.
async fn close(
    organizer: &Organizer,
    last_end: Instant,
    wait_s: u32,
    differences: &mut Differences,
) -> Result<()> {
    let wait = last_end.saturating_duration_since(Instant::now());
    let soon = wait <= Duration::from_secs(u64::from(wait_s));
    if soon {
        let until = Instant::now() + wait + EXPIRY_SLACK;
        let (state, over) = organizer.watch_until(until, nobody_works).await?;
        if !over {
            let working = state.total.map_or(0, |total| total.working);
            differences.push(format!(
                "{working} attempts still run behind the last deadline"
            ));
        }
    }
    organizer.close(true).await
}

fn nobody_works(state: &WatchExamResponse) -> bool {
    state.total.as_ref().is_some_and(|total| total.working == 0) && state.lag == 0
}

/// Waits until everything stored is graded.
async fn settle(
    organizer: &Organizer,
    metrics: &Metrics,
    differences: &mut Differences,
) -> Result<WatchExamResponse> {
    let acknowledged = metrics.acknowledged.load(Ordering::Relaxed);
    let n = u32::try_from(acknowledged).unwrap_or(u32::MAX);
    let until = Instant::now() + SETTLE_BASE + SETTLE_PER_ANSWER * n;
    let settled = |state: &WatchExamResponse| {
        nobody_works(state) && state.state() == ExamState::Closed && state.n_answers >= acknowledged
    };
    let (state, settled) = organizer.watch_until(until, settled).await?;
    if !settled {
        let (graded, lag) = (state.n_answers, state.lag);
        differences.push(format!(
            "not settled: {graded} of {acknowledged} acknowledged answers are graded, lag {lag}"
        ));
    }
    if state.n_quarantined > 0 {
        differences.push(format!(
            "{} log entries are quarantined",
            state.n_quarantined
        ));
    }
    Ok(state)
}

async fn areas(
    organizer: &Organizer,
    state: &WatchExamResponse,
    map_edition: &str,
) -> Result<Vec<AreaRow>> {
    let mut rows = Vec::with_capacity(state.areas.len());
    for area in &state.areas {
        if area.persons == 0 {
            continue;
        }
        let (best, _) = organizer.standings(&area.area, 1).await?;
        rows.push(AreaRow::new(area, best.first(), map_edition));
    }
    Ok(rows)
}

/// The verdict reads files and draws every paper anew: not on the threads of the runtime.
pub(crate) async fn judge(
    told: Vec<Told>,
    top: Vec<proto::exam::v1::StandingRow>,
    archive: &Path,
    differences: Differences,
) -> Result<verdict::Verdict> {
    let archive = archive.to_owned();
    let judged = move || verdict::give(&told, &top, &archive, differences);
    tokio::task::spawn_blocking(judged)
        .await
        .context("the verdict did not come to its end")?
}

/// Where the archive goes: a folder that stays, or one that goes away with a good run.
enum Archive {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Archive {
    fn new(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else {
            return Ok(Self::Temporary(
                tempfile::tempdir().context("make a temporary folder")?,
            ));
        };
        std::fs::create_dir_all(dir)
            .with_context(|| format!("make the folder {}", dir.display()))?;
        Ok(Self::Kept(dir.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }

    /// Returns the folder if it stays: it was asked for, or somebody must look into it.
    fn leave(self, ok: bool) -> Option<PathBuf> {
        match self {
            Self::Kept(path) => Some(path),
            Self::Temporary(dir) => (!ok).then(|| dir.keep()),
        }
    }
}
