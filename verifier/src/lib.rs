//! A second, independent implementation of draw, chain, scoring and ranking, for archives only.
//!
//! Written from `docs/FORMATS.md` and the `.proto` files alone, as plainly as possible.
//! Invariant: it shares no code with `question-bank`, `grader` or `exam-engine`; where both sides
//! agree, two readings of one page agree. Start at [`verify_folder`].

mod difference;
mod error;
mod verdict;

mod archive;
mod course;
mod log;
mod package;
mod ruling;

mod answer;
mod attempt;
mod draw;
mod score;

mod board;
mod control;
mod rank;
mod result;
mod scorer;
mod standings;

mod signature;
mod slip;

#[cfg(test)]
mod test_exam;

use std::path::Path;

pub use archive::{Archive, StoredAnswer};
pub use board::{BoardPlace, BoardRow, Boards, Scope};
pub use difference::{Difference, DifferenceKind};
pub use draw::{DrawnItem, Paper, rebuild_paper};
pub use error::Error;
pub use scorer::{AttemptScore, Scorer};
pub use signature::{check_verdict, sign_verdict};
pub use slip::Slip;
pub use verdict::Verdict;

use crate::{
    rank::{Ranking, ranked},
    ruling::Decisions,
    score::Marking,
    standings::Standings,
};

/// Reads an archive folder and verifies it.
///
/// # Errors
/// Those of [`Archive::read`] and [`verify`].
pub fn verify_folder(dir: &Path) -> Result<Verdict, Error> {
    verify(&Archive::read(dir)?)
}

/// Verifies an archive: hashes, rulings, log, every paper, every answer chain, scores, ranks, result file.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Decode`] and [`Error::Infeasible`] for packages and rules that the
/// formats do not allow. All else that is wrong stands in the verdict.
pub fn verify(archive: &Archive) -> Result<Verdict, Error> {
    Ok(examine(archive)?.0)
}

/// Writes the result file from the log, as it should be.
///
/// # Errors
/// Those of [`verify`].
pub fn write_result(archive: &Archive) -> Result<String, Error> {
    Ok(examine(archive)?.1)
}

/// Returns the verdict and the result file as it should be.
fn examine(archive: &Archive) -> Result<(Verdict, String), Error> {
    let mut differences = archive.log_differences.clone();
    package::check(archive, &mut differences)?;
    ruling::check(archive, &mut differences);

    let decisions = Decisions::new(archive);
    let quantity = decisions.prediction.as_ref().map(|known| known.quantity);
    let ranking = Ranking::new(&archive.rules, quantity)?;
    let marking = Marking::new(&archive.paper_half, &archive.key().half, &archive.rules)?;
    let standings = Standings::new(archive, &marking, &decisions, &mut differences)?;
    let (n_excluded, n_papers) = (standings.n_excluded, standings.n_papers);
    let n_control_attempts = standings.n_control_attempts;
    let rows = ranked(&ranking, standings.ranked);
    let own = result::Page {
        archive,
        ranking: &ranking,
        marking: &marking,
        decisions: &decisions,
        n_excluded,
    };
    let own = own.render(&rows)?;
    result::compare(&own, &archive.result, &mut differences);

    let verdict = Verdict {
        n_events: archive.totals.n_events,
        n_attempts: archive.totals.n_attempts,
        n_answers: archive.totals.n_answers,
        n_persons: archive.totals.n_persons,
        n_papers_rebuilt: n_papers,
        n_control_attempts,
        result_hash: *blake3::hash(own.as_bytes()).as_bytes(),
        differences: differences.kept,
        n_differences: differences.n_found,
    };
    Ok((verdict, own))
}

#[cfg(test)]
mod tests {
    use proto::exam::v1::{PredictionRuling, RankingKey, ruling::Kind};

    use super::*;
    use crate::test_exam::TestExam;

    #[test]
    fn an_honest_archive_is_right() {
        let exam = TestExam::new();
        let verdict = exam.verify().unwrap();
        assert_eq!(verdict.differences, []);
        assert!(verdict.ok());
        assert_eq!(verdict.n_events, exam.log.len() as u64);
        assert_eq!((verdict.n_persons, verdict.n_attempts), (12, 16));
        // 13 attempts with 8 answers, one of person 3 more in both of them
        assert_eq!(verdict.n_answers, 13 * 8 + 2);
        assert_eq!(verdict.n_papers_rebuilt, 16);
        assert_eq!(
            verdict.result_hash,
            *blake3::hash(exam.result.as_bytes()).as_bytes()
        );
    }

