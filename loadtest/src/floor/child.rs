//! Child processes of a measurement: started, awaited, and gone when they are dropped.
//!
//! Invariant: a child is ended by its own id and never outlives the value that started it.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child as Process, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

/// A child that does not listen by then never will.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at a starting Redis.
const LOOK: Duration = Duration::from_millis(20);
/// What a server prints when it may be called.
pub(crate) const LISTENING: &str = "listening on ";

/// A server that told its address.
pub(crate) struct Child {
    /// Its address.
    pub(crate) url: String,
    _process: Process,
    _logs: TempDir,
}

impl Child {
    /// Starts a program and waits for its line "listening on …".
    pub(crate) async fn start(program: &Path, args: &[&str]) -> Result<Self> {
        let logs = tempfile::tempdir().context("make a temporary folder")?;
        let log = logs.path().join("stderr");
        let mut process = command(program, args, &log)?
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdout = process.stdout.take().context("the child has no output")?;
        let Ok(Ok(url)) = timeout(START_LIMIT, address(stdout)).await else {
            bail!("{} does not listen: {}", program.display(), tail(&log));
        };
        Ok(Self {
            url,
            _process: process,
            _logs: logs,
        })
    }
}

/// Runs a program to its end, which must be a good one.
pub(crate) async fn run(program: &Path, args: &[&str]) -> Result<()> {
    let logs = tempfile::tempdir().context("make a temporary folder")?;
    let log = logs.path().join("stderr");
    let mut process = command(program, args, &log)?
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

fn command(program: &Path, args: &[&str], log: &Path) -> Result<Command> {
    let log = std::fs::File::create(log).context("make a log file")?;
    let mut command = Command::new(program);
    command
        .args(args)
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

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last: Vec<&str> = text.lines().rev().take(5).collect();
    last.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// A Redis of its own that writes every command to stable storage before it replies.
pub(crate) struct Redis {
    /// Its address, a socket in a temporary folder.
    pub(crate) url: String,
    _process: Process,
    _dir: TempDir,
}

impl Redis {
    /// Starts one and waits until it replies.
    pub(crate) async fn start() -> Result<Self> {
        let dir = tempfile::tempdir().context("make a temporary folder")?;
        let socket = dir.path().join("redis.sock");
        let (socket, folder) = (name(&socket)?, name(dir.path())?);
        let settings = [
            ["--port", "0"],
            ["--unixsocket", socket],
            ["--dir", folder],
            ["--save", ""],
            ["--appendonly", "yes"],
            ["--appendfsync", "always"],
            ["--auto-aof-rewrite-percentage", "0"],
            ["--maxmemory-policy", "noeviction"],
        ];
        let program = Path::new("redis-server");
        let mut process = command(program, &settings.concat(), &dir.path().join("log"))?
            .stdout(Stdio::null())
            .spawn()
            .context("start redis-server, which must be installed")?;
        let url = format!("unix://{socket}");
        await_redis(&url, &mut process).await?;
        Ok(Self {
            url,
            _process: process,
            _dir: dir,
        })
    }
}

fn name(path: &Path) -> Result<&str> {
    path.to_str()
        .context("the temporary folder's name is no text")
}

async fn await_redis(url: &str, process: &mut Process) -> Result<()> {
    let client = redis::Client::open(url).context("the address of Redis")?;
    let begun = Instant::now();
    loop {
        if client.get_multiplexed_async_connection().await.is_ok() {
            return Ok(());
        }
        if let Some(status) = process.try_wait().context("look at redis-server")? {
            bail!("redis-server ended: {status}");
        }
        if begun.elapsed() > START_LIMIT {
            bail!("redis-server does not reply");
        }
        sleep(LOOK).await;
    }
}
