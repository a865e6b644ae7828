//! The engine under measurement: a fresh data folder, the sample bank, an open exam, access codes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proto::{
    bank::v1::{Blueprint, Section, Stratum},
    exam::v1::{
        ExamRules, ExamSpec, GetServerTimeRequest, RankingKey, Round,
        candidate_service_client::CandidateServiceClient,
    },
};
use tempfile::TempDir;

use super::child::{Child, run};
use crate::{client::channel, organizer::Organizer, plan::Person};

/// Candidates with a running attempt: many more than calls in flight, as in an exam.
pub(crate) const CANDIDATES: u32 = 2_000;
/// Items on the paper.
pub(crate) const N_ITEMS: u32 = 20;

const EXAM_ID: &str = "floor";
const BANK: &str = "question-bank/sample/vietnam-knowledge.xlsx";
const TOPICS: [&str; 4] = [
    "Địa lý Việt Nam",
    "Lịch sử Việt Nam",
    "An toàn giao thông",
    "Kỹ năng số",
];
const MINUTE_MS: u64 = 60_000;

/// A running engine whose candidates may start.
pub(crate) struct Engine {
    /// The process.
    pub(crate) child: Child,
    /// One access code a candidate.
    pub(crate) codes: Vec<String>,
    _data: TempDir,
}

/// Starts an engine on a fresh folder, over Redis if an address is given, and opens an exam.
pub(crate) async fn engine(exam: &Path, bank: &Path, redis: Option<&str>) -> Result<Engine> {
    let data = tempfile::tempdir().context("make a temporary folder")?;
    let dir = data
        .path()
        .to_str()
        .context("the temporary folder's name")?;
    let bank = bank.to_str().context("the question file's name")?;
    run(exam, &["--data", dir, "bank", "import", bank]).await?;
    run(exam, &["--data", dir, "bank", "release"]).await?;
    let mut serve = vec!["--data", dir, "serve", "--listen", "127.0.0.1:0"];
    serve.extend(redis.iter().flat_map(|url| ["--redis", url]));
    let child = Child::start(exam, &serve).await?;

    let token = data.path().join("secrets").join("organizer.token");
    let organizer = Organizer::new(&child.url, &token, EXAM_ID)?;
    organizer.open(spec(now_ms(&child.url).await?)).await?;
    let persons: Vec<Person> = (0..CANDIDATES).map(person).collect();
    let codes = organizer.codes(&persons).await?;
    Ok(Engine {
        child,
        codes,
        _data: data,
    })
}

async fn now_ms(url: &str) -> Result<u64> {
    let mut client = CandidateServiceClient::new(channel(url)?);
    let reply = client.get_server_time(GetServerTimeRequest {}).await;
    Ok(reply.context("GetServerTime")?.into_inner().now_ms)
}

fn person(number: u32) -> Person {
    let mut candidate = [0; 16];
    candidate[..4].copy_from_slice(&number.to_be_bytes());
    Person {
        candidate,
        area: "01".into(),
    }
}

fn spec(now_ms: u64) -> ExamSpec {
    let quota = N_ITEMS / 4; // four topics
    let strata = TOPICS.map(|topic| Stratum {
        topic: topic.to_owned(),
        any_band: true,
        quota,
        ..Stratum::default()
    });
    let section = Section {
        strata: strata.to_vec(),
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
        duration_ms: 60 * MINUTE_MS,
        rounds: vec![Round {
            round: 1,
            opens_at_ms: now_ms - MINUTE_MS,
            closes_at_ms: now_ms + 120 * MINUTE_MS,
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
            window: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_has_as_many_items_as_are_driven() {
        let blueprint = spec(1_000_000).blueprint.unwrap();
        let strata = blueprint.sections.iter().flat_map(|s| &s.strata);
        assert_eq!(strata.map(|s| s.quota).sum::<u32>(), N_ITEMS);
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
