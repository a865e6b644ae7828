//! What only the store on Redis must do: find the primary again, forget what is archived, refuse what it cannot keep.

use std::{process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use exam_engine::{
    id::{CandidateId, ExamId, SessionKey},
    store::{
        AlarmChange, Commit, Durability, Error, Field, RedisOptions, RedisStore, Result,
        SessionStore, StoredExam,
    },
};

use crate::{
    redis_group::Cluster,
    redis_server::{DURABLE, RedisServer, redis_program, until},
};

const PATIENCE: Duration = Duration::from_secs(20);
const PARTITION: u32 = 1;

fn exam() -> ExamId {
    ExamId::parse("a").unwrap()
}

fn key(candidate: u8) -> SessionKey {
    SessionKey {
        exam: exam(),
        partition: PARTITION,
        candidate: CandidateId([candidate; 16]),
    }
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

async fn replicated(url: &str) -> Result<RedisStore> {
    let options = RedisOptions {
        replicated: true,
        ..RedisOptions::default()
    };
    RedisStore::open(url, options).await
}

async fn log_behind(store: &RedisStore, after: u64) -> Result<Vec<Bytes>> {
    store.read_log(&exam(), PARTITION, after, 100).await
}

/// Commits until it is taken, as a device's retries would.
async fn commit_again(store: &RedisStore, version: u64, event: &str) {
    let begun = std::time::Instant::now();
    loop {
        match store.commit(&key(1), commit(version, event)).await {
            Ok(_) => return,
            Err(Error::Unavailable(_)) if begun.elapsed() < PATIENCE => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A primary and a replica that follows it, with settings for both.
fn pair(settings_of_replica: &[&str]) -> (RedisServer, RedisServer) {
    let program = redis_program();
    let settings = [&DURABLE[..], &["--repl-diskless-sync-delay", "0"]].concat();
    let primary = RedisServer::on_port(&program, &settings);
    let port = primary.port().to_string();
    let follow = [&settings[..], &["--replicaof", "127.0.0.1", &port]].concat();
    let replica = RedisServer::on_port(&program, &[&follow[..], settings_of_replica].concat());
    until("the replica follows", PATIENCE, || {
        primary.info("replication").contains("state=online")
    });
    (primary, replica)
}

fn signal(server: &RedisServer, name: &str) {
    let sent = Command::new("kill")
        .args([name, &server.pid().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

async fn write_five(store: &RedisStore) {
    for version in 0..5 {
        let event = (version + 1).to_string();
        store
            .commit(&key(1), commit(version, &event))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trimmed_log_says_where_it_begins_and_goes_on_without_a_gap() {
    let mut server = RedisServer::start();
    let store = RedisStore::connect(&server.url(), false).await.unwrap();
    store.trim_log(&exam(), PARTITION, 3).await.unwrap(); // of nothing, nothing
    write_five(&store).await;
    store.trim_log(&exam(), PARTITION, 3).await.unwrap();
    for after in [0, 2] {
        let answer = log_behind(&store, after).await;
        assert!(
            matches!(answer, Err(Error::Trimmed { first: 4 })),
            "{answer:?}"
        );
    }
    assert_eq!(log_behind(&store, 3).await.unwrap(), ["4", "5"]);
    // All of it: the end is still known, also to a server that reads its files again, rewritten or not.
    store.trim_log(&exam(), PARTITION, 5).await.unwrap();
    for rewrites in [false, true] {
        if rewrites {
            server.tell(&["BGREWRITEAOF"]);
            until("the file is rewritten", PATIENCE, || {
                server
                    .info("persistence")
                    .contains("aof_rewrite_in_progress:0")
                    && server
                        .info("persistence")
                        .contains("aof_rewrite_scheduled:0")
            });
        }
        server.kill9();
        server.restart();
        let store = RedisStore::connect(&server.url(), false).await.unwrap();
        assert_eq!(store.log_ends(&exam(), 2).await.unwrap(), [0, 5]);
        assert!(log_behind(&store, 5).await.unwrap().is_empty());
        let answer = log_behind(&store, 4).await;
        assert!(
            matches!(answer, Err(Error::Trimmed { first: 6 })),
            "{answer:?}"
        );
    }
    let store = RedisStore::connect(&server.url(), false).await.unwrap();
    store.commit(&key(1), commit(5, "6")).await.unwrap();
    assert_eq!(log_behind(&store, 5).await.unwrap(), ["6"]);
    assert_eq!(store.log_ends(&exam(), 2).await.unwrap(), [0, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_goes_on_with_a_trimmed_log_and_without_the_script() {
    let (primary, replica) = pair(&[]);
    let store = replicated(&primary.url()).await.unwrap();
    write_five(&store).await;
    store.trim_log(&exam(), PARTITION, 5).await.unwrap();
    until("the replica has trimmed, too", PATIENCE, || {
        replica.query::<u64>(&["XLEN", "kb:{a:1}:log"]).ok() == Some(0)
    });
    drop(primary);
    replica.tell(&["REPLICAOF", "NO", "ONE"]);
    replica.tell(&["SCRIPT", "FLUSH"]);
    let store = RedisStore::connect(&replica.url(), false).await.unwrap();
    assert_eq!(store.log_ends(&exam(), 2).await.unwrap(), [0, 5]);
    store.commit(&key(1), commit(5, "6")).await.unwrap();
    assert_eq!(log_behind(&store, 5).await.unwrap(), ["6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_the_script_is_given_it_again() {
    let server = RedisServer::start();
    let store = RedisStore::connect(&server.url(), false).await.unwrap();
    store.commit(&key(1), commit(0, "1")).await.unwrap();
    server.tell(&["SCRIPT", "FLUSH"]);
    store.commit(&key(1), commit(1, "2")).await.unwrap();
    assert_eq!(log_behind(&store, 0).await.unwrap(), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_a_replica_for_a_while_is_used_again() {
    let server = RedisServer::start();
    let store = RedisStore::connect(&server.url(), false).await.unwrap();
    store.commit(&key(1), commit(0, "1")).await.unwrap();
    server.tell(&["REPLICAOF", "127.0.0.1", "1"]); // nobody is there: it keeps what it has
    let refused = store.commit(&key(1), commit(1, "x")).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    server.tell(&["REPLICAOF", "NO", "ONE"]);
    commit_again(&store, 1, "2").await;
    assert_eq!(log_behind(&store, 0).await.unwrap(), ["1", "2"]);
}

/// More than the 4,096 that may be unanswered.
const FLOOD: u64 = 6_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_makes_callers_come_back_and_loses_nothing() {
    let server = RedisServer::start();
    let store = Arc::new(RedisStore::connect(&server.url(), false).await.unwrap());
    signal(&server, "-STOP");
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..FLOOD {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let mut key = key(0);
            key.candidate.0[..8].copy_from_slice(&n.to_le_bytes());
            (n, store.commit(&key, commit(0, &n.to_string())).await)
        });
    }
    let outcomes = callers.join_all().await;
    signal(&server, "-CONT");
    let busy = |outcome: &&(u64, Result<u64>)| matches!(outcome.1, Err(Error::Busy));
    let refused: Vec<_> = outcomes.iter().filter(busy).map(|(n, _)| *n).collect();
    assert!(!refused.is_empty(), "nothing was bounded");
    let unexpected = outcomes
        .iter()
        .find(|(_, outcome)| !matches!(outcome, Ok(_) | Err(Error::Busy | Error::Unavailable(_))));
    assert!(unexpected.is_none(), "{unexpected:?}");
    commit_again(&store, 0, "after").await;
    let log = store
        .read_log(&exam(), PARTITION, 0, 100_000)
        .await
        .unwrap();
    let stands = |n: &u64| log.contains(&Bytes::from(n.to_string()));
    assert!(!refused.iter().any(stands), "busy means not sent");
    let acknowledged = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
    assert!(acknowledged.map(|(n, _)| n).all(stands));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_replica_has_is_neither_acknowledged_nor_shown() {
    let (primary, replica) = pair(&[]);
    let store = replicated(&primary.url()).await.unwrap();
    assert_eq!(store.durability(), Durability::Replicated);
    store.commit(&key(1), commit(0, "1")).await.unwrap();
    signal(&replica, "-STOP");
    let answer = store.commit(&key(1), commit(1, "2")).await;
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    // It stands on the primary. Whoever loads it would tell a device that its answer is stored: so nobody may, yet.
    let stored: Option<String> = primary
        .query(&["XREVRANGE", "kb:{a:1}:log", "+", "-", "COUNT", "1"])
        .map(|entries: Vec<(String, Vec<String>)>| entries.first()?.1.last().cloned())
        .unwrap();
    assert_eq!(stored.as_deref(), Some("2"));
    let (loaded, read) = (store.load(&key(1)).await, log_behind(&store, 0).await);
    assert!(matches!(loaded, Err(Error::Unavailable(_))), "{loaded:?}");
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    signal(&replica, "-CONT");
    let begun = std::time::Instant::now();
    let record = loop {
        match store.load(&key(1)).await {
            Ok(record) => break record.unwrap(),
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    };
    assert_eq!(record.version, 2, "now a replica has it");
    assert_eq!(log_behind(&store, 0).await.unwrap(), ["1", "2"]);
    // Negative control: a store that proves nothing shows it at once.
    signal(&replica, "-STOP");
    let single = RedisStore::connect(&primary.url(), false).await.unwrap();
    single.commit(&key(1), commit(2, "3")).await.unwrap();
    assert_eq!(log_behind(&single, 0).await.unwrap().len(), 3);
    signal(&replica, "-CONT");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicated_wants_a_replica_that_keeps_what_it_gets() {
    let refused = |outcome: Result<RedisStore>| match outcome {
        Err(Error::WeakSettings(text)) => text,
        other => panic!("{:?}", other.map(|_| ())),
    };
    let alone = RedisServer::start();
    let text = refused(replicated(&alone.url()).await);
    assert!(text.contains("no connected replica"), "{text}");
    let (primary, replica) = pair(&["--appendfsync", "everysec"]);
    let text = refused(replicated(&primary.url()).await);
    let named = format!(
        "appendfsync everysec -> always (127.0.0.1:{})",
        replica.port()
    );
    assert!(text.contains(&named), "{text}");
    replica.tell(&["CONFIG", "SET", "appendfsync", "always"]);
    let store = replicated(&primary.url()).await.unwrap();
    store.check().await.unwrap();
    drop(replica);
    until("the replica is missed", PATIENCE, || {
        !primary.info("replication").contains("state=online")
    });
    let text = refused(store.check().await.map(|()| store));
    assert!(text.contains("no connected replica"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_every_primary_is_checked() {
    let cluster = Cluster::start();
    cluster.servers[2].tell(&["CONFIG", "SET", "appendfsync", "everysec"]);
    let outcome = RedisStore::connect(&cluster.url(), false).await;
    let named = format!(
        "appendfsync everysec -> always (127.0.0.1:{})",
        cluster.servers[2].port()
    );
    match outcome.map(|_| ()) {
        Err(Error::WeakSettings(text)) => assert!(text.contains(&named), "{text}"),
        other => panic!("{other:?}"),
    }
}

/// `ASK` while the keys of a partition move, `MOVED` once they have.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_moves_is_followed() {
    let cluster = Cluster::start();
    let store = RedisStore::connect(&cluster.url(), false).await.unwrap();
    let due = Commit {
        alarm: AlarmChange::Set(exam_engine::clock::Timestamp(5)),
        ..commit(0, "1")
    };
    store.commit(&key(1), due).await.unwrap(); // record, log and index are all there
    let keys = keys_of_partition();
    let slot: u16 = cluster.servers[0]
        .query(&["CLUSTER", "KEYSLOT", "kb:{a:1}:log"])
        .unwrap();
    let slot = slot.to_string();
    let holds = |server: &&RedisServer| {
        server
            .query::<u64>(&["CLUSTER", "COUNTKEYSINSLOT", &slot])
            .unwrap()
            > 0
    };
    let primaries = &cluster.servers[..3];
    let from = primaries.iter().find(holds).unwrap();
    let to = primaries.iter().find(|server| !holds(server)).unwrap();
    let id = |server: &RedisServer| server.query::<String>(&["CLUSTER", "MYID"]).unwrap();
    to.tell(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
    from.tell(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
    for key in keys {
        let mut migrate = redis::cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(to.port()).arg(key).arg(0);
        let client = redis::Client::open(from.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let _: String = migrate.arg(5_000).query(&mut connection).unwrap();
    }
    store.commit(&key(1), commit(1, "2")).await.unwrap();
    assert_eq!(log_behind(&store, 0).await.unwrap(), ["1", "2"]);
    for server in [to, from] {
        server.tell(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(to)]);
    }
    store.commit(&key(1), commit(2, "3")).await.unwrap();
    assert_eq!(log_behind(&store, 0).await.unwrap(), ["1", "2", "3"]);
    assert_eq!(store.log_ends(&exam(), 4).await.unwrap(), [0, 3, 0, 0]);
    let n: u64 = to.query(&["XLEN", "kb:{a:1}:log"]).unwrap();
    assert_eq!(n, 3, "the new primary has it");
}

fn keys_of_partition() -> [Vec<u8>; 3] {
    let mut record = b"kb:{a:1}:s:".to_vec();
    record.extend_from_slice(&[1; 16]);
    [record, b"kb:{a:1}:log".to_vec(), b"kb:{a:1}:due".to_vec()]
}

/// What organizers were refused, because no replica confirmed it, no engine may act upon: a failover takes it back.
#[tokio::test(flavor = "multi_thread")]
async fn an_exam_that_no_replica_has_is_shown_to_nobody() {
    let exam = || StoredExam {
        min_reader: 1,
        exam: Bytes::from_static(b"exam"),
        package: None,
    };
    for is_replicated in [true, false] {
        let (primary, replica) = pair(&[]);
        let options = RedisOptions {
            replicated: is_replicated,
            ..RedisOptions::default()
        };
        let store = RedisStore::open(&primary.url(), options).await.unwrap();
        let table = store.exams().unwrap();
        table.put_exam("a", 0, exam()).await.unwrap();
        assert_eq!(table.revisions().await.unwrap()["a"], 1);
        signal(&replica, "-STOP"); // still connected: only what it confirms tells
        // The negative control is class `single`, which promises less.
        assert_eq!(table.put_exam("a", 1, exam()).await.is_err(), is_replicated);
        assert_eq!(table.revisions().await.is_err(), is_replicated);
        assert_eq!(table.load_exam("a").await.is_err(), is_replicated);
        signal(&replica, "-CONT");
        assert_eq!(table.revisions().await.unwrap()["a"], 2);
    }
}
