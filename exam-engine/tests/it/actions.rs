//! What organizers do to attempts, and what candidates hear of it: over gRPC, on both stores.

use proto::exam::v1::{
    ActOnAttemptsRequest, ActOnAttemptsResponse, ActionScope, Cause, CodeRequest,
    CompensateOutageRequest, EndAction, EnterSectionRequest, ExtendAction, IssueCodesRequest,
    Navigation, PauseAction, PollSessionRequest, ReasonCode, ReopenAction, RestoreAction,
    ResumeAction, SaveAnswersRequest, SectionTime, SessionState, VoidAction,
    act_on_attempts_request::Action, action_scope::Who,
};
use tonic::Status;

use crate::{
    harness::{DURATION_MS, EXAM, Sitting, TestServer, both, choice, code_request, fact, reason},
    sitting::export,
};

const EVERYBODY: Who = Who::Everybody(true);

fn cause(action_id: &str) -> Cause {
    Cause {
        action_id: action_id.to_owned(),
        reason: ReasonCode::TechnicalFault.into(),
        note: String::new(),
    }
}

fn request(who: Who, action: Action, id: &str) -> ActOnAttemptsRequest {
    ActOnAttemptsRequest {
        exam_id: EXAM.to_owned(),
        scope: Some(ActionScope { who: Some(who) }),
        cause: Some(cause(id)),
        dry_run: false,
        attempt: 0,
        action: Some(action),
    }
}

async fn send(
    server: &TestServer,
    request: ActOnAttemptsRequest,
) -> Result<ActOnAttemptsResponse, Status> {
    let mut organizer = server.organizer().await;
    let request = server.as_organizer(request);
    Ok(organizer.act_on_attempts(request).await?.into_inner())
}

/// Acts and returns how many attempts changed.
async fn act(server: &TestServer, who: Who, action: Action, id: &str) -> u64 {
    let acted = send(server, request(who, action, id)).await.unwrap();
    assert_eq!(acted.n_failed, 0);
    acted.n_changed
}

async fn poll(sitting: &mut Sitting) -> SessionState {
    let request = sitting.request(PollSessionRequest {});
    let reply = sitting.client.poll_session(request).await.unwrap();
    reply.into_inner().state.unwrap()
}

async fn sit_in(server: &TestServer, person: CodeRequest) -> Sitting {
    let number = person.candidate[0];
    let request = IssueCodesRequest {
        exam_id: EXAM.to_owned(),
        persons: vec![person],
    };
    let mut organizer = server.organizer().await;
    let reply = organizer.issue_codes(server.as_organizer(request)).await;
    let code = reply.unwrap().into_inner().codes.remove(0);
    server.sit_with(&code, number).await.unwrap()
}

const EXTEND: Action = Action::Extend(ExtendAction { by_ms: 60_000 });

both!(actions_reach_their_scope_and_running_clients, super::scopes);

async fn scopes(server: TestServer) {
    server.open_exam().await;
    let mut hanoi = sit_in(&server, code_request(1, "01")).await;
    let unit = CodeRequest {
        unit: 7,
        ..code_request(2, "79")
    };
    let mut unit_7 = sit_in(&server, unit).await;
    let deadline = hanoi.session.deadline_ms;
    let dry_run = ActOnAttemptsRequest {
        dry_run: true,
        ..request(EVERYBODY, EXTEND, "dry")
    };
    assert_eq!(send(&server, dry_run).await.unwrap().n_changed, 2);
    assert_eq!(poll(&mut hanoi).await.deadline_ms, deadline);
    assert_eq!(
        act(&server, Who::Area("01".to_owned()), EXTEND, "a").await,
        1
    );
    assert_eq!(act(&server, Who::Unit(7), EXTEND, "b").await, 1);
    assert_eq!(
        act(&server, Who::Candidate(vec![1; 16].into()), EXTEND, "c").await,
        1
    );
    assert_eq!(act(&server, EVERYBODY, EXTEND, "d").await, 2);
    assert_eq!(
        act(&server, EVERYBODY, EXTEND, "d").await,
        0,
        "the same call again"
    );
    assert_eq!(poll(&mut hanoi).await.deadline_ms, deadline + 3 * 60_000);
    // the reply of a save tells it too
    let saved = unit_7.answer(0, 1).await.unwrap();
    assert_eq!(saved.deadline_ms, unit_7.session.deadline_ms + 2 * 60_000);
    // Nobody else's: no such unit, no such candidate.
    assert_eq!(act(&server, Who::Unit(8), EXTEND, "e").await, 0);
    for sitting in [&mut hanoi, &mut unit_7] {
        sitting.submit().await.unwrap();
    }
    let archive = export(&server).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
}

