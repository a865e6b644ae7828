//! kill -9 of the real server in mid-contest, on both stores: every acknowledged answer is in the log afterwards (P1),
//! and every receipt is signed and names the chain that the log gives. MAC and chain are computed here a second time,
//! from docs/FORMATS.md, section 3.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use exam_engine::bank::Bank;
use hmac::{Hmac, KeyInit, Mac};
use proto::exam::v1::{
    Answered, CreateExamRequest, DurabilityClass, IssueCodesRequest, OpenExamRequest,
    PublishExamRequest, Receipt, SaveAnswersRequest, StartAttemptRequest, Started, TailLogRequest,
    candidate_service_client::CandidateServiceClient, event::Kind,
    log_service_client::LogServiceClient, organizer_service_client::OrganizerServiceClient,
    response::Value,
};
use sha2::{Digest, Sha256};
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

/// What a candidate was promised for one answer.
#[derive(Clone)]
struct Promise {
    person: u8,
    attempt: u32,
    answer: (u32, u32),
    receipt: Receipt,
}

/// Answers as fast as it goes until the server is gone; returns what was acknowledged.
async fn answer_until_killed(channel: Channel, person: u8, code: String) -> Vec<Promise> {
    let mut acknowledged = Vec::new();
    let mut client = CandidateServiceClient::new(channel);
    let Ok(started) = client
        .start_attempt(StartAttemptRequest {
            access_code: code,
            slot_token: String::new(),
            device_id: String::new(),
        })
        .await
    else {
        return acknowledged;
    };
    let started = started.into_inner();
    let session = started.session.unwrap();
    for seq in session.next_seq.. {
        let (position, shown) = (seq % 6, seq % 4);
        let request = bearer(
            SaveAnswersRequest {
                answers: vec![choice(seq, position, shown)],
                ..SaveAnswersRequest::default()
            },
            &started.session_token,
        );
        match client.save_answers(request).await {
            Ok(reply) => {
                let receipt = reply.into_inner().receipt.unwrap();
                assert_eq!(receipt.seq, seq);
                acknowledged.push(Promise {
                    person,
                    attempt: session.attempt,
                    answer: (position, shown),
                    receipt,
                });
            }
            Err(_) => break,
        }
    }
    acknowledged
}

/// The log as it stands: all answers, and the head of the chain at each.
#[derive(Default)]
struct Log {
    answers: Acknowledged,
    chains: BTreeMap<(u8, u32), [u8; 32]>,
    heads: BTreeMap<u8, [u8; 32]>,
}

impl Log {
    fn start(&mut self, person: u8, attempt: u32, started: &Started) {
        let first = Sha256::new()
            .chain_update(b"khoa-bang chain v1")
            .chain_update([u8::try_from(EXAM.len()).unwrap()])
            .chain_update(EXAM)
            .chain_update([person; 16])
            .chain_update(attempt.to_le_bytes())
            .chain_update(&started.form_code);
        self.heads.insert(person, first.finalize().into());
    }

    fn answer(&mut self, person: u8, answered: Answered) {
        let Some(Value::Chosen(bits)) = answered.response.unwrap().value else {
            panic!("all answers are choices");
        };
        let head = self.heads.get_mut(&person).unwrap();
        *head = Sha256::new()
            .chain_update(*head)
            .chain_update(answered.seq.to_le_bytes())
            .chain_update(answered.position.to_le_bytes())
            .chain_update([1])
            .chain_update(bits.to_le_bytes())
            .finalize()
            .into();
        let key = (person, answered.seq);
        self.chains.insert(key, *head);
        let answer = (answered.position, bits.trailing_zeros());
        let before = self.answers.insert(key, answer);
        assert!(before.is_none(), "an answer stands twice in the log");
    }
}

