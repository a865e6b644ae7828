//! A candidate's device: starts at its turn, and saves each answer under one number until it is stored.

use std::time::Duration;

use proto::exam::v1::{
    Answer, CheckInRequest, CheckInResponse, Response, SaveAnswersRequest, SaveAnswersResponse,
    SessionInfo, StartAttemptRequest, candidate_service_client::CandidateServiceClient,
};
use tokio::time::Instant;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{authorized, bearer, failure::Failure, retries::Retries};

/// Asks again after this where the server has named no time.
const CALM_POLL: Duration = Duration::from_secs(2);
/// Answers of one message.
const MAX_ANSWERS: usize = 32;

/// Tells when to start; asked again, the same.
///
/// # Errors
/// As [`Retries::call`].
async fn check_in(
    client: &CandidateServiceClient<Channel>,
    retries: &Retries,
    access_code: &str,
    give_up: Instant,
) -> Result<CheckInResponse, Failure> {
    let send = |_: &str| {
        let (mut client, access_code) = (client.clone(), access_code.to_owned());
        async move { client.check_in(CheckInRequest { access_code }).await }
    };
    Ok(retries.call(give_up, |_| {}, send).await?.body)
}

/// A candidate's device with a running attempt.
pub struct Device {
    client: CandidateServiceClient<Channel>,
    retries: Retries,
    token: MetadataValue<Ascii>,
    session: SessionInfo,
    unsaved: Vec<Answer>,
    poll: Duration,
}

impl Device {
    /// Checks in, waits for the slot and the turn, and starts.
    ///
    /// # Errors
    /// As [`Retries::call`].
    pub async fn start(
        client: CandidateServiceClient<Channel>,
        retries: Retries,
        access_code: &str,
        give_up: Instant,
    ) -> Result<Self, Failure> {
        let slot = check_in(&client, &retries, access_code, give_up).await?;
        let wait = Duration::from_millis(slot.starts_at_ms.saturating_sub(slot.now_ms));
        tokio::time::sleep(wait.min(give_up.saturating_duration_since(Instant::now()))).await;
        let send = |newer: &str| {
            let newest = if newer.is_empty() {
                &slot.slot_token
            } else {
                newer
            };
            let request = StartAttemptRequest {
                access_code: access_code.to_owned(),
                slot_token: newest.to_owned(),
                device_id: String::new(),
            };
            let mut client = client.clone();
            async move { client.start_attempt(request).await }
        };
        let started = retries.call(give_up, |_| {}, send).await?.body;
        let strange = || Failure::Strange {
            status: "a start without session or token".to_owned(),
        };
        Ok(Self {
            token: bearer(&started.session_token).map_err(|_| strange())?,
            session: started.session.ok_or_else(strange)?,
            client,
            retries,
            unsaved: Vec::new(),
            poll: CALM_POLL,
        })
    }

    /// Returns the attempt as it was at the start.
    #[must_use]
    pub fn session(&self) -> &SessionInfo {
        &self.session
    }

    /// Returns the token for calls that are not here.
    #[must_use]
    pub fn token(&self) -> &MetadataValue<Ascii> {
        &self.token
    }

    /// Returns the time after which the server wants to be asked again.
    #[must_use]
    pub fn poll(&self) -> Duration {
        self.poll
    }

    /// Stores an answer. It has its number from now on: if this fails, [`Device::save_kept`] sends it again under it.
    ///
    /// # Errors
    /// As [`Retries::call`].
    pub async fn save(
        &mut self,
        position: u32,
        response: Response,
        give_up: Instant,
    ) -> Result<Option<SaveAnswersResponse>, Failure> {
        self.unsaved.push(Answer {
            seq: self.session.next_seq,
            position,
            response: Some(response),
            ..Answer::default()
        });
        self.session.next_seq += 1;
        self.save_kept(give_up).await
    }

    /// Stores what is kept, oldest first, 32 in a message; returns the last receipt, nothing if nothing was kept.
    ///
    /// # Errors
    /// As [`Retries::call`]; what is not stored yet is kept.
    pub async fn save_kept(
        &mut self,
        give_up: Instant,
    ) -> Result<Option<SaveAnswersResponse>, Failure> {
        let mut last = None;
        while !self.unsaved.is_empty() {
            let n = self.unsaved.len().min(MAX_ANSWERS);
            let send = |_: &str| {
                let answers = self.unsaved[..n].to_vec();
                let request = authorized(
                    SaveAnswersRequest {
                        answers,
                        ..SaveAnswersRequest::default()
                    },
                    &self.token,
                );
                let mut client = self.client.clone();
                async move { client.save_answers(request).await }
            };
            let saved = self.retries.call(give_up, |_| {}, send).await?.body;
            self.unsaved.drain(..n);
            self.poll = Duration::from_millis(saved.next_poll_ms.into());
            last = Some(saved);
        }
        Ok(last)
    }
}
