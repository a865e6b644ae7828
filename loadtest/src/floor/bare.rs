//! Handlers without an engine: what the transport alone can do, and the transport with one script.
//!
//! The script is the engine's own, called with arguments of the same sizes, so the difference to the
//! engine is the engine. Start at [`serve_echo`] and [`serve_script`].

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use prost::{Message, bytes::Bytes};
use proto::exam::v1::{
    Answered, CheckInRequest, CheckInResponse, DurabilityClass, EnterSectionRequest,
    EnterSectionResponse, Event, GetPaperRequest, GetPaperResponse, GetResultRequest,
    GetResultResponse, GetServerTimeRequest, GetServerTimeResponse, GetSessionRequest,
    GetSessionResponse, PollSessionRequest, PollSessionResponse, Receipt, SaveAnswersRequest,
    SaveAnswersResponse, SessionState, StartAttemptRequest, StartAttemptResponse,
    SubmitAttemptRequest, SubmitAttemptResponse,
    candidate_service_server::{CandidateService, CandidateServiceServer},
    event::Kind,
};
use redis::{AsyncConnectionConfig, Script, aio::MultiplexedConnection};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::{child::LISTENING, report::print};

/// As many connections as the engine keeps.
const N_CONNECTIONS: usize = 4;
/// As many partitions as an exam has by default.
const N_PARTITIONS: u32 = 16;
/// A script call that takes longer is an error, not a wait.
const REDIS_LIMIT: Duration = Duration::from_secs(10);
/// Calls of one connection that are worked on at once; the driver never has more in flight.
const MAX_STREAMS: u32 = 4_096;
/// Receive windows, as the client's.
const CONNECTION_WINDOW: u32 = 16 << 20;
const STREAM_WINDOW: u32 = 4 << 20;
/// An instant of the year 2025, Unix milliseconds: only its width matters.
const SOME_MS: u64 = 1_750_000_000_000;
/// An instant of the year 2100: never too late.
const NEVER_MS: u64 = 4_102_444_800_000;
/// The engine's record of the progress: epoch, deadline, number, chain of 32 bytes.
const PROGRESS_BYTES: usize = 46;

/// Serves a handler that only replies.
pub(crate) async fn serve_echo() -> Result<ExitCode> {
    announce_and_serve(Bare { script: None }).await
}

/// Serves a handler that only calls the store's script.
pub(crate) async fn serve_script(redis: &str) -> Result<ExitCode> {
    announce_and_serve(Bare::with_script(redis).await?).await
}

async fn announce_and_serve(bare: Bare) -> Result<ExitCode> {
    let (incoming, url) = listen()?;
    print(&format!("{LISTENING}{url}\n"))?;
    serve(bare, incoming).await?;
    Ok(ExitCode::SUCCESS)
}

fn listen() -> Result<(TcpIncoming, String)> {
    let address = "127.0.0.1:0".parse().context("an address")?;
    let incoming = TcpIncoming::bind(address).context("listen")?;
    let address = incoming.local_addr().context("listen")?;
    Ok((
        incoming.with_nodelay(Some(true)),
        format!("http://{address}"),
    ))
}

async fn serve(bare: Bare, incoming: TcpIncoming) -> Result<()> {
    Server::builder()
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .http2_adaptive_window(Some(false))
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(CandidateServiceServer::new(bare))
        .serve_with_incoming(incoming)
        .await
        .context("serve")
}

struct Bare {
    script: Option<StoreScript>,
}

impl Bare {
    async fn with_script(redis: &str) -> Result<Self> {
        let local = redis.starts_with("unix:///") || redis.starts_with("redis://127.0.0.1:");
        ensure!(local, "only a Redis on this machine is driven");
        let script = Some(StoreScript::connect(redis).await?);
        Ok(Self { script })
    }
}

/// The engine's script, and the connections it is called on.
struct StoreScript {
    script: Script,
    connections: Vec<MultiplexedConnection>,
}

impl StoreScript {
    async fn connect(url: &str) -> Result<Self> {
        let client = redis::Client::open(url).context("the address of Redis")?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(REDIS_LIMIT));
        let mut connections = Vec::with_capacity(N_CONNECTIONS);
        for _ in 0..N_CONNECTIONS {
            let connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await;
            connections.push(connection.context("connect to Redis")?);
        }
        let script = Script::new(include_str!("../../../exam-engine/src/store/commit.lua"));
        Ok(Self {
            script,
            connections,
        })
    }

    /// Stores one message of a candidate who stores one at a time: its last number is the version.
    async fn commit(&self, number: u32, request: &SaveAnswersRequest) -> Result<(), Status> {
        let answer = request
            .answers
            .last()
            .ok_or_else(|| Status::invalid_argument("no answer"))?;
        let partition = number % N_PARTITIONS;
        let tag = format!("kb:{{floor:{partition}}}");
        let mut candidate = [0; 16];
        candidate[..4].copy_from_slice(&number.to_be_bytes());
        let mut call = self
            .script
            .key([format!("{tag}:s:").as_bytes(), &candidate].concat());
        call.key(format!("{tag}:log")).key(format!("{tag}:due"));
        call.arg(answer.seq - 1)
            .arg(answer.seq)
            .arg(NEVER_MS)
            .arg("0")
            .arg("");
        call.arg(&candidate[..]).arg(4); // two fields with their values
        call.arg("p").arg(&[0_u8; PROGRESS_BYTES][..]);
        call.arg([b'a', 0, answer.position.to_le_bytes()[0]].to_vec());
        call.arg(answer.encode_to_vec());
        call.arg(event(&candidate, answer.clone()).encode_to_vec());
        let index = partition as usize % self.connections.len();
        let mut connection = self.connections[index].clone();
        let outcome: i64 = call
            .invoke_async(&mut connection)
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        match outcome {
            0 => Ok(()),
            other => Err(Status::internal(format!("the script answered {other}"))),
        }
    }
}

