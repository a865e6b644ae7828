//! Signs of copying, of shared devices and of guessing, read out of an exam's log for a person to look at.
//!
//! A [`Collector`] takes the log as a [`Fold`](crate::Fold) does; [`analyse`] turns what it kept into a [`Report`].
//! Both are values in, values out, bounded by what the caller allows. The analysis takes seconds to minutes: give it
//! a thread of low priority, and the flag that ends it.
//! Invariants: equal logs give equal reports, however their partitions are interleaved; nothing here can change a
//! score; everything that was left out to stay within a limit is told.
//! Persons of one class are taught the same mistakes: a flag within a unit says less than its p-value.
//! Start at [`analyse`]. Source: docs/FORMATS.md sections 3 and 5, and the papers named in the modules.

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

mod limits;
mod report;

#[cfg(test)]
mod contest;
#[cfg(test)]
mod reference;

use std::sync::atomic::AtomicBool;

pub use collect::{Collector, MAX_PLACES, Taken};
pub use limits::Limits;
pub use person_fit::ItemCurve;
pub use report::{AttemptId, CutBlock, Fact, Family, Flag, Kind, Report, Scope, SharedAnswer};

use model::Model;
use sheet::{Sheets, Stop};

/// Looks at all ended attempts, until done or until `cancel` is set, which is looked at every few milliseconds but
/// while sorting; a cancelled analysis tells nothing.
#[must_use]
pub fn analyse(collector: &Collector, limits: &Limits, cancel: &AtomicBool) -> Report {
    let stop = Stop(cancel);
    let sheets = Sheets::new(collector);
    let mut report = Report::new(collector);
    report.n_attempts = sheets.all.len() as u64;
    if !sheets.all.is_empty() {
        look(&sheets, limits, stop, &mut report);
    }
    if stop.now() {
        return Report::new(collector);
    }
    report.is_complete = true;
    report
}

/// Adds the flags kind by kind, in the order of [`Kind`].
fn look(sheets: &Sheets, limits: &Limits, stop: Stop, report: &mut Report) {
    let model = Model::new(sheets, stop);
    copying::look(sheets, &model, limits, stop, report);
    report.add(doubles::look(sheets, &model, limits, stop), limits.max_flags);
    report.add(sharing::devices(sheets, limits), limits.max_flags);
    report.add(sharing::addresses(sheets, limits), limits.max_flags);
    report.add(effort::look(sheets, limits, stop), limits.max_flags);
    report.add(misfit::look(sheets, limits, stop), limits.max_flags);
}

#[cfg(test)]
mod tests;