both!(
    a_paused_exam_takes_nothing_and_gives_its_time_back,
    super::pause
);

async fn pause(server: TestServer) {
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    sitting.answer(0, 1).await.unwrap();
    server.clock.advance_ms(10_000);
    assert_eq!(
        act(&server, EVERYBODY, Action::Pause(PauseAction {}), "a").await,
        1
    );
    assert!(poll(&mut sitting).await.paused);
    assert_eq!(
        reason(&sitting.answer(1, 1).await.unwrap_err()),
        "ATTEMPT_PAUSED"
    );
    server.clock.advance_ms(DURATION_MS * 2); // longer than the whole exam
    tokio::time::sleep(std::time::Duration::from_millis(600)).await; // two looks at the deadlines
    assert!(!poll(&mut sitting).await.ended);
    assert_eq!(
        act(&server, EVERYBODY, Action::Resume(ResumeAction {}), "b").await,
        1
    );
    let state = poll(&mut sitting).await;
    assert_eq!(
        state.deadline_ms,
        sitting.session.deadline_ms + DURATION_MS * 2
    );
    sitting.answer(1, 1).await.unwrap();
    sitting.submit().await.unwrap();
    let archive = export(&server).await;
    let result = std::fs::read_to_string(archive.path().join("result.tsv")).unwrap();
    let net_time = result.lines().last().unwrap().split('\t').nth(12).unwrap();
    assert_eq!(net_time, "10000", "the pause is not counted");
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
}

both!(attempts_are_ended_voided_restored_and_reopened, super::life);

async fn life(server: TestServer) {
    server.open_exam().await;
    let mut first = server.sit(1).await;
    first.answer(0, 1).await.unwrap();
    let mut second = server.sit(2).await;
    assert_eq!(
        act(&server, EVERYBODY, Action::End(EndAction {}), "end").await,
        2
    );
    assert_eq!(
        reason(&first.answer(1, 1).await.unwrap_err()),
        "ATTEMPT_ENDED"
    );
    let reopen = Action::Reopen(ReopenAction {
        time_ms: 60_000,
        after_close: false,
    });
    let only_first = Who::Candidate(vec![1; 16].into());
    assert_eq!(act(&server, only_first.clone(), reopen, "reopen").await, 1);
    first.answer(1, 1).await.unwrap();
    first.submit().await.unwrap();
    let void = Action::Void(VoidAction { may_retake: true });
    assert_eq!(act(&server, EVERYBODY, void, "void").await, 2);
    assert!(poll(&mut second).await.voided);
    assert_eq!(
        act(
            &server,
            only_first,
            Action::Restore(RestoreAction {}),
            "restore"
        )
        .await,
        1
    );
    let archive = export(&server).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
    let result = std::fs::read_to_string(archive.path().join("result.tsv")).unwrap();
    assert_eq!(
        result.lines().count(),
        13 + 1,
        "one of two counts: {result}"
    );
}

both!(
    an_outage_gives_each_candidate_back_what_the_own_receipts_show,
    super::outage
);

async fn outage(server: TestServer) {
    server.open_exam().await;
    let mut cut_off = server.sit(1).await;
    let mut served = server.sit(2).await;
    cut_off.answer(0, 1).await.unwrap();
    let from_ms = exam_engine::clock::Clock::now(&*server.clock).0;
    for position in 0..4 {
        server.clock.advance_ms(15_000);
        served.answer(position, 1).await.unwrap();
    }
    let to_ms = exam_engine::clock::Clock::now(&*server.clock).0;
    cut_off.answer(1, 1).await.unwrap();
    let ask = CompensateOutageRequest {
        exam_id: EXAM.to_owned(),
        scope: Some(ActionScope {
            who: Some(EVERYBODY),
        }),
        cause: Some(cause("outage")),
        dry_run: false,
        from_ms,
        to_ms,
        least_silence_ms: 0,
    };
    let mut organizer = server.organizer().await;
    let request = server.as_organizer(ask.clone());
    let given = organizer
        .compensate_outage(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (given.n_extended, given.n_unaffected, given.longest_ms),
        (1, 1, 60_000)
    );
    assert_eq!(
        poll(&mut cut_off).await.deadline_ms,
        cut_off.session.deadline_ms + 60_000
    );
    assert_eq!(
        poll(&mut served).await.deadline_ms,
        served.session.deadline_ms
    );
    let again = organizer
        .compensate_outage(server.as_organizer(ask.clone()))
        .await
        .unwrap();
    assert_eq!(again.into_inner().n_extended, 0, "the same call again");
    let future = CompensateOutageRequest {
        to_ms: to_ms + 1_000,
        ..ask
    };
    let refused = organizer
        .compensate_outage(server.as_organizer(future))
        .await
        .unwrap_err();
    assert_eq!(fact(&refused, "field").as_deref(), Some("from_ms"));
}

