//! Very many candidates at little cost: what one needs to answer, and calls in bulk with a bound on those in flight.
//!
//! Invariant: a candidate has at most one call in flight, and its numbers rise by one with each acknowledged answer.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use proto::exam::v1::{
    Answer, GetPaperRequest, Response, SaveAnswersRequest, SubmitAttemptRequest, response::Value,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tokio::{task::JoinSet, time::Instant};
use tonic::metadata::{Ascii, MetadataValue};

use crate::client::{CandidateClient, authorized, bearer, start_attempt, with_retries};

/// A call is sent again for so long; a measurement of a server that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(60);
/// Options that every item of the sample bank has at least.
const N_OPTIONS: u32 = 3;

/// A candidate whose attempt runs.
#[derive(Clone)]
pub(crate) struct Member {
    /// The right to write.
    pub(crate) token: MetadataValue<Ascii>,
    /// The last answer that was acknowledged.
    pub(crate) last_seq: u32,
}

/// Starts an attempt for each access code, so many at a time; in the order of the codes.
pub(crate) async fn start(
    clients: &[CandidateClient],
    codes: Vec<String>,
    in_flight: usize,
    reads_paper: bool,
) -> Result<Vec<Member>> {
    let starts = codes.into_iter().zip(clients.iter().cycle().cloned());
    stream::iter(starts.map(|(code, client)| start_one(client, code, reads_paper)))
        .buffered(in_flight)
        .try_collect()
        .await
}

async fn start_one(
    client: CandidateClient,
    access_code: String,
    reads_paper: bool,
) -> Result<Member> {
    let give_up = Instant::now() + PATIENCE;
    let started = start_attempt(&client, &access_code, give_up, |_| {});
    let started = started.await.context("StartAttempt")?;
    let session = started.session.context("a start without a session")?;
    let member = Member {
        token: bearer(&started.session_token)?,
        last_seq: session.next_seq - 1,
    };
    if reads_paper {
        let paper = with_retries(
            Instant::now() + PATIENCE,
            |_| {},
            || {
                let request = authorized(GetPaperRequest {}, &member.token);
                let mut client = client.clone();
                async move { client.get_paper(request).await }
            },
        );
        paper.await.context("GetPaper")?;
    }
    Ok(member)
}

/// How a herd answers.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Everybody so many answers, one a call, item after item.
    Each(u32),
    /// So many answers in all, each of a random candidate.
    Random {
        /// Answers.
        n: u64,
        /// Seed of the choice.
        seed: u64,
    },
    /// Everybody submits.
    Submit,
}

/// Lets a herd work, so many calls in flight; returns it.
pub(crate) async fn work(
    clients: &[CandidateClient],
    herd: Vec<Member>,
    n_items: u32,
    in_flight: usize,
    work: Work,
) -> Result<Vec<Member>> {
    ensure!(!herd.is_empty(), "an empty herd does not work");
    let n_workers = in_flight.min(herd.len());
    let n_members = herd.len();
    let mut hands: Vec<Vec<Member>> = Vec::with_capacity(n_workers);
    let per_hand = n_members.div_ceil(n_workers);
    let mut members = herd.into_iter();
    for _ in 0..n_workers {
        hands.push(members.by_ref().take(per_hand).collect());
    }
    let clients = Arc::new(clients.to_vec());
    let mut workers = JoinSet::new();
    for (index, hand) in hands.into_iter().enumerate() {
        let client = clients[index % clients.len()].clone();
        let share = share(work, n_members, hand.len(), index);
        workers.spawn(async move { (index, one_hand(client, hand, n_items, share).await) });
    }
    let mut done: Vec<(usize, Vec<Member>)> = Vec::with_capacity(n_workers);
    while let Some(worker) = workers.join_next().await {
        let (index, hand) = worker.context("a worker broke")?;
        done.push((index, hand?));
    }
    done.sort_unstable_by_key(|(index, _)| *index); // the order of the herd stays
    Ok(done.into_iter().flat_map(|(_, hand)| hand).collect())
}

/// The part of the work that falls on a hand of so many.
fn share(work: Work, n_members: usize, n_hand: usize, index: usize) -> Work {
    match work {
        Work::Random { n, seed } => Work::Random {
            n: n * n_hand as u64 / n_members as u64,
            seed: seed.wrapping_add(index as u64),
        },
        Work::Each(_) | Work::Submit => work,
    }
}

async fn one_hand(
    client: CandidateClient,
    mut hand: Vec<Member>,
    n_items: u32,
    work: Work,
) -> Result<Vec<Member>> {
    match work {
        Work::Each(n) => {
            for member in &mut hand {
                for _ in 0..n {
                    answer(&client, member, n_items).await?;
                }
            }
        }
        Work::Random { n, seed } => {
            let mut rng = ChaCha12Rng::seed_from_u64(seed);
            for _ in 0..n {
                if !hand.is_empty() {
                    let index = rng.random_range(0..hand.len());
                    answer(&client, &mut hand[index], n_items).await?;
                }
            }
        }
        Work::Submit => {
            for member in &hand {
                submit(&client, member).await?;
            }
        }
    }
    Ok(hand)
}

async fn answer(client: &CandidateClient, member: &mut Member, n_items: u32) -> Result<()> {
    let seq = member.last_seq + 1;
    let saved = with_retries(
        Instant::now() + PATIENCE,
        |_| {},
        || {
            let request = authorized(message(seq, n_items), &member.token);
            let mut client = client.clone();
            async move { client.save_answers(request).await }
        },
    );
    saved.await.context("SaveAnswers")?;
    member.last_seq = seq;
    Ok(())
}

async fn submit(client: &CandidateClient, member: &Member) -> Result<()> {
    let submitted = with_retries(
        Instant::now() + PATIENCE,
        |_| {},
        || {
            let body = SubmitAttemptRequest {
                last_seq: member.last_seq,
                ..SubmitAttemptRequest::default()
            };
            let request = authorized(body, &member.token);
            let mut client = client.clone();
            async move { client.submit_attempt(request).await }
        },
    );
    submitted.await.context("SubmitAttempt")?;
    Ok(())
}

/// One answer, item after item.
pub(crate) fn message(seq: u32, n_items: u32) -> SaveAnswersRequest {
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
    fn work_at_random_is_dealt_by_the_size_of_the_hand() {
        let Work::Random { n, seed } = share(Work::Random { n: 1_000, seed: 5 }, 100, 25, 3) else {
            panic!("another kind of work");
        };
        assert_eq!((n, seed), (250, 8));
    }

    #[test]
    fn messages_walk_over_the_paper() {
        let positions: Vec<u32> = (1..=5)
            .map(|seq| message(seq, 3).answers[0].position)
            .collect();
        assert_eq!(positions, [0, 1, 2, 0, 1]);
    }
}
