//! Decisions on a published exam: corrected keys, freeze, the auditor's word; and control candidates who sit it.

use std::time::{Duration, Instant};

use proto::{
    exam::v1::{
        ActOnAttemptsRequest, ActionScope, BoardRuling, BoardState, Cause, ExclusionRuling,
        GetResultRequest, GetResultResponse, GetStandingsRequest, PredictionRuling, ReasonCode,
        Scope, VoidAction, act_on_attempts_request::Action, action_scope::Who,
    },
    grader::v1::{GetGraderStateRequest, Impact, grader_service_client::GraderServiceClient},
    key::v1::{
        ApproveRulingRequest, ItemChange, KeyChange, ListProposalsRequest, ProposeRulingRequest,
        ProposeRulingResponse, item_change::Change, propose_ruling_request::Kind,
        ruling_service_client::RulingServiceClient,
    },
};
use tonic::Status;

use crate::{
    harness::{Backend, EXAM, N_ITEMS, Sitting, TestServer, bearer, both, reason},
    sitting::{answer_all, export},
};

/// Longest wait for graders and control candidates.
const PATIENCE: Duration = Duration::from_secs(20);

fn proposal(kind: Kind, dry_run: bool) -> ProposeRulingRequest {
    ProposeRulingRequest {
        exam_id: EXAM.to_owned(),
        by: "Nguyễn Văn A".to_owned(),
        reason: ReasonCode::OrganizerError.into(),
        note: "Đáp án câu này được sửa".to_owned(),
        dry_run,
        kind: Some(kind),
    }
}

async fn propose(
    server: &TestServer,
    kind: Kind,
    dry_run: bool,
) -> Result<ProposeRulingResponse, Status> {
    let mut client = RulingServiceClient::new(server.channel().await);
    let request = server.as_organizer(proposal(kind, dry_run));
    Ok(client.propose_ruling(request).await?.into_inner())
}

async fn approve(server: &TestServer, proposal_id: &str, by: &str) -> Result<(), Status> {
    let mut client = RulingServiceClient::new(server.channel().await);
    let request = ApproveRulingRequest {
        exam_id: EXAM.to_owned(),
        proposal_id: proposal_id.to_owned(),
        by: by.to_owned(),
    };
    let request = bearer(request, &server.approver());
    client.approve_ruling(request).await.map(|_| ())
}

async fn decide(server: &TestServer, kind: Kind) -> Impact {
    let proposed = propose(server, kind, false).await.unwrap();
    approve(server, &proposed.proposal_id, "Trần Thị B")
        .await
        .unwrap();
    proposed.impact.unwrap()
}

async fn result(sitting: &mut Sitting) -> GetResultResponse {
    let request = sitting.request(GetResultRequest {});
    sitting
        .client
        .get_result(request)
        .await
        .unwrap()
        .into_inner()
}

