//! `exam integrity`: an archive searched for signs of copying, guessing and shared devices, in a process of its own.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use clap::Args;
use grader::{
    Package, Rulings,
    integrity::{Limits, analyse_log},
};
use prost::Message;
use proto::exam::v1::{Exam, LogEntry};

use super::say;
use crate::files;

/// An entry of the log is an answer of 2,000 bytes or a start with 200 items, and its frame.
const MAX_ENTRY_BYTES: usize = 64 << 10;
/// The analysis stands behind everything else that the machine does.
const NICE: i32 = 19;

/// What is looked at and where it is written.
#[derive(Args, Debug)]
pub(super) struct IntegrityArguments {
    /// Thư mục hồ sơ lưu / archive folder.
    archive: PathBuf,
    /// Ghi JSON vào tệp này / write JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Ghi trang in được (HTML) vào tệp này / write a printable page (HTML) to this file.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Số người tối đa dùng chung một thiết bị / most persons of one device.
    #[arg(long, default_value_t = Limits::default().max_per_device)]
    max_per_device: u32,
    /// Số người tối đa sau một địa chỉ mạng / most persons behind one network address.
    #[arg(long, default_value_t = Limits::default().max_per_address)]
    max_per_address: u32,
}

pub(super) fn run(arguments: &IntegrityArguments) -> anyhow::Result<()> {
    rustix::process::nice(NICE)?;
    let package = Arc::new(package(&arguments.archive)?);
    let limits = Limits {
        max_per_device: arguments.max_per_device,
        max_per_address: arguments.max_per_address,
        ..Limits::default()
    };
    let entries = Entries::open(&arguments.archive.join("log.bin"))?;
    let report = analyse_log(&package, entries, &limits, &|| false)?;
    for (file, text) in [
        (&arguments.json, report.to_json()),
        (&arguments.html, report.to_html()),
    ] {
        if let Some(file) = file {
            files::write(file, text.as_bytes())?;
        }
    }
    if arguments.json.is_none() && arguments.html.is_none() {
        say(report.to_json());
        return Ok(());
    }
    say(format_args!(
        "{0} lượt thi, {1} dấu hiệu để người xem xét; dấu hiệu không phải bằng chứng và không đổi điểm / {0} attempts, {1} flags for people to review; a flag is no proof and changes no score",
        report.n_attempts,
        report.flags.len()
    ));
    Ok(())
}

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
struct Entries(BufReader<File>);

impl Entries {
    fn open(file: &Path) -> anyhow::Result<Self> {
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
