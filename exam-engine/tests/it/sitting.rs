//! A candidate's sitting and an organizer's exam, over gRPC, on both stores.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use exam_engine::{admission::CallerLimits, clock::Clock, server::Settings};
use proto::exam::v1::{
    CloseExamRequest, CodeRequest, Ended, EndedBy, Event, ExportExamRequest, GetResultRequest,
    GetSessionRequest, GetStandingsRequest, IssueCodesRequest, Scope, StartAttemptRequest,
    TailLogRequest, WatchExamRequest, candidate_service_client::CandidateServiceClient,
    event::Kind, log_service_client::LogServiceClient,
};
use tokio::task::JoinSet;

use crate::harness::{
    Backend, DURATION_MS, EXAM, N_ITEMS, Sitting, TestServer, bearer, both, reason,
};

/// Waits for what the grader folds some 50 ms behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers every item rightly, or none.
pub(crate) async fn answer_all(sitting: &mut Sitting, rightly: bool) {
    let paper = sitting.paper().await;
    for item in paper.sections.iter().flat_map(|section| &section.items) {
        let wanted = item
            .options
            .iter()
            .position(|option| option.text.starts_with("đúng") == rightly)
            .unwrap();
        sitting
            .answer(item.position, u32::try_from(wanted).unwrap())
            .await
            .unwrap();
    }
}

both!(
    a_whole_exam_ends_in_a_result_that_the_verifier_confirms,
    super::whole_exam
);

