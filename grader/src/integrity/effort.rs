//! Answers that came faster than an item can be read, and the share of an attempt that was considered.
//!
//! The response time of an item is the sum, over its stored answers, of the time since the answer stored before (the
//! first since the start), pauses left out. It is not known where several answers came in one request or later than
//! the rules' grace; such answers are left out. Fast answers are a reason to doubt the score's meaning, no breach.
//! Sources: Wise and Ma 2012 (NT10); Wise and Kong 2005 (response-time effort).

use super::{
    limits::Limits,
    report::{Fact, Flag, Kind},
    sheet::{Sheets, Stop},
};

/// Share of the mean time of an item below which an answer is a rapid guess.
const NORMATIVE_SHARE: f64 = 0.1;
/// No answer that took longer is a rapid guess.
const THRESHOLD_MAX_S: f64 = 10.0;
/// Times an item needs before it has a threshold: the mean of log-normal times is then known to about a tenth.
const MIN_TIMES: u32 = 30;

/// Returns the threshold of an item with this mean time, in seconds.
pub(crate) fn threshold_s(mean_s: f64) -> f64 {
    (NORMATIVE_SHARE * mean_s).min(THRESHOLD_MAX_S)
}

/// Returns the share of answers that were no rapid guess.
pub(crate) fn effort(n_timed: u32, n_rapid: u32) -> f64 {
    1.0 - f64::from(n_rapid) / f64::from(n_timed)
}

/// Finds attempts with too little effort.
pub(crate) fn look(sheets: &Sheets, limits: &Limits, stop: Stop) -> Vec<Flag> {
    let thresholds = thresholds(sheets, stop);
    let mut flags = Vec::new();
    for (at, sheet) in sheets.all.iter().enumerate() {
        if stop.at(at) {
            break;
        }
        let (mut n_timed, mut n_rapid, mut n_right) = (0u32, 0u32, 0u32);
        for answer in &sheet.sitting.answers {
            let threshold = thresholds[usize::from(answer.item_idx)];
            if let (Some(time), Some(threshold)) = (answer.time_s(), threshold) {
                let is_rapid = time < threshold;
                n_timed += 1;
                n_rapid += u32::from(is_rapid);
                n_right += u32::from(is_rapid && answer.is_right());
            }
        }
        if n_timed >= limits.min_timed.max(1) && effort(n_timed, n_rapid) < limits.min_effort {
            let at = u32::try_from(at).expect("fewer than 2^32 attempts");
            let fact = |name, value| Fact { name, value };
            flags.push(Flag {
                attempts: vec![sheets.attempt_id(at)],
                facts: vec![
                    fact("effort", effort(n_timed, n_rapid)),
                    fact("timed", f64::from(n_timed)),
                    fact("rapid", f64::from(n_rapid)),
                    fact("rapid_right", f64::from(n_right)),
                ],
                ..Flag::of(Kind::RapidGuessing)
            });
        }
    }
    flags
}

/// Returns the threshold of each item; none where too few times are known.
fn thresholds(sheets: &Sheets, stop: Stop) -> Vec<Option<f64>> {
    let n_items = sheets.collector.package.items().len();
    // tenths of a second, summed exactly: the order does not matter
    let mut sums = vec![(0u64, 0u32); n_items];
    for (at, sheet) in sheets.all.iter().enumerate() {
        if stop.at(at) {
            break;
        }
        for answer in &sheet.sitting.answers {
            if answer.time_s().is_some() {
                let (sum, n) = &mut sums[usize::from(answer.item_idx)];
                *sum += u64::from(answer.time_ds);
                *n += 1;
            }
        }
    }
    let of = |(sum, n): (u64, u32)| {
        #[expect(clippy::cast_precision_loss, reason = "a mean needs no 53 bits")]
        let mean_s = sum as f64 / 10.0 / f64::from(n);
        (n >= MIN_TIMES).then(|| threshold_s(mean_s))
    };
    sums.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::reference::{self, close},
        *,
    };

    #[test]
    fn thresholds_and_effort_are_those_of_the_reference() {
        let items = reference::rows(include_str!(
            "../../testdata/integrity/similarity-items.csv"
        ));
        let times = reference::rows(include_str!(
            "../../testdata/integrity/similarity-times.csv"
        ));
        let persons = reference::persons();
        let mut worst = 0f64;
        let thresholds: Vec<f64> = (1..=items.len())
            .map(|item| {
                let sum: f64 = times.iter().map(|row| row[item]).sum();
                threshold_s(sum / f64::from(u32::try_from(times.len()).unwrap()))
            })
            .collect();
        for (item, threshold) in items.iter().zip(&thresholds) {
            worst = worst.max(close(*threshold, item[6]));
        }
        for (row, person) in times.iter().zip(&persons) {
            let rapid = row[1..]
                .iter()
                .zip(&thresholds)
                .filter(|(time, threshold)| time < threshold);
            let found = effort(20, u32::try_from(rapid.count()).unwrap());
            worst = worst.max(close(found, person.effort));
        }
        reference::check("thresholds, effort", worst);
        assert!(persons.iter().any(|person| person.effort < 0.75));
    }

    #[test]
    fn a_slow_item_has_no_threshold_above_ten_seconds() {
        assert!(close(threshold_s(30.0), 3.0) < 1e-12);
        assert!(close(threshold_s(300.0), 10.0) < 1e-12);
    }
}