both!(a_bad_action_is_refused_with_its_field, super::bad_actions);

async fn bad_actions(server: TestServer) {
    server.open_exam().await;
    let fine = request(EVERYBODY, EXTEND, "a");
    let mut table = vec![];
    let mut add = |field: &'static str, change: fn(&mut ActOnAttemptsRequest)| {
        let mut bad = fine.clone();
        change(&mut bad);
        table.push((field, bad));
    };
    add("scope", |bad| bad.scope = None);
    add("scope.candidate", |bad| {
        bad.scope = Some(ActionScope {
            who: Some(Who::Candidate(vec![1].into())),
        })
    });
    add("action", |bad| bad.action = None);
    add("extend.by_ms", |bad| {
        bad.action = Some(Action::Extend(ExtendAction { by_ms: 10 }))
    });
    add("cause.action_id", |bad| bad.cause = Some(cause("")));
    add("cause.reason", |bad| bad.cause.as_mut().unwrap().reason = 0);
    add("cause.note", |bad| {
        bad.cause.as_mut().unwrap().reason = ReasonCode::Other.into()
    });
    for (field, bad) in table {
        let refused = send(&server, bad).await.unwrap_err();
        assert_eq!(fact(&refused, "field").as_deref(), Some(field));
    }
    send(&server, fine).await.unwrap();
}

both!(
    timed_sections_show_their_items_when_they_begin,
    super::sections
);

async fn sections(server: TestServer) {
    let mut spec = server.spec();
    let blueprint = spec.blueprint.as_mut().unwrap();
    let mut second = blueprint.sections[0].clone();
    second.strata.remove(0);
    blueprint.sections[0].strata.remove(1);
    blueprint.sections.push(second);
    let rules = spec.rules.as_mut().unwrap();
    let time = |section, time_ms| SectionTime { section, time_ms };
    rules.section_times = vec![time(0, 60_000), time(1, 120_000)];
    rules.navigation = Navigation::ForwardOnly.into();
    let mut too_long = spec.clone();
    too_long.rules.as_mut().unwrap().section_times[0].time_ms = DURATION_MS;
    assert_eq!(
        reason(&server.create(too_long).await.unwrap_err()),
        "INVALID_ARGUMENT"
    );
    server.create(spec).await.unwrap();
    server.publish().await.unwrap();
    server.open().await.unwrap();
    let mut sitting = server.sit(1).await;
    assert_eq!(
        sitting.session.deadline_ms,
        sitting.session.started_at_ms + 180_000
    );
    let shown = |paper: proto::exam::v1::GetPaperResponse| -> Vec<(usize, u32)> {
        paper
            .sections
            .iter()
            .map(|section| (section.items.len(), section.n_items))
            .collect()
    };
    assert_eq!(shown(sitting.paper().await), [(3, 3), (0, 3)]);
    sitting.answer(1, 1).await.unwrap();
    assert_eq!(
        reason(&sitting.answer(0, 1).await.unwrap_err()),
        "NAVIGATION_FORWARD_ONLY"
    );
    assert_eq!(
        reason(&sitting.answer(4, 1).await.unwrap_err()),
        "SECTION_CLOSED"
    );
    let enter = EnterSectionRequest {
        section: 1,
        last_seq: 1,
        chain: sitting.chain.to_vec().into(),
    };
    let request = sitting.request(enter);
    let entered = sitting
        .client
        .enter_section(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(entered.state.unwrap().section, 1);
    assert_eq!(shown(sitting.paper().await), [(3, 3), (3, 3)]);
    sitting.answer(4, 1).await.unwrap();
    sitting.submit().await.unwrap();
    // the second candidate lets time go on by itself
    let mut slow = server.sit(2).await;
    slow.answer(2, 0).await.unwrap();
    server.clock.advance_ms(60_500);
    slow.answer(2, 1).await.unwrap(); // within the grace of the section
    server.clock.advance_ms(10_000);
    slow.answer(3, 1).await.unwrap();
    slow.submit().await.unwrap();
    let archive = export(&server).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
}

both!(answers_made_in_time_are_taken_late_and_flagged, super::late);

async fn late(server: TestServer) {
    let mut spec = server.spec();
    spec.rules.as_mut().unwrap().late_sync_ms = 60_000;
    server.create(spec).await.unwrap();
    server.publish().await.unwrap();
    server.open().await.unwrap();
    let mut sitting = server.sit(1).await;
    server.clock.advance_ms(DURATION_MS + 30_000);
    let refused = sitting.answer(0, 1).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        "DEADLINE_PASSED",
        "the device does not say when it was made"
    );
    let mut made = choice(1, 0, 1);
    made.made_at_ms = sitting.session.deadline_ms - 1;
    sitting.send(vec![made]).await.unwrap();
    let marks = SaveAnswersRequest {
        answers: vec![],
        flags: Some(vec![0b11].into()),
    };
    let request = sitting.request(marks);
    sitting.client.save_answers(request).await.unwrap();
    sitting.next_seq = 2;
    sitting.chain = sitting.session.chain.as_ref().try_into().unwrap();
    let response = exam_engine::session::Response::Chosen(0b10);
    sitting.chain = exam_engine::session::extend_chain(&sitting.chain, 1, 0, &response);
    let submitted = sitting.submit().await.unwrap();
    let session = submitted.session.unwrap();
    assert_eq!(session.flags.as_ref(), [0b11]);
    let archive = export(&server).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
}