async fn whole_exam(server: TestServer) {
    server.open_exam().await;
    let mut best = server.sit(1).await;
    answer_all(&mut best, true).await;
    server.clock.advance_ms(5_000);
    let receipt = best.submit().await.unwrap().receipt.unwrap();
    assert_eq!(
        (receipt.seq, receipt.chain.as_ref()),
        (N_ITEMS, &best.chain[..])
    );
    assert_eq!(
        best.submit().await.unwrap().receipt.unwrap().seq,
        N_ITEMS,
        "a repeated submission gets the same answer"
    );
    let mut worst = server.sit(2).await;
    answer_all(&mut worst, false).await;
    worst.submit().await.unwrap();
    let request = best.request(GetResultRequest {});
    let result = best.client.get_result(request).await.unwrap().into_inner();
    assert_eq!(
        (
            result.score.as_str(),
            result.max_score.as_str(),
            result.n_correct,
            result.rank
        ),
        ("3.00", "3.00", N_ITEMS, 1)
    );
    let mut organizer = server.organizer().await;
    let request = GetStandingsRequest {
        exam_id: EXAM.to_owned(),
        scope: Some(Scope::default()),
        offset: 0,
        limit: 10,
        public: false,
    };
    let begun = Instant::now();
    let rows = loop {
        let request = server.as_organizer(request.clone());
        let page = organizer.get_standings(request).await.unwrap().into_inner();
        if page.rows.len() == 2 {
            break page.rows;
        }
        assert!(begun.elapsed() < PATIENCE, "{page:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let scores: Vec<&str> = rows.iter().map(|row| row.score.as_str()).collect();
    assert_eq!(scores, ["3.00", "0.00"]);
    let archive = export(&server).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
    assert_eq!(
        (verdict.n_persons, verdict.n_answers),
        (2, u64::from(2 * N_ITEMS))
    );
    // Negative control: one answer changed in the archive is found.
    let file = archive.path().join("result.tsv");
    let changed = fs::read_to_string(&file)
        .unwrap()
        .replace("\t3.00\t", "\t2.50\t");
    fs::write(&file, changed).unwrap();
    assert!(!verifier::verify_folder(archive.path()).unwrap().ok());
}

pub(crate) async fn export(server: &TestServer) -> tempfile::TempDir {
    let mut organizer = server.organizer().await;
    let exam_id = EXAM.to_owned();
    let early = organizer
        .export_exam(server.as_organizer(ExportExamRequest {
            exam_id: exam_id.clone(),
            files: vec![],
        }))
        .await
        .unwrap();
    assert_eq!(
        reason(&early.into_inner().message().await.unwrap_err()),
        "EXAM_STATE_WRONG"
    );
    let close = CloseExamRequest {
        exam_id: exam_id.clone(),
        end_running: true,
    };
    organizer
        .close_exam(server.as_organizer(close))
        .await
        .unwrap();
    let mut pieces = organizer
        .export_exam(server.as_organizer(ExportExamRequest {
            exam_id,
            files: vec![],
        }))
        .await
        .unwrap()
        .into_inner();
    let folder = tempfile::tempdir().unwrap();
    while let Some(piece) = pieces.message().await.unwrap() {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.path().join(piece.file))
            .unwrap();
        file.write_all(&piece.data).unwrap();
    }
    folder
}

both!(
    a_second_device_takes_over_and_the_first_is_told,
    super::takeover
);

async fn takeover(server: TestServer) {
    server.open_exam().await;
    let code = server.code(1).await;
    let mut phone = server.sit_with(&code, 1).await.unwrap();
    phone.answer(0, 1).await.unwrap();
    let mut laptop = server.sit_with(&code, 1).await.unwrap();
    assert!(laptop.resumed && !phone.resumed);
    assert_eq!(
        (
            laptop.session.epoch,
            laptop.session.attempt,
            laptop.next_seq
        ),
        (2, 1, 2)
    );
    assert_eq!(
        reason(&phone.answer(1, 1).await.unwrap_err()),
        "SESSION_TAKEN_OVER"
    );
    let request = laptop.request(GetSessionRequest {});
    let known = laptop
        .client
        .get_session(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(known.answers, [crate::harness::choice(1, 0, 1)]);
    laptop.chain = phone.chain;
    laptop.answer(1, 2).await.unwrap();
    laptop.submit().await.unwrap();
}

both!(the_deadline_ends_an_attempt, super::expiry);

async fn expiry(server: TestServer) {
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    sitting.answer(0, 0).await.unwrap();
    server.clock.advance_ms(DURATION_MS + 1_001);
    let begun = Instant::now();
    let ended = loop {
        let request = sitting.request(GetSessionRequest {});
        let session = sitting
            .client
            .get_session(request)
            .await
            .unwrap()
            .into_inner()
            .session
            .unwrap();
        if session.ended {
            break session;
        }
        assert!(begun.elapsed() < PATIENCE, "not ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(ended.ended_by(), EndedBy::Deadline);
    assert_eq!(
        reason(&sitting.answer(1, 0).await.unwrap_err()),
        "ATTEMPT_ENDED"
    );
    // What was stored before is acknowledged again, so that the device learns that it lost nothing.
    let repeated = sitting
        .send(vec![crate::harness::choice(1, 0, 0)])
        .await
        .unwrap();
    assert_eq!(repeated.receipt.unwrap().seq, 1);
}

/// More than the server ends in one turn.
const N_TOGETHER: u16 = 300;
/// A second is promised; a loaded machine that runs tests beside this one may take some more.
const SOON: Duration = Duration::from_secs(5);
const GRACE_MS: u64 = 1_000;

/// How one attempt ended in the log.
struct Ending {
    deadline_ms: u64,
    ended: Ended,
    /// On the engine's clock, when it was ended.
    at_ms: u64,
}

/// Starts attempts for many persons at once, in three groups a millisecond apart.
async fn start_many(server: &TestServer) {
    let person = |number: u16| CodeRequest {
        candidate: [number.to_le_bytes(); 8].concat().into(),
        area: "01".to_owned(),
        ..CodeRequest::default()
    };
    let request = IssueCodesRequest {
        exam_id: EXAM.to_owned(),
        persons: (0..N_TOGETHER).map(person).collect(),
    };
    let mut organizer = server.organizer().await;
    let codes = organizer
        .issue_codes(server.as_organizer(request))
        .await
        .unwrap()
        .into_inner()
        .codes;
    let client = CandidateServiceClient::new(server.channel().await);
    for group in codes.chunks(usize::from(N_TOGETHER / 3)) {
        let mut starts = JoinSet::new();
        for access_code in group.iter().cloned() {
            let mut client = client.clone();
            starts.spawn(async move {
                let request = StartAttemptRequest {
                    access_code,
                    slot_token: String::new(),
                    device_id: String::new(),
                };
                client.start_attempt(request).await.unwrap();
            });
        }
        starts.join_all().await;
        server.clock.advance_ms(1);
    }
}

/// Reads the log to its present end.
async fn events(server: &TestServer) -> Vec<Event> {
    let request = TailLogRequest {
        exam_id: EXAM.to_owned(),
        after: vec![],
        stop_at_end: true,
    };
    let mut batches = LogServiceClient::new(server.channel().await)
        .tail_log(bearer(request, server.secrets.service.reveal()))
        .await
        .unwrap()
        .into_inner();
    let mut events = Vec::new();
    while let Some(batch) = batches.message().await.unwrap() {
        events.extend(batch.entries.into_iter().filter_map(|entry| entry.event));
    }
    events
}

/// Returns the attempts that have ended.
async fn endings(server: &TestServer) -> Vec<Ending> {
    let mut deadlines = BTreeMap::new();
    let mut endings = Vec::new();
    for event in events(server).await {
        match event.kind.unwrap() {
            Kind::Started(started) => {
                deadlines.insert(event.candidate, started.deadline_ms);
            }
            Kind::Ended(ended) => endings.push(Ending {
                deadline_ms: deadlines.remove(&event.candidate).expect("it ends once"),
                ended,
                at_ms: event.at_ms,
            }),
            other => panic!("nobody does anything: {other:?}"),
        }
    }
    endings
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_equal_devices_and_addresses_without_naming_them() {
    let settings = Settings {
        callers: CallerLimits {
            limit_loopback: true,
            ..CallerLimits::default()
        },
        ..Settings::default()
    };
    let server = TestServer::start_with(Backend::Embedded, settings, |store| store).await;
    server.open_exam().await;
    for (person, device_id) in [
        (1, "điện thoại"),
        (2, "điện thoại"),
        (3, "máy tính"),
        (4, ""),
    ] {
        let request = StartAttemptRequest {
            access_code: server.code(person).await,
            slot_token: String::new(),
            device_id: device_id.to_owned(),
        };
        server
            .candidate()
            .await
            .start_attempt(request)
            .await
            .unwrap();
    }
    let request = StartAttemptRequest {
        access_code: server.code(5).await,
        slot_token: String::new(),
        device_id: "x".repeat(65),
    };
    let refused = server.candidate().await.start_attempt(request).await;
    assert_eq!(reason(&refused.unwrap_err()), "INVALID_ARGUMENT");
    let tags: BTreeMap<u8, (u64, u64)> = events(&server)
        .await
        .into_iter()
        .filter_map(|event| match event.kind? {
            Kind::Started(started) => Some((
                event.candidate[0],
                (started.address_tag, started.device_tag),
            )),
            _ => None,
        })
        .collect();
    assert_eq!(tags.len(), 4);
    assert!(tags[&1] == tags[&2] && tags[&1].0 == tags[&3].0 && tags[&1].0 != 0);
    assert!(
        tags[&1].1 != tags[&3].1 && tags[&1].1 != 0 && tags[&4].1 == 0,
        "{tags:?}"
    );
}

/// Waits until all have ended, each by its deadline.
async fn all_ended(server: &TestServer) -> Vec<Ending> {
    let begun = Instant::now();
    let endings = loop {
        let endings = endings(server).await;
        if endings.len() == usize::from(N_TOGETHER) {
            break endings;
        }
        assert!(begun.elapsed() < SOON, "only {} ended", endings.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for ending in &endings {
        assert_eq!(ending.ended.by(), EndedBy::Deadline);
        assert_eq!(ending.ended.ended_at_ms, ending.deadline_ms);
    }
    endings
}

both!(
    deadlines_that_fall_together_end_every_attempt_at_its_own,
    super::crowd_expiry
);

async fn crowd_expiry(server: TestServer) {
    server.open_exam().await;
    let begun_ms = server.clock.now().0;
    start_many(&server).await;
    // Negative control: at the last instant that still accepts answers of the first group, nobody has ended.
    let last_ms = begun_ms + DURATION_MS + GRACE_MS;
    server.clock.advance_ms(last_ms - server.clock.now().0);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(endings(&server).await.len(), 0);
    server.clock.advance_ms(3);
    let mut deadlines = BTreeMap::new();
    for ending in all_ended(&server).await {
        *deadlines.entry(ending.deadline_ms).or_insert(0) += 1;
    }
    let group = N_TOGETHER / 3;
    let expected = [0, 1, 2].map(|later_ms| (begun_ms + DURATION_MS + later_ms, group));
    assert_eq!(deadlines, BTreeMap::from(expected));
}

both!(
    at_real_pace_attempts_end_soon_after_their_deadline,
    super::expiry_at_real_pace
);

async fn expiry_at_real_pace(server: TestServer) {
    server.open_exam().await;
    start_many(&server).await;
    server.clock.advance_ms(DURATION_MS + GRACE_MS - 500);
    let clock = Arc::clone(&server.clock);
    let pace = tokio::spawn(async move {
        let (begun, mut passed_ms) = (Instant::now(), 0);
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now_ms = u64::try_from(begun.elapsed().as_millis()).unwrap();
            clock.advance_ms(now_ms - passed_ms);
            passed_ms = now_ms;
        }
    });
    let endings = all_ended(&server).await;
    pace.abort();
    let soon_ms = u64::try_from(SOON.as_millis()).unwrap();
    for ending in endings {
        let late_ms = ending.at_ms.checked_sub(ending.deadline_ms + GRACE_MS);
        let late_ms = late_ms.expect("nobody ends before the grace is over");
        assert!((1..soon_ms).contains(&late_ms), "{late_ms} ms late");
    }
}

both!(a_restart_in_mid_exam_loses_nothing, super::restart);

async fn restart(mut server: TestServer) {
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    sitting.answer(0, 3).await.unwrap();
    sitting.answer(0, 2).await.unwrap();
    server.restart().await;
    sitting.client = server.candidate().await;
    sitting.answer(1, 1).await.unwrap();
    let receipt = sitting.submit().await.unwrap().receipt.unwrap();
    assert_eq!(receipt.chain.as_ref(), sitting.chain);
    let archive = export(&server).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
}

both!(the_monitor_counts_persons_by_province, super::monitor);

async fn monitor(server: TestServer) {
    server.open_exam().await;
    let mut submitted = server.sit(1).await;
    submitted.submit().await.unwrap();
    let _working = server.sit(2).await;
    let mut organizer = server.organizer().await;
    let request = server.as_organizer(WatchExamRequest {
        exam_id: EXAM.to_owned(),
    });
    let mut counts = organizer.watch_exam(request).await.unwrap().into_inner();
    let begun = Instant::now();
    loop {
        let now = counts.message().await.unwrap().unwrap();
        let total = now.total.unwrap();
        if (
            total.not_started,
            total.working,
            total.submitted,
            total.expired,
            total.persons,
        ) == (1, 1, 1, 0, 2)
        {
            assert_eq!(now.areas.len(), 1);
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{total:?}");
    }
}
