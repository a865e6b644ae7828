//! Decisions since publication: their chain, and what they say of scores and ranks.
//!
//! Invariant: hashes are over the rulings as they stand in `exam.bin`. Start at [`check`] and [`Decisions::new`].
//! Source: `docs/FORMATS.md`, sections 5 and 11, and the comments of `exam.proto`.

use std::collections::HashSet;

use proto::{
    exam::v1::{
        BoardRuling, BoardState, ExclusionRuling, KeyRuling, PredictionRuling, Ruling, ruling::Kind,
    },
    key::v1::ItemKey,
};

use crate::{
    Archive, DifferenceKind, archive::KeyFile, difference::Differences, signature::check_final,
};

/// An exclusion ruling names so many candidates at most.
const MAX_EXCLUDED: usize = 10_000;

/// What the rulings together say of the result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decisions {
    /// How many rulings concern the result.
    pub(crate) n_concerning: usize,
    /// Hash of the last of them.
    pub(crate) last_hash: Option<[u8; 32]>,
    pub(crate) prediction: Option<PredictionRuling>,
    pub(crate) excluded: HashSet<[u8; 16]>,
}

impl Decisions {
    pub(crate) fn new(archive: &Archive) -> Self {
        let mut decisions = Self::default();
        for (ruling, encoded) in archive.exam.rulings.iter().zip(&archive.encoded_rulings) {
            match &ruling.kind {
                Some(Kind::Key(_)) => {} // read with the archive
                Some(Kind::Prediction(prediction)) => {
                    decisions.prediction = Some(prediction.clone());
                }
                Some(Kind::Exclusion(exclusion)) => {
                    let ids = exclusion.candidates.iter();
                    let ids = ids.filter_map(|id| <[u8; 16]>::try_from(id.as_ref()).ok());
                    decisions.excluded = ids.collect();
                }
                Some(Kind::Board(_)) | None => continue,
            }
            decisions.n_concerning += 1;
            decisions.last_hash = Some(*blake3::hash(encoded).as_bytes());
        }
        decisions
    }
}

/// Checks the chain of rulings and what each of them says.
pub(crate) fn check(archive: &Archive, differences: &mut Differences) {
    let mut previous: Vec<u8> = Vec::new();
    let mut positions: Vec<u64> = Vec::new();
    let mut keys = archive.keys.windows(2);
    let mut is_final = false;
    let rulings = archive.exam.rulings.iter().zip(&archive.encoded_rulings);
    for (index, (ruling, encoded)) in rulings.enumerate() {
        let place = format!("ruling {}", index + 1);
        let kind = DifferenceKind::RulingChain;
        let number = u64::from(ruling.number);
        differences.compare(kind, &place, index as u64 + 1, number);
        differences.compare_bytes(
            kind,
            format_args!("{place}, previous"),
            &previous,
            &ruling.previous,
        );
        previous = blake3::hash(encoded).as_bytes().to_vec();
        check_persons(&place, ruling, differences);
        check_positions(archive, &place, &positions, ruling, differences);
        positions.clone_from(&ruling.positions);
        match &ruling.kind {
            Some(Kind::Key(key)) => {
                let [before, now] = keys.next().unwrap_or_default() else {
                    continue; // a key was read for each key ruling
                };
                check_key(&place, key, before, now, differences);
            }
            Some(Kind::Prediction(_)) => {}
            Some(Kind::Exclusion(exclusion)) => check_exclusion(&place, exclusion, differences),
            Some(Kind::Board(board)) => {
                check_board(&place, board, is_final, differences);
                if board.state() == BoardState::Final {
                    is_final = true;
                    check_final(archive, index, &place, board, differences);
                }
            }
            None => differences.push(DifferenceKind::Ruling, &place, "a known kind", "none"),
        }
    }
    for name in &archive.stray_keys {
        differences.push(
            DifferenceKind::KeyVersion,
            name,
            "a ruling that names it",
            "none",
        );
    }
}

