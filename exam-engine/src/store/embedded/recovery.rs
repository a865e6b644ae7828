//! What opening the store has found: whether it was stopped in order, and what a crash has left.
//!
//! A stop in order leaves the file `clean-stop`, with the last position of each partition that was written to; opening
//! takes it away again before anything is accepted. Where it is missing, the process was killed or the power failed.
//! Invariant: a log that ends before the positions of a stop in order is refused.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::journal::Scan;
use crate::{
    files,
    store::{Error, Result, keys::ExamNo},
};

/// What opening has found.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Nothing stood in the folder before.
    pub is_new: bool,
    /// The store was stopped in order.
    pub was_clean: bool,
    /// The journal before it was opened.
    pub journal: Scan,
    /// Last position by exam and partition; partitions without entries are left out.
    pub ends: BTreeMap<(String, u32), u64>,
}

impl Recovery {
    /// Writes it to the process's log.
    pub(super) fn report(&self, folder: &Path) {
        if self.is_new {
            return;
        }
        let n_entries: u64 = self.ends.values().sum();
        let Scan {
            n_files,
            n_batches,
            n_bytes,
            n_cut_bytes,
        } = self.journal;
        if self.was_clean {
            tracing::info!(
                store.folder = %folder.display(), n_files, n_batches, n_bytes, n_entries,
                "the store was stopped in order"
            );
        } else {
            tracing::warn!(
                store.folder = %folder.display(), n_files, n_batches, n_bytes, n_cut_bytes, n_entries,
                "the store was not stopped in order; what was acknowledged is there, n_cut_bytes of an incomplete batch were cut off"
            );
            for ((exam, partition), position) in &self.ends {
                tracing::info!(exam.id = exam, partition, position, "the log ends here");
            }
        }
    }
}

/// Last positions when the store was stopped in order.
pub(super) type Ends = BTreeMap<(ExamNo, u16), u64>;

fn mark(folder: &Path) -> PathBuf {
    folder.join("clean-stop")
}

/// Reads the mark of a stop in order, if there is one.
pub(super) fn read_mark(folder: &Path) -> Result<Option<Ends>> {
    let path = mark(folder);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Unavailable(format!("{}: {error}", path.display()))),
    };
    let line = |line: &str| {
        let mut numbers = line.split(' ');
        let exam = numbers.next()?.parse().ok()?;
        let partition = numbers.next()?.parse().ok()?;
        Some(((exam, partition), numbers.next()?.parse().ok()?))
    };
    let ends: Option<Ends> = text.lines().map(line).collect();
    ends.map(Some).ok_or_else(|| {
        Error::Corrupt(format!(
            "tệp {0} hỏng / the file {0} is damaged",
            path.display()
        ))
    })
}

/// Takes the mark away, durably: from now on a stop without it is none in order.
pub(super) fn remove_mark(folder: &Path) -> io::Result<()> {
    match fs::remove_file(mark(folder)) {
        Ok(()) => File::open(folder)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Leaves the mark.
pub(super) fn write_mark(
    folder: &Path,
    ends: impl IntoIterator<Item = ((ExamNo, u16), u64)>,
) -> io::Result<()> {
    let mut text = String::new();
    for ((exam, partition), end) in ends {
        let _ = writeln!(text, "{exam} {partition} {end}"); // a String grows
    }
    files::write(&mark(folder), text.as_bytes())
}