both!(a_slip_proves_a_submission_to_everybody, super::slip);

async fn slip(server: TestServer) {
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    sitting.answer(0, 1).await.unwrap();
    let text = sitting.submit().await.unwrap().slip;
    assert_eq!(
        sitting.submit().await.unwrap().slip,
        text,
        "a repeated submission gets the same slip"
    );
    let mut other = server.sit(2).await;
    let other_text = other.submit().await.unwrap().slip;
    let folder = export(&server).await;
    let archive = verifier::Archive::read(folder.path()).unwrap();
    let slip = verifier::Slip::verify(&text, archive.slip_key()).unwrap();
    slip.compare(&archive).unwrap();
    assert_eq!(
        (slip.candidate, slip.last_seq, slip.chain),
        ([1; 16], 1, sitting.chain)
    );
    // Negative controls: another signature, one changed letter anywhere, another key, another archive.
    let parts: Vec<&str> = text.split('.').collect();
    let foreign = other_text.split('.').nth(2).unwrap();
    let mut forged = vec![
        format!("KB1.{}.{foreign}", parts[1]),
        format!("KB2.{}.{}", parts[1], parts[2]),
    ];
    for at in 4..text.len() {
        let letter = if &text[at..=at] == "A" { "B" } else { "A" };
        forged.push(format!("{}{letter}{}", &text[..at], &text[at + 1..]));
    }
    for forged in &forged {
        assert!(
            verifier::Slip::verify(forged, archive.slip_key()).is_err(),
            "{forged}"
        );
    }
    assert!(verifier::Slip::verify(&text, &[7; 32]).is_err());
    for (text, is_genuine) in [(&text, true), (&forged[0], false)] {
        let outcome = std::process::Command::new(env!("CARGO_BIN_EXE_exam"))
            .args(["receipt", "verify", text, "--archive"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert_eq!(outcome.status.success(), is_genuine, "{outcome:?}");
    }
    let mut lost = slip.clone();
    lost.last_seq += 1;
    assert!(lost.compare(&archive).is_err());
}

both!(an_accommodation_comes_with_the_code, super::accommodation);

async fn accommodation(server: TestServer) {
    server.open_exam().await;
    let person = CodeRequest {
        time_percent: 150,
        extra_minutes: 5,
        ..code_request(1, "01")
    };
    let mut sitting = sit_in(&server, person.clone()).await;
    let time = sitting.session.deadline_ms - sitting.session.started_at_ms;
    assert_eq!(time, DURATION_MS * 3 / 2 + 300_000);
    sitting.submit().await.unwrap();
    let archive = export(&server).await;
    assert!(verifier::verify_folder(archive.path()).unwrap().ok());
    let request = IssueCodesRequest {
        exam_id: EXAM.to_owned(),
        persons: vec![CodeRequest {
            time_percent: 99,
            ..person
        }],
    };
    let mut organizer = server.organizer().await;
    let refused = organizer
        .issue_codes(server.as_organizer(request))
        .await
        .unwrap_err();
    assert_eq!(
        fact(&refused, "field").as_deref(),
        Some("persons.time_percent")
    );
}

both!(
    an_outage_over_the_deadline_gives_the_lost_time_back_once,
    super::outage_over_the_deadline
);

/// The outage covers a pause and the last two minutes of the attempt; it is declared long after the deadline.
async fn outage_over_the_deadline(server: TestServer) {
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    let begun = now(&server);
    server.clock.advance_ms(60_000);
    sitting.answer(0, 1).await.unwrap();
    act(&server, EVERYBODY, Action::Pause(PauseAction {}), "pause").await;
    server.clock.advance_ms(100_000);
    act(
        &server,
        EVERYBODY,
        Action::Resume(ResumeAction {}),
        "resume",
    )
    .await;
    server.clock.advance_ms(DURATION_MS * 2);
    let mut ended = false;
    for _ in 0..100 {
        ended = ended || poll(&mut sitting).await.ended;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(ended);
    let last_two_minutes = begun + DURATION_MS + 100_000 - 120_000;
    let ask = CompensateOutageRequest {
        exam_id: EXAM.to_owned(),
        scope: Some(ActionScope {
            who: Some(EVERYBODY),
        }),
        cause: Some(cause("outage")),
        dry_run: false,
        from_ms: last_two_minutes,
        to_ms: now(&server),
        least_silence_ms: 0,
    };
    let mut organizer = server.organizer().await;
    let request = server.as_organizer(ask.clone());
    let given = organizer
        .compensate_outage(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (given.n_reopened, given.longest_ms, given.total_ms),
        (1, 120_000, 120_000)
    );
    assert_eq!(poll(&mut sitting).await.deadline_ms, now(&server) + 120_000);
    let again = organizer
        .compensate_outage(server.as_organizer(ask))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (again.n_reopened, again.n_extended, again.total_ms),
        (0, 0, 0)
    );
    sitting.answer(1, 1).await.unwrap();
    sitting.submit().await.unwrap();
    let archive = export(&server).await;
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
}

fn now(server: &TestServer) -> u64 {
    exam_engine::clock::Clock::now(&*server.clock).0
}

both!(each_submission_has_its_slip, super::two_slips);

async fn two_slips(server: TestServer) {
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    let first = sitting.submit().await.unwrap().slip;
    let reopen = ReopenAction {
        time_ms: 60_000,
        after_close: false,
    };
    act(&server, EVERYBODY, Action::Reopen(reopen), "a").await;
    sitting.answer(0, 1).await.unwrap();
    let second = sitting.submit().await.unwrap().slip;
    let folder = export(&server).await;
    let late = request(EVERYBODY, Action::Reopen(reopen), "b");
    let refused = send(&server, late).await.unwrap_err();
    assert_eq!(
        fact(&refused, "field").as_deref(),
        Some("reopen.after_close")
    );
    let archive = verifier::Archive::read(folder.path()).unwrap();
    for slip in [first, second] {
        let slip = verifier::Slip::verify(&slip, archive.slip_key()).unwrap();
        slip.compare(&archive).unwrap();
    }
}

/// Reloading a page while an organizer's commit is on its way must not leave an old session in memory.
#[tokio::test(flavor = "multi_thread")]
async fn no_reload_brings_an_old_session_back() {
    let server = TestServer::start(crate::harness::Backend::Embedded).await;
    server.open_exam().await;
    let sitting = server.sit(1).await;
    let mut client = sitting.client.clone();
    let token = sitting.token.clone();
    let reloading = tokio::spawn(async move {
        loop {
            let request = crate::harness::bearer(proto::exam::v1::GetSessionRequest {}, &token);
            client.get_session(request).await.unwrap();
        }
    });
    let mut device = server.sit(2).await;
    let mut expected = sitting.session.deadline_ms;
    let mut poller = Sitting {
        client: server.candidate().await,
        ..sitting
    };
    for n in 0..60 {
        assert_eq!(
            act(
                &server,
                Who::Candidate(vec![1; 16].into()),
                EXTEND,
                &n.to_string()
            )
            .await,
            1
        );
        expected += 60_000;
        assert_eq!(poll(&mut poller).await.deadline_ms, expected, "{n}");
        device.answer(0, 1).await.unwrap(); // others commit beside it
    }
    reloading.abort();
}
