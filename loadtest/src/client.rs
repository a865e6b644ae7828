//! Calls to the engine: connections, tokens, and the one layer that sends again.
//!
//! What may pass is sent again unchanged with a growing, random pause; what the engine decided is
//! returned. Invariant: a call ends, by a reply or at its `give_up`.
//! Start at [`with_retries`]. Source: M. Brooker, "Exponential Backoff And Jitter" (full jitter).

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use proto::exam::v1::{ErrorCode, candidate_service_client::CandidateServiceClient};
use rand::RngExt;
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use crate::latency::{Metrics, Rpc};

/// A call without a reply for so long is sent again: far above any honest latency, below a deadline.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Ceiling of the first pause.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// Ceiling of every pause: a restarted engine is found again within it.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Receive windows: never adaptive, since small frames left unread would stall a connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
const STREAM_WINDOW: u32 = 4 << 20;
/// A connection that a firewall forgot is noticed within both: a phone cannot wait for its operating system.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The client of one connection.
pub(crate) type CandidateClient = CandidateServiceClient<Channel>;

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The engine refused, with a code of its public list.
    Refused {
        /// Which.
        code: ErrorCode,
        /// The facts that came with it.
        metadata: Vec<(String, String)>,
    },
    /// A status without such a code that sending again will not mend.
    Strange {
        /// As it came.
        status: String,
    },
    /// Nothing came until time was up.
    NoReply {
        /// Reason of the last failure.
        last: String,
    },
}

impl Failure {
    /// Tells whether the engine refused with this code.
    pub(crate) fn is(&self, expected: ErrorCode) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == expected)
    }

    /// Returns a short name for counts.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Refused { code, .. } => proto::reason(*code),
            Self::Strange { .. } => "STRANGE",
            Self::NoReply { .. } => "NO_REPLY",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, metadata } => {
                write!(f, "refused with {}", proto::reason(*code))?;
                for (name, value) in metadata {
                    write!(f, " {name}={value}")?;
                }
                Ok(())
            }
            Self::Strange { status } => write!(f, "strange status {status}"),
            Self::NoReply { last } => write!(f, "no reply in time, last {last}"),
        }
    }
}

impl std::error::Error for Failure {}

/// A reply, and how often the call had been sent before in vain.
pub(crate) struct Reply<T> {
    /// What came.
    pub(crate) body: T,
    /// Calls whose reply was never seen.
    pub(crate) n_retries: u32,
}

/// Opens a connection when it is first used, and again whenever it broke.
pub(crate) fn channel(url: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned()).context("the server's address")?;
    Ok(endpoint
        .connect_timeout(CALL_TIMEOUT)
        .tcp_nodelay(true)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .http2_adaptive_window(false)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .connect_lazy())
}

/// Opens several connections.
pub(crate) fn candidate_clients(url: &str, n: u32) -> Result<Vec<CandidateClient>> {
    (0..n)
        .map(|_| Ok(CandidateServiceClient::new(channel(url)?)))
        .collect()
}

/// Makes the header value for a token.
pub(crate) fn bearer(token: &str) -> Result<MetadataValue<Ascii>> {
    let value = format!("Bearer {token}");
    value.parse().context("the token does not fit a header")
}

/// Puts a token on a message.
pub(crate) fn authorized<T>(body: T, token: &MetadataValue<Ascii>) -> Request<T> {
    let mut request = Request::new(body);
    request
        .metadata_mut()
        .insert("authorization", token.clone());
    request
}

/// One call to be made.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Which.
    pub(crate) rpc: Rpc,
    /// The instant it was meant to be sent; its latency counts from here.
    pub(crate) intended: Instant,
    /// Not sent again behind this instant.
    pub(crate) give_up: Instant,
}

/// The connections of all candidates, and what is measured on them.
pub(crate) struct Clients {
    clients: Vec<CandidateClient>,
    metrics: Arc<Metrics>,
}

impl Clients {
    /// Opens the connections.
    pub(crate) fn new(url: &str, n: u32, metrics: Arc<Metrics>) -> Result<Self> {
        Ok(Self {
            clients: candidate_clients(url, n)?,
            metrics,
        })
    }

    /// Makes a call on the connection of this number, sends it again while it may pass, and measures it.
    pub(crate) async fn call<T, F, Fut>(
        &self,
        call: Call,
        connection: usize,
        mut send: F,
    ) -> Result<Reply<T>, Failure>
    where
        F: FnMut(CandidateClient) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let client = &self.clients[connection % self.clients.len()];
        let count = |reason: &str| self.metrics.count_retry(reason);
        let result = with_retries(call.give_up, count, || send(client.clone())).await;
        match &result {
            Ok(_) => self.metrics.record(call.rpc, call.intended.elapsed()),
            Err(failure) => self.metrics.count_refusal(failure.reason()),
        }
        result
    }
}

