//! The final result as a file that an independent oracle writes to the same bytes.
//!
//! Source: docs/FORMATS.md section 6.

use std::fmt::Write;

use proto::exam::v1::{CountedAttempt, EndedBy, RankingKey};

use crate::{
    fold::{Fold, Row},
    package::Package,
    standing::key::SortKey,
};

/// The result file and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFile {
    /// `result.tsv`.
    pub bytes: Vec<u8>,
    /// BLAKE3 of the bytes.
    pub hash: [u8; 32],
}

/// Writes the result as it stands; it is final once the whole log is folded and nothing is running.
#[must_use]
pub fn result_file(fold: &Fold) -> ResultFile {
    let mut text = String::new();
    write_head(&mut text, fold).expect("a string takes any text");
    write_rows(&mut text, fold).expect("a string takes any text");
    let bytes = text.into_bytes();
    ResultFile {
        hash: *blake3::hash(&bytes).as_bytes(),
        bytes,
    }
}

fn write_head(text: &mut String, fold: &Fold) -> std::fmt::Result {
    let package = fold.package();
    let ranking: Vec<_> = package.ranking().iter().copied().map(key_name).collect();
    let rulings = package.rulings();
    let last = rulings
        .last_on_result
        .map_or_else(|| "-".to_owned(), hex::encode);
    let (quantity, definition) = match &rulings.prediction {
        None => ("-".to_owned(), "-".to_owned()),
        Some((quantity, words)) => (quantity.to_string(), words.replace(['\t', '\n', '\r'], " ")),
    };
    writeln!(text, "khoa-bang result\t2")?;
    writeln!(text, "exam\t{}", package.exam_id())?;
    writeln!(text, "paper\t{}", hex::encode(package.paper_hash()))?;
    writeln!(text, "key\t{}", hex::encode(package.key_hash()))?;
    writeln!(text, "key_version\t{}", package.key_version())?;
    writeln!(text, "rulings\t{}\t{last}", rulings.n_on_result)?;
    writeln!(text, "ranking\t{}", ranking.join(","))?;
    writeln!(text, "counted\t{}", counted_name(package.counted()))?;
    writeln!(text, "prediction\t{quantity}\t{definition}")?;
    writeln!(text, "excluded\t{}", fold.n_excluded())?;
    writeln!(text, "quanta_per_point\t{}", package.quanta_per_point())?;
    writeln!(text, "persons\t{}", fold.n_ranked(None))?;
    writeln!(
        text,
        "rank\tarea_rank\tcandidate\tarea\tunit\tround\tattempt\tscore\tquanta\tcorrect\tpassed\t\
         prediction\tnet_time_ms\tsubmitted_at_ms\tended_by\tform"
    )
}

fn write_rows(text: &mut String, fold: &Fold) -> std::fmt::Result {
    let mut national = Ranks::default();
    let mut areas: Vec<Ranks> = Vec::new();
    for (tuple, area, row) in fold.rows() {
        let area = usize::from(area);
        if areas.len() <= area {
            areas.resize_with(area + 1, Ranks::default);
        }
        let (rank, area_rank) = (national.next(tuple), areas[area].next(tuple));
        write_row(text, fold.package(), rank, area_rank, &row)?;
    }
    Ok(())
}

fn write_row(
    text: &mut String,
    package: &Package,
    rank: u64,
    area_rank: u64,
    row: &Row<'_>,
) -> std::fmt::Result {
    let attempt = row.counted;
    let passed = match attempt.score.passed {
        None => "-",
        Some(true) => "yes",
        Some(false) => "no",
    };
    let prediction = attempt
        .prediction
        .map_or_else(|| "-".to_owned(), |number| number.to_string());
    writeln!(
        text,
        "{rank}\t{area_rank}\t{:?}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{passed}\t{prediction}\t{}\t{}\t{}\t{}",
        row.candidate,
        row.area,
        attempt.unit,
        attempt.round,
        attempt.attempt,
        package.print(attempt.score.quanta),
        attempt.score.quanta,
        attempt.score.n_correct,
        attempt.net_time_ms(),
        attempt.ended_at_ms,
        ended_by_name(attempt.ended_by),
        hex::encode(attempt.form_code),
    )
}

