//! Other roles on other machines, and how they are reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use grader::service::{LogSource, LogStream};
use proto::exam::v1::{LogPosition, log_service_client::LogServiceClient};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use super::{TlsFiles, port::CONNECTION_WINDOW_BYTES, tls};
use crate::{
    engine::{self, Error},
    secrets::Token,
};

/// A message of 1,024 entries, each with a paper of 200 items, stays below.
const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// A machine that is there answers within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A machine that fell silent is given up after both.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// An engine hears of a new exam within a second, a grader at once: so often, so long apart, it asks before that is worth
/// a line in the log.
const UNKNOWN_TRIES: u32 = 20;
const UNKNOWN_PAUSE: Duration = Duration::from_millis(100);

/// Makes the channel to another role, which connects when it is first used: the one place where it is decided how roles talk between machines.
///
/// # Errors
/// [`Error::Invalid`] names a URL that is none, or one of TLS without this process's own certificate and the authority of
/// the roles'.
pub(super) fn role_channel(url: &str, tls: Option<&TlsFiles>) -> engine::Result<Channel> {
    let invalid = |what: &str| Error::Invalid {
        field: "url",
        what: format!("{url}: {what}"),
    };
    let own = tls.and_then(|files| Some((files, files.client_ca.as_ref()?)));
    let endpoint = Endpoint::from_shared(url.replacen("https:", "http:", 1)) // TLS comes beneath it
        .map_err(|_| {
            invalid("cần dạng http://máy:cổng / a URL like http://machine:port is expected")
        })?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true);
    match own {
        Some((files, ca)) if url.starts_with("https:") => {
            Ok(tls::channel(&endpoint, ca, &files.cert, &files.key)?)
        }
        _ if url.starts_with("https:") => Err(invalid(
            "cần --tls-cert, --tls-key và --tls-client-ca / --tls-cert, --tls-key and --tls-client-ca are needed",
        )),
        _ => Ok(endpoint.connect_lazy()),
    }
}

/// Adds the service's word to every call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

type LogClient = LogServiceClient<InterceptedService<Channel, Bearer>>;

/// Engines of one store, of which any has the whole log: the grader reads from one until it is gone, then from the next.
pub(super) struct Engines {
    clients: Vec<LogClient>,
    current: AtomicUsize,
}

impl Engines {
    pub(super) fn new(channels: Vec<Channel>, token: &Token) -> Arc<Self> {
        let word = format!("Bearer {}", token.reveal());
        let bearer = Bearer(word.parse().expect("hexadecimal digits are ASCII"));
        let clients = channels.into_iter().map(|channel| {
            LogServiceClient::with_interceptor(channel, bearer.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
        });
        Arc::new(Self {
            clients: clients.collect(),
            current: AtomicUsize::new(0),
        })
    }
}

#[tonic::async_trait]
impl LogSource for Engines {
    async fn tail(&self, exam_id: &str, after: Vec<LogPosition>) -> Result<LogStream, Status> {
        for _ in 0..UNKNOWN_TRIES {
            match self.tail_any(exam_id, &after).await {
                Err(status)
                    if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) =>
                {
                    tokio::time::sleep(UNKNOWN_PAUSE).await;
                }
                other => return other,
            }
        }
        self.tail_any(exam_id, &after).await
    }
}

impl Engines {
    /// Reads from the engine in use, or from the first of the others that answers.
    async fn tail_any(&self, exam_id: &str, after: &[LogPosition]) -> Result<LogStream, Status> {
        let first = self.current.load(Ordering::Relaxed);
        let mut outcome = Err(Status::unavailable("no engine is named"));
        for turn in 0..self.clients.len() {
            let number = (first + turn) % self.clients.len();
            outcome = self.clients[number].tail(exam_id, after.to_vec()).await;
            if outcome.is_ok() {
                self.current.store(number, Ordering::Relaxed);
                break;
            }
        }
        outcome
    }
}
