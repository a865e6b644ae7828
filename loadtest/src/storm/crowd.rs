//! Everybody in the storm: those who are released, those who answer, and those who come besides.
//!
//! Invariant: each candidate has one call in flight, so an acknowledged number says what is stored.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use client::Retries;
use proto::exam::v1::{GetPaperRequest, GetResultRequest};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tokio::{task::JoinSet, time::Instant};

use super::{
    N_ITEMS,
    series::{Class, Series},
};
use crate::{
    args::{Spread, StormArgs},
    arrivals::arrivals,
    client::{
        CandidateClient, Failure, authorized, bearer, candidate_clients, retries, start_attempt,
        with_retries,
    },
    herd::{Member, message},
    latency::{Metrics, Percentiles, Rpc},
    node::Node,
    organizer::Organizer,
    verdict::Told,
};

/// HTTP/2 connections: each carries some 150 candidates, fewer than a server lets call at once on one.
const CHANNELS: u32 = 128;
/// Calls in flight of the closed loop that finds the peak.
const PEAK_IN_FLIGHT: usize = 512;
/// A start is sent again for so long.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Behind the end of a phase calls may still come to their end.
const TAIL: Duration = Duration::from_secs(15);
/// Who comes besides in each second of the overload: newcomers, readers of papers and of results, boards.
const STARTS_PER_S: u32 = 100;
const READS_PER_S: u32 = 200;
const RESULTS_PER_S: u32 = 100;
const BOARDS_PER_S: u32 = 50;

/// All candidates, and where their calls are counted.
pub(super) struct Crowd {
    clients: Vec<CandidateClient>,
    organizer: Organizer,
    series: Arc<Series>,
    args: StormArgs,
    codes: Vec<String>,
    newcomers: Vec<String>,
    members: Vec<(u32, Member)>,
}

impl Crowd {
    /// Hands out codes: to those who are released, and to those who come during the overload.
    pub(super) async fn enter(node: &Node, args: &StormArgs, series: Arc<Series>) -> Result<Self> {
        let n_newcomers = STARTS_PER_S * args.overload_s;
        let (n, all) = (args.candidates, args.candidates + n_newcomers);
        Ok(Self {
            clients: candidate_clients(&node.engine.url, CHANNELS)?,
            organizer: node.organizer()?,
            codes: node.codes(0..n).await?,
            newcomers: node.codes(n..all).await?,
            members: Vec::new(),
            series,
            args: args.clone(),
        })
    }

    fn client(&self, number: usize) -> CandidateClient {
        self.clients[number % self.clients.len()].clone()
    }

    /// Releases everybody; returns latencies from the instants at which they were meant to start.
    pub(super) async fn start(&mut self) -> Result<Percentiles> {
        let window = Duration::from_secs_f64(self.args.release_s);
        let instants = arrivals(1, self.args.candidates, window, Spread::Poisson);
        let begun = Instant::now();
        let metrics = Arc::new(Metrics::new());
        let mut starting = JoinSet::new();
        for ((number, code), at) in (0_u32..).zip(std::mem::take(&mut self.codes)).zip(instants) {
            let (series, metrics) = (Arc::clone(&self.series), Arc::clone(&metrics));
            let client = self.client(number as usize);
            let intended = begun + at;
            starting.spawn(async move {
                tokio::time::sleep_until(intended).await;
                let member = start_one(&client, code, intended, &series).await?;
                metrics.record(Rpc::StartAttempt, intended.elapsed());
                anyhow::Ok((number, member))
            });
        }
        for started in starting.join_all().await {
            self.members
                .push(started.context("a candidate could not start")?);
        }
        let found = metrics.percentiles();
        found.into_iter().next().context("nobody started")
    }

