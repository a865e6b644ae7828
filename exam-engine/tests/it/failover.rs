//! A primary dies under load, and another server takes over: in class `replicated` every acknowledged commit is there.
//!
//! Each run is the same: 48 writers, then the primary loses its replicas without anybody noticing, goes on for a moment,
//! and is killed. The negative control is that run in class `single`, which leaves WAIT out: it must lose.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use exam_engine::{
    id::{CandidateId, ExamId, SessionKey},
    store::{AlarmChange, Commit, Error, Field, RedisOptions, RedisStore, SessionStore},
};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    redis_group::{Cluster, SentinelGroup},
    redis_server::{RedisServer, until},
};

const N_WRITERS: u8 = 48;
/// They spread over all primaries of a cluster.
const N_PARTITIONS: u32 = 12;
/// Commits before anything goes wrong, of all writers together.
const UNDER_LOAD: u64 = 500;
/// How long the primary goes on alone: long enough for hundreds of commits without WAIT.
const ALONE: Duration = Duration::from_millis(500);
/// Commits of each writer behind the failover.
const MORE: u64 = 5;
/// A failover takes three seconds, on a machine that runs other tests longer.
const PATIENCE: Duration = Duration::from_secs(40);

struct Writer {
    acknowledged: AtomicU64,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn n_acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Commits as an engine does: after any doubt it loads and decides again. Returns the events that were acknowledged.
    async fn write(&self, store: &RedisStore, number: u8) -> Vec<String> {
        let key = SessionKey {
            exam: exam(),
            partition: u32::from(number) % N_PARTITIONS,
            candidate: CandidateId([number; 16]),
        };
        let (mut version, mut acknowledged) = (0, Vec::new());
        for attempt in 0u64.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let event = format!("{number}:{attempt}"); // never the same twice
            match store.commit(&key, commit(version, &event)).await {
                Ok(now) => {
                    version = now;
                    acknowledged.push(event);
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Err(Error::Conflict | Error::Unavailable(_) | Error::Busy) => {
                    match store.load(&key).await {
                        Ok(record) => version = record.map_or(0, |record| record.version),
                        Err(_) => sleep(Duration::from_millis(20)).await,
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        acknowledged
    }
}

fn exam() -> ExamId {
    ExamId::parse("a").unwrap()
}

fn commit(expected_version: u64, event: &str) -> Commit {
    let bytes = Bytes::copy_from_slice(event.as_bytes());
    Commit {
        expected_version,
        not_after: None,
        reset: false,
        fields: vec![(Field::Progress, bytes.clone())],
        alarm: AlarmChange::Keep,
        events: vec![bytes],
    }
}

/// Cuts a primary off from its replicas, and keeps them from coming back.
fn leave_alone(primary: &RedisServer) {
    primary.tell(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
    primary.tell(&["CLIENT", "KILL", "TYPE", "replica"]);
}

/// The servers of a run, as far as it differs.
trait Group {
    fn url(&self) -> String;
    /// The one that will die.
    fn victim(&mut self) -> &mut RedisServer;
    /// Waits for another primary, and gives it what it needs to be followed by a replica.
    fn wait_for_another(&mut self);
}

impl Group for SentinelGroup {
    fn url(&self) -> String {
        self.url()
    }

    fn victim(&mut self) -> &mut RedisServer {
        &mut self.servers[0]
    }

    fn wait_for_another(&mut self) {
        until("a replica takes over", PATIENCE, || {
            !self.primaries().is_empty()
        });
    }
}

impl Group for Cluster {
    fn url(&self) -> String {
        self.url()
    }

    fn victim(&mut self) -> &mut RedisServer {
        &mut self.servers[0]
    }

    fn wait_for_another(&mut self) {
        until("the replica takes over", PATIENCE, || {
            self.primaries().contains(&3)
        });
        self.servers[0].restart(); // and follows
    }
}

/// Runs it; returns how many commits were acknowledged and how many of them are not in the log.
async fn run(group: &mut impl Group, replicated: bool) -> (usize, usize) {
    let options = RedisOptions {
        replicated,
        ..RedisOptions::default()
    };
    let store = Arc::new(
        RedisStore::open(&group.url(), options.clone())
            .await
            .unwrap(),
    );
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    let mut tasks = JoinSet::new();
    for number in 0..N_WRITERS {
        let writer = Arc::new(Writer {
            acknowledged: AtomicU64::new(0),
            stop: Arc::clone(&stop),
        });
        writers.push(Arc::clone(&writer));
        let store = Arc::clone(&store);
        tasks.spawn(async move { writer.write(&store, number).await });
    }
    let all = |at_least: Vec<u64>| {
        let writers = &writers;
        async move {
            let begun = Instant::now();
            let is_there = || {
                let mut each = writers.iter().zip(&at_least);
                each.all(|(writer, n)| writer.n_acknowledged() >= *n)
            };
            while !is_there() {
                assert!(begun.elapsed() < PATIENCE, "writers do not go on");
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    all(vec![UNDER_LOAD / u64::from(N_WRITERS); writers.len()]).await;
    leave_alone(group.victim());
    sleep(ALONE).await;
    group.victim().kill9();
    tokio::task::block_in_place(|| group.wait_for_another());
    all(writers
        .iter()
        .map(|writer| writer.n_acknowledged() + MORE)
        .collect())
    .await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
    let reader = RedisStore::open(&group.url(), options).await.unwrap();
    let log = log(&reader).await;
    let n_lost = acknowledged
        .iter()
        .filter(|event| !log.contains(*event))
        .count();
    println!("{} acknowledged, {n_lost} lost", acknowledged.len());
    (acknowledged.len(), n_lost)
}

/// Reads all events; none may be there twice.
async fn log(store: &RedisStore) -> HashSet<String> {
    let mut log = HashSet::new();
    for partition in 0..N_PARTITIONS {
        for event in store
            .read_log(&exam(), partition, 0, 1_000_000)
            .await
            .unwrap()
        {
            let event = String::from_utf8(event.to_vec()).unwrap();
            assert!(log.insert(event.clone()), "{event} stands twice");
        }
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replicated_commit_survives_the_primary_behind_sentinels() {
    let (_, n_lost) = run(&mut SentinelGroup::start(), true).await;
    assert_eq!(n_lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replicated_commit_survives_the_primary_in_a_cluster() {
    let (_, n_lost) = run(&mut Cluster::start(), true).await;
    assert_eq!(n_lost, 0);
}

/// Negative control.
#[tokio::test(flavor = "multi_thread")]
async fn without_wait_acknowledged_commits_are_lost_behind_sentinels() {
    let (_, n_lost) = run(&mut SentinelGroup::start(), false).await;
    assert!(n_lost > 0, "the run cannot tell replicated from single");
}

/// Negative control.
#[tokio::test(flavor = "multi_thread")]
async fn without_wait_acknowledged_commits_are_lost_in_a_cluster() {
    let (_, n_lost) = run(&mut Cluster::start(), false).await;
    assert!(n_lost > 0, "the run cannot tell replicated from single");
}
