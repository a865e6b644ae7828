//! The one layer that sends again.

use std::sync::Arc;

use tokio::time::Instant;
use tonic::Status;

use crate::{
    CALL_TIMEOUT,
    backoff::{Backoff, Budget},
    failure::{Failure, Verdict, judge},
};

/// A reply, and how often the call had been sent before in vain.
#[derive(Debug)]
pub struct Reply<T> {
    /// What came.
    pub body: T,
    /// Calls whose reply was never seen.
    pub n_retries: u32,
}

/// How calls are repeated; clones share one budget.
#[derive(Clone, Debug, Default)]
pub struct Retries {
    /// Pauses.
    pub backoff: Backoff,
    /// How often.
    pub budget: Arc<Budget>,
}

impl Retries {
    /// Sends until a reply comes that sending again would not change, or until `give_up`. `send` gets the slot token of
    /// the last refusal, empty if there was none; `on_retry` the reason of each repetition.
    ///
    /// # Errors
    /// What the server decided, or that nothing came in time.
    pub async fn call<T, Fut>(
        &self,
        give_up: Instant,
        mut on_retry: impl FnMut(&str),
        mut send: impl FnMut(&str) -> Fut,
    ) -> Result<Reply<T>, Failure>
    where
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut n_retries = 0;
        let mut slot_token = String::new();
        self.budget.earn();
        loop {
            let until = (Instant::now() + CALL_TIMEOUT).min(give_up);
            let sent = tokio::time::timeout_at(until, send(&slot_token)).await;
            let (reason, after) = match sent {
                Ok(Ok(reply)) => {
                    return Ok(Reply {
                        body: reply.into_inner(),
                        n_retries,
                    });
                }
                Ok(Err(status)) => match judge(&status) {
                    Verdict::Final(failure) => return Err(failure),
                    Verdict::Again {
                        reason,
                        after,
                        slot_token: newer,
                    } => {
                        slot_token = newer.unwrap_or(slot_token);
                        (reason, after)
                    }
                },
                Err(_elapsed) => ("TIMEOUT", None),
            };
            // Who was told when to come makes no storm; everybody else needs leave, or waits as long as it ever does.
            let has_leave = after.is_some() || self.budget.spend();
            let step = if has_leave { n_retries } else { u32::MAX };
            let pause = self.backoff.pause(step, after, &mut rand::rng());
            if Instant::now() + pause >= give_up {
                return Err(Failure::NoReply {
                    last: reason.to_owned(),
                });
            }
            on_retry(reason);
            n_retries += 1;
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::HashMap, time::Duration};

    use proto::exam::v1::ErrorCode;
    use tonic::Code;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn refusal(code: ErrorCode, facts: &[(&str, &str)]) -> Status {
        let facts = facts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<HashMap<_, _>>();
        let details = ErrorDetails::with_error_info(proto::reason(code), proto::DOMAIN, facts);
        Status::with_error_details(Code::FailedPrecondition, "refused", details)
    }

    /// Plays replies, the last for ever; returns the outcome and the slot tokens that were sent.
    async fn play(replies: &[Result<(), Status>]) -> (Result<u32, Failure>, Vec<String>) {
        let sent = RefCell::new(Vec::new());
        let give_up = Instant::now() + Duration::from_secs(60);
        let retries = Retries::default();
        let send = |slot_token: &str| {
            let mut sent = sent.borrow_mut();
            let reply = replies[sent.len().min(replies.len() - 1)].clone();
            sent.push(slot_token.to_owned());
            async { reply.map(tonic::Response::new) }
        };
        let result = retries.call(give_up, |_| {}, send).await;
        (result.map(|reply| reply.n_retries), sent.take())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_sent_again() {
        let replies = [
            Err(Status::unavailable("connection refused")),
            Err(refusal(ErrorCode::StoreUnavailable, &[])),
            Err(refusal(ErrorCode::Conflict, &[])),
            Err(refusal(ErrorCode::Overloaded, &[])),
            Err(refusal(ErrorCode::CallTimedOut, &[])),
            Ok(()),
        ];
        let (result, sent) = play(&replies).await;
        assert_eq!((result, sent.len()), (Ok(5), 6));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_decided_is_not_sent_again() {
        let (result, sent) =
            play(&[Err(refusal(ErrorCode::SessionTakenOver, &[("epoch", "2")]))]).await;
        let failure = result.unwrap_err();
        assert!(failure.is(ErrorCode::SessionTakenOver));
        assert_eq!(
            failure.to_string(),
            "refused with SESSION_TAKEN_OVER epoch=2"
        );
        assert_eq!(sent.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_in_the_lobby_is_kept_and_its_time_waited() {
        let begun = Instant::now();
        let place = [("retry_after_ms", "12000"), ("slot_token", "abc")];
        let replies = [
            Err(refusal(ErrorCode::WaitInLobby, &place)),
            Err(Status::unavailable("connection refused")),
            Ok(()),
        ];
        let (result, sent) = play(&replies).await;
        assert_eq!(result, Ok(2));
        assert_eq!(sent, ["", "abc", "abc"]);
        assert!(begun.elapsed() >= Duration::from_secs(12));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_server_is_given_up_in_time_and_not_stormed() {
        let begun = Instant::now();
        let (result, sent) = play(&[Err(Status::unavailable("connection refused"))]).await;
        let last = "TRANSPORT".to_owned();
        assert_eq!(result, Err(Failure::NoReply { last }));
        assert!(begun.elapsed() <= Duration::from_secs(60));
        assert!((4..40).contains(&sent.len()), "{}", sent.len());
    }
}
