//! The start of a nationwide exam, and a server with more to do than it can.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use exam_engine::{
    admission::{CallerLimits, Class, GateLimits, Rate},
    clock::Clock,
    server::Settings,
};
use prost::Message;
use proto::exam::v1::{
    ActOnAttemptsRequest, ActionScope, Cause, CheckInRequest, CheckInResponse, CloseExamRequest,
    ExamRules, ExamSpec, ExportExamRequest, ExtendAction, GetServerTimeRequest,
    GetStandingsRequest, PollSessionRequest, ReasonCode, Round, StartAttemptRequest,
    StartAttemptResponse, WatchExamRequest, act_on_attempts_request::Action, action_scope::Who,
};
use tokio::{sync::watch, task::JoinSet};
use tonic::{Code, Status};

use crate::{
    harness::{Backend, EXAM, Sitting, TestServer, both, choice, fact, reason},
    stalled::Stalled,
};

const WINDOW_MS: u64 = 60_000;
/// Whatever is waited for comes within this or never.
const PATIENCE: Duration = Duration::from_secs(30);

/// A spec whose only round opens in a minute and whose starts are spread.
fn spread(server: &TestServer) -> ExamSpec {
    let mut spec = server.spec();
    let now = server.clock.now().0;
    let rules = spec.rules.take().unwrap();
    spec.rules = Some(ExamRules {
        rounds: vec![Round {
            round: 1,
            opens_at_ms: now + 60_000,
            closes_at_ms: now + 3_600_000,
        }],
        start_window_ms: WINDOW_MS,
        ..rules
    });
    spec
}

async fn check_in(server: &TestServer, code: &str) -> Result<CheckInResponse, Status> {
    let request = CheckInRequest {
        access_code: code.to_owned(),
    };
    let reply = server.candidate().await.check_in(request).await?;
    Ok(reply.into_inner())
}

async fn start(
    server: &TestServer,
    code: &str,
    slot_token: &str,
) -> Result<StartAttemptResponse, Status> {
    let request = StartAttemptRequest {
        access_code: code.to_owned(),
        slot_token: slot_token.to_owned(),
        device_id: String::new(),
    };
    let reply = server.candidate().await.start_attempt(request).await?;
    Ok(reply.into_inner())
}

fn number(status: &Status, name: &str) -> u64 {
    fact(status, name).unwrap().parse().unwrap()
}

async fn starts_are_spread(server: TestServer) {
    server.create(spread(&server)).await.unwrap();
    server.publish().await.unwrap();
    server.open().await.unwrap();
    let opens_at = server.clock.now().0 + 60_000;
    let code = server.code(1).await;
    let slot = check_in(&server, &code).await.unwrap();
    assert_eq!(
        check_in(&server, &code).await.unwrap(),
        slot,
        "asked again, the same"
    );
    assert!((opens_at..opens_at + WINDOW_MS).contains(&slot.starts_at_ms));
    assert_eq!((slot.round, slot.exam_id.as_str()), (1, EXAM));
    let other = check_in(&server, &server.code(2).await).await.unwrap();
    assert_ne!(other.starts_at_ms, slot.starts_at_ms);

    // Before the opening nobody starts, with or without a slot.
    let early = start(&server, &code, &slot.slot_token).await.unwrap_err();
    assert_eq!(reason(&early), "EXAM_NOT_OPEN");
    // Between the opening and the slot the candidate is told how long to wait.
    server.clock.advance_ms(60_000);
    let wait = slot.starts_at_ms - server.clock.now().0;
    assert!(
        wait > 0,
        "the persons of this test have slots behind the opening"
    );
    let early = start(&server, &code, &slot.slot_token).await.unwrap_err();
    assert_eq!(
        (early.code(), reason(&early).as_str()),
        (Code::Unavailable, "WAIT_IN_LOBBY")
    );
    assert_eq!(number(&early, "position"), 0);
    assert_eq!(number(&early, "expected_ms"), wait);
    assert_eq!(number(&early, "retry_after_ms"), wait.min(15_000));
    assert_eq!(fact(&early, "slot_token"), Some(slot.slot_token.clone()));
    // At the slot it starts, and has its whole time.
    server.clock.advance_ms(wait);
    let started = start(&server, &code, &slot.slot_token).await.unwrap();
    let session = started.session.unwrap();
    assert_eq!(session.started_at_ms, slot.starts_at_ms);
    assert_eq!(
        session.deadline_ms - session.started_at_ms,
        crate::harness::DURATION_MS
    );
    // A token of somebody else, or a changed one, counts for nothing: the order of starts alone decides.
    let code = server.code(3).await;
    start(&server, &code, &other.slot_token).await.unwrap();
}
both!(
    starts_are_spread_and_nobody_loses_time,
    super::starts_are_spread
);

