//! More persons on one device, or behind one address, than are expected there.
//!
//! Rule more than statistic: what is expected is the operator's to say, a school with one line or a computer room
//! with shifts is no breach.

use super::{
    limits::Limits,
    multiple::bonferroni,
    report::{Fact, Flag, Kind, MAX_LISTED, Scope},
    sheet::Sheets,
    sitting::Sitting,
    tail,
};

/// Finds devices with too many persons.
pub(crate) fn devices(sheets: &Sheets, limits: &Limits) -> Vec<Flag> {
    let expected = |_| limits.expected_per_device;
    let tag = |sitting: &Sitting| sitting.device_tag;
    look(sheets, limits, Kind::SharedDevice, tag, expected)
}

/// Finds addresses with too many persons.
pub(crate) fn addresses(sheets: &Sheets, limits: &Limits) -> Vec<Flag> {
    let known = |tag: u64| limits.known_addresses.get(&tag).copied();
    let expected = |tag| known(tag).unwrap_or(limits.expected_per_address);
    let tag = |sitting: &Sitting| sitting.address_tag;
    look(sheets, limits, Kind::SharedAddress, tag, expected)
}

fn look(
    sheets: &Sheets,
    limits: &Limits,
    kind: Kind,
    tag: impl Fn(&Sitting) -> u64,
    expected: impl Fn(u64) -> f64,
) -> Vec<Flag> {
    // a tag with one person cannot be too many: it need not be corrected for
    let groups = sheets.groups(tag);
    let n_tests = groups.len() as u64;
    let flags = groups.into_iter().filter_map(|(tag, group)| {
        let mut persons: Vec<u32> = group.iter().map(|&at| sheets.sitting(at).person).collect();
        persons.sort_unstable();
        persons.dedup();
        let n_persons = u32::try_from(persons.len()).unwrap_or(u32::MAX);
        let p_value = tail::poisson_upper(n_persons, expected(tag));
        let p_any = bonferroni(p_value, n_tests);
        (n_persons > 1 && p_any <= limits.alpha).then(|| Flag {
            kind,
            scope: Scope::Exam,
            attempts: group.iter().take(MAX_LISTED).map(|&at| sheets.attempt_id(at)).collect(),
            n_attempts: group.len() as u64,
            p_value: Some(p_value),
            p_any: Some(p_any),
            false_share: None,
            facts: vec![
                Fact {
                    name: "persons",
                    value: f64::from(n_persons),
                },
                Fact {
                    name: "expected",
                    value: expected(tag),
                },
                Fact {
                    name: "at_once",
                    value: f64::from(most_at_once(sheets, &group)),
                },
            ],
            shared: Vec::new(),
        })
    });
    flags.collect()
}

/// Returns how many attempts ran at one instant, at most.
fn most_at_once(sheets: &Sheets, group: &[u32]) -> u32 {
    let mut turns: Vec<(u64, i32)> = Vec::with_capacity(group.len() * 2);
    for &at in group {
        let sitting = sheets.sitting(at);
        turns.push((sitting.started_at_ms, 1));
        turns.push((sitting.ended_at_ms, -1));
    }
    // an end comes before a start at the same instant
    turns.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, turn) in turns {
        now += turn;
        most = most.max(now);
    }
    most.unsigned_abs()
}