/// Reads the whole log as the grader would.
async fn logged(process: &Process, service_token: &str) -> Log {
    let mut log = Log::default();
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
            let person = event.candidate[0];
            if event.candidate.iter().any(|byte| *byte != person) {
                continue; // a control candidate
            }
            match event.kind.unwrap() {
                Kind::Started(started) => log.start(person, event.attempt, &started),
                Kind::Answered(answered) => log.answer(person, answered),
                Kind::TakenOver(_) => {} // after each kill
                other => panic!("nobody does this: {other:?}"),
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

fn receipt_mac(key: &[u8], promise: &Promise) -> Hmac<Sha256> {
    let Promise { receipt, .. } = promise;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(b"khoa-bang receipt v1");
    mac.update(&[u8::try_from(EXAM.len()).unwrap()]);
    mac.update(EXAM.as_bytes());
    mac.update(&[promise.person; 16]);
    mac.update(&promise.attempt.to_le_bytes());
    mac.update(&receipt.seq.to_le_bytes());
    mac.update(&receipt.chain);
    mac.update(&receipt.at_ms.to_le_bytes());
    mac.update(&[u8::try_from(receipt.durability).unwrap()]);
    mac
}

/// Counts the receipts that do not name the log's chain, and those that are not signed with the key.
fn broken_receipts(promises: &[Promise], log: &Log, key: &[u8]) -> (usize, usize) {
    let count = |wrong: &dyn Fn(&Promise) -> bool| {
        let promises = promises.iter();
        promises.filter(|promise| wrong(promise)).count()
    };
    let other_chain = |promise: &Promise| {
        let chain = log.chains.get(&(promise.person, promise.receipt.seq));
        chain.is_none_or(|chain| promise.receipt.chain != chain[..])
    };
    let unsigned = |promise: &Promise| {
        promise.receipt.durability() != DurabilityClass::Single
            || receipt_mac(key, promise)
                .verify_slice(&promise.receipt.mac)
                .is_err()
    };
    (count(&other_chain), count(&unsigned))
}

/// Returns bytes with one bit turned over.
fn flipped(bytes: &[u8], index: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[index] ^= 1;
    bytes
}

fn check_receipts(promises: &[Promise], log: &Log, key: &[u8]) {
    assert_eq!(broken_receipts(promises, log, key), (0, 0));
    // Negative controls: one bit of a MAC, of a key, and of a chain that is signed anew.
    let mut changed = promises.to_vec();
    changed[0].receipt.mac = flipped(&promises[0].receipt.mac, 31).into();
    assert_eq!(broken_receipts(&changed, log, key), (0, 1));
    let all = promises.len();
    assert_eq!(
        broken_receipts(promises, log, &flipped(key, 0)),
        (0, all),
        "another key"
    );
    let last = changed.last_mut().unwrap();
    last.receipt.chain = flipped(&last.receipt.chain, 0).into();
    assert_eq!(broken_receipts(&changed, log, key), (1, 2));
    let last = changed.last_mut().unwrap();
    let signed = receipt_mac(key, last).finalize().into_bytes();
    last.receipt.mac = signed.to_vec().into();
    assert_eq!(broken_receipts(&changed, log, key), (1, 1));
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
    let mut promises = Vec::new();
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
            promises.extend(more);
        }
        process = Process::start(data.path(), url.as_deref());
    }
    let log = logged(&process, token("service.token").trim()).await;
    process.kill9();
    let key = hex::decode(token("receipt.key").trim()).unwrap();
    check_receipts(&promises, &log, &key);
    check_answers(&promises, &log.answers);
}

fn check_answers(promises: &[Promise], log: &Acknowledged) {
    let acknowledged: Acknowledged = promises
        .iter()
        .map(|promise| ((promise.person, promise.receipt.seq), promise.answer))
        .collect();
    assert!(
        acknowledged.len() > 500,
        "only {} answers: no load, no proof",
        acknowledged.len()
    );
    assert_eq!(lost(&acknowledged, log), 0, "of {}", acknowledged.len());
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