#[tokio::test(flavor = "multi_thread")]
async fn a_window_must_fit_into_each_round() {
    let server = TestServer::start(Backend::Embedded).await;
    for (window, fits) in [
        (0, true),
        (3_540_000 - 1, true),
        (3_540_000, false),
        (u64::MAX, false),
    ] {
        let mut spec = spread(&server);
        spec.rules.as_mut().unwrap().start_window_ms = window;
        assert_eq!(server.create(spec).await.is_ok(), fits, "{window}");
    }
}

fn few_starts() -> Settings {
    Settings {
        starts: Rate {
            per_s: 10,
            burst: 2,
        },
        ..Settings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_keeps_a_place_and_running_attempts_never_wait() {
    let mut server = TestServer::start_with(Backend::Embedded, few_starts(), |store| store).await;
    server.open_exam().await;
    let mut codes = Vec::new();
    for person in 1..=6 {
        codes.push(server.code(person).await);
    }
    let working = start(&server, &codes[0], "").await.unwrap();
    start(&server, &codes[1], "").await.unwrap();
    let mut places = Vec::new();
    for (index, code) in codes[2..5].iter().enumerate() {
        let status = start(&server, code, "").await.unwrap_err();
        assert_eq!(reason(&status), "WAIT_IN_LOBBY");
        let n_before = u64::try_from(index).unwrap();
        assert_eq!(number(&status, "position"), n_before + 1);
        assert_eq!(number(&status, "expected_ms"), (n_before + 1) * 100);
        places.push(fact(&status, "slot_token").unwrap());
    }
    // A new device of somebody who works goes on at once, however many wait: the clock runs.
    let resumed = start(&server, &codes[0], "").await.unwrap();
    assert!(resumed.resumed);
    assert_eq!(
        resumed.session.unwrap().deadline_ms,
        working.session.unwrap().deadline_ms
    );
    // The first of those who wait starts first, also if the last asks before.
    server.clock.advance_ms(100);
    assert!(start(&server, &codes[4], &places[2]).await.is_err());
    assert!(
        start(&server, &codes[5], "").await.is_err(),
        "a newcomer does not pass"
    );
    start(&server, &codes[2], &places[0]).await.unwrap();
    // A restart forgets nobody's place.
    server.restart().await;
    server.clock.advance_ms(200);
    start(&server, &codes[3], &places[1]).await.unwrap();
    start(&server, &codes[4], &places[2]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_starts_at_its_pace_and_in_order() {
    let server = TestServer::start_with(Backend::Embedded, few_starts(), |store| store).await;
    server.open_exam().await;
    let mut waiting = Vec::new();
    for person in 1..=30 {
        waiting.push((server.code(person).await, String::new()));
    }
    let mut order = Vec::new();
    for _ in 0..40 {
        let mut n_started = 0;
        let mut still = Vec::new();
        for (code, token) in waiting {
            match start(&server, &code, &token).await {
                Ok(_) => {
                    n_started += 1;
                    order.push(code);
                }
                Err(status) => still.push((code, fact(&status, "slot_token").unwrap())),
            }
        }
        assert!(n_started <= 2, "{n_started} within a tenth of a second");
        waiting = still;
        server.clock.advance_ms(100);
    }
    assert!(waiting.is_empty(), "{} never started", waiting.len());
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 30);
}

/// Nothing is prepared at the opening: the paper is drawn in memory, the start is one commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_one_commit_and_a_check_in_and_a_wait_are_none() {
    let n_commits = Arc::new(AtomicU64::new(0));
    let (_stall, is_stalled) = watch::channel(false);
    let wrap = Stalled::wrap(is_stalled, Arc::clone(&n_commits));
    let server = TestServer::start_with(Backend::Embedded, few_starts(), wrap).await;
    server.open_exam().await;
    let code = server.code(1).await;
    check_in(&server, &code).await.unwrap();
    assert_eq!(n_commits.load(Ordering::SeqCst), 0);
    let mut sitting = server.sit_with(&code, 1).await.unwrap();
    sitting.paper().await;
    assert_eq!(n_commits.load(Ordering::SeqCst), 1);
    server.sit(2).await;
    start(&server, &server.code(3).await, "").await.unwrap_err();
    assert_eq!(n_commits.load(Ordering::SeqCst), 2);
}

async fn stalled_server() -> (TestServer, watch::Sender<bool>) {
    let (stall, is_stalled) = watch::channel(false);
    let wrap = Stalled::wrap(is_stalled, Arc::default());
    let server = TestServer::start_with(Backend::Embedded, Settings::default(), wrap).await;
    server.open_exam().await;
    (server, stall)
}

/// Saves an answer with a limit in the header alone: a client that ends the call by itself would prove nothing of the
/// server. Returns the gRPC status and our code.
async fn raw_save(server: &TestServer, token: &str, limit: &str) -> (String, String) {
    let address = server.url.strip_prefix("http://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!(
        "{}/exam.v1.CandidateService/SaveAnswers",
        server.url
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .header("authorization", format!("Bearer {token}"))
    .header("grpc-timeout", limit)
    .body(())
    .unwrap();
    let message = proto::exam::v1::SaveAnswersRequest {
        answers: vec![choice(1, 0, 0)],
        ..Default::default()
    }
    .encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let (reply, mut body) = client
        .ready()
        .await
        .unwrap()
        .send_request(request, false)
        .unwrap();
    let _ = body.send_data(framed.into(), true); // it may be refused before it is read
    let reply = tokio::time::timeout(PATIENCE, reply)
        .await
        .expect("the limit is not honoured")
        .unwrap();
    driver.abort();
    let status = Status::from_header_map(reply.headers()).unwrap();
    let code = reply.headers()["grpc-status"].to_str().unwrap().to_owned();
    (code, reason(&status))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_limit_ends_the_wait_and_loses_nothing() {
    let (server, stall) = stalled_server().await;
    let mut sitting = server.sit(1).await;
    stall.send(true).unwrap();
    let (status, code) = raw_save(&server, &sitting.token, "300m").await;
    assert_eq!((status.as_str(), code.as_str()), ("4", "CALL_TIMED_OUT"));
    // Time that is over before the work begins: nothing is done.
    let (status, code) = raw_save(&server, &sitting.token, "0m").await;
    assert_eq!((status.as_str(), code.as_str()), ("4", "CALL_TIMED_OUT"));
    // Negative control: without a limit of its own the caller waits for the engine's.
    let mut patient = server.candidate().await;
    let request = sitting.request(proto::exam::v1::SaveAnswersRequest {
        answers: vec![choice(1, 0, 0)],
        ..Default::default()
    });
    let begun = Instant::now();
    let status = patient.save_answers(request).await.unwrap_err();
    assert_eq!(reason(&status), "STORE_UNAVAILABLE");
    assert!(begun.elapsed() >= Duration::from_secs(4));
    stall.send(false).unwrap();
    // The same answer under the same number: stored once, whether or not it stood already.
    sitting.answer(0, 0).await.unwrap();
    let receipt = sitting.submit().await.unwrap().receipt.unwrap();
    assert_eq!(receipt.seq, 1);
}

fn extend(server: &TestServer, id: &str) -> tonic::Request<ActOnAttemptsRequest> {
    let mut request = server.as_organizer(ActOnAttemptsRequest {
        exam_id: EXAM.to_owned(),
        scope: Some(ActionScope {
            who: Some(Who::Everybody(true)),
        }),
        cause: Some(Cause {
            action_id: id.to_owned(),
            reason: ReasonCode::TechnicalFault.into(),
            note: String::new(),
        }),
        dry_run: false,
        attempt: 0,
        action: Some(Action::Extend(ExtendAction { by_ms: 60_000 })),
    });
    request.set_timeout(Duration::from_millis(300));
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn running_sessions_are_counted_for_the_pace_of_polls() {
    let server = TestServer::start(Backend::Embedded).await;
    server.open_exam().await;
    let gate = server.gate.clone().unwrap();
    let is_told = async |n_live| {
        let begun = Instant::now();
        while gate.n_live() != n_live {
            assert!(begun.elapsed() < PATIENCE, "{} are told", gate.n_live());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut sittings = sit_all(&server, 1..4).await;
    for sitting in &mut sittings {
        sitting.answer(0, 0).await.unwrap();
    }
    is_told(3).await;
    sittings[0].submit().await.unwrap();
    is_told(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_half_message_takes_no_place_of_an_organizers() {
    let server = TestServer::start(Backend::Embedded).await;
    let address = server.url.strip_prefix("http://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let path = "/exam.v1.OrganizerService/ActOnAttempts";
    let request = http::Request::post(format!("{}{path}", server.url))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (reply, _never_sent) = client.send_request(request, false).unwrap();
    let reply = tokio::time::timeout(PATIENCE, reply)
        .await
        .expect("it waits for the message")
        .unwrap();
    assert_eq!(reply.headers()["grpc-status"], "16");
    assert_eq!(server.gate.clone().unwrap().n_running(Class::Act), 0);
    driver.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_outlives_its_call_with_its_place_and_runs_alone() {
    let (stall, is_stalled) = watch::channel(false);
    let n_commits = Arc::new(AtomicU64::new(0));
    let wrap = Stalled::wrap(is_stalled, Arc::clone(&n_commits));
    let server = TestServer::start_with(Backend::Embedded, Settings::default(), wrap).await;
    server.open_exam().await;
    let sitting = server.sit(1).await;
    assert_eq!(n_commits.load(Ordering::SeqCst), 1);
    let gate = server.gate.clone().unwrap();
    let mut organizer = server.organizer().await;
    stall.send(true).unwrap();
    for n_running in 1..=2 {
        let given_up = organizer.act_on_attempts(extend(&server, "a")).await;
        assert!(given_up.is_err(), "the store stands still");
        assert_eq!(gate.n_running(Class::Act), n_running, "it goes on");
    }
    stall.send(false).unwrap();
    let begun = Instant::now();
    while gate.n_running(Class::Act) > 0 {
        assert!(begun.elapsed() < PATIENCE, "the place is never given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The second waited for the first and found nothing to do: beside it, it would have tried to commit the same.
    assert_eq!(n_commits.load(Ordering::SeqCst), 2);
    let mut client = server.candidate().await;
    let polled = client.poll_session(sitting.request(PollSessionRequest {}));
    let state = polled.await.unwrap().into_inner().state.unwrap();
    assert_eq!(state.deadline_ms, sitting.session.deadline_ms + 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_way_is_stored_while_the_server_stops() {
    let (mut server, stall) = stalled_server().await;
    let mut sitting = server.sit(1).await;
    sitting.answer(0, 0).await.unwrap();
    stall.send(true).unwrap();
    let sending = tokio::spawn(async move {
        let saved = sitting.answer(1, 1).await;
        (sitting, saved)
    });
    let gate = server.gate.clone().unwrap();
    let begun = Instant::now();
    while gate.n_running(Class::Answer) == 0 {
        assert!(begun.elapsed() < PATIENCE, "the answer never arrived");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stopping = server.stop();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!stopping.is_finished(), "it waits for the answer");
    stall.send(false).unwrap();
    let (mut sitting, saved) = sending.await.unwrap();
    let acknowledged = saved.expect("it was under way").receipt.unwrap();
    tokio::time::timeout(PATIENCE, stopping)
        .await
        .expect("nothing holds it up any more")
        .unwrap();
    server.start_again().await;
    sitting.client = server.candidate().await;
    let receipt = sitting.submit().await.unwrap().receipt.unwrap();
    assert_eq!(
        (receipt.seq, receipt.chain),
        (acknowledged.seq, acknowledged.chain)
    );
}

/// Boards at once beyond which they are refused.
const BOARDS: usize = 8;

fn few_boards() -> Settings {
    let gate = GateLimits::default();
    let mut running = gate.running;
    running[Class::Board as usize] = BOARDS;
    running[Class::Stream as usize] = BOARDS;
    Settings {
        gate: GateLimits { running, ..gate },
        ..Settings::default()
    }
}

async fn sit_all(server: &TestServer, persons: std::ops::Range<u8>) -> Vec<Sitting> {
    let mut sittings = Vec::new();
    for person in persons {
        sittings.push(server.sit(person).await);
    }
    sittings
}

/// Saves answers from many devices; returns how long each took, in microseconds, sorted.
async fn work(sittings: Vec<Sitting>, n_answers: u32) -> Vec<u128> {
    let mut devices = JoinSet::new();
    for mut sitting in sittings {
        devices.spawn(async move {
            let mut took = Vec::new();
            for n in 0..n_answers {
                let begun = Instant::now();
                sitting
                    .answer(n % 6, n % 4)
                    .await
                    .expect("no answer may fail");
                took.push(begun.elapsed().as_micros());
            }
            took
        });
    }
    let mut took = devices.join_all().await.concat();
    took.sort_unstable();
    took
}

/// Waits as long as a refusal asks for, as a page does.
async fn rest(told: Option<Status>) {
    if let Some(ms) = told.and_then(|status| fact(&status, "retry_after_ms")) {
        tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
    }
}

/// P9: boards, watchers and exports without end are refused, and no answer fails. Prints what they cost an answer.
#[tokio::test(flavor = "multi_thread")]
async fn dashboards_and_exports_are_shed_and_no_answer_fails() {
    let server = TestServer::start_with(Backend::Embedded, few_boards(), |store| store).await;
    server.open_exam().await;
    // A second exam, closed, for exports.
    let mut past = server.spec();
    past.exam_id = "da-xong".to_owned();
    server.create(past).await.unwrap();
    let mut organizer = server.organizer().await;
    let exam_id = || "da-xong".to_owned();
    let publish = proto::exam::v1::PublishExamRequest { exam_id: exam_id() };
    organizer
        .publish_exam(server.as_organizer(publish))
        .await
        .unwrap();
    let open = proto::exam::v1::OpenExamRequest { exam_id: exam_id() };
    organizer
        .open_exam(server.as_organizer(open))
        .await
        .unwrap();
    let close = CloseExamRequest {
        exam_id: exam_id(),
        end_running: true,
    };
    organizer
        .close_exam(server.as_organizer(close))
        .await
        .unwrap();
    let later = sit_all(&server, 17..33).await;
    let quiet = work(sit_all(&server, 1..17).await, 150).await;

    let mut dashboards = JoinSet::new();
    for _ in 0..50 {
        let mut organizer = server.organizer().await;
        let watch = server.as_organizer(WatchExamRequest {
            exam_id: EXAM.to_owned(),
        });
        let requests = || {
            let board = server.as_organizer(GetStandingsRequest {
                exam_id: EXAM.to_owned(),
                limit: 100,
                ..GetStandingsRequest::default()
            });
            let export = server.as_organizer(ExportExamRequest {
                exam_id: "da-xong".to_owned(),
                ..ExportExamRequest::default()
            });
            (board, export)
        };
        let (board, export) = requests();
        let token = board.metadata().get("authorization").unwrap().clone();
        let (board, export) = (board.into_inner(), export.into_inner());
        dashboards.spawn(async move {
            let authorized = |metadata: &mut tonic::metadata::MetadataMap| {
                metadata.insert("authorization", token.clone());
            };
            let _watch = organizer.watch_exam(watch).await; // refused or not, it asks on
            loop {
                let mut request = tonic::Request::new(board.clone());
                authorized(request.metadata_mut());
                let told = organizer.get_standings(request).await.err();
                rest(told).await;
                let mut request = tonic::Request::new(export.clone());
                authorized(request.metadata_mut());
                match organizer.export_exam(request).await {
                    Ok(reply) => {
                        let mut pieces = reply.into_inner();
                        while let Ok(Some(_)) = pieces.message().await {}
                    }
                    Err(told) => rest(Some(told)).await,
                }
            }
        });
    }
    let gate = server.gate.clone().unwrap();
    let begun = Instant::now();
    while gate.n_shed(Class::Stream) == 0 {
        assert!(begun.elapsed() < PATIENCE, "50 found room for {BOARDS}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let loaded = work(later, 150).await;
    dashboards.shutdown().await;
    let p99 = |took: &[u128]| took[took.len() * 99 / 100];
    eprintln!(
        "answers p99 {} us alone, {} us beside 50 dashboards and exports, ratio {:.2}; shed {} boards, {} streams",
        p99(&quiet),
        p99(&loaded),
        p99(&loaded) as f64 / p99(&quiet) as f64,
        gate.n_shed(Class::Board),
        gate.n_shed(Class::Stream),
    );
    assert_eq!(loaded.len(), 16 * 150);
    assert_eq!(gate.n_shed(Class::Answer), 0);
    assert!(gate.n_shed(Class::Stream) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_and_when_to_come_again() {
    let mut settings = few_boards();
    settings.gate.running[Class::Read as usize] = 0;
    settings.gate.waiting[Class::Read as usize] = 0;
    let server = TestServer::start_with(Backend::Embedded, settings, |store| store).await;
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    let mut client = server.candidate().await;
    let status = client
        .get_server_time(GetServerTimeRequest {})
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "OVERLOADED")
    );
    assert!((250..=1_000).contains(&number(&status, "retry_after_ms")));
    sitting
        .answer(0, 0)
        .await
        .expect("answers have room of their own");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_codes_is_stopped_and_a_working_neighbour_is_not() {
    let settings = Settings {
        callers: CallerLimits {
            failures_per_address: Rate { per_s: 1, burst: 5 },
            limit_loopback: true,
            ..CallerLimits::default()
        },
        ..Settings::default()
    };
    let server = TestServer::start_with(Backend::Embedded, settings, |store| store).await;
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    let mut codes = Vec::new();
    for guess in 0..20 {
        let status = start(&server, &format!("GUESS{guess}"), "")
            .await
            .unwrap_err();
        codes.push(reason(&status));
    }
    assert_eq!(codes[..5], ["ACCESS_CODE_INVALID"; 5]);
    assert!(
        codes
            .iter()
            .filter(|code| *code == "TOO_MANY_CALLS")
            .count()
            >= 10,
        "{codes:?}"
    );
    sitting
        .answer(0, 0)
        .await
        .expect("who works behind the same address goes on");
    // Negative control: an address of the machine itself is not counted by default.
    let server = TestServer::start(Backend::Embedded).await;
    for guess in 0..20 {
        let status = start(&server, &format!("GUESS{guess}"), "")
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "ACCESS_CODE_INVALID");
    }
}

/// Saves six answers while the store hangs now and then, for longer than the device waits; returns the last number stored.
async fn answers_through_a_bad_line(mut device: client::Device, stall: watch::Sender<bool>) -> u32 {
    let mut last = 0;
    for n in 0..6 {
        stall.send(n % 3 == 1).unwrap();
        let chosen = proto::exam::v1::Response {
            value: Some(proto::exam::v1::response::Value::Chosen(1)),
        };
        let give_up = tokio::time::Instant::now() + Duration::from_millis(300);
        match device.save(n, chosen, give_up).await {
            Ok(saved) => last = saved.unwrap().receipt.unwrap().seq,
            Err(failure) => assert!(
                matches!(failure, client::Failure::NoReply { .. }),
                "{failure}"
            ),
        }
    }
    stall.send(false).unwrap();
    let give_up = tokio::time::Instant::now() + PATIENCE;
    if let Some(saved) = device.save_kept(give_up).await.unwrap() {
        last = saved.receipt.unwrap().seq;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_waits_for_its_turn_and_saves_each_answer_once() {
    let (stall, is_stalled) = watch::channel(false);
    let wrap = Stalled::wrap(is_stalled, Arc::default());
    let server = TestServer::start_with(Backend::Embedded, few_starts(), wrap).await;
    server.open_exam().await;
    for person in 1..=2 {
        server.sit(person).await;
    }
    let code = server.code(3).await;
    let give_up = tokio::time::Instant::now() + PATIENCE;
    let device = client::Device::start(
        server.candidate().await,
        client::Retries::default(),
        &code,
        give_up,
    );
    let time_passes = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.clock.advance_ms(50);
        }
    };
    let device = tokio::select! {
        device = device => device.unwrap(),
        () = time_passes => unreachable!("it passes for ever"),
    };
    assert_eq!(device.session().next_seq, 1);
    assert_eq!(answers_through_a_bad_line(device, stall).await, 6);
}
