//! Old and new versions side by side, and engines that go one after the other while candidates work.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use exam_engine::{
    clock::{Clock, SystemClock},
    engine::FORMAT,
    id::{CandidateId, ExamId, SessionKey},
    session::{Response, extend_chain},
    store::{self, AlarmChange, Commit, Field, RedisStore, SessionStore, StoredExam},
};
use proto::exam::v1::{
    CreateExamRequest, SaveAnswersRequest, SubmitAttemptRequest,
    candidate_service_client::CandidateServiceClient, event::Kind, response::Value,
};
use redis::Script;
use tokio::task::JoinSet;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    cluster::{
        Cluster, close, codes, control_folder, copy_secrets, export, open, publish, read_log, sit,
    },
    harness::{EXAM, Sitting, bearer, choice, reason, spec},
    processes::Process,
    redis_server::RedisServer,
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The commit script as another version may have it: other bytes, so another hash, loaded beside the first one.
fn newer_script() -> Script {
    let script = include_str!("../../src/store/commit.lua");
    Script::new(&format!("{script}\n-- a later version\n"))
}

/// Sends a commit of one answer by the other version's script; returns what the script says.
fn commit_by(
    script: &Script,
    connection: &mut redis::Connection,
    key: &SessionKey,
    expected: u64,
    event: &str,
) -> i64 {
    let tag = format!("kb:{{{}:{}}}", key.exam, key.partition);
    let record = [tag.as_bytes(), b":s:", &key.candidate.0].concat();
    script
        .key(record)
        .key(format!("{tag}:log"))
        .key(format!("{tag}:due"))
        .arg(expected)
        .arg(expected + 1)
        .arg("")
        .arg("0")
        .arg("")
        .arg(&key.candidate.0[..])
        .arg(2)
        .arg("p")
        .arg("progress")
        .arg(event)
        .invoke(connection)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_the_commit_script_work_on_one_record() {
    let redis = RedisServer::start();
    let store = RedisStore::connect(&redis.url(), false).await.unwrap();
    let mut connection = redis::Client::open(redis.url())
        .unwrap()
        .get_connection()
        .unwrap();
    let candidate = CandidateId([7; 16]);
    let exam = ExamId::parse(EXAM).unwrap();
    let key = SessionKey {
        exam: exam.clone(),
        partition: 0,
        candidate,
    };
    let commit = |expected_version: u64, event: &str| Commit {
        expected_version,
        not_after: None,
        reset: false,
        fields: vec![(Field::Progress, Bytes::from_static(b"progress"))],
        alarm: AlarmChange::Keep,
        events: vec![Bytes::copy_from_slice(event.as_bytes())],
    };
    let newer = newer_script();
    for turn in 0..10u64 {
        let event = turn.to_string();
        if turn % 2 == 0 {
            assert_eq!(
                store.commit(&key, commit(turn, &event)).await.unwrap(),
                turn + 1
            );
            // What the other version wrote in between is seen, in both directions.
            assert_eq!(commit_by(&newer, &mut connection, &key, turn, "late"), 1);
        } else {
            assert_eq!(commit_by(&newer, &mut connection, &key, turn, &event), 0);
            let late = store.commit(&key, commit(turn, "late")).await;
            assert!(matches!(late, Err(store::Error::Conflict)));
        }
    }
    let log = store.read_log(&exam, 0, 0, 100).await.unwrap();
    let expected: Vec<Bytes> = (0..10).map(|turn| Bytes::from(turn.to_string())).collect();
    assert_eq!(log, expected);
    // The two are indeed two scripts: a server that has forgotten one of them still has the other.
    let hashes = [
        newer.get_hash(),
        Script::new(include_str!("../../src/store/commit.lua")).get_hash(),
    ]
    .map(str::to_owned);
    let known: Vec<bool> = redis::cmd("SCRIPT")
        .arg("EXISTS")
        .arg(&hashes)
        .query(&mut connection)
        .unwrap();
    assert_ne!(hashes[0], hashes[1]);
    assert_eq!(known, [true, true]);
}

/// Changes an exam in the shared list as another version would.
async fn rewrite(cluster: &Cluster, change: impl Fn(&mut StoredExam)) {
    let store = RedisStore::connect(&cluster.redis.url(), false)
        .await
        .unwrap();
    let table = store.exams().unwrap();
    let (revision, mut exam) = table.load_exam(EXAM).await.unwrap().unwrap();
    exam.package = None; // stays as it is
    change(&mut exam);
    table.put_exam(EXAM, revision, exam).await.unwrap();
}

async fn sitting(cluster: &Cluster, engine: usize, code: &str, person: u8) -> Sitting {
    let mut sitting = None;
    wait_for("the exam is open there", async || {
        sitting = cluster.sit(engine, code, person).await.ok();
        sitting.is_some()
    })
    .await;
    sitting.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exam_that_a_newer_version_has_changed_is_left_to_newer_engines() {
    let unknown_field: &[u8] = &[0x98, 0x06, 0x01]; // number 99
    let cluster = Cluster::start().await;
    cluster.open_exam().await;
    let codes = cluster.codes(2).await;
    let mut sitting = sitting(&cluster, 0, &codes[0], 0).await;
    sitting.answer(0, 0).await.unwrap();
    let (_, before) = stored(&cluster).await;
    type Rewrite<'a> = (&'a str, &'a dyn Fn(&mut StoredExam));
    let changes: [Rewrite<'_>; 2] = [
        ("a higher format", &|exam| exam.min_reader = FORMAT + 1),
        ("a field that is not known", &|exam| {
            exam.exam = [&exam.exam, unknown_field].concat().into();
        }),
    ];
    for (what, change) in changes {
        rewrite(&cluster, change).await;
        let (revision, _) = stored(&cluster).await;
        wait_for(what, async || {
            let again = sitting.send(vec![choice(1, 0, 0)]).await;
            again.is_err_and(|status| reason(&status) == "STORE_UNAVAILABLE")
        })
        .await;
        let refused = cluster.sit(0, &codes[1], 1).await.map(|_| ()).unwrap_err();
        assert_eq!(
            reason(&refused),
            "STORE_UNAVAILABLE",
            "{what}: try another engine"
        );
        // An old control cannot write over it.
        let request = CreateExamRequest {
            spec: Some(spec(SystemClock.now().0)),
        };
        let mut organizer = cluster.organizer().await;
        let refused = organizer.create_exam(bearer(request, cluster.word())).await;
        assert_eq!(reason(&refused.unwrap_err()), "CONFLICT");
        assert_eq!(
            stored(&cluster).await.0,
            revision,
            "{what}: something was written"
        );
        // Taken back, the exam goes on where it was.
        rewrite(&cluster, |exam| {
            *exam = StoredExam {
                package: None,
                ..before.clone()
            }
        })
        .await;
        wait_for("it goes on", async || {
            sitting.send(vec![choice(1, 0, 0)]).await.is_ok()
        })
        .await;
    }
    sitting.answer(1, 1).await.unwrap();
}

async fn stored(cluster: &Cluster) -> (u64, StoredExam) {
    let store = RedisStore::connect(&cluster.redis.url(), false)
        .await
        .unwrap();
    let found = store.exams().unwrap().load_exam(EXAM).await;
    found.unwrap().unwrap()
}

/// A session that a newer engine has written is refused by an older one, and its unknown field stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_an_unknown_field_is_refused_and_not_rewritten() {
    let cluster = Cluster::start().await;
    cluster.open_exam().await;
    let codes = cluster.codes(1).await;
    let mut sitting = sitting(&cluster, 0, &codes[0], 0).await;
    sitting.answer(0, 0).await.unwrap();
    let mut connection = redis::Client::open(cluster.redis.url())
        .unwrap()
        .get_connection()
        .unwrap();
    let mut pattern = b"kb:{thi-thu:*}:s:".to_vec();
    pattern.extend([0; 16]);
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg(pattern)
        .query(&mut connection)
        .unwrap();
    let get = |connection: &mut redis::Connection| -> Vec<u8> {
        redis::cmd("HGET")
            .arg(&keys[0])
            .arg("p")
            .query(connection)
            .unwrap()
    };
    let before = get(&mut connection);
    let newer = [&before[..], &[0x98, 0x06, 0x01]].concat();
    let put = |connection: &mut redis::Connection, progress: &[u8], version: u64| {
        let _: () = redis::cmd("HSET")
            .arg(&keys[0])
            .arg("p")
            .arg(progress)
            .arg("v")
            .arg(version)
            .query(connection)
            .unwrap();
    };
    put(&mut connection, &newer, 100);
    // The engine has the session in memory, and still does not write over what it does not know.
    let refused = sitting.answer(1, 1).await.unwrap_err();
    assert_eq!(reason(&refused), "STORE_CORRUPT");
    assert_eq!(get(&mut connection), newer);
    // Negative control: without the field the same answer is taken.
    put(&mut connection, &before, 101);
    sitting.answer(1, 1).await.unwrap();
    assert_ne!(get(&mut connection), before);
}

const N_CANDIDATES: u8 = 24;
/// Between two steps of the operator.
const UNDER_LOAD: Duration = Duration::from_millis(500);

/// How engines are taken away, and what candidates do when a call fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// SIGTERM, one engine after the other, each started again; clients repeat calls at the other engine.
    Rolling,
    /// kill -9 of one engine, which does not come back; clients repeat calls at the other one.
    Killed,
    /// kill -9 of one after the other, and clients that give up.
    KilledWithoutRetries,
}

