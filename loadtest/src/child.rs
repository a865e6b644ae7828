//! Child processes: started, awaited, killed when a scenario says so, and gone when they are dropped.
//!
//! Invariant: a child is ended by its own id and never outlives this program, even if that is killed: `setpriv` has the
//! kernel end it with the thread that started it, so children are started from the program's main task.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child as Process, ChildStdout, Command},
    time::timeout,
};

/// A child that does not listen by then never will.
const START_LIMIT: Duration = Duration::from_secs(30);
/// What a server prints when it may be called.
pub(crate) const LISTENING: &str = "listening on ";

/// Names and values for a child's environment.
pub(crate) type Environment = Vec<(String, String)>;

/// A server that told its address.
pub(crate) struct Child {
    /// Its address.
    pub(crate) url: String,
    process: Process,
    _logs: TempDir,
}

impl Child {
    /// Starts a program and waits for its line "listening on …".
    pub(crate) async fn start(program: &Path, args: &[&str]) -> Result<Self> {
        Self::start_with(program, args, &Environment::new()).await
    }

    /// The same with an environment.
    pub(crate) async fn start_with(
        program: &Path,
        args: &[&str],
        environment: &Environment,
    ) -> Result<Self> {
        let logs = tempfile::tempdir().context("make a temporary folder")?;
        let log = logs.path().join("stderr");
        let mut process = command(program, args, environment, &log)?
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdout = process.stdout.take().context("the child has no output")?;
        let Ok(Ok(url)) = timeout(START_LIMIT, address(stdout)).await else {
            bail!("{} does not listen: {}", program.display(), tail(&log));
        };
        Ok(Self {
            url,
            process,
            _logs: logs,
        })
    }

    /// Ends it as a crash would, and waits until it is gone.
    pub(crate) async fn kill9(mut self) -> Result<()> {
        self.process.kill().await.context("kill the child")
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.process.id().context("the child has ended")
    }
}

/// Runs a program to its end, which must be a good one.
pub(crate) async fn run(program: &Path, args: &[&str]) -> Result<()> {
    let logs = tempfile::tempdir().context("make a temporary folder")?;
    let log = logs.path().join("stderr");
    let mut process = command(program, args, &Environment::new(), &log)?
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let status = timeout(START_LIMIT, process.wait())
        .await
        .with_context(|| format!("{} {} takes too long", program.display(), args.join(" ")))??;
    if !status.success() {
        bail!(
            "{} {}: {status}: {}",
            program.display(),
            args.join(" "),
            tail(&log)
        );
    }
    Ok(())
}

/// Prepares a program whose errors go to a file; nothing is started yet.
pub(crate) fn command(
    program: &Path,
    args: &[&str],
    environment: &Environment,
    log: &Path,
) -> Result<Command> {
    let log = std::fs::File::create(log).context("make a log file")?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    Ok(command)
}

/// Reads up to the address; the rest is read too, so that the child never waits for a reader.
async fn address(stdout: ChildStdout) -> Result<String> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await.context("read the child's output")? {
        if let Some(url) = line.strip_prefix(LISTENING) {
            let url = url.trim().to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(url);
        }
    }
    bail!("the child ended")
}

/// Returns the last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last: Vec<&str> = text.lines().rev().take(5).collect();
    last.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
