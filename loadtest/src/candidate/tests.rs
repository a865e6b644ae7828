//! Candidates against a small engine of their own kind: honest, failing, and lying.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use proto::exam::v1::{
    CheckInRequest, CheckInResponse, EnterSectionRequest, EnterSectionResponse, GetPaperResponse,
    GetResultResponse, GetServerTimeRequest, GetServerTimeResponse, GetSessionResponse,
    PollSessionRequest, PollSessionResponse, Receipt, ShownItem, ShownOption, ShownSection,
    SubmitAttemptResponse,
    candidate_service_server::{CandidateService, CandidateServiceServer},
};
use tonic::{Code, Request, Response as GrpcResponse, transport::server::TcpIncoming};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::{
    chain::Chain,
    plan::{Person, Pick, Step},
};

const CANDIDATE: [u8; 16] = [5; 16];
const FORM: [u8; 8] = [1; 8];

/// What is wrong with an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Every third call does its work and loses its reply.
    LosesReplies,
    /// Receipts carry another chain.
    WrongChain,
    /// A device that was taken over may still write.
    NoFence,
    /// After a reload one answer is missing.
    ForgetsOnReload,
    /// The deadline moves.
    EarlierDeadline,
}

struct Engine {
    fault: Fault,
    n_calls: AtomicU32,
    stored: Mutex<Stored>,
    deadline_ms: u64,
    /// The attempt has ended.
    over: bool,
}

#[derive(Default)]
struct Stored {
    epoch: u32,
    chain: Option<Chain>,
    newest: HashMap<u32, Answer>,
    submitted: bool,
}

fn refused(code: ErrorCode) -> Status {
    let details = ErrorDetails::with_error_info(proto::reason(code), proto::DOMAIN, []);
    Status::with_error_details(Code::FailedPrecondition, "refused", details)
}

impl Engine {
    fn reply<T>(&self, body: T) -> Result<GrpcResponse<T>, Status> {
        let n_calls = self.n_calls.fetch_add(1, Ordering::Relaxed);
        if self.fault == Fault::LosesReplies && n_calls % 3 == 1 {
            return Err(Status::unavailable("the reply is lost"));
        }
        Ok(GrpcResponse::new(body))
    }

    fn check<T>(&self, stored: &Stored, request: &Request<T>) -> Result<(), Status> {
        let token = request
            .metadata()
            .get("authorization")
            .and_then(|t| t.to_str().ok());
        let fenced = token != Some(&format!("Bearer {}", stored.epoch));
        if fenced && self.fault != Fault::NoFence {
            return Err(refused(ErrorCode::SessionTakenOver));
        }
        if self.over {
            return Err(refused(ErrorCode::AttemptEnded));
        }
        Ok(())
    }

    fn session(&self, stored: &Stored) -> SessionInfo {
        let chain = stored
            .chain
            .clone()
            .unwrap_or_else(|| Chain::start("demo", &CANDIDATE, 1, &FORM));
        SessionInfo {
            exam_id: "demo".to_owned(),
            attempt: 1,
            epoch: stored.epoch,
            deadline_ms: self.deadline_ms,
            next_seq: chain.last_seq() + 1,
            n_items: 4,
            form_code: hex::encode(FORM),
            ended: stored.submitted,
            ended_by: EndedBy::Candidate.into(),
            chain: chain.head().to_vec().into(),
            ..SessionInfo::default()
        }
    }

    fn receipt(&self, chain: &Chain) -> Receipt {
        let mut head = chain.head().to_vec();
        if self.fault == Fault::WrongChain {
            head[0] ^= 1;
        }
        Receipt {
            seq: chain.last_seq(),
            chain: head.into(),
            mac: vec![0; 32].into(),
            ..Receipt::default()
        }
    }
}

#[tonic::async_trait]
impl CandidateService for Engine {
    async fn get_server_time(
        &self,
        _: Request<GetServerTimeRequest>,
    ) -> Result<GrpcResponse<GetServerTimeResponse>, Status> {
        self.reply(GetServerTimeResponse { now_ms: 0 })
    }