/// Sends until a reply comes that sending again would not change, or until `give_up`.
pub(crate) async fn with_retries<T, Fut>(
    give_up: Instant,
    on_retry: impl Fn(&str),
    mut send: impl FnMut() -> Fut,
) -> Result<Reply<T>, Failure>
where
    Fut: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let mut n_retries = 0;
    loop {
        let (reason, after) = match tokio::time::timeout(CALL_TIMEOUT, send()).await {
            Ok(Ok(reply)) => {
                return Ok(Reply {
                    body: reply.into_inner(),
                    n_retries,
                });
            }
            Ok(Err(status)) => match judge(&status) {
                Judgement::Passing { reason, after } => (reason, after),
                Judgement::Final(failure) => return Err(failure),
            },
            Err(_elapsed) => ("TIMEOUT".to_owned(), None),
        };
        let pause = pause(n_retries, after);
        if Instant::now() + pause >= give_up {
            return Err(Failure::NoReply { last: reason });
        }
        on_retry(&reason);
        n_retries += 1;
        tokio::time::sleep(pause).await;
    }
}

/// What a status means to its caller.
enum Judgement {
    /// It may pass: send again, at once or when the engine said.
    Passing {
        /// Why.
        reason: String,
        /// Not before so long.
        after: Option<Duration>,
    },
    /// It will not.
    Final(Failure),
}

fn judge(status: &Status) -> Judgement {
    let info = status
        .get_details_error_info()
        .filter(|info| info.domain == proto::DOMAIN);
    let Some(info) = info else {
        return judge_foreign(status);
    };
    let after = info.metadata.get("retry_after_ms");
    let after = after.and_then(|text| Some(Duration::from_millis(text.parse().ok()?)));
    let code = ErrorCode::from_str_name(&format!("ERROR_CODE_{}", info.reason));
    // Whoever says when to come again refuses for now only.
    if after.is_some()
        || code == Some(ErrorCode::Conflict)
        || code == Some(ErrorCode::StoreUnavailable)
    {
        return Judgement::Passing {
            reason: info.reason,
            after,
        };
    }
    match code {
        Some(code) => Judgement::Final(Failure::Refused {
            code,
            metadata: sorted(info.metadata),
        }),
        None => Judgement::Final(Failure::Strange {
            status: format!("with unknown reason {}", info.reason),
        }),
    }
}

/// Statuses the engine did not make: the connection broke, or something in between refused.
fn judge_foreign(status: &Status) -> Judgement {
    match status.code() {
        Code::Unavailable
        | Code::Unknown
        | Code::Internal
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted => Judgement::Passing {
            reason: "TRANSPORT".to_owned(),
            after: None,
        },
        code => Judgement::Final(Failure::Strange {
            status: format!("{code:?}: {}", status.message()),
        }),
    }
}

fn sorted(metadata: HashMap<String, String>) -> Vec<(String, String)> {
    let mut metadata: Vec<_> = metadata.into_iter().collect();
    metadata.sort_unstable();
    metadata
}

/// Full jitter, behind the instant that the engine named. Not from the seed: when a call fails, no seed repeats it.
fn pause(n_retries: u32, after: Option<Duration>) -> Duration {
    after.unwrap_or_default() + ceiling(n_retries).mul_f64(rand::rng().random())
}

fn ceiling(n_retries: u32) -> Duration {
    BACKOFF_FIRST
        .saturating_mul(1 << n_retries.min(10))
        .min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tonic_types::ErrorDetails;

    use super::*;

    fn refusal(code: ErrorCode) -> Status {
        let details = ErrorDetails::with_error_info(
            proto::reason(code),
            proto::DOMAIN,
            HashMap::from([("epoch".to_owned(), "2".to_owned())]),
        );
        Status::with_error_details(Code::FailedPrecondition, "refused", details)
    }

    async fn send(replies: &[Result<(), Status>]) -> (Result<u32, Failure>, usize) {
        let n_sent = Cell::new(0);
        let give_up = Instant::now() + Duration::from_secs(60);
        let result = with_retries(
            give_up,
            |_| {},
            || {
                let reply = replies[n_sent.get().min(replies.len() - 1)].clone();
                n_sent.set(n_sent.get() + 1);
                async { reply.map(tonic::Response::new) }
            },
        )
        .await;
        (result.map(|reply| reply.n_retries), n_sent.get())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_sent_again() {
        let replies = [
            Err(Status::unavailable("connection refused")),
            Err(refusal(ErrorCode::StoreUnavailable)),
            Err(refusal(ErrorCode::Conflict)),
            Ok(()),
        ];
        assert_eq!(send(&replies).await, (Ok(3), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_engine_decided_is_not_sent_again() {
        let (result, n_sent) = send(&[Err(refusal(ErrorCode::SessionTakenOver))]).await;
        let failure = result.unwrap_err();
        assert!(failure.is(ErrorCode::SessionTakenOver));
        assert_eq!(
            failure.to_string(),
            "refused with SESSION_TAKEN_OVER epoch=2"
        );
        assert_eq!(n_sent, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_engine_is_given_up_in_time() {
        let begun = Instant::now();
        let (result, n_sent) = send(&[Err(Status::unavailable("connection refused"))]).await;
        let last = "TRANSPORT".to_owned();
        assert_eq!(result, Err(Failure::NoReply { last }));
        assert!(begun.elapsed() <= Duration::from_secs(60));
        assert!(n_sent > 20, "{n_sent}");
    }

    #[test]
    fn pauses_grow_to_their_ceiling() {
        let ms = [0, 1, 2, 6, 40].map(|n| ceiling(n).as_millis());
        assert_eq!(ms, [50, 100, 200, 2_000, 2_000]);
        assert!((0..100).all(|_| pause(40, None) < BACKOFF_MAX));
        let named = Duration::from_secs(3);
        assert!((0..100).all(|_| pause(0, Some(named)) >= named));
    }
}
