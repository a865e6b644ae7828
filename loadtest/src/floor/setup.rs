//! The engine under measurement: a fresh data folder, the sample bank, an open exam, access codes.

use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    child::{Child, run},
    organizer::Organizer,
    own_exam::{EXAM_ID, now_ms, person, spec},
    plan::Person,
};

/// Candidates with a running attempt: many more than calls in flight, as in an exam.
pub(crate) const CANDIDATES: u32 = 2_000;
/// Items on the paper.
pub(crate) const N_ITEMS: u32 = 20;
/// An attempt outlasts every measurement.
const DURATION_MS: u64 = 60 * 60_000;

/// A running engine whose candidates may start.
pub(crate) struct Engine {
    /// The process.
    pub(crate) child: Child,
    /// One access code a candidate.
    pub(crate) codes: Vec<String>,
    _data: TempDir,
}

/// Starts an engine on a fresh folder, over Redis if an address is given, and opens an exam.
pub(crate) async fn engine(exam: &Path, bank: &Path, redis: Option<&str>) -> Result<Engine> {
    let data = tempfile::tempdir().context("make a temporary folder")?;
    let dir = data
        .path()
        .to_str()
        .context("the temporary folder's name")?;
    let bank = bank.to_str().context("the question file's name")?;
    run(exam, &["--data", dir, "bank", "import", bank]).await?;
    run(exam, &["--data", dir, "bank", "release"]).await?;
    let mut serve = vec!["--data", dir, "serve", "--listen", "127.0.0.1:0"];
    serve.extend(redis.iter().flat_map(|url| ["--redis", url]));
    let child = Child::start(exam, &serve).await?;

    let token = data.path().join("secrets").join("organizer.token");
    let organizer = Organizer::new(&child.url, &token, EXAM_ID)?;
    let now_ms = now_ms(&child.url).await?;
    organizer.open(spec(now_ms, N_ITEMS, DURATION_MS)).await?;
    let persons: Vec<Person> = (0..CANDIDATES).map(person).collect();
    let codes = organizer.codes(&persons).await?;
    Ok(Engine {
        child,
        codes,
        _data: data,
    })
}
