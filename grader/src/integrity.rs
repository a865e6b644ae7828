//! Signs of copying, of shared devices and of guessing, read out of an exam's log for a person to look at.
//!
//! [`analyse_log`] reads the log as a [`Fold`](crate::Fold) does and gives a [`Report`]; whoever has the log as a
//! stream fills a [`Collector`] and calls [`analyse`]. All are values in, values out, on the caller's thread, bounded
//! by [`Limits`]. The analysis takes seconds to minutes: give it a process of low priority, never the way of an answer.
//! Invariants: equal logs give equal reports, however their partitions are interleaved; nothing here can change a
//! score; everything that was left out to stay within a limit is told.
//! Persons of one class are taught the same mistakes: a flag within a unit says less than its p-value.
//! Start at [`analyse_log`]. Source: docs/FORMATS.md sections 3 and 5, and the papers named in the modules.

mod collect;
mod sitting;

mod copying;
mod doubles;
mod effort;
mod misfit;
mod sharing;

mod pairs;
mod sheet;

mod model;
mod multiple;
mod person_fit;
mod similarity;
mod tail;

mod json;
mod limits;
mod page;
mod report;
mod words;

#[cfg(test)]
mod contest;
#[cfg(test)]
mod reference;

use std::sync::Arc;

pub use collect::{Collector, Taken};
pub use limits::Limits;
use model::Model;
pub use person_fit::ItemCurve;
use proto::exam::v1::LogEntry;
pub use report::{AttemptId, CutBlock, Fact, Family, Flag, Kind, Report, Scope, SharedAnswer};
use sheet::{Sheets, Stop};

use crate::{error::Error, package::Package};

/// Reads a whole log, in the order of its partitions or in any other that is right within each, and analyses it.
///
/// `stop` is as for [`analyse`].
///
/// # Errors
/// Those of reading an entry, and of [`Collector::apply`].
pub fn analyse_log<E: From<Error>>(
    package: &Arc<Package>,
    entries: impl IntoIterator<Item = Result<LogEntry, E>>,
    limits: &Limits,
    stop: &dyn Fn() -> bool,
) -> Result<Report, E> {
    let mut collector = Collector::new(Arc::clone(package), limits.max_places);
    for (at, entry) in entries.into_iter().enumerate() {
        if Stop(stop).at(at) {
            return Ok(Report::new(&collector, limits));
        }
        collector.apply_entry(&entry?)?;
    }
    Ok(analyse(&collector, limits, stop))
}

/// Looks at all ended attempts, until done or until `stop` says so.
///
/// `stop` is called every few milliseconds, but for moments in which all attempts are sorted, and may rest to leave
/// the processor to others. An analysis that was stopped tells nothing.
#[must_use]
pub fn analyse(collector: &Collector, limits: &Limits, stop: &dyn Fn() -> bool) -> Report {
    let stop = Stop(stop);
    let sheets = Sheets::new(collector);
    let mut report = Report::new(collector, limits);
    report.n_attempts = sheets.all.len() as u64;
    if !sheets.all.is_empty() {
        look(&sheets, limits, stop, &mut report);
    }
    if stop.now() {
        return Report::new(collector, limits);
    }
    report.is_complete = true;
    report
}

/// Adds the flags kind by kind, in the order of [`Kind`].
fn look(sheets: &Sheets, limits: &Limits, stop: Stop, report: &mut Report) {
    let model = Model::new(sheets, stop);
    copying::look(sheets, &model, limits, stop, report);
    report.add(
        doubles::look(sheets, &model, limits, stop),
        limits.max_flags,
    );
    report.add(sharing::devices(sheets, limits), limits.max_flags);
    report.add(sharing::addresses(sheets, limits), limits.max_flags);
    report.add(effort::look(sheets, limits, stop), limits.max_flags);
    report.add(misfit::look(sheets, limits, stop), limits.max_flags);
}

#[cfg(test)]
mod tests;
