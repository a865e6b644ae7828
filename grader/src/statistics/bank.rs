//! What goes back to the bank: one row of numbers an item.

use super::{Alarm, Statistics, irt::Fit};

/// What an exam says of an item of the bank.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemStatistics {
    /// Number in the bank.
    pub item_id: u32,
    /// Hash of the revision that was used.
    pub revision: [u8; 32],
    /// How many had it on their paper.
    pub n: i64,
    /// Mean part of the mark earned.
    pub facility: Option<f64>,
    /// Correlation with the rest of the paper.
    pub discrimination: Option<f64>,
    /// Slope of the logistic model.
    pub a: Option<f64>,
    /// Its standard error.
    pub a_se: Option<f64>,
    /// Difficulty in the logistic model.
    pub b: Option<f64>,
    /// Its standard error.
    pub b_se: Option<f64>,
    /// Alarms about it.
    pub alarms: Vec<Alarm>,
}

/// Returns a row for each item that somebody took; the fit has the items in the order of the statistics.
#[must_use]
pub fn to_bank(
    statistics: &Statistics,
    fit: Option<&Fit>,
    alarms: &[Alarm],
) -> Vec<ItemStatistics> {
    let reports = statistics.item_reports().into_iter();
    let rows = reports.zip(statistics.items()).enumerate();
    rows.filter(|(_, (report, _))| report.n > 0)
        .map(|(idx, (report, info))| {
            let line = fit.and_then(|fit| *fit.items.get(idx)?);
            let about = |alarm: &&Alarm| alarm.item_id == Some(info.item_id);
            ItemStatistics {
                item_id: info.item_id,
                revision: info.revision,
                n: report.n,
                facility: report.facility,
                discrimination: report.r_ir,
                a: line.map(|it| it.a),
                a_se: line.and_then(|it| it.a_se),
                b: line.map(|it| it.b),
                b_se: line.and_then(|it| it.b_se),
                alarms: alarms.iter().filter(about).copied().collect(),
            }
        })
        .collect()
}
