//! A Redis of this program's own: on a unix socket, in a folder of its own, gone when it is dropped.
//!
//! It can be killed and started again on the same files, under a changed environment or with further settings.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::{
    process::Child as Process,
    time::{Instant, sleep},
};

use crate::child::{Environment, command, tail};

/// A Redis that does not reply by then never will.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at a starting Redis.
const LOOK: Duration = Duration::from_millis(20);
/// What official exams need: every command is on stable storage before its reply.
pub(crate) const DURABLE: [&str; 2] = ["--appendfsync", "always"];

/// The server with its folder.
pub(crate) struct Redis {
    /// Its address, a socket in a temporary folder.
    pub(crate) url: String,
    /// Settings beyond those that every Redis here has, for its next start.
    pub(crate) settings: Vec<String>,
    /// Environment of its next start.
    pub(crate) environment: Environment,
    process: Option<Process>,
    dir: TempDir,
}

impl Redis {
    /// Starts one that official exams may use.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(&DURABLE, Environment::new()).await
    }

    /// Starts one with settings and waits until it replies.
    pub(crate) async fn start_with(settings: &[&str], environment: Environment) -> Result<Self> {
        let dir = tempfile::tempdir().context("make a temporary folder")?;
        let socket = dir.path().join("redis.sock");
        let mut redis = Self {
            url: format!("unix://{}", name(&socket)?),
            settings: settings.iter().map(|word| (*word).to_owned()).collect(),
            environment,
            process: None,
            dir,
        };
        redis.restart().await?;
        Ok(redis)
    }

    /// Starts it again on the files that are there.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "redis-server runs already");
        let socket = self.socket();
        let _ = std::fs::remove_file(&socket); // what a crash leaves behind would look like a server
        let fixed = [
            "--unixsocket",
            name(&socket)?,
            "--dir",
            name(self.dir.path())?,
            "--save",
            "",
            "--appendonly",
            "yes",
            "--auto-aof-rewrite-percentage",
            "0",
            "--maxmemory-policy",
            "noeviction",
        ];
        let mut args: Vec<&str> = fixed.to_vec();
        if !self.settings.iter().any(|word| word == "--port") {
            args.extend(["--port", "0"]);
        }
        args.extend(self.settings.iter().map(String::as_str));
        let program = Path::new("redis-server");
        let log = self.dir.path().join("log");
        let process = command(program, &args, &self.environment, &log)?
            .stdout(std::fs::File::create(self.dir.path().join("out")).context("make a log file")?)
            .stdin(Stdio::null())
            .spawn()
            .context("start redis-server, which must be installed")?;
        self.process = Some(process);
        self.await_reply().await
    }

    async fn await_reply(&mut self) -> Result<()> {
        let begun = Instant::now();
        while !self.replies().await {
            let process = self
                .process
                .as_mut()
                .context("redis-server was not started")?;
            if let Some(status) = process.try_wait().context("look at redis-server")? {
                let words = tail(&self.dir.path().join("out"));
                bail!("redis-server ended: {status}: {words}");
            }
            ensure!(begun.elapsed() < START_LIMIT, "redis-server does not reply");
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Tells whether it takes commands: while it loads its files it refuses them.
    async fn replies(&self) -> bool {
        let Ok(mut connection) = self.connect().await else {
            return false;
        };
        let reply: Result<String, _> = redis::cmd("PING").query_async(&mut connection).await;
        reply.is_ok()
    }

    /// Ends it as a crash would, and waits until it is gone.
    pub(crate) async fn kill9(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await.context("kill redis-server"),
            None => Ok(()),
        }
    }

    /// Opens a connection of one's own.
    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url.as_str()).context("the address of Redis")?;
        client
            .get_multiplexed_async_connection()
            .await
            .context("connect to Redis")
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> Result<u32> {
        let id = self.process.as_ref().and_then(Process::id);
        id.context("redis-server has ended")
    }

    /// Returns its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Returns the folder of its append-only files.
    pub(crate) fn append_only_dir(&self) -> PathBuf {
        self.dir.path().join("appendonlydir")
    }
}

fn name(path: &Path) -> Result<&str> {
    path.to_str()
        .context("the temporary folder's name is no text")
}
