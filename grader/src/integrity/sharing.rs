//! More persons on one device, or behind one address, than may be there.
//!
//! A rule, no statistic: how many may be there is the operator's to say. A school with one line, a mobile network or
//! a computer room with shifts is no breach.

use super::{
    limits::Limits,
    report::{Fact, Flag, Kind},
    sheet::Sheets,
    sitting::Sitting,
};

/// Finds devices with too many persons.
pub(crate) fn devices(sheets: &Sheets, limits: &Limits) -> Vec<Flag> {
    let tag = |sitting: &Sitting| sitting.device_tag;
    look(sheets, Kind::SharedDevice, tag, |_| limits.max_per_device)
}

/// Finds addresses with too many persons.
pub(crate) fn addresses(sheets: &Sheets, limits: &Limits) -> Vec<Flag> {
    let known = |tag| limits.known_addresses.get(&tag).copied();
    let allowed = |tag| known(tag).unwrap_or(limits.max_per_address);
    let tag = |sitting: &Sitting| sitting.address_tag;
    look(sheets, Kind::SharedAddress, tag, allowed)
}

fn look(
    sheets: &Sheets,
    kind: Kind,
    tag: impl Fn(&Sitting) -> u64,
    allowed: impl Fn(u64) -> u32,
) -> Vec<Flag> {
    let groups = sheets.groups(tag);
    let flags = groups.into_iter().filter_map(|(tag, group)| {
        let n_persons = sheets.n_persons(&group);
        let fact = |name, value: u32| Fact {
            name,
            value: f64::from(value),
        };
        (n_persons > allowed(tag)).then(|| Flag {
            attempts: sheets.attempt_ids(&group),
            n_attempts: group.len() as u64,
            facts: vec![
                fact("persons", n_persons),
                fact("allowed", allowed(tag)),
                fact("at_once", most_at_once(sheets, &group)),
            ],
            ..Flag::of(kind)
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
