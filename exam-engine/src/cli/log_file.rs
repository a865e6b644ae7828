//! An archive's files as a grader takes them.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use grader::{Package, Rulings};
use prost::Message;
use proto::exam::v1::{Exam, LogEntry};

/// An entry of the log is an answer of 2,000 bytes or a start with 200 items, and its frame.
const MAX_ENTRY_BYTES: usize = 64 << 10;

/// Reads the halves of an archive, with the key in force.
pub(super) fn package(folder: &Path) -> anyhow::Result<Package> {
    let read = |name: &str| {
        let file = folder.join(name);
        fs::read(&file).with_context(|| format!("không đọc được / cannot read {}", file.display()))
    };
    let exam = Exam::decode(read("exam.bin")?.as_slice()).context("exam.bin")?;
    let n_keys = Rulings::read(&exam)?.key_hashes.len();
    let key = match n_keys {
        1 => read("key.bin")?,
        version => read(&format!("key-{version}.bin"))?,
    };
    Ok(Package::load(&exam, &read("paper.bin")?, &key)?)
}

/// The entries of a log file, one after another: a log can be larger than the memory.
pub(super) struct Entries(BufReader<File>);

impl Entries {
    pub(super) fn open(file: &Path) -> anyhow::Result<Self> {
        let file = File::open(file)
            .with_context(|| format!("không đọc được / cannot read {}", file.display()))?;
        Ok(Self(BufReader::with_capacity(MAX_ENTRY_BYTES, file)))
    }

    fn read(&mut self) -> anyhow::Result<Option<LogEntry>> {
        if self.0.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut length = 0usize;
        for shift in (0..usize::BITS).step_by(7) {
            let mut byte = [0];
            io::Read::read_exact(&mut self.0, &mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        anyhow::ensure!(
            length <= MAX_ENTRY_BYTES,
            "log.bin: tệp hỏng / the file is damaged"
        );
        let mut bytes = vec![0; length];
        io::Read::read_exact(&mut self.0, &mut bytes)?;
        Ok(Some(LogEntry::decode(bytes.as_slice())?))
    }
}

impl Iterator for Entries {
    type Item = anyhow::Result<LogEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().context("log.bin").transpose()
    }
}
