//! A server under measurement: an engine on a fresh folder with an open exam, over its own store or a Redis of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    child::{Child, run},
    cpu::CpuTime,
    organizer::Organizer,
    own_exam::{EXAM_ID, now_ms, person, spec},
    plan::Person,
    redis_server::Redis,
};

/// An attempt outlasts every measurement.
const DURATION_MS: u64 = 300 * 60_000;

/// Where sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StoreKind {
    /// In the engine's own folder.
    Embedded,
    /// In Redis, with `appendfsync always`.
    Redis,
}

impl StoreKind {
    /// Returns its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
        }
    }
}

/// The server.
pub(crate) struct Node {
    /// The engine.
    pub(crate) engine: Child,
    /// The Redis behind it.
    pub(crate) redis: Option<Redis>,
    data: TempDir,
}

impl Node {
    /// Starts it and opens an exam of so many items. `options` are taken if the engine knows them.
    pub(crate) async fn open(
        exam: &Path,
        bank: &Path,
        store: StoreKind,
        n_items: u32,
        options: &[(&str, &str)],
    ) -> Result<Self> {
        let data = tempfile::tempdir().context("make a temporary folder")?;
        let dir = data.path().to_str().context("the folder's name")?;
        let bank = bank.to_str().context("the question file's name")?;
        run(exam, &["--data", dir, "bank", "import", bank]).await?;
        run(exam, &["--data", dir, "bank", "release"]).await?;
        let redis = match store {
            StoreKind::Embedded => None,
            StoreKind::Redis => Some(Redis::start().await?),
        };
        let help = tokio::process::Command::new(exam)
            .args(["serve", "--help"])
            .output();
        let help = help.await.context("ask the engine for its options")?;
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        let mut serve = vec!["--data", dir, "serve", "--listen", "127.0.0.1:0"];
        if let Some(redis) = &redis {
            serve.extend(["--redis", &redis.url]);
        }
        for (name, value) in options.iter().filter(|(name, _)| help.contains(name)) {
            serve.push(name);
            serve.extend((!value.is_empty()).then_some(value));
        }
        let engine = Child::start(exam, &serve).await?;
        let node = Self {
            engine,
            redis,
            data,
        };
        let now_ms = now_ms(&node.engine.url).await?;
        node.organizer()?
            .open(spec(now_ms, n_items, DURATION_MS))
            .await?;
        Ok(node)
    }

    /// Returns an organizer of the exam.
    pub(crate) fn organizer(&self) -> Result<Organizer> {
        let token: PathBuf = self.data.path().join("secrets").join("organizer.token");
        Organizer::new(&self.engine.url, &token, EXAM_ID)
    }

    /// Returns access codes of the candidates with these numbers.
    pub(crate) async fn codes(&self, numbers: std::ops::Range<u32>) -> Result<Vec<String>> {
        let persons: Vec<Person> = numbers.map(person).collect();
        self.organizer()?.codes(&persons).await
    }

    fn pids(&self) -> Result<Vec<u32>> {
        let mut pids = vec![self.engine.pid()?];
        if let Some(redis) = &self.redis {
            pids.push(redis.pid()?);
        }
        Ok(pids)
    }

    /// Reads the processor time of everything that serves: engine, grader, and Redis if there is one.
    pub(crate) fn cpu(&self) -> Result<CpuTime> {
        CpuTime::of(&self.pids()?)
    }

    /// Returns the resident memory of everything that serves, MiB.
    pub(crate) fn memory_mib(&self) -> Result<f64> {
        let mut sum = 0.0;
        for pid in self.pids()? {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
                .with_context(|| format!("look at process {pid}"))?;
            let found = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = found.and_then(|rest| rest.split_ascii_whitespace().next());
            let kib: f64 = kib.context("no VmRSS")?.parse().context("VmRSS")?;
            sum += kib / 1_024.0;
        }
        Ok(sum)
    }

    /// Waits until the grader has read everything.
    pub(crate) async fn await_grader(&self) -> Result<()> {
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(600);
        let organizer = self.organizer()?;
        let (state, is_read) = organizer.watch_until(until, |state| state.lag == 0).await?;
        anyhow::ensure!(is_read, "the grader lags: {}", state.lag);
        Ok(())
    }
}