    /// Saves as fast as a closed loop goes, for a while.
    pub(super) async fn peak(&mut self, lasts: Duration) -> Result<()> {
        let until = Instant::now() + lasts;
        let per_hand = self.members.len().div_ceil(PEAK_IN_FLIGHT).max(1);
        let mut members = std::mem::take(&mut self.members).into_iter();
        let mut hands = JoinSet::new();
        for index in 0..PEAK_IN_FLIGHT {
            let mut hand: Vec<_> = members.by_ref().take(per_hand).collect();
            let (client, series) = (self.client(index), Arc::clone(&self.series));
            hands.spawn(async move {
                let retries = retries();
                'working: while !hand.is_empty() {
                    for (_, member) in &mut hand {
                        let now = Instant::now();
                        if now >= until {
                            break 'working;
                        }
                        save(&client, &retries, member, now, until + TAIL, &series).await?;
                    }
                }
                anyhow::Ok(hand)
            });
        }
        for hand in hands.join_all().await {
            self.members.extend(hand?);
        }
        Ok(())
    }

    /// Lets answers fall due at this rate, all candidates together, and others come besides.
    pub(super) async fn overload(&mut self, per_s: f64) -> Result<()> {
        let lasts = Duration::from_secs(u64::from(self.args.overload_s));
        let until = Instant::now() + lasts;
        let mean = Duration::from_secs_f64(self.members.len() as f64 / per_s.max(1.0));
        let besides = self.besides(until);
        let mut candidates = JoinSet::new();
        for (number, member) in std::mem::take(&mut self.members) {
            let client = self.client(number as usize);
            let series = Arc::clone(&self.series);
            candidates.spawn(async move {
                let member = answer_as_due(&client, number, member, mean, until, &series).await?;
                anyhow::Ok((number, member))
            });
        }
        let (candidates, newcomers) = tokio::join!(candidates.join_all(), besides);
        for candidate in candidates {
            self.members.push(candidate?);
        }
        self.members.extend(newcomers);
        Ok(())
    }

    /// Newcomers, readers and boards, each a call of its own at its instant; returns those who could start.
    fn besides(&mut self, until: Instant) -> impl Future<Output = Vec<(u32, Member)>> + use<> {
        let seconds = self.args.overload_s;
        let begun = Instant::now();
        let mut starts = JoinSet::new();
        let mut others = JoinSet::new();
        let n = self.args.candidates;
        let newcomers = std::mem::take(&mut self.newcomers);
        for ((number, code), at) in (n..).zip(newcomers).zip(even(STARTS_PER_S, seconds)) {
            let (client, series) = (self.client(number as usize), Arc::clone(&self.series));
            let intended = begun + at;
            starts.spawn(async move {
                tokio::time::sleep_until(intended).await;
                let member = start_one(&client, code, intended, &series).await.ok()?;
                Some((number, member))
            });
        }
        for (class, per_s) in [(Class::Read, READS_PER_S), (Class::Result, RESULTS_PER_S)] {
            for (index, at) in even(per_s, seconds).enumerate() {
                let (client, series) = (self.client(index), Arc::clone(&self.series));
                let token = self.members[index % self.members.len()].1.token.clone();
                others.spawn(async move {
                    tokio::time::sleep_until(begun + at).await;
                    look(&client, class, &token, until, &series).await;
                });
            }
        }
        for at in even(BOARDS_PER_S, seconds) {
            let (organizer, series) = (self.organizer.clone(), Arc::clone(&self.series));
            others.spawn(async move {
                tokio::time::sleep_until(begun + at).await;
                board(&organizer, &series).await;
            });
        }
        async move {
            let (started, _) = tokio::join!(starts.join_all(), others.join_all());
            started.into_iter().flatten().collect()
        }
    }

    /// Returns what everybody was told.
    pub(super) fn told(&self) -> Vec<Told> {
        let members = self.members.iter();
        members
            .map(|(number, member)| super::told(*number, member))
            .collect()
    }
}

/// Instants at equal distances.
fn even(per_s: u32, seconds: u32) -> impl Iterator<Item = Duration> {
    let n = per_s * seconds;
    (0..n).map(move |index| Duration::from_secs_f64(f64::from(index) / f64::from(per_s)))
}

