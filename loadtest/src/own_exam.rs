//! The exam that loadtest opens by itself, on the sample bank, where it needs one.
//!
//! Invariant: codes, papers and areas follow from numbers, so that one number is one candidate everywhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proto::{
    bank::v1::{Blueprint, Section, Stratum},
    exam::v1::{
        ExamRules, ExamSpec, GetServerTimeRequest, RankingKey, Round,
        candidate_service_client::CandidateServiceClient,
    },
};

use crate::{client::channel, plan::Person};

/// Its name.
pub(crate) const EXAM_ID: &str = "floor";

const BANK: &str = "question-bank/sample/vietnam-knowledge.xlsx";
const TOPICS: [&str; 4] = [
    "Địa lý Việt Nam",
    "Lịch sử Việt Nam",
    "An toàn giao thông",
    "Kỹ năng số",
];
const MINUTE_MS: u64 = 60_000;
/// The round stays open: no run here is longer.
const ROUND_MS: u64 = 360 * MINUTE_MS;

/// Asks a server for its time.
pub(crate) async fn now_ms(url: &str) -> Result<u64> {
    let mut client = CandidateServiceClient::new(channel(url)?);
    let reply = client.get_server_time(GetServerTimeRequest {}).await;
    Ok(reply.context("GetServerTime")?.into_inner().now_ms)
}

/// Returns the candidate of a number.
pub(crate) fn person(number: u32) -> Person {
    let mut candidate = [0; 16];
    candidate[..4].copy_from_slice(&number.to_be_bytes());
    Person {
        candidate,
        area: "01".into(),
    }
}

/// Returns the exam: so many items from four topics, so many milliseconds for an attempt.
pub(crate) fn spec(now_ms: u64, n_items: u32, duration_ms: u64) -> ExamSpec {
    let strata = (0_u32..).zip(TOPICS).map(|(index, topic)| Stratum {
        topic: topic.to_owned(),
        any_band: true,
        quota: (n_items + 3 - index) / 4, // four topics, the first ones take what is left over
        ..Stratum::default()
    });
    let section = Section {
        strata: strata.collect(),
        mark: "0.5".to_owned(),
        shuffle_items: true,
        shuffle_options: true,
        ..Section::default()
    };
    let ranking = [
        RankingKey::Score,
        RankingKey::NetTime,
        RankingKey::SubmittedAt,
    ];
    let rules = ExamRules {
        duration_ms,
        rounds: vec![Round {
            round: 1,
            opens_at_ms: now_ms - 120 * MINUTE_MS,
            closes_at_ms: now_ms + ROUND_MS,
        }],
        attempts_in_all: 1,
        ranking: ranking.map(i32::from).to_vec(),
        score_decimals: 2,
        map_edition: "vn-63".to_owned(),
        ..ExamRules::default()
    };
    ExamSpec {
        exam_id: EXAM_ID.to_owned(),
        title: "Đo tốc độ (floor)".to_owned(),
        blueprint: Some(Blueprint {
            sections: vec![section],
            ..Blueprint::default()
        }),
        rules: Some(rules),
        ..ExamSpec::default()
    }
}

/// Finds the question file: the one given, else the sample of the sources above this program or folder.
pub(crate) fn bank(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    starts
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .map(|folder| folder.join(BANK))
        .find(|file| file.is_file())
        .context("the sample bank is not here: name a question file with --bank")
}

/// Finds the engine's program: the one given, else `exam` beside this one.
pub(crate) fn program(given: Option<&Path>) -> Result<PathBuf> {
    let exam = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .context("find this program")?
            .with_file_name("exam"),
    };
    anyhow::ensure!(
        exam.is_file(),
        "the engine is not at {}: build it, or name it with --exam-bin",
        exam.display()
    );
    Ok(exam)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_has_as_many_items_as_were_asked_for() {
        for n_items in [4, 20, 30, 31] {
            let blueprint = spec(1_000_000_000, n_items, 1).blueprint.unwrap();
            let strata = blueprint.sections.iter().flat_map(|s| &s.strata);
            assert_eq!(strata.map(|s| s.quota).sum::<u32>(), n_items);
        }
    }

    #[test]
    fn the_sample_bank_is_found() {
        assert!(bank(None).unwrap().ends_with(BANK));
        assert_eq!(
            bank(Some(Path::new("x.xlsx"))).unwrap(),
            Path::new("x.xlsx")
        );
    }
}
