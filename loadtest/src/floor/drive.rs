//! A closed loop with a fixed number of calls in flight: what a server can do at most.
//!
//! Invariant: each candidate has at most one call in flight, and its numbers rise without a gap.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use proto::exam::v1::{Answer, Response, SaveAnswersRequest, response::Value};
use tokio::{task::JoinSet, time::Instant};
use tonic::metadata::{Ascii, MetadataValue};

use super::setup::{self, Engine};
use crate::client::{CandidateClient, authorized, bearer, candidate_clients};

/// The first calls of a round meet idle connections; they are sent but not counted.
const RAMP: Duration = Duration::from_millis(100);
/// A call that takes longer ends the measurement: the server is stuck.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Attempts started at the same time while the exam is set up.
const STARTS_IN_FLIGHT: usize = 64;
/// Options that every item of the sample bank has at least.
const N_OPTIONS: u32 = 3;

/// A server with candidates ready to answer.
pub(crate) struct Target {
    clients: Vec<CandidateClient>,
    n_items: u32,
    candidates: Vec<Candidate>,
}

struct Candidate {
    token: MetadataValue<Ascii>,
    last_seq: u32,
}

impl Target {
    /// Candidates for a bare server: it reads their numbers from tokens as long as the engine's.
    pub(crate) fn bare(url: &str, channels: u32) -> Result<Self> {
        let candidates = (0..setup::CANDIDATES).map(|number| {
            Ok(Candidate {
                token: bearer(&format!("{number:0>96}"))?,
                last_seq: 0,
            })
        });
        Ok(Self {
            clients: candidate_clients(url, channels)?,
            n_items: setup::N_ITEMS,
            candidates: candidates.collect::<Result<_>>()?,
        })
    }

    /// Starts an attempt for every candidate of an engine.
    pub(crate) async fn of(engine: &Engine, channels: u32) -> Result<Self> {
        let clients = candidate_clients(&engine.child.url, channels)?;
        let starts = engine.codes.iter().zip(clients.iter().cycle());
        let candidates =
            futures::stream::iter(starts.map(|(code, client)| start(client.clone(), code.clone())))
                .buffered(STARTS_IN_FLIGHT)
                .try_collect();
        Ok(Self {
            candidates: candidates.await?,
            clients,
            n_items: setup::N_ITEMS,
        })
    }

    /// Returns the number of all calls so far, counted or not.
    #[cfg(test)]
    pub(crate) fn n_sent(&self) -> u64 {
        self.candidates.iter().map(|c| u64::from(c.last_seq)).sum()
    }

    /// Drives the server for a while and returns calls a second.
    pub(crate) async fn drive(&mut self, in_flight: u32, duration: Duration) -> Result<f64> {
        let counted_from = Instant::now() + RAMP;
        let until = counted_from + duration;
        let n_done = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for (index, candidates) in deal(std::mem::take(&mut self.candidates), in_flight) {
            let worker = Worker {
                client: self.clients[index % self.clients.len()].clone(),
                n_items: self.n_items,
                candidates,
                counted_from,
                until,
                n_done: n_done.clone(),
            };
            workers.spawn(worker.work());
        }
        while let Some(worker) = workers.join_next().await {
            self.candidates.extend(worker.context("a worker broke")??);
        }
        Ok(n_done.load(Ordering::Relaxed) as f64 / duration.as_secs_f64())
    }
}

/// Deals candidates to as many workers as calls are to be in flight.
fn deal(candidates: Vec<Candidate>, in_flight: u32) -> Vec<(usize, Vec<Candidate>)> {
    let n = (in_flight as usize).clamp(1, candidates.len().max(1));
    let mut hands: Vec<(usize, Vec<Candidate>)> = (0..n).map(|index| (index, Vec::new())).collect();
    for (index, candidate) in candidates.into_iter().enumerate() {
        hands[index % n].1.push(candidate);
    }
    hands
}

async fn start(mut client: CandidateClient, access_code: String) -> Result<Candidate> {
    let request = proto::exam::v1::StartAttemptRequest {
        access_code,
        slot_token: String::new(),
        device_id: String::new(),
    };
    let reply = client
        .start_attempt(request)
        .await
        .context("StartAttempt")?
        .into_inner();
    let session = reply.session.context("a start without a session")?;
    ensure!(
        session.n_items == setup::N_ITEMS,
        "the paper has {} items",
        session.n_items
    );
    Ok(Candidate {
        token: bearer(&reply.session_token)?,
        last_seq: session.next_seq - 1,
    })
}

/// One call in flight.
struct Worker {
    client: CandidateClient,
    n_items: u32,
    candidates: Vec<Candidate>,
    counted_from: Instant,
    until: Instant,
    n_done: Arc<AtomicU64>,
}

impl Worker {
    async fn work(mut self) -> Result<Vec<Candidate>> {
        let mut n_done = 0;
        'round: loop {
            for candidate in &mut self.candidates {
                candidate.last_seq += 1;
                let request =
                    authorized(message(candidate.last_seq, self.n_items), &candidate.token);
                let call = tokio::time::timeout(CALL_LIMIT, self.client.save_answers(request));
                call.await
                    .context("a call is stuck")?
                    .context("SaveAnswers")?;
                let now = Instant::now();
                if now >= self.until {
                    break 'round;
                }
                n_done += u64::from(now >= self.counted_from);
            }
        }
        self.n_done.fetch_add(n_done, Ordering::Relaxed);
        Ok(self.candidates)
    }
}

/// One answer, item after item.
fn message(seq: u32, n_items: u32) -> SaveAnswersRequest {
    let value = Some(Value::Chosen(1 << (seq % N_OPTIONS)));
    SaveAnswersRequest {
        answers: vec![Answer {
            seq,
            position: (seq - 1) % n_items,
            response: Some(Response { value }),
            ..Answer::default()
        }],
        ..SaveAnswersRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_is_dealt_once() {
        let candidates = (0..10).map(|last_seq| Candidate {
            token: bearer("token").unwrap(),
            last_seq,
        });
        let hands = deal(candidates.collect(), 4);
        let sizes: Vec<usize> = hands.iter().map(|(_, hand)| hand.len()).collect();
        assert_eq!(sizes, [3, 3, 2, 2]);
        let mut all: Vec<u32> = hands
            .iter()
            .flat_map(|(_, hand)| hand)
            .map(|c| c.last_seq)
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<u32>>());
    }

    #[test]
    fn messages_walk_over_the_paper() {
        let positions: Vec<u32> = (1..=5)
            .map(|seq| message(seq, 3).answers[0].position)
            .collect();
        assert_eq!(positions, [0, 1, 2, 0, 1]);
    }
}