async fn start_one(
    client: &CandidateClient,
    access_code: String,
    intended: Instant,
    series: &Series,
) -> Result<Member, Failure> {
    let give_up = intended + START_PATIENCE;
    series.sent(Class::Start);
    let refused = |_: &str| {
        series.shed(Class::Start);
        series.sent(Class::Start); // it comes again
    };
    let body = start_attempt(client, &access_code, give_up, refused).await?;
    series.done(Class::Start, intended.elapsed());
    let strange = |status: &str| Failure::Strange {
        status: status.to_owned(),
    };
    let session = body
        .session
        .ok_or_else(|| strange("a start without a session"))?;
    Ok(Member {
        token: bearer(&body.session_token).map_err(|_| strange("the token fits no header"))?,
        last_seq: session.next_seq - 1,
    })
}

/// Saves the next answer; gives up quietly when the time is over.
async fn save(
    client: &CandidateClient,
    retries: &Retries,
    member: &mut Member,
    intended: Instant,
    give_up: Instant,
    series: &Series,
) -> Result<()> {
    let seq = member.last_seq + 1;
    let refused = |_: &str| series.shed(Class::Answer);
    let saved = retries.call(give_up, refused, |_| {
        series.sent(Class::Answer);
        let request = authorized(message(seq, N_ITEMS), &member.token);
        let mut client = client.clone();
        async move { client.save_answers(request).await }
    });
    match saved.await {
        Ok(_) => {
            member.last_seq = seq;
            series.done(Class::Answer, intended.elapsed());
            Ok(())
        }
        Err(Failure::NoReply { .. }) => Ok(()),
        Err(failure) => Err(failure).context("SaveAnswers"),
    }
}

/// Answers fall due whether or not the one before was taken; what is late is sent at once, and its latency counts from
/// then: what has not been sent yet stands between offered and saved.
async fn answer_as_due(
    client: &CandidateClient,
    number: u32,
    mut member: Member,
    mean: Duration,
    until: Instant,
    series: &Series,
) -> Result<Member> {
    let mut rng = ChaCha12Rng::seed_from_u64(u64::from(number));
    let mut at = Instant::now() + exponential(mean, &mut rng);
    let mut schedule = Vec::new();
    while at < until {
        series.due(at);
        schedule.push(at);
        at += exponential(mean, &mut rng);
    }
    let retries = retries(); // each device has leave of its own to come again
    for due in schedule {
        tokio::time::sleep_until(due).await;
        let now = Instant::now();
        if now >= until {
            break;
        }
        save(client, &retries, &mut member, now, until, series).await?;
    }
    Ok(member)
}

/// Gaps of independent events.
fn exponential(mean: Duration, rng: &mut ChaCha12Rng) -> Duration {
    let share: f64 = rng.random();
    mean.mul_f64(-(1.0 - share).ln())
}

async fn look(
    client: &CandidateClient,
    class: Class,
    token: &tonic::metadata::MetadataValue<tonic::metadata::Ascii>,
    give_up: Instant,
    series: &Series,
) {
    let begun = Instant::now();
    let on_retry = |_: &str| series.shed(class);
    let is_answered = if class == Class::Read {
        let paper = with_retries(give_up, on_retry, || {
            series.sent(class);
            let request = authorized(GetPaperRequest {}, token);
            let mut client = client.clone();
            async move { client.get_paper(request).await }
        });
        paper.await.is_ok()
    } else {
        let result = with_retries(give_up, on_retry, || {
            series.sent(class);
            let request = authorized(GetResultRequest {}, token);
            let mut client = client.clone();
            async move { client.get_result(request).await }
        });
        // "Not there yet" is the answer of a server that had time for the question.
        matches!(result.await, Ok(_) | Err(Failure::Refused { .. }))
    };
    if is_answered {
        series.done(class, begun.elapsed());
    }
}

async fn board(organizer: &Organizer, series: &Series) {
    let begun = Instant::now();
    series.sent(Class::Board);
    match organizer.standings_once(10).await {
        Ok(()) => series.done(Class::Board, begun.elapsed()),
        Err(_) => series.shed(Class::Board), // a board is drawn again later
    }
}