/// What candidates share.
struct Load {
    engines: [Channel; 2],
    is_over: AtomicBool,
    is_patient: bool,
    n_repeated: AtomicUsize,
}

/// What became of one candidate.
#[derive(Default)]
struct Told {
    /// By number: position and shown option.
    acknowledged: BTreeMap<u32, (u32, u32)>,
    n_failed: usize,
    is_submitted: bool,
}

impl Load {
    /// Calls the engine in use; what may succeed elsewhere is repeated there.
    async fn call<T, F>(
        &self,
        current: &mut usize,
        call: impl Fn(CandidateServiceClient<Channel>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let begun = Instant::now();
        loop {
            let client = CandidateServiceClient::new(self.engines[*current].clone());
            let outcome = call(client).await;
            let may_repeat = outcome.as_ref().is_err_and(|status| {
                let info = status.get_details_error_info();
                info.is_none_or(|info| {
                    ["STORE_UNAVAILABLE", "CONFLICT"].contains(&info.reason.as_str())
                })
            });
            if !may_repeat || !self.is_patient || begun.elapsed() > PATIENCE {
                return outcome;
            }
            self.n_repeated.fetch_add(1, Ordering::Relaxed);
            *current = (*current + 1) % 2;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Answers until told to stop, then submits.
    async fn sit(self: Arc<Self>, mut sitting: Sitting, mut current: usize) -> Told {
        let mut told = Told::default();
        while !self.is_over.load(Ordering::Relaxed) {
            let seq = sitting.next_seq;
            let (position, shown) = (seq % 6, seq % 4);
            let answers = vec![choice(seq, position, shown)];
            let saved = self.call(&mut current, |mut client| {
                let answers = answers.clone();
                let request = bearer(
                    SaveAnswersRequest {
                        answers,
                        ..SaveAnswersRequest::default()
                    },
                    &sitting.token,
                );
                async move { client.save_answers(request).await }
            });
            match saved.await {
                Ok(reply) => {
                    assert_eq!(reply.into_inner().receipt.unwrap().seq, seq);
                    told.acknowledged.insert(seq, (position, shown));
                    let response = Response::Chosen(1 << shown);
                    sitting.chain = extend_chain(&sitting.chain, seq, position, &response);
                    sitting.next_seq += 1;
                    // on a quiet machine nobody must come to the limit of answers in an attempt
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(status) => {
                    eprintln!("an answer failed: {status:?}");
                    told.n_failed += 1;
                    return told;
                }
            }
        }
        let submitted = self.call(&mut current, |mut client| {
            let request = SubmitAttemptRequest {
                last_seq: sitting.next_seq - 1,
                chain: sitting.chain.to_vec().into(),
            };
            let request = bearer(request, &sitting.token);
            async move { client.submit_attempt(request).await }
        });
        told.is_submitted = submitted.await.is_ok();
        told
    }
}

/// Returns the acknowledged answers that the log lacks or tells otherwise.
fn lost(told: &[(u8, Told)], log: &[(u8, u32, Kind)]) -> usize {
    let mut answers = BTreeMap::new();
    for (person, _, kind) in log {
        if let Kind::Answered(answered) = kind
            && let Some(Value::Chosen(bits)) = answered
                .response
                .as_ref()
                .and_then(|response| response.value.clone())
        {
            answers.insert(
                (*person, answered.seq),
                (answered.position, bits.trailing_zeros()),
            );
        }
    }
    let acknowledged = told.iter().flat_map(|(person, told)| {
        told.acknowledged
            .iter()
            .map(|(seq, answer)| ((*person, *seq), answer))
    });
    acknowledged
        .filter(|(key, answer)| answers.get(key) != Some(*answer))
        .count()
}

async fn contest(way: Way) -> (Vec<(u8, Told)>, usize) {
    let redis = RedisServer::start();
    let url = redis.url();
    let (control, secrets) = control_folder();
    let folders = [(); 2].map(|()| {
        let folder = tempfile::tempdir().unwrap();
        copy_secrets(control.path(), folder.path());
        folder
    });
    let start = |number: usize, place: &str| {
        let args = [
            "--role",
            "engine",
            "--redis",
            &url,
            "--grader",
            "http://127.0.0.1:9",
            "--listen",
            place,
        ];
        Process::start(folders[number].path(), &args)
    };
    let mut engines = [0, 1].map(|number| Some(start(number, "127.0.0.1:0")));
    let urls = engines
        .each_ref()
        .map(|engine| engine.as_ref().unwrap().url.clone());
    let args = [
        "--role",
        "control,grader",
        "--redis",
        &url,
        "--engine",
        &urls.join(","),
    ]
    .map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let organizing = Process::start(control.path(), &args);
    let word = secrets.organizer.reveal();
    publish(&organizing.url, word, spec(SystemClock.now().0)).await;
    open(&organizing.url, word).await;
    let codes = codes(&organizing.url, word, N_CANDIDATES).await;
    let load = Arc::new(Load {
        engines: urls
            .each_ref()
            .map(|url| Channel::from_shared(url.clone()).unwrap().connect_lazy()),
        is_over: AtomicBool::new(false),
        is_patient: way != Way::KilledWithoutRetries,
        n_repeated: AtomicUsize::new(0),
    });
    let mut candidates = JoinSet::new();
    for (person, code) in (0..N_CANDIDATES).zip(&codes) {
        let current = usize::from(person % 2);
        let mut sitting = None;
        wait_for("the exam is open there", async || {
            sitting = sit(&urls[current], code, person).await.ok();
            sitting.is_some()
        })
        .await;
        let load = Arc::clone(&load);
        let sitting = sitting.unwrap();
        candidates.spawn(async move { (person, load.sit(sitting, current).await) });
    }
    tokio::time::sleep(UNDER_LOAD).await;
    for number in 0..2 {
        let place = urls[number].strip_prefix("http://").unwrap();
        let engine = engines[number].take().unwrap();
        match way {
            Way::Rolling => {
                engine.terminate();
                engines[number] = Some(start(number, place));
            }
            Way::Killed if number == 1 => engines[number] = Some(engine), // the one that is left
            Way::Killed => engine.kill9(),
            Way::KilledWithoutRetries => {
                engine.kill9();
                engines[number] = Some(start(number, place));
            }
        }
        tokio::time::sleep(UNDER_LOAD).await;
    }
    load.is_over.store(true, Ordering::Relaxed);
    let told = candidates.join_all().await;
    let mut log = read_log(&urls[1], secrets.service.reveal()).await;
    assert_eq!(
        lost(&told, &log),
        0,
        "acknowledged answers are not in the log"
    );
    // Negative control: a log without one person has lost that person's answers.
    log.retain(|(person, _, _)| *person != 0);
    assert!(lost(&told, &log) > 0);
    let n_acknowledged: usize = told.iter().map(|(_, told)| told.acknowledged.len()).sum();
    assert!(
        n_acknowledged > 200,
        "only {n_acknowledged} answers: no load, no proof"
    );
    close(&organizing.url, word, true).await;
    let archive = export(&organizing.url, word, &[]).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
    assert!(verdict.n_answers >= n_acknowledged as u64);
    let n_repeated = load.n_repeated.load(Ordering::Relaxed);
    eprintln!("{n_acknowledged} answers acknowledged, {n_repeated} calls repeated");
    (told, n_repeated)
}

fn all_went_well(told: &[(u8, Told)]) -> bool {
    told.iter()
        .all(|(_, told)| told.n_failed == 0 && told.is_submitted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_costs_no_candidate_an_answer() {
    let (told, n_repeated) = contest(Way::Rolling).await;
    assert!(all_went_well(&told));
    assert!(n_repeated > 0, "nobody met the restart: no proof");
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_of_an_engine_that_is_killed_go_on_at_the_other() {
    let (told, n_repeated) = contest(Way::Killed).await;
    assert!(all_went_well(&told));
    assert!(n_repeated > 0, "nobody met the kill: no proof");
}

/// Negative control of both: without drain and without retries answers do fail, and the test sees it. Even so nothing
/// that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread")]
async fn without_drain_and_retries_answers_fail_and_are_counted() {
    let (told, _) = contest(Way::KilledWithoutRetries).await;
    assert!(!all_went_well(&told));
}
