//! Two engines, one exam: any engine serves any candidate, learns of every change, follows one clock, and holds no
//! question that others could read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use exam_engine::{
    clock::{Clock, ManualClock, StoreClock, SystemClock, Timestamp},
    id::{CandidateId, ExamId, SessionKey},
    secrets::Secrets,
    server::Server,
    store::{
        self, Commit, Durability, ExamTable, Look, Record, RedisStore, SessionStore, StoredExam,
    },
};
use proto::{
    exam::v1::{
        CloseExamRequest, CreateExamRequest, EndedBy, ExamState, GetResultRequest,
        GetSessionRequest, GetStandingsRequest, ListExamsRequest, PublishExamRequest, Scope,
        StartAttemptRequest, WatchExamRequest, candidate_service_client::CandidateServiceClient,
        event::Kind, organizer_service_client::OrganizerServiceClient,
    },
    grader::v1::{GetGraderStateRequest, grader_service_client::GraderServiceClient},
};
use tokio::task::JoinSet;

use crate::{
    cluster::{
        Cluster, channel, codes, copy_secrets, export, open, organizer, publish, read_log, sit,
    },
    harness::{DURATION_MS, EXAM, N_ITEMS, bearer, fact, reason, spec},
    processes::{Process, STDERR, faketime_library},
};