    #[test]
    fn the_honest_archive_has_ties_and_second_attempts_that_count() {
        let result = TestExam::new().result;
        let rows: Vec<Vec<&str>> = result
            .lines()
            .skip(13)
            .map(|row| row.split('\t').collect())
            .collect();
        let last: Vec<(&str, &str)> = rows[9..].iter().map(|row| (row[0], row[1])).collect();
        assert_eq!(last, [("10", "5"), ("10", "6"), ("10", "5")]);
        assert!(rows.iter().any(|row| row[6] == "2"), "{rows:?}");
        assert!(
            rows.iter().any(|row| row[6] == "1" && row[7] != "0.00"),
            "{rows:?}"
        );
    }

    #[test]
    fn an_empty_exam_is_right() {
        let mut exam = TestExam::new();
        exam.log.clear();
        exam.result = exam
            .result
            .lines()
            .take(13)
            .map(|line| format!("{line}\n"))
            .collect();
        exam.set_header("persons", "0");
        let verdict = exam.verify().unwrap();
        assert!(verdict.ok(), "{verdict}");
        assert_eq!((verdict.n_events, verdict.n_persons), (0, 0));
    }

    #[test]
    fn a_verdict_names_person_and_attempt() {
        let mut exam = TestExam::new();
        exam.ended(7, 1).chain = vec![0; 32].into();
        let verdict = exam.verify().unwrap();
        assert!(!verdict.ok());
        let [difference] = verdict.differences.as_slice() else {
            panic!("{verdict}");
        };
        assert_eq!(difference.kind, DifferenceKind::Chain);
        assert_eq!(
            difference.place,
            "candidate 08080808080808080808080808080808 attempt 1"
        );
        assert_eq!(difference.found, "0".repeat(64));
    }

    #[test]
    fn attempts_for_which_no_paper_can_be_drawn_are_found() {
        let mut exam = TestExam::new();
        for item in &mut exam.paper.items[..6] {
            item.exclusion_sets = vec![9]; // three are drawn, two of them always meet
        }
        exam.seal();
        let kinds = [
            DifferenceKind::PaperInfeasible,
            DifferenceKind::ResultHeader,
            DifferenceKind::RowExtra,
        ];
        assert_eq!(exam.kinds(), kinds);
        assert_eq!(exam.verify().unwrap().n_papers_rebuilt, 0);
    }

    #[test]
    fn rules_that_nobody_knows_are_refused() {
        let refused = |change: fn(&mut proto::exam::v1::ExamRules)| {
            let mut exam = TestExam::new();
            change(exam.rules());
            let error = exam.verify().unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{error}");
        };
        refused(|rules| rules.ranking = vec![77]);
        refused(|rules| rules.counted_attempt = 77);
        refused(|rules| rules.score_decimals = 5);
    }

    /// Returns a column of the rows of a result, with the person's number.
    fn column(result: &str, column: usize) -> Vec<(u8, &str)> {
        fn field(row: &str, index: usize) -> &str {
            row.split('\t').nth(index).unwrap()
        }
        let person = |row| u8::from_str_radix(&field(row, 2)[..2], 16).unwrap() - 1;
        let rows = result.lines().skip(13);
        rows.map(|row| (person(row), field(row, column))).collect()
    }

    #[test]
    fn an_exam_of_every_type_is_right() {
        let exam = TestExam::mixed();
        assert_eq!(exam.verify().unwrap().differences, []);
        // 10^4 * lcm(2, 3, 1 of multiple choices; 100, 3, 4, 4 of cluster, matching, ordering, cloze)
        assert!(
            exam.result.contains("\nquanta_per_point\t3000000\n"),
            "{}",
            exam.result
        );
        for (n, prediction) in column(&exam.result, 11) {
            let expected = match n {
                4 | 5 | 8 => "-".to_owned(), // answered nothing
                _ => (u32::from(n) * 100).to_string(),
            };
            assert_eq!(prediction, expected);
        }
    }

    #[test]
    fn the_nearest_prediction_wins_once_the_quantity_is_known() {
        let mut exam = TestExam::mixed();
        exam.rules().ranking = vec![RankingKey::PredictionNotAbove.into()];
        exam.write_result();
        assert!(column(&exam.result, 0).iter().all(|(_, rank)| *rank == "1"));
        exam.decide(Kind::Prediction(PredictionRuling {
            quantity: 650,
            definition: "người".to_owned(),
        }));
        exam.write_result();
        let order = [
            (6, "1"),
            (3, "2"),
            (2, "3"),
            (1, "4"),
            (0, "5"),
            (7, "6"),
            (9, "7"),
            (10, "8"),
            (11, "9"),
        ];
        let found = column(&exam.result, 0);
        assert_eq!(found[..9], order);
        assert_eq!(found[9..], [(4, "10"), (5, "10"), (8, "10")]);
        assert!(exam.verify().unwrap().ok());
    }

    #[test]
    fn another_prediction_than_the_answer_is_found() {
        let mut exam = TestExam::mixed();
        exam.set_column(7, 11, "701");
        assert_eq!(exam.kinds(), [DifferenceKind::Row]);
    }
}
