//! Attempts whose right and wrong answers fit no ability; only where items have been calibrated.

use super::{
    limits::Limits,
    multiple::bonferroni,
    person_fit::{Fit, ItemCurve, ability, lz},
    report::{Fact, Flag, Kind},
    sheet::{Sheets, Stop},
};

/// Answers to calibrated items an attempt needs: l_z* is near normal from about twenty items on.
const MIN_ANSWERS: usize = 20;

/// Finds attempts with a bad fit.
pub(crate) fn look(sheets: &Sheets, limits: &Limits, stop: Stop) -> Vec<Flag> {
    let curves = &sheets.collector.curves;
    if curves.is_empty() {
        return Vec::new();
    }
    let n_tests = sheets.all.len() as u64;
    let mut flags = Vec::new();
    for (at, sheet) in (0u32..).zip(&sheets.all) {
        if stop.now() {
            break;
        }
        let answered = sheet
            .sitting
            .answers
            .iter()
            .filter(|answer| answer.chosen != 0);
        let answers: Vec<(ItemCurve, bool)> = answered
            .filter_map(|answer| {
                let curve = curves.get(&answer.item_idx)?;
                Some((*curve, answer.is_right()))
            })
            .collect();
        if answers.len() < MIN_ANSWERS {
            continue;
        }
        let theta = ability(&answers);
        let fit = Fit::new(&answers, theta, -theta);
        let p_value = fit.p_value();
        let p_any = bonferroni(p_value, n_tests);
        if p_any <= limits.alpha {
            let fact = |name, value| Fact { name, value };
            flags.push(Flag {
                attempts: vec![sheets.attempt_id(at)],
                p_value: Some(p_value),
                p_any: Some(p_any),
                facts: vec![
                    fact("lz_star", fit.lz_star()),
                    fact("lz", lz(&answers, theta)),
                    fact("ability", theta),
                ],
                ..Flag::of(Kind::Misfit)
            });
        }
    }
    flags
}
