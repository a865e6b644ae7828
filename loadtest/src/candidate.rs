//! One candidate: plays a plan against the engine, and remembers every promise it was given.
//!
//! It sends again with the same numbers until its deadline, as a real device does, so a killed and
//! restarted engine costs it time and nothing else. It also checks what it can see: receipts, the
//! chain, the deadline, its own answers after a reload, and that a fenced device cannot write.
//! Invariant: an answer stands in [`Told::acknowledged`] only if a receipt covers it. Start at [`play`].

mod attempt;
mod choose;

use std::{sync::Arc, time::Duration};

use attempt::{Attempt, session};
use proto::exam::v1::{
    Answer, EndedBy, ErrorCode, GetPaperRequest, GetResultRequest, GetSessionRequest,
    SaveAnswersRequest, SaveAnswersResponse, SessionInfo, StartAttemptRequest,
    StartAttemptResponse, SubmitAttemptRequest,
};
use tokio::time::Instant;
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
};

use crate::{
    chain::canonical,
    client::{Call, CandidateClient, Clients, Failure, Reply, authorized},
    latency::{Metrics, Rpc, add},
    plan::Plan,
    verdict::{Acknowledged, Ending, Told},
};

/// A start is sent again for so long: an engine that takes longer to come back has failed the exam.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Calls are sent again so long behind the deadline: what was stored in time is then confirmed.
const PATIENCE_BEYOND_DEADLINE: Duration = Duration::from_secs(15);
/// The device's idea of the deadline may be off by the way of one reply.
const DEADLINE_SLACK: Duration = Duration::from_secs(1);
/// A result may need so many looks until it is graded.
const RESULT_LOOKS: u32 = 20;
/// Pause between two looks.
const RESULT_PAUSE: Duration = Duration::from_millis(500);

/// What all candidates share.
pub(crate) struct World {
    /// Connections.
    pub(crate) clients: Clients,
    /// Measurements.
    pub(crate) metrics: Arc<Metrics>,
    /// The exam.
    pub(crate) exam_id: String,
    /// Results may be read as soon as the attempt is graded.
    pub(crate) results_at_end: bool,
}

/// Plays one plan from the given instant on and returns what the engine promised.
pub(crate) async fn play(
    world: Arc<World>,
    plan: Plan,
    access_code: String,
    number: u32,
    arrival: Instant,
) -> Told {
    let mut candidate = Candidate {
        told: Told::nothing(plan.person.candidate, plan.person.area.clone()),
        access_code,
        arrival,
        connection: usize::try_from(number).unwrap_or_default(),
        deadline: arrival + START_PATIENCE,
        world: &world,
    };
    if let Err(stop) = Box::pin(candidate.sit(&plan)).await {
        candidate.stop(stop);
    }
    add(&world.metrics.done, 1);
    candidate.told
}

/// Why a candidate stops before the end of the plan.
enum Stop {
    /// Time is over.
    OutOfTime,
    /// Nothing came any more, so the outcome is not known.
    NoReply(String),
    /// Something happened that must not.
    Wrong(String),
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

struct Candidate<'a> {
    world: &'a World,
    told: Told,
    access_code: String,
    arrival: Instant,
    connection: usize,
    /// The deadline by this machine's clock.
    deadline: Instant,
}

