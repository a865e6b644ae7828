//! One round of a scenario: its dice, its tools, and the faults it has noted.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::power::Power;
use crate::{args::FaultsArgs, own_exam, verdict::Verdict};

/// Where Debian's package `faketime` puts its library.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// What rounds work with.
#[derive(Clone)]
pub(super) struct Tools {
    /// The engine's program.
    pub(super) exam: PathBuf,
    /// The question file.
    pub(super) bank: PathBuf,
    /// The library that makes a wrong clock, if it is installed.
    pub(super) faketime: Option<PathBuf>,
    /// The engine knows replicas, Sentinel and Cluster.
    pub(super) knows_replicas: bool,
}

impl Tools {
    /// Finds them.
    pub(super) async fn find(args: &FaultsArgs) -> Result<Self> {
        let exam = own_exam::program(args.exam_bin.as_deref())?;
        let help = tokio::process::Command::new(&exam)
            .args(["serve", "--help"])
            .output()
            .await
            .context("ask the engine for its options")?;
        Ok(Self {
            bank: own_exam::bank(args.bank.as_deref())?,
            faketime: FAKETIME
                .iter()
                .map(PathBuf::from)
                .find(|file| file.is_file()),
            knows_replicas: String::from_utf8_lossy(&help.stdout).contains("--durability"),
            exam,
        })
    }
}

/// How a round ended.
pub(super) enum Outcome {
    /// With a verdict on its archive.
    Played(Verdict),
    /// Something it needs is not there.
    Skipped(String),
}

/// One round.
pub(super) struct Round {
    /// Everything random follows from it.
    pub(super) seed: u64,
    /// The scenario's own dice.
    pub(super) rng: ChaCha12Rng,
    /// What it works with.
    pub(super) tools: Tools,
    /// What was broken, in order.
    pub(super) faults: Vec<String>,
    power: Option<Rc<Power>>,
}

impl Round {
    /// Begins one; scenarios of one seed have dice of their own.
    pub(super) fn new(tools: Tools, scenario: &str, seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let stream = scenario.bytes().fold(1, |sum: u64, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        rng.set_stream(stream);
        Self {
            seed,
            rng,
            tools,
            faults: Vec::new(),
            power: None,
        }
    }

    /// Returns the library that sees syncs, built once a round.
    pub(super) async fn power(&mut self) -> Result<Rc<Power>> {
        if let Some(power) = &self.power {
            return Ok(Rc::clone(power));
        }
        let power = Rc::new(Power::new().await?);
        self.power = Some(Rc::clone(&power));
        Ok(power)
    }

    /// Notes a fault.
    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Throws the dice for a number of milliseconds.
    pub(super) fn dice_ms(&mut self, ms: Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(ms))
    }

    /// Waits so many milliseconds, by the dice.
    pub(super) async fn wait_ms(&mut self, ms: Range<u64>) -> Duration {
        let wait = self.dice_ms(ms);
        tokio::time::sleep(wait).await;
        wait
    }

    /// Throws the dice for the number of times a fault happens.
    pub(super) fn times(&mut self) -> u32 {
        self.rng.random_range(1..=3)
    }
}

/// Returns a path as text.
pub(super) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a folder's name is no text")
}
