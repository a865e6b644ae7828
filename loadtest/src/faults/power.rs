//! Slow disks and power cuts, by a small library that the servers are started with.
//!
//! A cut takes from a file what was written and never synced. Invariant: what is kept is what the last sync that
//! returned had certainly covered, so an answer acknowledged behind it must be there. Start at [`Power`].

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use tempfile::TempDir;

use crate::child::{Environment, run};

const SHIM: &str = include_str!("../../../exam-engine/tests/powercut/shim.c");
/// Zeros are written in pieces of so many bytes.
const PIECE: u64 = 1 << 20;

/// The library, and what it has seen synced.
pub(super) struct Power {
    dir: TempDir,
}

impl Power {
    /// Builds the library.
    pub(super) async fn new() -> Result<Self> {
        let dir = tempfile::tempdir().context("make a temporary folder")?;
        let source = dir.path().join("shim.c");
        fs::write(&source, SHIM).context("write shim.c")?;
        let power = Self { dir };
        let (source, library) = (name(&source)?, power.place("shim.so")?);
        let args = ["-shared", "-fPIC", "-O2", "-o", &library, &source, "-ldl"];
        run(Path::new("cc"), &args)
            .await
            .context("build shim.c; a C compiler is needed")?;
        Ok(power)
    }

    fn place(&self, file: &str) -> Result<String> {
        name(&self.dir.path().join(file))
    }

    /// Returns what a server is started with so that its syncs are seen.
    pub(super) fn environment(&self) -> Result<Environment> {
        let variables = [
            ("LD_PRELOAD", "shim.so"),
            ("POWERCUT_LOG", "synced"),
            ("POWERCUT_DELAY_FILE", "delay"),
        ];
        let places = variables.map(|(variable, file)| Ok((variable.to_owned(), self.place(file)?)));
        // Offsets serve both: an append-only file is written at its end.
        let mode = Ok(("POWERCUT_MODE".to_owned(), "offset".to_owned()));
        places.into_iter().chain([mode]).collect()
    }

    /// Makes every sync from now on take so long.
    pub(super) fn delay_syncs(&self, delay: Duration) -> Result<()> {
        let new = self.dir.path().join("delay.new");
        fs::write(&new, delay.as_micros().to_string()).context("write the delay")?;
        fs::rename(new, self.dir.path().join("delay")).context("write the delay") // never seen half
    }

    /// Returns by file how many of its bytes were synced. Files only grow, so the furthest sync counts.
    fn synced(&self) -> Result<HashMap<PathBuf, u64>> {
        let text = fs::read_to_string(self.dir.path().join("synced")).context("read the syncs")?;
        let mut synced = HashMap::new();
        for line in text.lines() {
            let (bytes, path) = synced_line(line).with_context(|| format!("a sync {line:?}"))?;
            let known: &mut u64 = synced.entry(path).or_default();
            *known = bytes.max(*known);
        }
        Ok(synced)
    }

    /// Takes from Redis, which must have been killed, what it had not synced. Returns the bytes lost.
    pub(super) fn cut_redis(&self, append_only_dir: &Path) -> Result<u64> {
        let synced = self.synced()?;
        let mut lost = 0;
        for file in files(append_only_dir, "incr.aof")? {
            let kept = synced.get(&file).copied().unwrap_or_default();
            let opened = OpenOptions::new().write(true).open(&file);
            let opened = opened.with_context(|| format!("open {}", file.display()))?;
            let size = opened.metadata().context("look at an AOF")?.len();
            lost += size.saturating_sub(kept);
            opened.set_len(kept.min(size)).context("cut an AOF")?;
        }
        Ok(lost)
    }

    /// Takes from the embedded store, whose process must have been killed, what it had not synced: the journal is
    /// preallocated, so zeros take the place. Returns the bytes lost.
    pub(super) fn cut_journals(&self, live: &Path) -> Result<u64> {
        let synced = self.synced()?;
        let journals = files(live, "jnl")?;
        ensure!(!journals.is_empty(), "the store has no journal");
        let mut lost = 0;
        for file in journals {
            let kept = synced.get(&file).copied().unwrap_or_default();
            let mut opened = OpenOptions::new().read(true).write(true).open(&file);
            let opened = opened.as_mut().ok().context("open a journal")?;
            lost += written_behind(opened, kept)?;
            zero_behind(opened, kept)?;
        }
        Ok(lost)
    }
}