impl Candidate<'_> {
    /// The plan, from the start to the submission.
    async fn sit(&mut self, plan: &Plan) -> Result<(), Stop> {
        let Reply { body, n_retries } = self.start(self.arrival).await?;
        add(&self.world.metrics.started, 1);
        self.told.ending = Ending::Unknown;
        let mut attempt =
            Attempt::begin(&self.world.exam_id, &self.told.candidate, &body, n_retries)?;
        self.told.attempt = attempt.number;
        self.deadline = here(session(&body)?);

        self.read_paper(&mut attempt).await?;
        for index in 0..plan.steps.len() {
            self.step(plan, index, &mut attempt).await?;
        }
        let Some(submits_at) = plan.submits_at else {
            self.told.ending = Ending::Abandoned;
            return Ok(());
        };
        self.wait_until(self.arrival + submits_at).await?;
        self.submit(&mut attempt, self.arrival + submits_at).await?;
        if plan.reads_result && self.world.results_at_end {
            self.read_result(&attempt).await?;
        }
        Ok(())
    }

    async fn step(&mut self, plan: &Plan, index: usize, attempt: &mut Attempt) -> Result<(), Stop> {
        let step = &plan.steps[index];
        let intended = self.arrival + step.at;
        self.wait_until(intended).await?;
        if plan.reconnects_at == Some(index) {
            self.reconnect(attempt).await?;
        }
        if plan.takes_over_at == Some(index) {
            self.take_over(attempt).await?;
        }
        let answers = attempt.answers(plan, step);
        if plan.twice_at == Some(index) {
            self.save_twice(attempt, &answers, intended).await
        } else {
            self.save(attempt, &answers, intended).await
        }
    }

    async fn start(&self, intended: Instant) -> Result<Reply<StartAttemptResponse>, Stop> {
        let call = Call {
            rpc: Rpc::StartAttempt,
            intended,
            give_up: Instant::now() + START_PATIENCE,
        };
        let send = |mut client: CandidateClient, slot_token: &str| {
            let request = StartAttemptRequest {
                access_code: self.access_code.clone(),
                slot_token: slot_token.to_owned(),
                device_id: String::new(),
            };
            async move { client.start_attempt(request).await }
        };
        let clients = &self.world.clients;
        let reply = clients.call_in_turn(call, self.connection, send);
        reply
            .await
            .map_err(|failure| self.judge("StartAttempt", &failure))
    }

    async fn read_paper(&mut self, attempt: &mut Attempt) -> Result<(), Stop> {
        let send = |mut client: CandidateClient, token| async move {
            client
                .get_paper(authorized(GetPaperRequest {}, &token))
                .await
        };
        let paper = self
            .call(attempt, Rpc::GetPaper, Instant::now(), send)
            .await?;
        Ok(attempt.take_paper(paper)?)
    }

    async fn save(
        &mut self,
        attempt: &mut Attempt,
        answers: &[Answer],
        intended: Instant,
    ) -> Result<(), Stop> {
        let saved = self
            .call(attempt, Rpc::SaveAnswers, intended, |client, token| {
                send_answers(client, token, answers.to_vec())
            })
            .await?;
        self.take_receipt(attempt, answers, &saved);
        Ok(())
    }

    /// Sends one message twice at once, over two connections: it must count once.
    async fn save_twice(
        &mut self,
        attempt: &mut Attempt,
        answers: &[Answer],
        intended: Instant,
    ) -> Result<(), Stop> {
        let call = self.in_time(Rpc::SaveAnswers, intended);
        let clients = &self.world.clients;
        let send =
            |client: CandidateClient| send_answers(client, attempt.token.clone(), answers.to_vec());
        let (one, other) = futures::join!(
            clients.call(call, self.connection, send),
            clients.call(call, self.connection + 1, send)
        );
        for reply in [one, other] {
            match reply {
                Ok(saved) => self.take_receipt(attempt, answers, &saved.body),
                Err(_) => self.save(attempt, answers, intended).await?, // decides what the failure means
            }
        }
        Ok(())
    }

    fn take_receipt(
        &mut self,
        attempt: &mut Attempt,
        answers: &[Answer],
        saved: &SaveAnswersResponse,
    ) {
        let receipt = saved.receipt.as_ref();
        self.note(attempt.check_deadline(saved.deadline_ms));
        self.note(attempt.check_receipt(receipt));
        if !attempt.is_covered(receipt) {
            return;
        }
        let last = self.told.acknowledged.last().map_or(0, |a| a.seq);
        for answer in answers.iter().filter(|answer| answer.seq > last) {
            add(&self.world.metrics.acknowledged, 1);
            self.told.acknowledged.push(Acknowledged {
                seq: answer.seq,
                position: answer.position,
                response: canonical(answer.response.as_ref()),
            });
        }
    }

    /// The page was closed and opened again: another connection, and everything read anew.
    async fn reconnect(&mut self, attempt: &mut Attempt) -> Result<(), Stop> {
        self.connection += 1;
        let send = |mut client: CandidateClient, token| async move {
            client
                .get_session(authorized(GetSessionRequest {}, &token))
                .await
        };
        let reply = self
            .call(attempt, Rpc::GetSession, Instant::now(), send)
            .await?;
        self.note(attempt.check_stored(&reply));
        let session = reply
            .session
            .ok_or_else(|| wrong("no session after a reload"))?;
        self.see(attempt, &session)?;
        self.note(attempt.check_session(&session));
        Ok(())
    }

    /// Looks at a session seen again: it must be the same attempt, still running.
    fn see(&mut self, attempt: &Attempt, session: &SessionInfo) -> Result<(), Stop> {
        if session.attempt != attempt.number {
            return Err(self.over_or("the engine gave another attempt"));
        }
        if session.ended {
            return Err(self.over_or("the attempt ended before its deadline"));
        }
        self.deadline = here(session);
        Ok(())
    }

    /// Goes on with a second device; the first one must not be able to write any more.
    async fn take_over(&mut self, attempt: &mut Attempt) -> Result<(), Stop> {
        let old_token = attempt.token.clone();
        self.start_again(attempt).await?;
        let probe = Answer {
            seq: attempt.chain.last_seq() + 1,
            position: 0,
            ..Answer::default()
        };
        let call = self.in_time(Rpc::SaveAnswers, Instant::now());
        let reply = self.world.clients.call(call, self.connection, |client| {
            send_answers(client, old_token.clone(), vec![probe.clone()])
        });
        match reply.await {
            Ok(_) => Err(wrong("a device that was taken over could still write")),
            Err(failure) if failure.is(ErrorCode::SessionTakenOver) => Ok(()),
            Err(Failure::NoReply { .. }) => Ok(()),
            Err(failure) => Err(self.judge("SaveAnswers of the old device", &failure)),
        }
    }

    async fn start_again(&mut self, attempt: &mut Attempt) -> Result<(), Stop> {
        let Reply { body, n_retries } = self.start(Instant::now()).await?;
        let session = session(&body)?;
        self.see(attempt, session)?;
        self.note(attempt.check_session(session));
        self.note(attempt.check_takeover(&body));
        Ok(attempt.go_on(&body, n_retries)?)
    }

    async fn submit(&mut self, attempt: &mut Attempt, intended: Instant) -> Result<(), Stop> {
        let request = SubmitAttemptRequest {
            last_seq: attempt.chain.last_seq(),
            chain: attempt.chain.head().to_vec().into(),
        };
        let reply = self
            .call(
                attempt,
                Rpc::SubmitAttempt,
                intended,
                |mut client, token| {
                    let request = authorized(request.clone(), &token);
                    async move { client.submit_attempt(request).await }
                },
            )
            .await?;
        let session = reply
            .session
            .ok_or_else(|| wrong("a submission without a session"))?;
        if session.ended_by() != EndedBy::Candidate {
            return Err(self.over_or("a submission that did not end the attempt"));
        }
        self.note(attempt.check_receipt(reply.receipt.as_ref()));
        self.told.ending = Ending::Submitted {
            last_seq: attempt.chain.last_seq(),
            chain: attempt.chain.head(),
        };
        Ok(())
    }

    /// Looks for the own result until it is graded; that it takes long is no fault of the answers.
    async fn read_result(&mut self, attempt: &Attempt) -> Result<(), Stop> {
        for _ in 0..RESULT_LOOKS {
            let call = self.in_time(Rpc::GetResult, Instant::now());
            let reply = self
                .world
                .clients
                .call(call, self.connection, |mut client| {
                    let request = authorized(GetResultRequest {}, &attempt.token);
                    async move { client.get_result(request).await }
                });
            match reply.await {
                Ok(Reply { body, .. }) => {
                    if usize::try_from(body.n_items).ok() != Some(attempt.items.len()) {
                        self.problem("the result is one of another paper");
                    }
                    return Ok(());
                }
                Err(failure) if failure.is(ErrorCode::ResultNotReady) => {
                    tokio::time::sleep(RESULT_PAUSE).await;
                }
                Err(Failure::NoReply { .. }) => return Ok(()),
                Err(failure) => {
                    self.problem(&format!("GetResult {failure}"));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Calls with the session's token. A start whose reply was lost may have fenced this device
    /// behind its back; then it starts again, as its owner would.
    async fn call<T, Fut>(
        &mut self,
        attempt: &mut Attempt,
        rpc: Rpc,
        intended: Instant,
        send: impl Fn(CandidateClient, MetadataValue<Ascii>) -> Fut,
    ) -> Result<T, Stop>
    where
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        loop {
            let call = self.in_time(rpc, intended);
            let reply = self.world.clients.call(call, self.connection, |client| {
                send(client, attempt.token.clone())
            });
            match reply.await {
                Ok(reply) => return Ok(reply.body),
                Err(failure)
                    if failure.is(ErrorCode::SessionTakenOver) && attempt.doubtful_starts > 0 =>
                {
                    attempt.doubtful_starts -= 1;
                    self.resume(attempt).await?;
                }
                Err(failure) => return Err(self.judge(&format!("{rpc:?}"), &failure)),
            }
        }
    }

    /// As [`Self::start_again`], while a message may have been stored without a reply.
    async fn resume(&mut self, attempt: &mut Attempt) -> Result<(), Stop> {
        let Reply { body, n_retries } = self.start(Instant::now()).await?;
        self.see(attempt, session(&body)?)?;
        Ok(attempt.go_on(&body, n_retries)?)
    }

    fn in_time(&self, rpc: Rpc, intended: Instant) -> Call {
        Call {
            rpc,
            intended,
            give_up: self.deadline + PATIENCE_BEYOND_DEADLINE,
        }
    }

    /// Waits for an instant of the plan; how late this machine wakes the candidate is measured.
    async fn wait_until(&self, instant: Instant) -> Result<(), Stop> {
        if instant > self.deadline {
            return Err(Stop::OutOfTime);
        }
        if instant > Instant::now() {
            tokio::time::sleep_until(instant).await;
            self.world.metrics.record_lateness(instant.elapsed());
        }
        Ok(())
    }

    fn judge(&self, what: &str, failure: &Failure) -> Stop {
        let over = [
            ErrorCode::DeadlinePassed,
            ErrorCode::AttemptEnded,
            ErrorCode::AttemptsExhausted,
        ];
        match failure {
            Failure::NoReply { last } => Stop::NoReply(last.clone()),
            Failure::Refused { code, .. } if over.contains(code) => {
                self.over_or(&format!("{what} {failure} before the deadline"))
            }
            Failure::Refused { .. } | Failure::Strange { .. } => {
                wrong(&format!("{what} {failure}"))
            }
        }
    }

    /// Fine if time is over, else wrong.
    fn over_or(&self, what: &str) -> Stop {
        let started = self.told.ending != Ending::NeverStarted;
        if started && Instant::now() + DEADLINE_SLACK >= self.deadline {
            Stop::OutOfTime
        } else {
            wrong(what)
        }
    }

    fn note(&mut self, check: attempt::Check) {
        self.told.problems.extend(check.err());
    }

    fn problem(&mut self, what: &str) {
        self.told.problems.push(what.to_owned());
    }

    fn stop(&mut self, stop: Stop) {
        match stop {
            Stop::OutOfTime => self.told.ending = Ending::OutOfTime,
            Stop::Wrong(what) => self.problem(&what),
            Stop::NoReply(last) => {
                if self.told.ending == Ending::NeverStarted {
                    self.problem(&format!("could not start: no reply, last {last}"));
                }
            }
        }
    }
}

async fn send_answers(
    mut client: CandidateClient,
    token: MetadataValue<Ascii>,
    answers: Vec<Answer>,
) -> Result<tonic::Response<SaveAnswersResponse>, Status> {
    let request = authorized(
        SaveAnswersRequest {
            answers,
            ..SaveAnswersRequest::default()
        },
        &token,
    );
    client.save_answers(request).await
}

/// The deadline by this machine's clock.
fn here(session: &SessionInfo) -> Instant {
    let left_ms = session.deadline_ms.saturating_sub(session.now_ms);
    Instant::now() + Duration::from_millis(left_ms)
}

fn wrong(what: &str) -> Stop {
    Stop::Wrong(what.to_owned())
}

#[cfg(test)]
mod tests;
