//! What the fold knows, in the words of the wire.

use std::sync::Arc;

use bytes::Bytes;
use proto::{
    exam::v1::Exam,
    grader::v1::{Change, Changes, GetGraderStateResponse, Impact, QuarantinedEntry, ScoreByKey},
};
use tonic::Status;

use super::invalid;
use crate::{
    attempt::Finished,
    correction::{self, Place},
    fold::Fold,
    package::Package,
    snapshot,
};

/// Scores an attempt by every version of the key.
pub(super) fn scores_by_key(versions: &[Arc<Package>], attempt: &Finished) -> Vec<ScoreByKey> {
    let by_key = |version: &Arc<Package>| {
        let ruling = version.key_ruling();
        ScoreByKey {
            key_version: version.key_version(),
            at_ms: ruling.map_or(0, |ruling| ruling.at_ms),
            note: ruling.map_or_else(String::new, |ruling| ruling.note.clone()),
            score: version.print(version.score(&attempt.answers).quanta),
        }
    };
    versions.iter().map(by_key).collect()
}

pub(super) fn grader_state(fold: &Fold, lag: u64) -> GetGraderStateResponse {
    GetGraderStateResponse {
        state_hash: snapshot::state_hash(fold).to_vec().into(),
        positions: fold.positions().to_vec(),
        lag,
        key_version: fold.package().key_version(),
        quarantined: fold
            .quarantined()
            .map(|entry| QuarantinedEntry {
                partition: entry.partition,
                position: entry.position,
                reason: entry.reason.to_string(),
            })
            .collect(),
        n_quarantined: fold.n_quarantined(),
    }
}

/// Grades the log by a proposed decision and tells the differences.
pub(super) fn dry_run(fold: &Fold, exam: &Exam, key: &[u8]) -> Result<Impact, Status> {
    let package = fold.package().decided(exam, key).map_err(|error| {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a proposed decision is refused"
        );
        invalid("exam")
    })?;
    let graded = fold
        .graded_by(&Arc::new(package))
        .map_err(|_| invalid("exam"))?;
    let impact = correction::Impact::of(fold, &graded);
    Ok(Impact {
        total: Some(changes("", impact.total)),
        areas: impact
            .areas
            .iter()
            .map(|(area, sum)| changes(area, *sum))
            .collect(),
        n_attempts: impact.n_attempts,
        n_prizes: impact.n_prizes,
        listing: impact
            .listing
            .iter()
            .map(|change| self::change(change, fold.package(), graded.package()))
            .collect(),
    })
}

fn changes(area: &str, sum: correction::Changes) -> Changes {
    Changes {
        n_persons: sum.n_persons,
        n_scores: sum.n_scores,
        n_higher: sum.n_higher,
        n_now_pass: sum.n_now_pass,
        n_now_fail: sum.n_now_fail,
        n_ranks: sum.n_ranks,
        area: area.to_owned(),
    }
}

fn change(change: &correction::Change, before: &Package, after: &Package) -> Change {
    let score = |place: Option<Place>, package: &Package| {
        place.map_or_else(String::new, |place| package.print(place.quanta))
    };
    let rank = |place: Option<Place>| place.map_or(0, |place| place.rank);
    Change {
        candidate: Bytes::copy_from_slice(change.candidate.as_bytes()),
        area: change.area.clone(),
        score_before: score(change.before, before),
        rank_before: rank(change.before),
        score_after: score(change.after, after),
        rank_after: rank(change.after),
    }
}