/// Whoever approves is another person than whoever proposes; what is shown may be decided by one.
fn check_persons(place: &str, ruling: &Ruling, differences: &mut Differences) {
    let (by, approved_by) = (&ruling.proposed_by, &ruling.approved_by);
    let one_is_enough = matches!(ruling.kind, Some(Kind::Board(_))) && approved_by.is_empty();
    if by.is_empty() || approved_by == by || approved_by.is_empty() && !one_is_enough {
        let found = format!("proposed by {by:?}, approved by {approved_by:?}");
        differences.push(DifferenceKind::Ruling, place, "two persons", found);
    }
}

/// The log's ends at the time of a ruling: one a partition, never behind those of an earlier one.
fn check_positions(
    archive: &Archive,
    place: &str,
    before: &[u64],
    ruling: &Ruling,
    differences: &mut Differences,
) {
    let (n, kind) = (archive.spec.n_partitions as usize, DifferenceKind::Ruling);
    if ruling.positions.len() != n {
        let expected = format!("positions of {n} partitions");
        return differences.push(kind, place, expected, ruling.positions.len());
    }
    for (partition, position) in (0_u32..).zip(&ruling.positions) {
        let first = before.get(partition as usize).copied().unwrap_or(0);
        let end = archive.log_ends.get(&partition).copied().unwrap_or(0);
        if !(first..=end).contains(position) {
            let place = format_args!("{place}, position in partition {partition}");
            differences.push(kind, place, format_args!("{first} to {end}"), position);
        }
    }
}

fn check_key(
    place: &str,
    ruling: &KeyRuling,
    before: &KeyFile,
    now: &KeyFile,
    differences: &mut Differences,
) {
    let at = format!("{place}, {}", now.name);
    differences.compare_bytes(DifferenceKind::KeyHash, &at, &now.hash, &ruling.key_hash);
    if ruling.key_version <= before.half.key_version {
        let expected = format!("more than {}", before.half.key_version);
        differences.push(
            DifferenceKind::KeyVersion,
            place,
            expected,
            ruling.key_version,
        );
    }
    let kind = DifferenceKind::KeyVersion;
    differences.compare(kind, &at, ruling.key_version, now.half.key_version);
    let mut named = ruling.item_ids.clone();
    named.sort_unstable();
    let changed = changed_items(&before.half.keys, &now.half.keys);
    if named != changed {
        let (expected, found) = (format!("{changed:?}"), format!("{named:?}"));
        differences.push(DifferenceKind::RulingItems, place, expected, found);
    }
}

/// Returns the items whose keys are not the same, by rising number.
fn changed_items(before: &[ItemKey], now: &[ItemKey]) -> Vec<u32> {
    let is_new = |key: &&ItemKey| !before.contains(key);
    let mut changed: Vec<u32> = now.iter().filter(is_new).map(|key| key.item_id).collect();
    changed.sort_unstable();
    changed
}

fn check_exclusion(place: &str, exclusion: &ExclusionRuling, differences: &mut Differences) {
    let ids = &exclusion.candidates;
    let kind = DifferenceKind::Ruling;
    if ids.len() > MAX_EXCLUDED {
        differences.push(
            kind,
            place,
            format_args!("at most {MAX_EXCLUDED}"),
            ids.len(),
        );
    }
    if let Some(id) = ids.iter().find(|id| id.len() != 16) {
        differences.push(kind, place, "16 bytes", hex::encode(id));
    }
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] >= pair[1]) {
        let found = format!("{} behind {}", hex::encode(&pair[1]), hex::encode(&pair[0]));
        differences.push(kind, place, "rising ids", found);
    }
}

/// Behind a final result come corrections and another final one.
fn check_board(place: &str, board: &BoardRuling, is_final: bool, differences: &mut Differences) {
    let kind = DifferenceKind::Ruling;
    match BoardState::try_from(board.state) {
        Ok(BoardState::Final) => {}
        Ok(state) if is_final => differences.push(kind, place, "final", state.as_str_name()),
        Ok(_) => {}
        Err(_) => differences.push(kind, place, "a known state", board.state),
    }
}