fn event(candidate: &[u8; 16], answer: proto::exam::v1::Answer) -> Event {
    Event {
        candidate: Bytes::copy_from_slice(candidate),
        attempt: 1,
        epoch: 1,
        at_ms: SOME_MS,
        kind: Some(Kind::Answered(Answered {
            seq: answer.seq,
            position: answer.position,
            response: answer.response,
            ..Answered::default()
        })),
    }
}

/// A reply of the size of the engine's.
fn reply(seq: u32) -> SaveAnswersResponse {
    SaveAnswersResponse {
        receipt: Some(Receipt {
            seq,
            chain: Bytes::from_static(&[1; 32]),
            at_ms: SOME_MS,
            durability: DurabilityClass::Single.into(),
            mac: Bytes::from_static(&[2; 32]),
        }),
        deadline_ms: SOME_MS,
        now_ms: SOME_MS,
        next_poll_ms: 2_000,
        state: Some(SessionState {
            deadline_ms: SOME_MS,
            ..SessionState::default()
        }),
    }
}

/// The number that stands at the end of a bare token.
fn number<T>(request: &Request<T>) -> Result<u32, Status> {
    request
        .metadata()
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|token| token.parse().ok())
        .ok_or_else(|| Status::unauthenticated("a bare token is a number"))
}

#[tonic::async_trait]
impl CandidateService for Bare {
    async fn save_answers(
        &self,
        request: Request<SaveAnswersRequest>,
    ) -> Result<Response<SaveAnswersResponse>, Status> {
        if let Some(script) = &self.script {
            script.commit(number(&request)?, request.get_ref()).await?;
        }
        let last = request.get_ref().answers.last();
        Ok(Response::new(reply(last.map_or(0, |answer| answer.seq))))
    }

    async fn get_server_time(
        &self,
        _: Request<GetServerTimeRequest>,
    ) -> Result<Response<GetServerTimeResponse>, Status> {
        Err(unanswered())
    }

    async fn start_attempt(
        &self,
        _: Request<StartAttemptRequest>,
    ) -> Result<Response<StartAttemptResponse>, Status> {
        Err(unanswered())
    }

    async fn get_paper(
        &self,
        _: Request<GetPaperRequest>,
    ) -> Result<Response<GetPaperResponse>, Status> {
        Err(unanswered())
    }

    async fn poll_session(
        &self,
        _: Request<PollSessionRequest>,
    ) -> Result<Response<PollSessionResponse>, Status> {
        Err(unanswered())
    }

    async fn enter_section(
        &self,
        _: Request<EnterSectionRequest>,
    ) -> Result<Response<EnterSectionResponse>, Status> {
        Err(unanswered())
    }

    async fn submit_attempt(
        &self,
        _: Request<SubmitAttemptRequest>,
    ) -> Result<Response<SubmitAttemptResponse>, Status> {
        Err(unanswered())
    }

    async fn get_session(
        &self,
        _: Request<GetSessionRequest>,
    ) -> Result<Response<GetSessionResponse>, Status> {
        Err(unanswered())
    }

    async fn check_in(
        &self,
        _: Request<CheckInRequest>,
    ) -> Result<Response<CheckInResponse>, Status> {
        Err(unanswered())
    }

    async fn get_result(
        &self,
        _: Request<GetResultRequest>,
    ) -> Result<Response<GetResultResponse>, Status> {
        Err(unanswered())
    }
}

fn unanswered() -> Status {
    Status::unimplemented("a bare handler only stores answers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{floor::drive::Target, redis_server::Redis};

    #[test]
    fn a_bare_token_is_a_number() {
        let mut request = Request::new(());
        assert!(number(&request).is_err());
        let token = format!("Bearer {:0>96}", 1_999);
        request
            .metadata_mut()
            .insert("authorization", token.parse().unwrap());
        assert_eq!(number(&request).unwrap(), 1_999);
    }

    async fn drive(bare: Bare) -> Target {
        let (incoming, url) = listen().unwrap();
        tokio::spawn(serve(bare, incoming));
        let mut target = Target::bare(&url, 2).unwrap();
        let per_s = target.drive(32, Duration::from_millis(200)).await.unwrap();
        assert!(per_s > 100.0, "{per_s}");
        target
    }

    #[tokio::test]
    async fn the_echo_replies() {
        drive(Bare { script: None }).await;
    }

    /// The script is the engine's: it must take the arguments given here, and store what they say.
    #[tokio::test]
    async fn the_script_stores_every_call() {
        let redis = Redis::start().await.unwrap();
        let target = drive(Bare::with_script(&redis.url).await.unwrap()).await;
        let client = redis::Client::open(redis.url.as_str()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let mut n_logged = 0;
        for partition in 0..N_PARTITIONS {
            let log = format!("kb:{{floor:{partition}}}:log");
            let n: u64 = redis::cmd("XLEN")
                .arg(log)
                .query_async(&mut redis)
                .await
                .unwrap();
            n_logged += n;
        }
        assert_eq!(n_logged, target.n_sent());
    }

    #[tokio::test]
    async fn a_redis_elsewhere_is_refused() {
        for url in [
            "redis://192.168.1.4:6379",
            "redis://127.0.0.1.example.org:1",
        ] {
            let error = serve_script(url).await.unwrap_err();
            assert!(error.to_string().contains("on this machine"), "{error}");
        }
    }
}