/// Gives ranks to a scope's rows as they come, best first.
#[derive(Default)]
struct Ranks {
    n_rows: u64,
    rank: u64,
    tuple: Option<SortKey>,
}

impl Ranks {
    fn next(&mut self, tuple: SortKey) -> u64 {
        self.n_rows += 1;
        if self.tuple != Some(tuple) {
            self.tuple = Some(tuple);
            self.rank = self.n_rows;
        }
        self.rank
    }
}

fn key_name(key: RankingKey) -> &'static str {
    match key {
        RankingKey::Unspecified => "unspecified",
        RankingKey::Score => "score",
        RankingKey::CorrectCount => "correct_count",
        RankingKey::NetTime => "net_time",
        RankingKey::SubmittedAt => "submitted_at",
        RankingKey::FewestAttempts => "fewest_attempts",
        RankingKey::Prediction => "prediction",
        RankingKey::PredictionNotAbove => "prediction_not_above",
    }
}

fn counted_name(counted: CountedAttempt) -> &'static str {
    match counted {
        CountedAttempt::Unspecified | CountedAttempt::Best => "best",
        CountedAttempt::Last => "last",
        CountedAttempt::First => "first",
    }
}

fn ended_by_name(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Unspecified => "unspecified",
        EndedBy::Candidate => "candidate",
        EndedBy::Deadline => "deadline",
        EndedBy::Organizer => "organizer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Log, candidate, parts};

    #[test]
    fn the_result_file_is_the_one_of_the_format() {
        let parts = parts();
        let mut log = Log::new(&parts);
        // two ties at the top in one area, a third person elsewhere, a fourth who is still working
        log.sit(
            candidate(3),
            1,
            "79",
            &[(0, 0b0001), (3, 0b0111)],
            5_000,
            EndedBy::Candidate,
        );
        log.sit(
            candidate(1),
            1,
            "79",
            &[(0, 0b0001), (3, 0b0111)],
            5_000,
            EndedBy::Deadline,
        );
        log.sit(
            candidate(2),
            1,
            "01",
            &[(3, 0b0011)],
            4_000,
            EndedBy::Organizer,
        );
        log.start(candidate(4), 1, "01");
        let fold = log.fold();
        let result = result_file(&fold);
        let package = fold.package();
        let expected = format!(
            "khoa-bang result\t2\n\
             exam\tthi-thu\n\
             paper\t{}\n\
             key\t{}\n\
             key_version\t1\n\
             rulings\t0\t-\n\
             ranking\tscore,net_time\n\
             counted\tbest\n\
             prediction\t-\t-\n\
             excluded\t0\n\
             quanta_per_point\t60000\n\
             persons\t3\n\
             rank\tarea_rank\tcandidate\tarea\tunit\tround\tattempt\tscore\tquanta\tcorrect\tpassed\tprediction\tnet_time_ms\tsubmitted_at_ms\tended_by\tform\n\
             1\t1\t{}\t79\t0\t1\t1\t0.75\t45000\t2\t-\t-\t5000\t1700000005000\tdeadline\t0102030405060708\n\
             1\t1\t{}\t79\t0\t1\t1\t0.75\t45000\t2\t-\t-\t5000\t1700000005000\tcandidate\t0102030405060708\n\
             3\t1\t{}\t01\t0\t1\t1\t0.33\t20000\t0\t-\t-\t4000\t1700000004000\torganizer\t0102030405060708\n",
            hex::encode(package.paper_hash()),
            hex::encode(package.key_hash()),
            "01".repeat(16),
            "03".repeat(16),
            "02".repeat(16),
        );
        assert_eq!(String::from_utf8(result.bytes.clone()).unwrap(), expected);
        assert_eq!(result.hash, *blake3::hash(expected.as_bytes()).as_bytes());
    }
}
