//! `exam integrity`: an archive searched for signs of copying, guessing and shared devices, in a process of its own.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use grader::integrity::{Limits, analyse_log};

use super::{
    log_file::{Entries, package},
    say,
};
use crate::files;

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
