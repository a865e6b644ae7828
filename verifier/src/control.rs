//! Control candidates: attempts whose outcome is known before, made to prove the whole way from answer to score.
//!
//! Invariant: they stand in no row and in no number of persons. Source: `docs/FORMATS.md`, section 11.

use crate::{
    DifferenceKind, Error, Paper,
    archive::{Archive, Attempt, AttemptId, KeyFile, newest_answers},
    difference::Differences,
    score::{Marking, Newest},
};

/// The ids of the three control candidates of an exam, by number.
pub(crate) struct Controls([[u8; 16]; 3]);

/// The keys by which control attempts were scored when they ended.
pub(crate) struct ControlMarkings(Vec<(u64, Marking)>);

impl Controls {
    pub(crate) fn new(exam_id: &str) -> Self {
        let id = |n: u32| {
            let material = [&n.to_le_bytes()[..], exam_id.as_bytes()].concat();
            let key = blake3::derive_key("khoa-bang control candidate v1", &material);
            *key.first_chunk().expect("a key has 32 bytes")
        };
        Self([0, 1, 2].map(id))
    }

    /// Returns the number of a control candidate; none for a person.
    pub(crate) fn number(&self, candidate: &[u8; 16]) -> Option<usize> {
        self.0.iter().position(|id| id == candidate)
    }

    #[cfg(test)]
    pub(crate) fn id(&self, number: usize) -> [u8; 16] {
        self.0[number]
    }
}

impl ControlMarkings {
    /// Reads all versions of the key if there is a control attempt, else none.
    pub(crate) fn new(archive: &Archive) -> Result<Self, Error> {
        let mut attempts = archive.attempts().into_iter();
        if !attempts.any(|(id, _)| archive.controls.number(&id.candidate).is_some()) {
            return Ok(Self(Vec::new()));
        }
        let marking = |key: &KeyFile| {
            let marking = Marking::new(&archive.paper_half, &key.half, &archive.rules)?;
            Ok((key.since_ms, marking))
        };
        Ok(Self(
            archive
                .keys
                .iter()
                .map(marking)
                .collect::<Result<_, Error>>()?,
        ))
    }

    /// Returns the one that was in force at an instant.
    fn at(&self, at_ms: u64) -> Option<&Marking> {
        let in_force = self.0.iter().rev().find(|(since_ms, _)| *since_ms <= at_ms);
        in_force.map(|(_, marking)| marking)
    }
}

/// Checks an attempt of control candidate `number`; returns whether it has ended.
pub(crate) fn check(
    number: usize,
    id: AttemptId,
    attempt: &Attempt,
    paper: &Paper,
    markings: &ControlMarkings,
    differences: &mut Differences,
) -> bool {
    let Some(ended) = &attempt.ended else {
        return false; // reported by the log
    };
    let Some(marking) = markings.at(ended.ended_at_ms) else {
        return false;
    };
    let score = marking.score(paper, &newest_answers(&attempt.answers));
    let place = |what| format!("control candidate {number}, {id}, {what}");
    let kind = DifferenceKind::Control;
    match number {
        0 => differences.compare(
            kind,
            place("score"),
            marking.full_score(paper),
            score.points,
        ),
        1 => {
            let blank = marking.score(paper, &Newest::new());
            differences.compare(kind, place("score"), blank.points, score.points);
        }
        _ => {
            let expected = marking.n_never_wrong(paper);
            differences.compare(kind, place("items right"), expected, score.n_correct);
        }
    }
    true
}
