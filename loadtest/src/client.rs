//! The connections of all candidates, and what is measured on them. What is sent again, and when, `client` decides.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use client::{Backoff, Retries};
pub(crate) use client::{Failure, Reply, authorized};
use proto::exam::v1::{
    StartAttemptRequest, StartAttemptResponse, candidate_service_client::CandidateServiceClient,
};
use tokio::time::Instant;
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::latency::{Metrics, Rpc};

/// Ceiling of every pause: shorter than a phone's, so that a short rehearsal does not spend its time with waiting.
const BACKOFF_CAP: Duration = Duration::from_secs(2);

/// A connection that a firewall forgot is noticed within both: the operating system would take minutes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The client of one connection.
pub(crate) type CandidateClient = CandidateServiceClient<Channel>;

/// Opens a connection when it is first used, and again whenever it broke.
pub(crate) fn channel(url: &str) -> Result<Channel> {
    let endpoint = client::endpoint(url).context("the server's address")?;
    Ok(endpoint
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
    client::bearer(token).context("the token does not fit a header")
}

/// Returns how this program repeats its calls.
pub(crate) fn retries() -> Retries {
    Retries {
        backoff: Backoff {
            cap: BACKOFF_CAP,
            ..Backoff::default()
        },
        ..Retries::default()
    }
}

/// Sends until a reply comes that sending again would not change, or until `give_up`.
pub(crate) async fn with_retries<T, Fut>(
    give_up: Instant,
    on_retry: impl FnMut(&str),
    mut send: impl FnMut() -> Fut,
) -> Result<Reply<T>, Failure>
where
    Fut: Future<Output = Result<tonic::Response<T>, Status>>,
{
    retries().call(give_up, on_retry, |_| send()).await
}

/// Starts an attempt, in its turn.
pub(crate) async fn start_attempt(
    client: &CandidateClient,
    access_code: &str,
    give_up: Instant,
    on_retry: impl FnMut(&str),
) -> Result<StartAttemptResponse, Failure> {
    let start = |slot_token: &str| {
        let mut client = client.clone();
        let request = StartAttemptRequest {
            access_code: access_code.to_owned(),
            slot_token: slot_token.to_owned(),
            device_id: String::new(),
        };
        async move { client.start_attempt(request).await }
    };
    Ok(retries().call(give_up, on_retry, start).await?.body)
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
    retries: Retries,
}

impl Clients {
    /// Opens the connections.
    pub(crate) fn new(url: &str, n: u32, metrics: Arc<Metrics>) -> Result<Self> {
        Ok(Self {
            clients: candidate_clients(url, n)?,
            metrics,
            retries: retries(),
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
        self.call_in_turn(call, connection, |client, _| send(client))
            .await
    }

    /// The same for a start, which must send along the slot token of the last refusal.
    pub(crate) async fn call_in_turn<T, F, Fut>(
        &self,
        call: Call,
        connection: usize,
        mut send: F,
    ) -> Result<Reply<T>, Failure>
    where
        F: FnMut(CandidateClient, &str) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let client = &self.clients[connection % self.clients.len()];
        let count = |reason: &str| self.metrics.count_retry(reason);
        let send = |slot_token: &str| send(client.clone(), slot_token);
        let result = self.retries.call(call.give_up, count, send).await;
        match &result {
            Ok(_) => self.metrics.record(call.rpc, call.intended.elapsed()),
            Err(failure) => self.metrics.count_refusal(failure.reason()),
        }
        result
    }
}