    async fn start_attempt(
        &self,
        _: Request<StartAttemptRequest>,
    ) -> Result<GrpcResponse<StartAttemptResponse>, Status> {
        let mut stored = self.stored.lock().unwrap();
        stored.epoch += 1;
        self.reply(StartAttemptResponse {
            session_token: stored.epoch.to_string(),
            session: Some(self.session(&stored)),
            resumed: stored.epoch > 1,
        })
    }

    async fn get_paper(
        &self,
        request: Request<GetPaperRequest>,
    ) -> Result<GrpcResponse<GetPaperResponse>, Status> {
        self.check(&self.stored.lock().unwrap(), &request)?;
        let options = ["a", "b", "c"].map(|text| ShownOption {
            text: text.to_owned(),
        });
        let items = (0..4).map(|position| ShownItem {
            position,
            options: options.to_vec(),
            r#type: 1,
            ..ShownItem::default()
        });
        let section = ShownSection {
            items: items.collect(),
            ..ShownSection::default()
        };
        self.reply(GetPaperResponse {
            sections: vec![section],
            form_code: hex::encode(FORM),
        })
    }

    async fn save_answers(
        &self,
        request: Request<SaveAnswersRequest>,
    ) -> Result<GrpcResponse<SaveAnswersResponse>, Status> {
        let mut stored = self.stored.lock().unwrap();
        self.check(&stored, &request)?;
        let first = Chain::start("demo", &CANDIDATE, 1, &FORM);
        let mut chain = stored.chain.take().unwrap_or(first);
        for answer in request.into_inner().answers {
            if answer.seq > chain.last_seq() {
                chain.push(answer.position, &canonical(answer.response.as_ref()));
                stored.newest.insert(answer.position, answer);
            }
        }
        let receipt = Some(self.receipt(&chain));
        stored.chain = Some(chain);
        self.reply(SaveAnswersResponse {
            receipt,
            deadline_ms: self.deadline_ms - u64::from(self.fault == Fault::EarlierDeadline),
            ..SaveAnswersResponse::default()
        })
    }

    async fn submit_attempt(
        &self,
        request: Request<SubmitAttemptRequest>,
    ) -> Result<GrpcResponse<SubmitAttemptResponse>, Status> {
        let mut stored = self.stored.lock().unwrap();
        self.check(&stored, &request)?;
        stored.submitted = true;
        self.reply(SubmitAttemptResponse {
            receipt: stored.chain.as_ref().map(|chain| self.receipt(chain)),
            session: Some(self.session(&stored)),
            slip: String::new(),
        })
    }

    async fn poll_session(
        &self,
        _: Request<PollSessionRequest>,
    ) -> Result<GrpcResponse<PollSessionResponse>, Status> {
        self.reply(PollSessionResponse::default())
    }

    async fn enter_section(
        &self,
        _: Request<EnterSectionRequest>,
    ) -> Result<GrpcResponse<EnterSectionResponse>, Status> {
        self.reply(EnterSectionResponse::default())
    }

    async fn get_session(
        &self,
        request: Request<GetSessionRequest>,
    ) -> Result<GrpcResponse<GetSessionResponse>, Status> {
        let stored = self.stored.lock().unwrap();
        self.check(&stored, &request)?;
        let skipped = usize::from(self.fault == Fault::ForgetsOnReload);
        self.reply(GetSessionResponse {
            session: Some(self.session(&stored)),
            answers: stored.newest.values().skip(skipped).cloned().collect(),
            next_poll_ms: 2_000,
        })
    }

    async fn check_in(
        &self,
        _: Request<CheckInRequest>,
    ) -> Result<GrpcResponse<CheckInResponse>, Status> {
        Err(Status::unimplemented(
            "candidates of a rehearsal do not check in",
        ))
    }

    async fn get_result(
        &self,
        request: Request<GetResultRequest>,
    ) -> Result<GrpcResponse<GetResultResponse>, Status> {
        self.check(&self.stored.lock().unwrap(), &request)?;
        self.reply(GetResultResponse {
            n_items: 4,
            ..GetResultResponse::default()
        })
    }
}