/// For what takes a second at most on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something holds.
async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The one key half of a data folder.
fn key_file(data: &std::path::Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(data.join("keys")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

/// Waits until an engine knows that the exam is open.
async fn sit_when_open(
    cluster: &Cluster,
    engine: usize,
    code: &str,
    person: u8,
) -> crate::harness::Sitting {
    let mut sitting = None;
    wait_for("the exam is open there", async || {
        sitting = cluster.sit(engine, code, person).await.ok();
        sitting.is_some()
    })
    .await;
    sitting.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_spread_over_two_engines_are_all_right() {
    let cluster = Cluster::start().await;
    cluster.open_exam().await;
    let codes = cluster.codes(2).await;
    let mut phone = sit_when_open(&cluster, 0, &codes[0], 0).await;
    let mut other = sit_when_open(&cluster, 1, &codes[1], 1).await;
    // Every answer goes to the other engine than the one before.
    for position in 0..4 {
        phone.client = cluster.candidate(position as usize % 2).await;
        phone.answer(position, 1).await.unwrap();
    }
    // Whoever asks hears of all of them, also from the engine that has not stored the last one.
    for engine in [0, 1, 0] {
        let request = phone.request(GetSessionRequest {});
        let mut client = cluster.candidate(engine).await;
        let known = client.get_session(request).await.unwrap().into_inner();
        assert_eq!(known.answers.len(), 4, "engine {engine}");
    }
    // What was sent already may come again, at the engine that did not store it.
    phone.client = cluster.candidate(0).await;
    let again = phone
        .send(vec![crate::harness::choice(4, 3, 1)])
        .await
        .unwrap();
    assert_eq!(again.receipt.unwrap().seq, 4);
    // A second device takes over at one engine; the first one is fenced at both.
    let mut laptop = cluster.sit(1, &codes[0], 0).await.unwrap();
    assert!(laptop.resumed);
    assert_eq!((laptop.session.epoch, laptop.next_seq), (2, 5));
    for engine in [0, 1] {
        phone.client = cluster.candidate(engine).await;
        let fenced = phone.send(vec![crate::harness::choice(5, 4, 1)]).await;
        assert_eq!(reason(&fenced.unwrap_err()), "SESSION_TAKEN_OVER");
    }
    laptop.chain = phone.chain;
    for position in 4..N_ITEMS {
        laptop.client = cluster.candidate(position as usize % 2).await;
        laptop.answer(position, 2).await.unwrap();
    }
    laptop.client = cluster.candidate(0).await;
    laptop.submit().await.unwrap();
    laptop.client = cluster.candidate(1).await;
    laptop.submit().await.unwrap(); // again, at the other one
    other.answer(0, 0).await.unwrap();
    other.client = cluster.candidate(0).await;
    other.submit().await.unwrap();
    // Both engines reach the grader.
    for engine in [0, 1] {
        let mut client = cluster.candidate(engine).await;
        wait_for("the result is there", async || {
            let request = laptop.request(GetResultRequest {});
            let result = client.get_result(request).await;
            result.is_ok_and(|result| result.into_inner().n_items == N_ITEMS)
        })
        .await;
    }
    // Control reaches the grader too, for standings and for those who watch.
    let mut organizer = cluster.organizer().await;
    wait_for("both are ranked", async || {
        let request = GetStandingsRequest {
            exam_id: EXAM.to_owned(),
            scope: Some(Scope::default()),
            offset: 0,
            limit: 10,
            public: false,
        };
        let page = organizer
            .get_standings(bearer(request, cluster.word()))
            .await;
        page.unwrap().into_inner().rows.len() == 2
    })
    .await;
    let request = WatchExamRequest {
        exam_id: EXAM.to_owned(),
    };
    let counts = organizer.watch_exam(bearer(request, cluster.word())).await;
    let counts = counts
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let submitted = counts.total.as_ref().unwrap().submitted;
    assert_eq!((counts.state(), submitted), (ExamState::Open, 2));
    cluster.close_exam(false).await;
    let archive = export(&cluster.control.url, cluster.word(), &[]).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
    assert_eq!((verdict.n_persons, verdict.n_answers), (2, 7));
    // The result alone is the same file; a strange name is refused.
    let result = export(&cluster.control.url, cluster.word(), &["result.tsv"]).await;
    let files: Vec<_> = fs::read_dir(result.path()).unwrap().collect();
    assert_eq!(files.len(), 1);
    let read = |folder: &tempfile::TempDir| fs::read(folder.path().join("result.tsv")).unwrap();
    assert_eq!(read(&result), read(&archive));
    let request = proto::exam::v1::ExportExamRequest {
        exam_id: EXAM.to_owned(),
        files: vec!["../secrets".to_owned()],
    };
    let mut pieces = organizer
        .export_exam(bearer(request, cluster.word()))
        .await
        .unwrap()
        .into_inner();
    let refused = pieces.message().await.unwrap_err();
    assert_eq!(fact(&refused, "field").as_deref(), Some("files"));
}

/// The ends of each attempt.
fn ends(log: &[(u8, u32, Kind)]) -> BTreeMap<(u8, u32), Vec<EndedBy>> {
    let mut ends: BTreeMap<(u8, u32), Vec<EndedBy>> = BTreeMap::new();
    for (person, attempt, kind) in log {
        if let Kind::Ended(ended) = kind {
            ends.entry((*person, *attempt))
                .or_default()
                .push(ended.by());
        }
    }
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_two_engines_watch_ends_once() {
    const N_PERSONS: u8 = 60;
    let cluster = Cluster::start().await;
    cluster.open_exam().await;
    let codes = cluster.codes(N_PERSONS).await;
    sit_when_open(&cluster, 0, &codes[0], 0).await;
    sit_when_open(&cluster, 1, &codes[0], 0).await;
    for person in 1..N_PERSONS {
        let code = &codes[usize::from(person)];
        cluster
            .sit(usize::from(person) % 2, code, person)
            .await
            .unwrap();
    }
    cluster.clock.advance_ms(DURATION_MS + 1_500);
    let mut log = Vec::new();
    wait_for("all have ended", async || {
        log = read_log(&cluster.engines[0].url, cluster.secrets.service.reveal()).await;
        ends(&log).len() == usize::from(N_PERSONS)
    })
    .await;
    let is_once = |log: &[(u8, u32, Kind)]| ends(log).values().all(|by| *by == [EndedBy::Deadline]);
    assert!(is_once(&log));
    // Negative control: a second end would be seen.
    let last = log
        .iter()
        .rfind(|(_, _, kind)| matches!(kind, Kind::Ended(_)));
    log.push(last.unwrap().clone());
    assert!(!is_once(&log));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_the_role_says_which_one_is_needed() {
    let cluster = Cluster::start().await;
    let channel = channel(&cluster.engines[0].url).await;
    let request = bearer(ListExamsRequest {}, cluster.word());
    let refused = OrganizerServiceClient::new(channel)
        .list_exams(request)
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(reason(&refused), "ROLE_NOT_HERE");
    assert_eq!(fact(&refused, "role").as_deref(), Some("control"));
    let channel = crate::cluster::channel(&cluster.control.url).await;
    let request = StartAttemptRequest {
        access_code: "x".to_owned(),
        ..StartAttemptRequest::default()
    };
    let refused = CandidateServiceClient::new(channel)
        .start_attempt(request)
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(reason(&refused), "ROLE_NOT_HERE");
    assert_eq!(fact(&refused, "role").as_deref(), Some("engine"));
    // Negative control: each answers where its role is.
    let mut organizer = cluster.organizer().await;
    let request = bearer(ListExamsRequest {}, cluster.word());
    organizer.list_exams(request).await.unwrap();
    let refused = cluster.sit(0, "x", 1).await.map(|_| ()).unwrap_err();
    assert_eq!(reason(&refused), "ACCESS_CODE_INVALID");
}

/// A store whose list of exams can be cut off, while sessions go on.
struct Blindfold {
    store: RedisStore,
    is_blind: Arc<AtomicBool>,
    late: Late,
}

/// A publication that is told to have failed and stands all the same, just before the next write.
#[derive(Clone, Default)]
struct Late {
    is_armed: Arc<AtomicBool>,
    held: Arc<std::sync::Mutex<Option<(String, u64, StoredExam)>>>,
}

impl Blindfold {
    fn table(&self) -> store::Result<&dyn ExamTable> {
        if self.is_blind.load(Ordering::SeqCst) {
            return Err(store::Error::Unavailable("cut off".to_owned()));
        }
        Ok(self.store.exams().unwrap())
    }
}

#[tonic::async_trait]
impl ExamTable for Blindfold {
    async fn look(&self) -> store::Result<Look> {
        self.table()?.look().await
    }

    async fn revisions(&self) -> store::Result<BTreeMap<String, u64>> {
        self.table()?.revisions().await
    }

    async fn load_exam(&self, name: &str) -> store::Result<Option<(u64, StoredExam)>> {
        self.table()?.load_exam(name).await
    }

    async fn put_exam(&self, name: &str, expected: u64, exam: StoredExam) -> store::Result<u64> {
        if exam.package.is_some() && self.late.is_armed.swap(false, Ordering::SeqCst) {
            let held = (name.to_owned(), expected, exam);
            *self.late.held.lock().unwrap() = Some(held);
            return Err(store::Error::Unavailable("no answer in time".to_owned()));
        }
        let held = self.late.held.lock().unwrap().take();
        if let Some((name, expected, exam)) = held {
            self.table()?.put_exam(&name, expected, exam).await?;
        }
        self.table()?.put_exam(name, expected, exam).await
    }

    async fn claim_secrets(&self, fingerprint: &str, replace: bool) -> store::Result<bool> {
        self.table()?.claim_secrets(fingerprint, replace).await
    }
}

#[tonic::async_trait]
impl SessionStore for Blindfold {
    async fn load(&self, key: &SessionKey) -> store::Result<Option<Record>> {
        self.store.load(key).await
    }

    async fn has_moved_on(&self, key: &SessionKey, version: u64) -> store::Result<bool> {
        self.store.has_moved_on(key, version).await
    }

    async fn commit(&self, key: &SessionKey, commit: Commit) -> store::Result<u64> {
        self.store.commit(key, commit).await
    }

    async fn read_log(
        &self,
        exam: &ExamId,
        partition: u32,
        after: u64,
        limit: usize,
    ) -> store::Result<Vec<Bytes>> {
        self.store.read_log(exam, partition, after, limit).await
    }

    async fn trim_log(&self, exam: &ExamId, partition: u32, upto: u64) -> store::Result<()> {
        self.store.trim_log(exam, partition, upto).await
    }

    async fn log_ends(&self, exam: &ExamId, n_partitions: u32) -> store::Result<Vec<u64>> {
        self.store.log_ends(exam, n_partitions).await
    }

    async fn due(
        &self,
        exam: &ExamId,
        n_partitions: u32,
        now: Timestamp,
        limit: usize,
    ) -> store::Result<(Vec<CandidateId>, Option<Timestamp>)> {
        self.store.due(exam, n_partitions, now, limit).await
    }

    async fn check(&self) -> store::Result<()> {
        self.store.check().await
    }

    fn durability(&self) -> Durability {
        self.store.durability()
    }

    fn exams(&self) -> Option<&dyn ExamTable> {
        Some(self)
    }
}

/// An engine that does not hear of the close starts nothing after it (P10: the log that is exported is the whole log).
#[tokio::test(flavor = "multi_thread")]
async fn after_a_close_no_engine_starts_an_attempt_not_even_one_that_has_not_heard_of_it() {
    let mut blindfolds = Vec::new();
    let cluster = Cluster::with_engines(async |redis| {
        let is_blind = Arc::new(AtomicBool::new(false));
        blindfolds.push(Arc::clone(&is_blind));
        let store = RedisStore::connect(&redis.url(), false).await.unwrap();
        let store: Arc<dyn SessionStore> = Arc::new(Blindfold {
            store,
            is_blind,
            late: Late::default(),
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        (store, clock)
    })
    .await;
    cluster.open_exam().await;
    let codes = cluster.codes(5).await;
    let mut before = sit_when_open(&cluster, 0, &codes[0], 0).await;
    sit_when_open(&cluster, 1, &codes[1], 1).await;
    // Blind since a moment, it still starts attempts: without the lease it would do so for ever. This is the control.
    blindfolds[2].store(true, Ordering::SeqCst);
    cluster.sit(1, &codes[2], 2).await.unwrap();
    // The first call is broken off while it waits for the leases of the others; the second one waits as well.
    let broken_off = cluster.close_exam(false);
    let broken_off = tokio::time::timeout(Duration::from_millis(300), broken_off).await;
    broken_off.unwrap_err();
    cluster.close_exam(false).await;
    let refused = cluster.sit(1, &codes[3], 3).await.map(|_| ()).unwrap_err();
    assert_eq!(reason(&refused), "STORE_UNAVAILABLE");
    let refused = cluster.sit(0, &codes[4], 4).await.map(|_| ()).unwrap_err();
    assert_eq!(reason(&refused), "EXAM_NOT_OPEN");
    // Those who had started go on, at either engine.
    before.answer(0, 1).await.unwrap();
    before.client = cluster.candidate(1).await;
    before.answer(1, 1).await.unwrap();
    // Seeing again, it knows what the others know.
    blindfolds[2].store(false, Ordering::SeqCst);
    wait_for("it has heard of the close", async || {
        let refused = cluster.sit(1, &codes[3], 3).await.map(|_| ()).unwrap_err();
        reason(&refused) == "EXAM_NOT_OPEN"
    })
    .await;
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|part| part == what)
}

/// All bytes that a folder's files hold.
fn all_bytes(folder: &std::path::Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(all_bytes(&path));
        } else if path.is_file() {
            bytes.extend(fs::read(&path).unwrap());
        }
    }
    bytes
}

/// P4: what Redis holds, and ever held, of an exam says nothing of its questions, its secret or its keys; what engines
/// hold on their disks says nothing either.
#[tokio::test(flavor = "multi_thread")]
async fn no_question_secret_or_key_stands_readable_in_redis_or_with_engines() {
    let cluster = Cluster::start().await;
    cluster.open_exam().await;
    let codes = cluster.codes(1).await;
    let mut sitting = sit_when_open(&cluster, 1, &codes[0], 0).await;
    let question = sitting.paper().await.sections[0].items[0].text.clone();
    sitting.answer(0, 0).await.unwrap();
    sitting.submit().await.unwrap();
    let key_half = fs::read(key_file(cluster.control.data.path())).unwrap();
    let redis = all_bytes(cluster.redis.folder());
    let engine = all_bytes(cluster.engines[1].data.path());
    cluster.close_exam(false).await;
    let archive = export(&cluster.control.url, cluster.word(), &[]).await;
    let read = |file: &str| fs::read(archive.path().join(file)).unwrap();
    let secret = hex::decode(String::from_utf8(read("secret.hex")).unwrap().trim()).unwrap();
    for (what, needle) in [
        ("a question", question.as_bytes()),
        ("the secret", &secret),
        ("the key half", &key_half[..40]),
    ] {
        assert!(!contains(&redis, needle), "{what} stands in Redis");
        assert!(!contains(&engine, needle), "{what} stands with an engine");
    }
    let hex_secret = hex::encode(&secret);
    assert!(!contains(&redis, hex_secret.as_bytes()) && !contains(&engine, hex_secret.as_bytes()));
    // Negative controls: the needles are the right ones, and what stands in Redis openly is found.
    assert!(contains(&read("paper.bin"), question.as_bytes()));
    assert!(contains(&read("key.bin"), &key_half[..40]));
    assert!(contains(&redis, "Thi thử".as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_with_other_secrets_is_refused_until_they_replace_the_others() {
    let cluster = Cluster::start().await;
    let start = async |secrets: &Secrets, accept_new_secrets: bool| {
        let data = tempfile::tempdir().unwrap();
        let store = RedisStore::connect(&cluster.redis.url(), false)
            .await
            .unwrap();
        let setup = exam_engine::server::Setup {
            accept_new_secrets,
            ..Default::default()
        };
        let parts: (Arc<dyn SessionStore>, Arc<dyn Clock>) =
            (Arc::new(store), Arc::new(SystemClock));
        Server::start_roles(
            data.path(),
            Some(parts),
            secrets,
            setup,
            exam_engine::server::Settings::default(),
        )
        .await
        .map(|_| ())
    };
    start(&cluster.secrets, false).await.unwrap();
    for file in ["receipt.key", "cluster.key", "service.token"] {
        let other = tempfile::tempdir().unwrap();
        copy_secrets(cluster.control.data.path(), other.path());
        let folder = other.path().join("secrets");
        fs::remove_file(folder.join(file)).unwrap();
        let secrets = Secrets::load(&folder).unwrap();
        let refused = start(&secrets, false).await.unwrap_err().to_string();
        assert!(
            refused.contains("cluster.key")
                && refused.contains("--accept-new-secrets")
                && refused.contains(" / "),
            "{file}: {refused}"
        );
    }
    // The program says so and ends.
    let other = tempfile::tempdir().unwrap();
    let url = cluster.redis.url();
    let output = std::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_exam"), "--data"])
        .arg(other.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--redis", &url])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && told.starts_with("lỗi / error: các khóa trong secrets/"),
        "{told}"
    );
    let folder = tempfile::tempdir().unwrap();
    let new = Secrets::load(folder.path()).unwrap();
    start(&new, true).await.unwrap();
    start(&new, false).await.unwrap();
    assert!(start(&cluster.secrets, false).await.is_err());
}

/// Exams that a version before the shared list kept in files are there for all engines once control has started.
#[tokio::test(flavor = "multi_thread")]
async fn exams_of_a_data_folder_come_into_the_shared_list_once() {
    let mut server = crate::harness::TestServer::start(crate::harness::Backend::Embedded).await;
    server.open_exam().await;
    server.restart().await; // leaves the files written, the folder is copied while nothing changes
    let redis = crate::redis_server::RedisServer::start();
    let data = tempfile::tempdir().unwrap();
    copy_secrets(server.data.path(), data.path());
    let folder = data.path().join("exams").join(EXAM);
    fs::create_dir_all(&folder).unwrap();
    for file in ["exam.bin", "paper.bin"] {
        fs::copy(
            server.data.path().join("exams").join(EXAM).join(file),
            folder.join(file),
        )
        .unwrap();
    }
    for _ in 0..2 {
        let store = Arc::new(RedisStore::connect(&redis.url(), false).await.unwrap());
        let clock = Arc::new(SystemClock);
        let server = Server::start(data.path(), Arc::clone(&store) as _, clock, &server.secrets);
        let server = server.await.unwrap();
        let exam = server.engine().unwrap().get_exam(EXAM).unwrap();
        assert_eq!(exam.state(), ExamState::Open);
        assert_eq!(store.exams().unwrap().revisions().await.unwrap()[EXAM], 1);
    }
}

/// By how much an engine's deadline misses the right one: the start lies between two looks at the store's clock.
async fn deadline_error_ms(cluster: &Cluster, engine: usize, code: &str, person: u8) -> u64 {
    let store = RedisStore::connect(&cluster.redis.url(), false)
        .await
        .unwrap();
    let table = store.exams().unwrap();
    let before = table.look().await.unwrap().at.unwrap().0;
    let sitting = cluster.sit(engine, code, person).await.unwrap();
    let after = table.look().await.unwrap().at.unwrap().0;
    let started = sitting.session.deadline_ms - DURATION_MS;
    if started < before {
        before - started
    } else {
        started.saturating_sub(after)
    }
}

/// Two engines whose machines' clocks are minutes apart, and how wrong the deadlines are that they give.
async fn deadline_errors(is_corrected: bool) -> Vec<u64> {
    let mut skews = [0, -180_000, 240_000].into_iter();
    let cluster = Cluster::with_engines(async |redis| {
        let store: Arc<dyn SessionStore> =
            Arc::new(RedisStore::connect(&redis.url(), false).await.unwrap());
        let wall = SystemClock
            .now()
            .0
            .checked_add_signed(skews.next().unwrap());
        let wall: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp(wall.unwrap())));
        let clock: Arc<dyn Clock> = if is_corrected {
            StoreClock::start(Arc::clone(&store), wall).await.unwrap()
        } else {
            wall
        };
        (store, clock)
    })
    .await;
    let mut spec = spec(SystemClock.now().0);
    let rounds = &mut spec.rules.as_mut().unwrap().rounds;
    rounds[0].opens_at_ms -= 600_000; // both clocks see it open
    publish(&cluster.control.url, cluster.word(), spec).await;
    open(&cluster.control.url, cluster.word()).await;
    let codes = cluster.codes(4).await;
    let mut errors = Vec::new();
    for engine in 0..2 {
        sit_when_open(
            &cluster,
            engine,
            &codes[engine],
            u8::try_from(engine).unwrap(),
        )
        .await;
        let person = engine + 2;
        let code = &codes[person];
        errors.push(deadline_error_ms(&cluster, engine, code, u8::try_from(person).unwrap()).await);
    }
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_follow_the_stores_clock_whatever_the_machines_show() {
    // Measured within a round trip; half a second allows for a machine that stalls in the middle of one.
    let errors = deadline_errors(true).await;
    assert!(errors.iter().all(|error| *error < 500), "{errors:?}");
    // Negative control: engines that follow their own clocks are wrong by minutes.
    let errors = deadline_errors(false).await;
    assert!(errors.iter().all(|error| *error > 170_000), "{errors:?}");
}

/// The same with the real program under libfaketime, where it is installed: the whole process believes in another time.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_program_gives_right_deadlines_on_a_machine_whose_clock_is_wrong() {
    let Some(library) = faketime_library() else {
        eprintln!("libfaketime is not installed: not shown here");
        return;
    };
    let (data, secrets) = crate::cluster::control_folder();
    let redis = crate::redis_server::RedisServer::start();
    let url = redis.url();
    let process = Process::start_with(
        data.path(),
        &["--redis", &url],
        &[
            ("LD_PRELOAD", &library),
            ("FAKETIME", "+300s"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ],
    );
    let word = secrets.organizer.reveal();
    publish(&process.url, word, spec(SystemClock.now().0)).await;
    open(&process.url, word).await;
    let codes = codes(&process.url, word, 1).await;
    let before = SystemClock.now().0;
    let sitting = sit(&process.url, &codes[0], 0).await.unwrap();
    let after = SystemClock.now().0;
    let started = sitting.session.deadline_ms - DURATION_MS;
    assert!(
        (before - 500..=after + 500).contains(&started),
        "started {started}, between {before} and {after}"
    );
    let is_told = |data: &std::path::Path| {
        let log = fs::read_to_string(data.join(STDERR)).unwrap();
        log.contains("clock is off") && log.contains("clock.offset_ms=-")
    };
    assert!(is_told(data.path()), "the operator is not told");
    // Negative control: the same machine with the embedded store, whose clock is the machine's.
    let (data, secrets) = crate::cluster::control_folder();
    let process = Process::start_with(
        data.path(),
        &[],
        &[
            ("LD_PRELOAD", &library),
            ("FAKETIME", "+300s"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ],
    );
    let word = secrets.organizer.reveal();
    publish(&process.url, word, spec(SystemClock.now().0)).await;
    open(&process.url, word).await;
    let codes = crate::cluster::codes(&process.url, word, 1).await;
    let sitting = sit(&process.url, &codes[0], 0).await.unwrap();
    assert!(sitting.session.deadline_ms - DURATION_MS > SystemClock.now().0 + 290_000);
    assert!(!is_told(data.path()));
}

/// Of changes by two processes at once one is told that another came in between; none is lost unseen.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_writes_on_one_revision_one_is_refused() {
    let redis = crate::redis_server::RedisServer::start();
    let store = Arc::new(RedisStore::connect(&redis.url(), false).await.unwrap());
    let table = store.exams().unwrap();
    let exam = |text: &str| StoredExam {
        min_reader: 1,
        exam: Bytes::copy_from_slice(text.as_bytes()),
        package: None,
    };
    let first = table.look().await.unwrap();
    assert_eq!(table.put_exam("thi", 0, exam("a")).await.unwrap(), 1);
    assert!(matches!(
        table.put_exam("thi", 0, exam("b")).await,
        Err(store::Error::Conflict)
    ));
    assert_ne!(table.look().await.unwrap().changes, first.changes);
    let mut writers = JoinSet::new();
    for number in 0..16 {
        let store = Arc::clone(&store);
        let exam = exam(&number.to_string());
        writers.spawn(async move {
            store
                .exams()
                .unwrap()
                .put_exam("thi", 1, exam)
                .await
                .is_ok()
        });
    }
    let won = writers
        .join_all()
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
    let (revision, _) = table.load_exam("thi").await.unwrap().unwrap();
    let seen: BTreeSet<u64> = table.revisions().await.unwrap().into_values().collect();
    assert_eq!((revision, seen), (2, [2].into()));
}

/// A graders' machine takes packages over the wire, keeps them, and reads the log from the engine that is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_grader_of_its_own_goes_on_with_the_next_engine_and_after_a_restart() {
    let (control, secrets) = crate::cluster::control_folder();
    let redis = crate::redis_server::RedisServer::start();
    let url = redis.url();
    let folder = || {
        let data = tempfile::tempdir().unwrap();
        copy_secrets(control.path(), data.path());
        data
    };
    let (a, b, grading) = (folder(), folder(), folder());
    let engine = |data: &tempfile::TempDir| {
        let args = [
            "--role",
            "engine",
            "--redis",
            &url,
            "--grader",
            "http://127.0.0.1:9",
        ];
        Process::start(data.path(), &args)
    };
    let (first, second) = (engine(&a), engine(&b));
    let engines = format!("{},{}", first.url, second.url);
    let start_grader = |port: &str| {
        let args = ["--role", "grader", "--engine", &engines, "--listen", port];
        Process::start(grading.path(), &args)
    };
    let grader = start_grader("127.0.0.1:0");
    let process = Process::start(
        control.path(),
        &[
            "--role",
            "control",
            "--redis",
            &url,
            "--grader",
            &grader.url,
        ],
    );
    let word = secrets.organizer.reveal();
    publish(&process.url, word, spec(SystemClock.now().0)).await;
    open(&process.url, word).await;
    let codes = codes(&process.url, word, 3).await;
    let finish = async |engine: &Process, person: u8| {
        let mut sitting = None;
        wait_for("the exam is open there", async || {
            sitting = sit(&engine.url, &codes[usize::from(person)], person)
                .await
                .ok();
            sitting.is_some()
        })
        .await;
        let mut sitting = sitting.unwrap();
        sitting.answer(0, 0).await.unwrap();
        sitting.submit().await.unwrap();
        // This engine was told of a grader that is not there: no answer is lost by that, and no address is told.
        let request = sitting.request(GetResultRequest {});
        let refused = sitting.client.get_result(request).await.unwrap_err();
        assert_eq!(reason(&refused), "RESULT_NOT_READY");
    };
    let n_ranked = async || {
        let request = GetStandingsRequest {
            exam_id: EXAM.to_owned(),
            scope: Some(Scope::default()),
            offset: 0,
            limit: 10,
            public: false,
        };
        let mut organizer = organizer(&process.url).await;
        let page = organizer.get_standings(bearer(request, word)).await;
        page.map_or(0, |page| page.into_inner().n_ranked)
    };
    finish(&first, 0).await;
    wait_for("one is ranked", async || n_ranked().await == 1).await;
    first.kill9();
    finish(&second, 1).await;
    wait_for("two are ranked", async || n_ranked().await == 2).await;
    assert!(key_file(grading.path()).exists());
    assert!(!a.path().join("keys").exists() && !b.path().join("keys").exists());
    let place = grader.url.strip_prefix("http://").unwrap().to_owned();
    grader.terminate();
    let _grader = start_grader(&place);
    finish(&second, 2).await;
    wait_for("three are ranked", async || n_ranked().await == 3).await;
    let request = CloseExamRequest {
        exam_id: EXAM.to_owned(),
        end_running: true,
    };
    let mut organizer = organizer(&process.url).await;
    organizer.close_exam(bearer(request, word)).await.unwrap();
    let archive = export(&process.url, word, &[]).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok() && verdict.n_persons == 3, "{verdict}");
}

/// A failover may take an organizer's change back (class `single`): engines follow, and the organizer can make it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_failover_took_back_can_be_made_again() {
    let cluster = Cluster::start().await;
    publish(
        &cluster.control.url,
        cluster.word(),
        spec(SystemClock.now().0),
    )
    .await;
    let key = format!("kb:{{exams}}:e:{EXAM}");
    let saved = "kb:{exams}:saved";
    cluster.redis.tell(&["COPY", &key, saved]);
    let revision: String = cluster.redis.query(&["HGET", &key, "r"]).unwrap();
    let changes: String = cluster.redis.query(&["GET", "kb:{exams}:changes"]).unwrap();
    open(&cluster.control.url, cluster.word()).await;
    let state = async || {
        let request = bearer(ListExamsRequest {}, cluster.word());
        let exams = cluster.organizer().await.list_exams(request).await.unwrap();
        exams.into_inner().exams[0].state()
    };
    assert_eq!(state().await, ExamState::Open);
    cluster.redis.tell(&["COPY", saved, &key, "REPLACE"]);
    cluster
        .redis
        .tell(&["HSET", "kb:{exams}:index", EXAM, &revision]);
    cluster.redis.tell(&["SET", "kb:{exams}:changes", &changes]);
    wait_for("control has followed", async || {
        state().await == ExamState::Published
    })
    .await;
    open(&cluster.control.url, cluster.word()).await;
    assert_eq!(state().await, ExamState::Open);
    // The same of its creation.
    cluster.redis.tell(&["DEL", &key, "kb:{exams}:index"]);
    cluster.redis.tell(&["SET", "kb:{exams}:changes", "0"]);
    wait_for("control has forgotten it", async || {
        let request = bearer(ListExamsRequest {}, cluster.word());
        let exams = cluster.organizer().await.list_exams(request).await.unwrap();
        exams.into_inner().exams.is_empty()
    })
    .await;
    cluster.open_exam().await;
    assert_eq!(state().await, ExamState::Open);
}

/// The command of a publication that timed out may still be done, in the middle of the next one: the exam that stands then
/// is the first one's, and its key half must be there.
#[tokio::test(flavor = "multi_thread")]
async fn an_exam_whose_publication_came_late_is_graded_by_its_own_key() {
    let late = Late::default();
    let cluster = Cluster::with_engines(async |redis| {
        let store: Arc<dyn SessionStore> = Arc::new(Blindfold {
            store: RedisStore::connect(&redis.url(), false).await.unwrap(),
            is_blind: Arc::default(),
            late: late.clone(),
        });
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(SystemClock.now()));
        (store, clock)
    })
    .await;
    let mut organizer = cluster.organizer().await;
    let request = CreateExamRequest {
        spec: Some(spec(SystemClock.now().0)),
    };
    organizer
        .create_exam(bearer(request, cluster.word()))
        .await
        .unwrap();
    late.is_armed.store(true, Ordering::SeqCst);
    for refusal in ["STORE_UNAVAILABLE", "CONFLICT"] {
        let request = PublishExamRequest {
            exam_id: EXAM.to_owned(),
        };
        let refused = organizer
            .publish_exam(bearer(request, cluster.word()))
            .await
            .unwrap_err();
        assert_eq!(reason(&refused), refusal);
    }
    open(&cluster.control.url, cluster.word()).await;
    let codes = cluster.codes(1).await;
    let mut sitting = sit_when_open(&cluster, 0, &codes[0], 0).await;
    sitting.answer(0, 1).await.unwrap();
    sitting.submit().await.unwrap();
    wait_for("it is graded", async || {
        let request = sitting.request(GetResultRequest {});
        sitting.client.get_result(request).await.is_ok()
    })
    .await;
}

/// Two graders follow one exam: their states are equal, and when one is gone the other answers.
#[tokio::test(flavor = "multi_thread")]
async fn two_graders_are_equal_and_either_answers() {
    let (control, secrets) = crate::cluster::control_folder();
    let redis = crate::redis_server::RedisServer::start();
    let url = redis.url();
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for folder in &folders {
        copy_secrets(control.path(), folder.path());
    }
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let engine_url = format!("http://{}", place.local_addr().unwrap());
    let start_grader = |folder: usize| {
        let args = ["--role", "grader", "--engine", &engine_url];
        Process::start(folders[folder].path(), &args)
    };
    let (first, second) = (start_grader(1), start_grader(2));
    let graders = format!("{},{}", first.url, second.url);
    let listen = place.local_addr().unwrap().to_string();
    drop(place);
    let start = |folder: &std::path::Path, role: &str, more: &[&str]| {
        let mut args = vec!["--role", role, "--redis", &url, "--grader", &graders];
        args.extend(more);
        Process::start(folder, &args)
    };
    let engine = start(folders[0].path(), "engine", &["--listen", &listen]);
    let process = start(control.path(), "control", &[]);
    let word = secrets.organizer.reveal();
    publish(&process.url, word, spec(SystemClock.now().0)).await;
    open(&process.url, word).await;
    let codes = codes(&process.url, word, 2).await;
    let mut sittings = Vec::new();
    for person in 0..2 {
        wait_for("the exam is open there", async || {
            let sitting = sit(&engine.url, &codes[usize::from(person)], person).await;
            sittings.extend(sitting.ok());
            sittings.len() > usize::from(person)
        })
        .await;
        let sitting = &mut sittings[usize::from(person)];
        sitting.answer(0, u32::from(person)).await.unwrap();
        sitting.submit().await.unwrap();
    }
    let state = async |grader: &Process| {
        let request = bearer(
            GetGraderStateRequest {
                exam_id: EXAM.to_owned(),
            },
            word,
        );
        let mut client = GraderServiceClient::new(channel(&grader.url).await);
        let state = client.get_grader_state(request).await.ok()?.into_inner();
        Some((
            state.positions.clone(),
            state.state_hash.to_vec(),
            state.lag,
        ))
    };
    // Two candidates and three who control: everybody has started and ended, all but one with answers.
    let n_entries = u64::from(2 * 3 + 3 * 2 + 2 * N_ITEMS);
    wait_for(
        "both graders have the whole log, and are equal",
        async || {
            let (one, other) = (state(&first).await, state(&second).await);
            let is_whole = one
                .as_ref()
                .is_some_and(|(positions, ..)| positions.iter().sum::<u64>() == n_entries);
            is_whole && one == other
        },
    )
    .await;
    first.kill9();
    let sitting = &mut sittings[0];
    wait_for("the other one answers", async || {
        let request = sitting.request(GetResultRequest {});
        sitting.client.get_result(request).await.is_ok()
    })
    .await;
    let request = || GetStandingsRequest {
        exam_id: EXAM.to_owned(),
        scope: Some(Scope::default()),
        ..GetStandingsRequest::default()
    };
    wait_for("organizers are answered too", async || {
        let mut organizer = organizer(&process.url).await;
        let page = organizer.get_standings(bearer(request(), word)).await;
        page.is_ok_and(|page| page.into_inner().n_ranked == 2)
    })
    .await;
    // The relay of the control role reaches it as well.
    let mut relayed = GraderServiceClient::new(channel(&process.url).await);
    let request = GetGraderStateRequest {
        exam_id: EXAM.to_owned(),
    };
    let state = relayed
        .get_grader_state(bearer(request.clone(), word))
        .await;
    assert_eq!(state.unwrap().into_inner().n_quarantined, 0);
    let stranger = relayed.get_grader_state(bearer(request, "x")).await;
    assert_eq!(reason(&stranger.unwrap_err()), "PERMISSION_DENIED");
}
