//! The contest of a round: candidates who work while things break, and the verdict on what they were told.
//!
//! Invariant: whatever breaks, the contest ends in bounded time.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use proto::exam::v1::{ExamState, WatchExamResponse};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    round::{Outcome, Round},
    site::{N_ITEMS, Site},
};
use crate::{
    areas::Weights,
    args::{RunArgs, Spread},
    candidate::World,
    client::Clients,
    latency::Metrics,
    own_exam::EXAM_ID,
    plan::{Habits, Person, arrivals},
    scenario,
    verdict::{Differences, Told, Verdict},
};

/// Candidates of a round: enough to be in every state when something breaks, few enough for a busy machine.
const N_CANDIDATES: u32 = 60;
/// Seconds over which they arrive.
const ARRIVALS_S: f64 = 1.5;
/// Mean pause before an answer, milliseconds.
const THINK_MS: u32 = 200;
/// All candidates are done by then: their attempts and their patience are over.
const CONTEST_LIMIT: Duration = Duration::from_secs(240);
/// Grading is over so long after the close.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// Rows of the standings that are compared with the result.
const N_TOP: u32 = 10;

/// Candidates at work.
pub(super) struct Crowd(JoinHandle<Vec<Told>>);

impl Crowd {
    /// Lets candidates in; they arrive from now on.
    pub(super) async fn enter(round: &Round, site: &Site) -> Result<Self> {
        let args = run_args(round, site)?;
        let metrics = Arc::new(Metrics::new());
        let habits = Arc::new(Habits::new(&args, N_ITEMS, Weights::new(&[], "vn-63")));
        let persons: Vec<Person> = (0..N_CANDIDATES).map(|n| habits.person(n)).collect();
        let codes = site.organizer()?.codes(&persons).await?;
        let world = World {
            clients: Clients::new(&site.url(), args.channels, metrics.clone())?,
            metrics,
            exam_id: EXAM_ID.to_owned(),
            results_at_end: false,
        };
        let arrivals = arrivals(&args);
        let begun = Instant::now();
        let playing = async move {
            scenario::play_all(Arc::new(world), habits, codes, &arrivals, begun).await
        };
        Ok(Self(tokio::spawn(playing)))
    }

    /// Waits until all are done; returns what they were told.
    pub(super) async fn leave(self) -> Result<Vec<Told>> {
        let told = timeout(CONTEST_LIMIT, self.0).await;
        told.context("the candidates do not come to an end")?
            .context("a candidate broke")
    }

    /// Sends them home in the middle of their work; what they were told is forgotten.
    pub(super) fn send_home(self) {
        self.0.abort();
    }
}

fn run_args(round: &Round, site: &Site) -> Result<RunArgs> {
    Ok(RunArgs {
        server: site.url().parse()?,
        organizer_token_file: site.token_file(),
        exam_id: EXAM_ID.to_owned(),
        candidates: N_CANDIDATES,
        arrivals_s: ARRIVALS_S,
        arrivals: Spread::Poisson,
        think_ms: THINK_MS,
        abandon_percent: 5.0,
        reconnect_percent: 10.0,
        takeover_percent: 5.0,
        twice_percent: 10.0,
        seed: round.seed,
        channels: 4,
        wait_s: 0,
        archive_dir: None,
        json: None,
        top: N_TOP,
    })
}

/// Lets candidates work while `faults` happen, waits for all of them, and judges.
pub(super) async fn hold(
    round: &mut Round,
    site: &mut Site,
    faults: impl AsyncFnOnce(&mut Round, &mut Site) -> Result<()>,
) -> Result<Outcome> {
    let crowd = Crowd::enter(round, site).await?;
    faults(round, site).await?;
    let told = crowd.leave().await?;
    Ok(Outcome::Played(judge(site, told).await?))
}

/// Closes the exam, reads its archive, and compares it with what candidates were told.
pub(super) async fn judge(site: &Site, told: Vec<Told>) -> Result<Verdict> {
    let (verdict, _) = close_and_judge(site, told, SETTLE_LIMIT).await?;
    Ok(verdict)
}

/// The same; returns the number of graded answers, too.
pub(super) async fn close_and_judge(
    site: &Site,
    told: Vec<Told>,
    settles_within: Duration,
) -> Result<(Verdict, u64)> {
    let organizer = site.organizer()?;
    organizer.close(true).await?;
    let until = Instant::now() + settles_within;
    let (state, is_settled) = organizer.watch_until(until, is_over).await?;
    let working = state.total.as_ref().map_or(0, |total| total.working);
    ensure!(
        is_settled,
        "not graded in time: {working} attempts run, the grader lags by {}",
        state.lag
    );
    let mut differences = Differences::default();
    if state.n_quarantined > 0 {
        differences.push(format!("{} entries are quarantined", state.n_quarantined));
    }
    let (top, _) = organizer.standings("", N_TOP).await?;
    let archive = tempfile::tempdir().context("make a temporary folder")?;
    organizer.export(archive.path()).await?;
    let verdict = scenario::judge(told, top, archive.path(), differences).await?;
    keep_if_bad(&verdict, archive);
    Ok((verdict, state.n_answers))
}

fn is_over(state: &WatchExamResponse) -> bool {
    let working = state.total.as_ref().map_or(1, |total| total.working);
    working == 0 && state.lag == 0 && state.state() == ExamState::Closed
}

/// Somebody must look into an archive that is not right.
fn keep_if_bad(verdict: &Verdict, archive: tempfile::TempDir) {
    let is_right = verdict.ok || verdict.n_found < verdict.n_acknowledged;
    if !is_right {
        eprintln!("archive kept for a look: {}", show(&archive.keep()));
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
