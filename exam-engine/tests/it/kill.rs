//! kill -9 of the real server in mid-contest, on both stores: every acknowledged answer is in the log afterwards (P1).

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use exam_engine::bank::Bank;
use proto::exam::v1::{
    CreateExamRequest, IssueCodesRequest, OpenExamRequest, PublishExamRequest, SaveAnswersRequest,
    StartAttemptRequest, TailLogRequest, candidate_service_client::CandidateServiceClient,
    event::Kind, log_service_client::LogServiceClient,
    organizer_service_client::OrganizerServiceClient,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    harness::{EXAM, bearer, choice, code_request, spec, test_bank},
    redis_server::RedisServer,
};

const N_CANDIDATES: u8 = 40;
/// The server is killed this often, each time after this long under load.
const KILLS: u32 = 3;
const UNDER_LOAD: Duration = Duration::from_millis(400);

/// The real binary on a data folder.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(data: &Path, redis: Option<&str>) -> Self {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_exam"), "--data"])
            .arg(data);
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped());
        if let Some(url) = redis {
            command.args(["--redis", url]);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("not started: {line:?}"))
            .to_owned();
        Self { child, url }
    }

    fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }
}

/// Acknowledged answers: by person and number, the position and the shown option.
type Acknowledged = BTreeMap<(u8, u32), (u32, u32)>;

/// Answers as fast as it goes until the server is gone; returns what was acknowledged.
async fn answer_until_killed(channel: Channel, person: u8, code: String) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let mut client = CandidateServiceClient::new(channel);
    let Ok(started) = client
        .start_attempt(StartAttemptRequest { access_code: code })
        .await
    else {
        return acknowledged;
    };
    let started = started.into_inner();
    let first = started.session.unwrap().next_seq;
    for seq in first.. {
        let (position, shown) = (seq % 6, seq % 4);
        let request = bearer(
            SaveAnswersRequest {
                answers: vec![choice(seq, position, shown)],
            },
            &started.session_token,
        );
        match client.save_answers(request).await {
            Ok(reply) => {
                assert_eq!(reply.into_inner().receipt.unwrap().seq, seq);
                acknowledged.insert((person, seq), (position, shown));
            }
            Err(_) => break,
        }
    }
    acknowledged
}

/// Reads the whole log as the grader would.
async fn logged(process: &Process, service_token: &str) -> Acknowledged {
    let mut log = Acknowledged::new();
    let request = TailLogRequest {
        exam_id: EXAM.to_owned(),
        after: vec![],
        stop_at_end: true,
    };
    let client = LogServiceClient::new(process.channel().await).max_decoding_message_size(16 << 20);
    let mut batches = client
        .clone()
        .tail_log(bearer(request, service_token))
        .await
        .unwrap()
        .into_inner();
    while let Some(batch) = batches.message().await.unwrap() {
        for event in batch.entries.into_iter().filter_map(|entry| entry.event) {
            if let Some(Kind::Answered(answered)) = event.kind {
                let bits = match answered.response.unwrap().value.unwrap() {
                    proto::exam::v1::response::Value::Chosen(bits) => bits,
                    other => panic!("{other:?}"),
                };
                let before = log.insert(
                    (event.candidate[0], answered.seq),
                    (answered.position, bits.trailing_zeros()),
                );
                assert!(before.is_none(), "an answer stands twice in the log");
            }
        }
    }
    log
}

/// Returns the acknowledged answers that the log lacks.
fn lost(acknowledged: &Acknowledged, log: &Acknowledged) -> usize {
    acknowledged
        .iter()
        .filter(|(key, answer)| log.get(key) != Some(answer))
        .count()
}

async fn set_up(process: &Process, token: &str) -> Vec<String> {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let mut organizer = OrganizerServiceClient::new(process.channel().await);
    let exam_id = EXAM.to_owned();
    let spec = spec(u64::try_from(now.as_millis()).unwrap());
    organizer
        .create_exam(bearer(CreateExamRequest { spec: Some(spec) }, token))
        .await
        .unwrap();
    organizer
        .publish_exam(bearer(
            PublishExamRequest {
                exam_id: exam_id.clone(),
            },
            token,
        ))
        .await
        .unwrap();
    organizer
        .open_exam(bearer(
            OpenExamRequest {
                exam_id: exam_id.clone(),
            },
            token,
        ))
        .await
        .unwrap();
    let persons = (0..N_CANDIDATES)
        .map(|person| code_request(person, "01"))
        .collect();
    let codes = organizer
        .issue_codes(bearer(IssueCodesRequest { exam_id, persons }, token))
        .await
        .unwrap();
    codes.into_inner().codes
}

async fn kill_in_mid_contest(mut redis: Option<RedisServer>) {
    let data = tempfile::tempdir().unwrap();
    Bank::new(data.path()).add(&test_bank()).unwrap();
    Bank::new(data.path()).release().unwrap();
    let url = redis.as_ref().map(RedisServer::url);
    let mut process = Process::start(data.path(), url.as_deref());
    let token =
        |name: &str| std::fs::read_to_string(data.path().join("secrets").join(name)).unwrap();
    let codes = set_up(&process, token("organizer.token").trim()).await;
    let mut acknowledged = Acknowledged::new();
    for _ in 0..KILLS {
        let mut candidates = JoinSet::new();
        for (person, code) in (0..N_CANDIDATES).zip(codes.clone()) {
            candidates.spawn(answer_until_killed(process.channel().await, person, code));
        }
        tokio::time::sleep(UNDER_LOAD).await;
        process.kill9();
        if let Some(redis) = &mut redis {
            redis.kill9();
            redis.restart();
        }
        for more in candidates.join_all().await {
            acknowledged.extend(more);
        }
        process = Process::start(data.path(), url.as_deref());
    }
    let log = logged(&process, token("service.token").trim()).await;
    process.kill9();
    assert!(
        acknowledged.len() > 500,
        "only {} answers: no load, no proof",
        acknowledged.len()
    );
    assert_eq!(lost(&acknowledged, &log), 0, "of {}", acknowledged.len());
    // Negative control: a log without its last tenth has lost answers, and one answer changed is seen.
    let n_kept = log.len() * 9 / 10;
    let shorter: Acknowledged = log
        .iter()
        .take(n_kept)
        .map(|(key, answer)| (*key, *answer))
        .collect();
    assert!(lost(&acknowledged, &shorter) > 0);
    let (key, answer) = acknowledged.iter().next().unwrap();
    let mut changed = log.clone();
    changed.insert(*key, (answer.0, answer.1 ^ 1));
    assert_eq!(lost(&acknowledged, &changed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_answer_is_lost_on_the_embedded_store() {
    kill_in_mid_contest(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_answer_is_lost_on_redis() {
    kill_in_mid_contest(Some(RedisServer::start())).await;
}
