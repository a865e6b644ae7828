//! The engine's wall clock jumps an hour ahead, an hour back, and right again, while attempts run.
//!
//! Predicate (P5): by the store's clock, which runs on, no attempt ends early and none late, no answer is refused before
//! its deadline and none taken behind it, and no deadline moves earlier. The clock of Redis is the machine's; that of
//! the embedded store is the engine's own, which must therefore not follow a jump.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use futures::future::join_all;
use proto::exam::v1::{Answer, ErrorCode, Response, SaveAnswersRequest, response::Value};
use tokio::time::Instant;

use super::{
    contest,
    round::{Outcome, Round, text},
    site::{N_ITEMS, Setup, Site},
};
use crate::{
    chain::canonical,
    client::{
        CandidateClient, Failure, authorized, bearer, candidate_clients, start_attempt,
        with_retries,
    },
    own_exam::person,
    verdict::{Acknowledged, Ending, Told},
};

/// Candidates who answer until they are refused.
const N_CANDIDATES: u32 = 24;
/// Time for an attempt: all jumps lie within it.
const DURATION: Duration = Duration::from_secs(12);
/// Pause between two answers.
const PAUSE: Duration = Duration::from_millis(250);
/// Clocks of one machine agree within this.
const SLACK: Duration = Duration::from_millis(100);
/// Calls are sent again for so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Seconds that the wall clock is ahead of the true time, one after the other.
const JUMPS: [&str; 4] = ["+3600", "+0", "-3600", "+0"];

/// The engine on its own store.
pub(super) async fn embedded(round: &mut Round) -> Result<Outcome> {
    play(round, Setup::embedded()).await
}

/// The engine over Redis.
pub(super) async fn redis(round: &mut Round) -> Result<Outcome> {
    play(round, Setup::redis()).await
}

async fn play(round: &mut Round, setup: Setup) -> Result<Outcome> {
    let Some(library) = round.tools.faketime.clone() else {
        let what = "libfaketime is not installed (package faketime)";
        return Ok(Outcome::Skipped(what.to_owned()));
    };
    let dir = tempfile::tempdir().context("make a temporary folder")?;
    let hand = dir.path().join("clock");
    turn(&hand, JUMPS[3])?;
    let variables = [
        ("LD_PRELOAD", text(&library)?),
        ("FAKETIME_TIMESTAMP_FILE", text(&hand)?),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), // a jump moves the wall clock only
        ("DONT_FAKE_MONOTONIC", "1"),          // its older name
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let setup = Setup {
        engine_environment: variables.into(),
        duration_ms: u64::try_from(DURATION.as_millis()).ok(),
        ..setup
    };
    let site = Site::open(&round.tools, setup).await?;
    let persons: Vec<_> = (0..N_CANDIDATES).map(person).collect();
    let codes = site.organizer()?.codes(&persons).await?;
    let clients = candidate_clients(&site.url(), 2)?;
    let watchers = (0..)
        .zip(codes)
        .zip(clients.iter().cycle())
        .map(|((number, code), client)| watch(client.clone(), number, code));
    let (told, jumped) = tokio::join!(join_all(watchers), jump(round, &hand));
    jumped?;
    let told = told.into_iter().collect::<Result<_>>()?;
    Ok(Outcome::Played(contest::judge(&site, told).await?))
}

async fn jump(round: &mut Round, hand: &Path) -> Result<()> {
    for offset in JUMPS {
        let after = round.wait_ms(1_000..2_500).await;
        turn(hand, offset)?;
        round.note(format!("clock at {offset} s after {after:.1?}"));
    }
    Ok(())
}

fn turn(hand: &Path, offset: &str) -> Result<()> {
    let new = hand.with_extension("new");
    fs::write(&new, format!("{offset}\n")).context("turn the clock")?;
    fs::rename(new, hand).context("turn the clock") // never seen half
}

/// Answers until the engine refuses; returns what was promised and what must not have happened.
async fn watch(client: CandidateClient, number: u32, access_code: String) -> Result<Told> {
    let person = person(number);
    let mut told = Told::nothing(person.candidate, person.area);
    let asked = Instant::now();
    let start = start_attempt(&client, &access_code, asked + PATIENCE, |_| {});
    let start = start.await.context("StartAttempt")?;
    let (earliest_end, latest_end) = (asked + DURATION, Instant::now() + DURATION);
    let session = start.session.context("a start without a session")?;
    told.attempt = session.attempt;
    told.ending = Ending::OutOfTime;
    let token = bearer(&start.session_token)?;
    let mut deadline_ms = session.deadline_ms;
    for seq in 1.. {
        let answer = Answer {
            seq,
            position: seq % N_ITEMS,
            response: Some(Response {
                value: Some(Value::Chosen(1)),
            }),
            ..Answer::default()
        };
        let sent = Instant::now();
        let saved = with_retries(
            sent + PATIENCE,
            |_| {},
            || {
                let answers = vec![answer.clone()];
                let body = SaveAnswersRequest {
                    answers,
                    ..SaveAnswersRequest::default()
                };
                let request = authorized(body, &token);
                let mut client = client.clone();
                async move { client.save_answers(request).await }
            },
        );
        match saved.await {
            Ok(saved) => {
                if sent > latest_end + SLACK {
                    told.problems
                        .push("an answer was taken behind the deadline".to_owned());
                }
                if saved.body.deadline_ms < deadline_ms {
                    told.problems.push("the deadline moved earlier".to_owned());
                }
                deadline_ms = saved.body.deadline_ms;
                told.acknowledged.push(Acknowledged {
                    seq,
                    position: answer.position,
                    response: canonical(answer.response.as_ref()),
                });
            }
            Err(failure) => {
                told.problems.extend(refused(&failure, earliest_end));
                return Ok(told);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("an attempt that never ended")
}

/// Says what is wrong about a refusal: only the end of time may end an attempt here.
fn refused(failure: &Failure, earliest_end: Instant) -> Option<String> {
    let is_over = [ErrorCode::DeadlinePassed, ErrorCode::AttemptEnded]
        .iter()
        .any(|code| failure.is(*code));
    let left = earliest_end.saturating_duration_since(Instant::now());
    if !is_over {
        return Some(failure.to_string());
    }
    (left > SLACK).then(|| format!("{failure} {left:.1?} before the deadline"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: ErrorCode) -> Failure {
        Failure::Refused {
            code,
            metadata: Vec::new(),
        }
    }

    #[tokio::test]
    async fn an_end_before_its_time_and_any_other_refusal_are_seen() {
        let now = Instant::now();
        let (later, earlier) = (now + DURATION, now - Duration::from_secs(1));
        assert_eq!(refused(&refusal(ErrorCode::DeadlinePassed), earlier), None);
        let early = refused(&refusal(ErrorCode::DeadlinePassed), later).unwrap();
        assert!(early.contains("before the deadline"), "{early}");
        let early = refused(&refusal(ErrorCode::AttemptEnded), later);
        assert!(early.is_some());
        let other = refused(&refusal(ErrorCode::AnswerGap), earlier);
        assert!(other.is_some());
    }
}
