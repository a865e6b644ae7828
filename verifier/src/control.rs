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

#[cfg(test)]
mod tests {
    use DifferenceKind as D;
    use proto::key::v1::{KeyHalf, Treatment};

    use super::*;
    use crate::test_exam::{EXAM_ID, TestExam};

    /// The right options as shown, and how many there are: what a control candidate chooses.
    type Choice = fn(u32, u32) -> u32;

    const RIGHT: Choice = |right, _| right;
    const NOTHING: Choice = |_, _| 0;
    /// The first option that is not right.
    const WRONG: Choice = |right, _| !right & (right + 1);

    #[test]
    fn ids_are_derived_as_the_page_says() {
        // Computed with Python's blake3 from the page alone.
        let ids = Controls::new(EXAM_ID).0.map(hex::encode);
        let expected = [
            "aca5cc0494d68671025b805abfcdc0f5",
            "a5f2d770737e9aa13e6700bb9bedf1fd",
            "ba6b27ee1fc8eb508ffc84abd4f0ec7e",
        ];
        assert_eq!(ids, expected);
    }

    fn exam(choices: [Choice; 3]) -> TestExam {
        let mut exam = TestExam::new();
        for (number, choice) in choices.into_iter().enumerate() {
            exam.add_control(number, choice);
        }
        exam
    }

    #[track_caller]
    fn check_control(choices: [Choice; 3], expected: &[&str]) {
        let verdict = exam(choices).verify().unwrap();
        let place = |found: &crate::Difference| {
            assert_eq!(found.kind, D::Control, "{found}");
            let words: Vec<&str> = found.place.split(' ').collect();
            words[2].trim_end_matches(',').to_owned()
        };
        let mut found: Vec<String> = verdict.differences.iter().map(place).collect();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn control_candidates_are_no_persons() {
        let exam = exam([RIGHT, NOTHING, WRONG]);
        let verdict = exam.verify().unwrap();
        assert!(verdict.ok(), "{verdict}");
        assert_eq!(
            (verdict.n_control_attempts, verdict.n_papers_rebuilt),
            (3, 19)
        );
        assert_eq!(
            (verdict.n_persons, verdict.n_attempts, verdict.n_answers),
            (12, 16, 13 * 8 + 2)
        );
        assert_eq!(verdict.n_events, exam.log.len() as u64);
    }

    #[test]
    fn a_control_candidate_with_another_outcome_is_found() {
        check_control([RIGHT, NOTHING, WRONG], &[]);
        check_control([WRONG, NOTHING, WRONG], &["0"]);
        check_control([NOTHING, NOTHING, WRONG], &["0"]);
        check_control([RIGHT, RIGHT, WRONG], &["1"]);
        check_control([RIGHT, WRONG, WRONG], &[]); // the same score as that of nothing
        check_control([RIGHT, NOTHING, RIGHT], &["2"]);
        check_control([WRONG, RIGHT, RIGHT], &["0", "1", "2"]);
    }

    #[test]
    fn a_wrong_key_is_found_by_the_control_candidates() {
        let mut exam = exam([RIGHT, NOTHING, WRONG]);
        for key in &mut exam.key.keys {
            key.right_options ^= 0b11; // swaps the first two options
        }
        exam.seal();
        exam.write_result();
        assert!(exam.kinds().contains(&D::Control));
    }

    fn full_to_all(key: &mut KeyHalf) {
        for key in &mut key.keys {
            key.treatment = Treatment::FullToAll.into();
        }
    }

    #[test]
    fn control_candidates_are_judged_by_the_key_of_their_time() {
        let ids: Vec<u32> = (1..=15).collect();
        let mut swapped = exam([RIGHT, NOTHING, WRONG]);
        let swap = |key: &mut KeyHalf| {
            key.keys
                .iter_mut()
                .for_each(|key| key.right_options ^= 0b11)
        };
        swapped.correct_key(swap, &ids);
        swapped.write_result();
        assert_eq!(swapped.kinds(), []);
        swapped.exam.rulings[0].at_ms = 1_300_000; // in force when they ended
        swapped.write_result();
        assert_eq!(swapped.kinds(), [D::Control]);

        let mut all = exam([RIGHT, NOTHING, WRONG]);
        all.correct_key(full_to_all, &ids);
        all.exam.rulings[0].at_ms = 0;
        all.write_result();
        assert_eq!(all.kinds(), [], "everybody has everything right");
    }

    #[test]
    fn a_control_candidate_in_the_result_is_found() {
        let mut exam = exam([RIGHT, NOTHING, WRONG]);
        let id = hex::encode(Controls::new(EXAM_ID).id(1));
        let row = exam.result.lines().last().unwrap().to_owned();
        let other = row.split('\t').nth(2).unwrap();
        exam.result.push_str(&row.replace(other, &id));
        exam.result.push('\n');
        assert_eq!(exam.kinds(), [D::RowExtra]);
    }
}