/// Waits until a result is as wanted.
async fn result_when(
    sitting: &mut Sitting,
    holds: impl Fn(&GetResultResponse) -> bool,
) -> GetResultResponse {
    let begun = Instant::now();
    loop {
        let result = result(sitting).await;
        if holds(&result) {
            return result;
        }
        assert!(begun.elapsed() < PATIENCE, "{result:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Number of the item at a position that a candidate answered first: the bank numbers items by their texts.
async fn first_item(sitting: &mut Sitting) -> u32 {
    let paper = sitting.paper().await;
    let text = &paper.sections[0].items[0].text;
    text.rsplit(' ').next().unwrap().parse().unwrap()
}

fn right(item_id: u32, options: u32) -> Kind {
    Kind::Key(KeyChange {
        items: vec![ItemChange {
            item_id,
            change: Some(Change::RightOptions(options)),
        }],
        from_version: 0,
    })
}

fn board(state: BoardState) -> Kind {
    Kind::Board(BoardRuling {
        state: state.into(),
        ..BoardRuling::default()
    })
}

/// The options that an item does not have as its key.
fn others(item_id: u32) -> u32 {
    0b1111 & !(1 << (item_id % 4))
}

both!(
    a_corrected_key_is_tried_out_approved_and_taken_back,
    super::correction
);

async fn correction(server: TestServer) {
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    answer_all(&mut sitting, true).await;
    sitting.submit().await.unwrap();
    let before = result_when(&mut sitting, |result| result.n_correct == N_ITEMS).await;
    assert!(before.corrections.is_empty());
    server.clock.advance_ms(1_000);
    let item_id = first_item(&mut sitting).await;

    let change = right(item_id, others(item_id));
    let tried = propose(&server, change.clone(), true).await.unwrap();
    let total = tried.impact.unwrap().total.unwrap();
    assert_eq!(
        (total.n_scores, total.n_higher, tried.proposal_id.as_str()),
        (1, 0, "")
    );
    assert_eq!(
        result(&mut sitting).await,
        before,
        "nothing happens by a dry run"
    );

    let proposed = propose(&server, change, false).await.unwrap();
    assert_eq!(
        result(&mut sitting).await,
        before,
        "one person's word is not enough"
    );
    let refused = approve(&server, &proposed.proposal_id, " nguyễn văn a").await;
    assert_eq!(reason(&refused.unwrap_err()), "TWO_PERSONS_NEEDED");
    assert_eq!(result(&mut sitting).await, before);
    approve(&server, &proposed.proposal_id, "Trần Thị B")
        .await
        .unwrap();
    let after = result_when(&mut sitting, |result| result.n_correct == N_ITEMS - 1).await;
    let note = &after.corrections[0];
    assert_eq!(
        (&note.score_before, &note.score_after, note.note.as_str()),
        (&before.score, &after.score, "Đáp án câu này được sửa")
    );

    server.clock.advance_ms(1_000);
    let back = Kind::Key(KeyChange {
        items: vec![],
        from_version: 1,
    });
    decide(&server, back).await;
    let again = result_when(&mut sitting, |result| result.n_correct == N_ITEMS).await;
    assert_eq!((again.corrections.len(), &again.score), (2, &before.score));
    let archive = export(&server).await;
    assert!(archive.path().join("key-3.bin").exists());
    let verdict = verifier::verify_folder(archive.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_are_wrong_or_too_old_are_refused() {
    let server = TestServer::start(Backend::Embedded).await;
    server.open_exam().await;
    let refused = async |kind| reason(&propose(&server, kind, false).await.unwrap_err());
    assert_eq!(refused(right(9_999, 1)).await, "INVALID_ARGUMENT");
    assert_eq!(refused(right(1, 0)).await, "INVALID_ARGUMENT");
    assert_eq!(
        refused(right(4, 1)).await,
        "INVALID_ARGUMENT",
        "that is the key already"
    );
    let candidates = vec![vec![1; 15].into()];
    assert_eq!(
        refused(Kind::Exclusion(ExclusionRuling { candidates })).await,
        "INVALID_ARGUMENT"
    );
    let definition = String::new();
    let prediction = PredictionRuling {
        quantity: 1,
        definition,
    };
    assert_eq!(
        refused(Kind::Prediction(prediction)).await,
        "INVALID_ARGUMENT"
    );
    assert_eq!(refused(board(BoardState::Final)).await, "EXAM_STATE_WRONG");

    let first = propose(&server, right(1, 1), false).await.unwrap();
    let second = propose(&server, right(2, 1), false).await.unwrap();
    let mut client = RulingServiceClient::new(server.channel().await);
    let request = ListProposalsRequest {
        exam_id: EXAM.to_owned(),
    };
    let open = client
        .list_proposals(server.as_organizer(request))
        .await
        .unwrap();
    let open = open.into_inner().proposals;
    assert_eq!(open.len(), 2);
    let mut open = open.iter();
    let shown = open.find(|open| open.proposal_id == first.proposal_id);
    let shown = shown.unwrap();
    assert!(shown.impact.is_some(), "the approver sees what it does");
    let shown = &shown.keys[0];
    let [before, after] = [&shown.before, &shown.after].map(|key| key.clone().unwrap());
    assert_eq!((before.right_options, after.right_options), (0b10, 0b1));
    approve(&server, &first.proposal_id, "Trần Thị B")
        .await
        .unwrap();
    let outdated = approve(&server, &second.proposal_id, "Trần Thị B").await;
    assert_eq!(reason(&outdated.unwrap_err()), "PROPOSAL_OUTDATED");
    let unknown = approve(&server, &second.proposal_id, "Trần Thị B").await;
    assert_eq!(reason(&unknown.unwrap_err()), "PROPOSAL_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_of_a_frozen_board_sees_what_was_there() {
    let server = TestServer::start(Backend::Embedded).await;
    server.open_exam().await;
    let mut early = server.sit(1).await;
    answer_all(&mut early, false).await;
    early.submit().await.unwrap();
    result_when(&mut early, |result| result.rank == 1).await;
    server.clock.advance_ms(1_000);
    let frozen = propose(&server, board(BoardState::Frozen), false)
        .await
        .unwrap();
    assert_eq!(frozen.proposal_id, "", "one person may freeze");
    let mut late = server.sit(2).await;
    answer_all(&mut late, true).await;
    late.submit().await.unwrap();
    let n_ranked = async |public| {
        let request = GetStandingsRequest {
            exam_id: EXAM.to_owned(),
            scope: Some(Scope::default()),
            offset: 0,
            limit: 10,
            public,
        };
        let mut organizer = server.organizer().await;
        let page = organizer.get_standings(server.as_organizer(request)).await;
        page.unwrap().into_inner().n_ranked
    };
    let begun = Instant::now();
    while n_ranked(false).await < 2 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(n_ranked(true).await, 1);
    let shown = result(&mut early).await;
    assert_eq!((shown.rank, shown.n_ranked, shown.frozen), (1, 1, true));
    let request = late.request(GetResultRequest {});
    let hidden = late.client.get_result(request).await.unwrap_err();
    assert_eq!(reason(&hidden), "RESULT_NOT_READY");
    propose(&server, board(BoardState::Live), false)
        .await
        .unwrap();
    let thawed = result_when(&mut early, |result| result.rank == 2).await;
    assert!(!thawed.frozen);
    assert_eq!(result(&mut late).await.rank, 1);
}

both!(
    a_result_is_final_by_the_auditors_word_alone,
    super::finalize
);

async fn finalize(mut server: TestServer) {
    server.stop().await.unwrap();
    server.controls = true;
    server.start_again().await;
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    answer_all(&mut sitting, true).await;
    sitting.submit().await.unwrap();
    // who sits: a start and an end each, an answer to every item but from the one who says nothing
    let n_entries = u64::from(2 + N_ITEMS) * 3 + 2;
    let begun = Instant::now();
    let mut graders = GraderServiceClient::new(server.channel().await);
    loop {
        let request = GetGraderStateRequest {
            exam_id: EXAM.to_owned(),
        };
        let state = graders.get_grader_state(server.as_organizer(request)).await;
        let state = state.unwrap().into_inner();
        if state.positions.iter().sum::<u64>() >= n_entries {
            assert_eq!(state.n_quarantined, 0);
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{state:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let archive = export(&server).await;
    let read = verifier::Archive::read(archive.path()).unwrap();
    let verdict = verifier::verify(&read).unwrap();
    assert!(verdict.ok(), "{verdict}");
    assert_eq!((verdict.n_persons, verdict.n_control_attempts), (1, 3));
    let result_tsv = std::fs::read(archive.path().join("result.tsv")).unwrap();
    let key = std::fs::read_to_string(server.data.path().join("secrets/verdict.key")).unwrap();
    let key: [u8; 32] = hex::decode(key.trim()).unwrap().try_into().unwrap();
    let verdict = verifier::sign_verdict(&read, &key).unwrap();
    let final_by = |verdict: [u8; 64]| {
        Kind::Board(BoardRuling {
            state: BoardState::Final.into(),
            result_hash: blake3::hash(&result_tsv).as_bytes().to_vec().into(),
            verdict: verdict.to_vec().into(),
            ..BoardRuling::default()
        })
    };
    let mut forged = verdict;
    forged[9] ^= 1;
    let forged = propose(&server, final_by(forged), false).await;
    assert_eq!(reason(&forged.unwrap_err()), "VERDICT_INVALID");
    let unsigned = propose(&server, board(BoardState::Final), false).await;
    assert_eq!(reason(&unsigned.unwrap_err()), "VERDICT_INVALID");
    assert!(!result(&mut sitting).await.r#final);

    propose(&server, final_by(verdict), false).await.unwrap();
    assert!(result(&mut sitting).await.r#final);
    let act = ActOnAttemptsRequest {
        exam_id: EXAM.to_owned(),
        scope: Some(ActionScope {
            who: Some(Who::Everybody(true)),
        }),
        cause: Some(Cause {
            action_id: "a".to_owned(),
            reason: ReasonCode::RuleBreach.into(),
            note: String::new(),
        }),
        action: Some(Action::Void(VoidAction { may_retake: false })),
        ..ActOnAttemptsRequest::default()
    };
    let mut organizer = server.organizer().await;
    let refused = organizer.act_on_attempts(server.as_organizer(act)).await;
    assert_eq!(reason(&refused.unwrap_err()), "RESULT_FINAL");
    let thaw = propose(&server, board(BoardState::Live), false).await;
    assert_eq!(reason(&thaw.unwrap_err()), "INVALID_ARGUMENT");
}
