//! Where a round takes place: an engine, its store, and proxies in front of both.
//!
//! Clients always call the front proxy and the engine always calls the back proxy, so that servers may come and go
//! behind addresses that stay. Invariant: everything is on loopback and goes away with the value.

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::round::{Tools, text};
use crate::{
    child::{Child, Environment, run},
    organizer::Organizer,
    own_exam::{EXAM_ID, now_ms, spec},
    proxy::{Proxy, Upstream},
    redis_server::{DURABLE, Redis},
};

/// Items on the paper.
pub(super) const N_ITEMS: u32 = 20;

/// How a site is set up.
#[derive(Default)]
pub(super) struct Setup {
    /// Sessions live in Redis, with these settings if not the durable ones.
    pub(super) redis: Option<Vec<&'static str>>,
    /// What the engine and Redis are started with.
    pub(super) environment: Environment,
    /// What the engine alone is started with besides.
    pub(super) engine_environment: Environment,
    /// Further words of `exam serve`.
    pub(super) flags: Vec<String>,
    /// Time for an attempt, milliseconds; some minutes if not given.
    pub(super) duration_ms: Option<u64>,
}

impl Setup {
    /// Sessions live in the engine's own folder.
    pub(super) fn embedded() -> Self {
        Self::default()
    }

    /// Sessions live in a durable Redis.
    pub(super) fn redis() -> Self {
        Self {
            redis: Some(DURABLE.to_vec()),
            ..Self::default()
        }
    }
}

/// An attempt outlasts all faults of a round.
const DURATION_MS: u64 = 150_000;

/// Engine, store and roads.
pub(super) struct Site {
    /// Between clients and engine.
    pub(super) front: Proxy,
    /// Between engine and Redis.
    pub(super) back: Proxy,
    /// The Redis behind it, if the round has one.
    pub(super) redis: Option<Redis>,
    tools: Tools,
    environment: Environment,
    flags: Vec<String>,
    engine: Option<Child>,
    data: TempDir,
}

impl Site {
    /// Starts everything and opens the exam.
    pub(super) async fn open(tools: &Tools, setup: Setup) -> Result<Self> {
        let mut redis = None;
        let back = Proxy::open().await?;
        let mut flags = setup.flags;
        if let Some(settings) = &setup.redis {
            let server = Redis::start_with(settings, setup.environment.clone()).await?;
            back.lead_to(Upstream::Unix(server.socket()));
            flags.extend(["--redis".to_owned(), format!("redis://{}", back.address())]);
            redis = Some(server);
        }
        let mut environment = setup.environment;
        environment.extend(setup.engine_environment);
        let mut site = Self {
            front: Proxy::open().await?,
            back,
            redis,
            tools: tools.clone(),
            environment,
            flags,
            engine: None,
            data: tempfile::tempdir().context("make a temporary folder")?,
        };
        site.fill_bank().await?;
        site.start_engine().await?;
        let now_ms = now_ms(&site.url()).await?;
        let duration_ms = setup.duration_ms.unwrap_or(DURATION_MS);
        let spec = spec(now_ms, N_ITEMS, duration_ms);
        site.organizer()?.open(spec).await?;
        Ok(site)
    }

    async fn fill_bank(&self) -> Result<()> {
        let (data, bank) = (text(self.data.path())?, text(&self.tools.bank)?);
        run(&self.tools.exam, &["--data", data, "bank", "import", bank]).await?;
        run(&self.tools.exam, &["--data", data, "bank", "release"]).await
    }

    /// Returns the address that clients call.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.front.address())
    }

    /// Returns an organizer of the exam.
    pub(super) fn organizer(&self) -> Result<Organizer> {
        Organizer::new(&self.url(), &self.token_file(), EXAM_ID)
    }

    /// Returns the file that holds the organizer's token.
    pub(super) fn token_file(&self) -> std::path::PathBuf {
        self.data.path().join("secrets").join("organizer.token")
    }

    /// Returns the folder of the embedded store.
    pub(super) fn live_dir(&self) -> std::path::PathBuf {
        self.data.path().join("live")
    }

    /// Returns the Redis of the round.
    pub(super) fn redis(&mut self) -> Result<&mut Redis> {
        self.redis.as_mut().context("this round has no Redis")
    }

    /// Ends the engine as a crash would.
    pub(super) async fn kill_engine(&mut self) -> Result<()> {
        self.front.lead_to(Upstream::Nowhere);
        let engine = self.engine.take().context("the engine does not run")?;
        engine.kill9().await
    }

    /// Starts the engine on the files that are there.
    pub(super) async fn start_engine(&mut self) -> Result<()> {
        ensure!(self.engine.is_none(), "the engine runs already");
        let data = text(self.data.path())?;
        let mut args = vec!["--data", data, "serve", "--listen", "127.0.0.1:0"];
        args.extend(self.flags.iter().map(String::as_str));
        let engine = Child::start_with(&self.tools.exam, &args, &self.environment).await?;
        let address = engine.url.strip_prefix("http://").unwrap_or_default();
        let address = address.parse().context("the engine's address")?;
        self.front.lead_to(Upstream::Tcp(address));
        self.engine = Some(engine);
        Ok(())
    }
}