/// A line of the shim's log: covered bytes, inode, path.
fn synced_line(line: &str) -> Option<(u64, PathBuf)> {
    let (bytes, rest) = line.split_once(' ')?;
    let (_inode, path) = rest.split_once(' ')?;
    Some((bytes.parse().ok()?, path.into()))
}

/// Cuts the newest append-only file at a random byte of its last part, as a torn write does. Returns the bytes lost.
pub(super) fn tear(append_only_dir: &Path, rng: &mut impl rand::Rng) -> Result<u64> {
    let file = files(append_only_dir, "incr.aof")?.pop();
    let file = file.context("Redis has no append-only file")?;
    let opened = OpenOptions::new().write(true).open(&file);
    let opened = opened.context("open the AOF")?;
    let size = opened.metadata().context("look at the AOF")?.len();
    let kept = rng.random_range(size / 2..size);
    opened.set_len(kept).context("cut the AOF")?;
    Ok(size - kept)
}

/// Returns the files of a folder and the folders in it whose names end so.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry.context("read a folder")?.path();
        if path.is_dir() {
            found.extend(files(&path, ending)?);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path.canonicalize().context("the file's full name")?);
        }
    }
    found.sort();
    Ok(found)
}

/// Counts bytes behind a place that are not zero: what a cut there loses.
fn written_behind(file: &mut File, from: u64) -> Result<u64> {
    use std::io::Read as _;
    file.seek(SeekFrom::Start(from)).context("seek")?;
    let mut piece = vec![0; usize::try_from(PIECE).unwrap_or(1 << 20)];
    let mut last = 0;
    let mut at = 0_u64;
    loop {
        let n = file.read(&mut piece).context("read a journal")?;
        if n == 0 {
            return Ok(last);
        }
        if let Some(index) = piece[..n].iter().rposition(|byte| *byte != 0) {
            last = at + index as u64 + 1;
        }
        at += n as u64;
    }
}

fn zero_behind(file: &mut File, from: u64) -> Result<()> {
    let size = file.metadata().context("look at a journal")?.len();
    file.seek(SeekFrom::Start(from)).context("seek")?;
    let zeros = vec![0; usize::try_from(PIECE).unwrap_or(1 << 20)];
    let mut left = size.saturating_sub(from);
    while left > 0 {
        let n = left.min(PIECE);
        file.write_all(&zeros[..usize::try_from(n).unwrap_or_default()])
            .context("write zeros")?;
        left -= n;
    }
    file.sync_all().context("sync a journal")
}

fn name(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .context("the temporary folder's name is no text")?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_line_of_the_log_names_bytes_and_file() {
        let (bytes, path) = synced_line("100 42 /a b.jnl").unwrap();
        assert_eq!((bytes, path), (100, PathBuf::from("/a b.jnl")));
        assert!(synced_line("x 42 /a.jnl").is_none() && synced_line("100 42").is_none());
    }

    #[test]
    fn what_lies_behind_is_zero_and_counted() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100]).unwrap();
        file.set_len(5_000_000).unwrap();
        assert_eq!(written_behind(&mut file, 60).unwrap(), 40);
        zero_behind(&mut file, 60).unwrap();
        assert_eq!(written_behind(&mut file, 60).unwrap(), 0);
        assert_eq!(written_behind(&mut file, 0).unwrap(), 60);
    }

    #[test]
    fn a_torn_file_keeps_its_first_half() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("appendonly.aof.1.incr.aof");
        fs::write(&file, [1; 1_000]).unwrap();
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(1);
        let lost = tear(dir.path(), &mut rng).unwrap();
        assert!((1..=500).contains(&lost));
        assert_eq!(fs::metadata(&file).unwrap().len(), 1_000 - lost);
    }
}
