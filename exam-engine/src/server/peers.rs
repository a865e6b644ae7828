//! Other roles on other machines, and how they are reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
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
    current: Arc<AtomicUsize>,
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
            current: Arc::default(),
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
            match self.clients[number].tail(exam_id, after.to_vec()).await {
                Ok(entries) => {
                    self.current.store(number, Ordering::Relaxed);
                    return Ok(self.until_broken(number, entries));
                }
                refused => outcome = refused,
            }
        }
        outcome
    }

    /// Goes on with the next engine after a stream that breaks: one that answers need not have the log, and the stream
    /// begins before it is read.
    fn until_broken(&self, number: usize, entries: LogStream) -> LogStream {
        let (current, next) = (Arc::clone(&self.current), (number + 1) % self.clients.len());
        Box::pin(entries.inspect_err(move |_| {
            // Another exam's stream may have gone on already.
            let _ = current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn engines(n: usize) -> Arc<Engines> {
        let channel = || Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
        let token = crate::secrets::Secrets::load(tempfile::tempdir().unwrap().path())
            .unwrap()
            .service;
        Engines::new((0..n).map(|_| channel()).collect(), &token)
    }

    /// How the streams of engine 0 end, and which engine is asked next.
    async fn check(ends: &[bool], next: usize) {
        let engines = engines(2);
        for is_broken in ends {
            let mut entries = vec![Ok(proto::exam::v1::TailLogResponse::default())];
            if *is_broken {
                entries.push(Err(Status::unavailable("cut off")));
            }
            let mut entries = engines.until_broken(0, Box::pin(stream::iter(entries)));
            while let Ok(Some(_)) = entries.try_next().await {}
        }
        assert_eq!(engines.current.load(Ordering::Relaxed), next, "{ends:?}");
    }

    #[tokio::test]
    async fn an_engine_whose_stream_breaks_is_left_for_the_next_one() {
        check(&[false], 0).await;
        check(&[true], 1).await;
        check(&[true, true], 1).await; // the streams of two exams leave it once
    }
}
