//! What must hold for every change, written once: debug builds assert it, tests call it.

use super::{Change, Happening, Progress};

/// Returns the promise that a change would break, by its number in docs/ARCHITECTURE.md.
#[must_use]
pub fn broken_by(before: &Progress, change: &Change) -> Option<&'static str> {
    if change.new_head.is_some() {
        return None; // a new attempt starts from nothing
    }
    let after = &change.progress;
    let n_answers = change
        .happenings
        .iter()
        .filter(|h| matches!(h, Happening::Answered { .. }))
        .count();
    if u32::try_from(n_answers).ok() != after.last_seq.checked_sub(before.last_seq) {
        return Some("P2: each answer takes one number");
    }
    if after.deadline < before.deadline {
        return Some("P5: the deadline never moves earlier");
    }
    if after.epoch < before.epoch {
        return Some("P6: epochs only rise");
    }
    let reopens = change
        .happenings
        .iter()
        .any(|h| matches!(h, Happening::Reopened { .. }));
    if before.ended.is_some() && (n_answers > 0 || (after.ended != before.ended && !reopens)) {
        return Some("P5: nothing is accepted after the end");
    }
    if before.paused_at.is_some() && n_answers > 0 {
        return Some("P5: nothing is accepted while the clock stands");
    }
    if after.section < before.section {
        return Some("P5: a section never begins again");
    }
    None
}

/// Asserts all promises in debug builds.
pub(super) fn check(before: &Progress, change: &Change) {
    debug_assert_eq!(broken_by(before, change), None);
}