/// A plan that does everything a plan can.
fn plan() -> Plan {
    let step = |item_idx, ms| Step {
        at: Duration::from_millis(ms),
        picks: vec![Pick {
            item_idx,
            dice: 7,
            clears: false,
        }],
    };
    Plan {
        person: Person {
            candidate: CANDIDATE,
            area: "01".into(),
        },
        ability: 0.5,
        steps: vec![
            step(0, 5),
            step(1, 10),
            step(2, 15),
            step(3, 20),
            step(0, 25),
        ],
        reconnects_at: Some(2),
        takes_over_at: Some(3),
        twice_at: Some(1),
        submits_at: Some(Duration::from_millis(30)),
        reads_result: true,
    }
}

async fn told_by(fault: Fault, over: bool, deadline_ms: u64, plan: Plan) -> Told {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let engine = Engine {
        fault,
        n_calls: AtomicU32::new(0),
        stored: Mutex::default(),
        deadline_ms,
        over,
    };

    let mut server = tonic::transport::Server::builder();
    let server = server.add_service(CandidateServiceServer::new(engine));
    tokio::spawn(server.serve_with_incoming(incoming));
    let metrics = Arc::new(Metrics::new());
    let world = World {
        clients: Clients::new(&url, 2, metrics.clone()).unwrap(),
        metrics,
        exam_id: "demo".to_owned(),
        results_at_end: true,
    };
    play(Arc::new(world), plan, "code".to_owned(), 0, Instant::now()).await
}

/// The problem that an engine with this fault shows to a candidate; none if empty.
#[track_caller]
fn check(told: &Told, expected: &str) {
    if expected.is_empty() {
        assert_eq!(told.problems, [""; 0]);
        let seqs: Vec<u32> = told.acknowledged.iter().map(|a| a.seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5]);
        assert!(matches!(told.ending, Ending::Submitted { last_seq: 5, .. }));
    } else {
        assert!(
            told.problems.iter().any(|p| p.contains(expected)),
            "{:?}",
            told.problems
        );
    }
}

const MINUTE_MS: u64 = 60_000;

#[tokio::test]
async fn an_honest_engine_shows_no_problem() {
    check(&told_by(Fault::None, false, MINUTE_MS, plan()).await, "");
}

#[tokio::test]
async fn lost_replies_cost_time_and_nothing_else() {
    check(
        &told_by(Fault::LosesReplies, false, MINUTE_MS, plan()).await,
        "",
    );
}

#[tokio::test]
async fn a_receipt_with_another_chain_is_seen() {
    let told = told_by(Fault::WrongChain, false, MINUTE_MS, plan()).await;
    check(&told, "the receipt's chain is not the device's");
}

#[tokio::test]
async fn a_missing_fence_is_seen() {
    let told = told_by(Fault::NoFence, false, MINUTE_MS, plan()).await;
    check(&told, "a device that was taken over could still write");
}

#[tokio::test]
async fn a_forgotten_answer_is_seen_after_a_reload() {
    let told = told_by(Fault::ForgetsOnReload, false, MINUTE_MS, plan()).await;
    check(
        &told,
        "after a reload other answers stand than were acknowledged",
    );
}

#[tokio::test]
async fn an_earlier_deadline_is_seen() {
    let told = told_by(Fault::EarlierDeadline, false, MINUTE_MS, plan()).await;
    check(&told, "the deadline moved earlier");
}

#[tokio::test]
async fn an_attempt_ended_before_its_deadline_is_seen() {
    let told = told_by(Fault::None, true, MINUTE_MS, plan()).await;
    check(&told, "ATTEMPT_ENDED before the deadline");
}

#[tokio::test]
async fn an_attempt_ended_at_its_deadline_is_no_problem() {
    let told = told_by(Fault::None, true, 10, plan()).await;
    assert_eq!(told.problems, [""; 0]);
    assert_eq!(told.ending, Ending::OutOfTime);
}

#[tokio::test]
async fn who_abandons_does_not_submit() {
    let plan = Plan {
        submits_at: None,
        ..plan()
    };
    let told = told_by(Fault::None, false, MINUTE_MS, plan).await;
    assert_eq!(told.ending, Ending::Abandoned);
    assert_eq!(told.acknowledged.len(), 5);
}
