//! Commits a second, the store's way beside call by call on shared connections, in turn on one server.
//!
//! Start at [`measure`]. Only the ratio means something: client and server share the machine's cores.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use exam_engine::{
    id::{CandidateId, ExamId, SessionKey},
    store::{AlarmChange, Commit, Field, RedisStore, SessionStore},
};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use crate::{
    bank::{EXAM_ID, N_PARTITIONS},
    redis_server::RedisServer,
};

/// The script that the store sends.
const SCRIPT: &str = include_str!("../../exam-engine/src/store/commit.lua");
/// Connections of the call-by-call way, taken in turn.
const N_SHARED: usize = 4;
/// About the size of a stored progress, and of an event.
const FIELD_BYTES: usize = 48;
const EVENT_BYTES: usize = 48;

/// One way of sending, measured.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Which.
    pub way: &'static str,
    /// Callers that wait at once.
    pub in_flight: usize,
    /// Commits a second.
    pub per_second: f64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            way,
            in_flight,
            per_second,
        } = self;
        write!(f, "{way} in_flight={in_flight} {per_second:.0}/s")
    }
}

/// Measures both ways, `n_turns` times in turn.
///
/// # Errors
/// Without redis-server, or what it refused.
pub async fn measure(in_flight: usize, n_turns: u32, turn: Duration) -> Outcome<Vec<Rate>> {
    let server = RedisServer::start()?;
    let store = Arc::new(RedisStore::connect(&server.url(), false).await?);
    let client = redis::Client::open(server.url())?;
    let mut shared = Vec::new();
    for _ in 0..N_SHARED {
        shared.push(client.get_multiplexed_async_connection().await?);
    }
    let mut rates = Vec::new();
    for n in 0..n_turns {
        let per_second = lanes(&store, in_flight, turn, n).await?;
        rates.push(Rate {
            way: "lanes",
            in_flight,
            per_second,
        });
        let per_second = call_by_call(&shared, in_flight, turn, n).await?;
        rates.push(Rate {
            way: "call_by_call",
            in_flight,
            per_second,
        });
    }
    Ok(rates)
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn candidate(way: u8, turn: u32, caller: usize) -> CandidateId {
    let mut id = [way; 16];
    id[1..5].copy_from_slice(&turn.to_le_bytes());
    id[5..13].copy_from_slice(&caller.to_le_bytes());
    CandidateId(id)
}

async fn lanes(store: &Arc<RedisStore>, in_flight: usize, turn: Duration, n: u32) -> Outcome<f64> {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..in_flight {
        let store = Arc::clone(store);
        let candidate = candidate(1, n, caller);
        let exam = ExamId::parse(EXAM_ID).ok_or("the exam's name")?;
        let key = SessionKey {
            exam,
            partition: candidate.partition(N_PARTITIONS),
            candidate,
        };
        callers.spawn(async move {
            let mut version = 0;
            while begun.elapsed() < turn {
                let commit = Commit {
                    expected_version: version,
                    not_after: None,
                    reset: false,
                    fields: vec![(Field::Progress, Bytes::from_static(&[1; FIELD_BYTES]))],
                    alarm: AlarmChange::Keep,
                    events: vec![Bytes::from_static(&[2; EVENT_BYTES])],
                };
                version = store.commit(&key, commit).await?;
            }
            Outcome::Ok(version)
        });
    }
    sum(callers, begun).await
}

async fn call_by_call(
    shared: &[MultiplexedConnection],
    in_flight: usize,
    turn: Duration,
    n: u32,
) -> Outcome<f64> {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    let script = redis::Script::new(SCRIPT);
    for caller in 0..in_flight {
        let candidate = candidate(2, n, caller);
        let partition = candidate.partition(N_PARTITIONS);
        let mut connection = shared[partition as usize % shared.len()].clone();
        let script = script.clone();
        callers.spawn(async move {
            let tag = format!("kb:{{{EXAM_ID}:{partition}}}");
            let mut record = format!("{tag}:s:").into_bytes();
            record.extend_from_slice(&candidate.0);
            let mut version = 0u64;
            while begun.elapsed() < turn {
                let mut call = script.key(&record);
                call.key(format!("{tag}:log")).key(format!("{tag}:due"));
                call.arg(version).arg(version + 1).arg("").arg("0").arg("");
                call.arg(&candidate.0[..]).arg(2);
                call.arg("p").arg(&[1u8; FIELD_BYTES][..]);
                call.arg(&[2u8; EVENT_BYTES][..]);
                let outcome: i64 = call.invoke_async(&mut connection).await?;
                if outcome != 0 {
                    return Err(format!("the script answered {outcome}").into());
                }
                version += 1;
            }
            Outcome::Ok(version)
        });
    }
    sum(callers, begun).await
}

async fn sum(mut callers: JoinSet<Outcome<u64>>, begun: Instant) -> Outcome<f64> {
    let mut n_commits = 0u64;
    while let Some(done) = callers.join_next().await {
        n_commits += done??;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is shown without decimals"
    )]
    Ok(n_commits as f64 / begun.elapsed().as_secs_f64())
}
