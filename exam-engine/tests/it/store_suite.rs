//! What every live store must do, run against all: embedded, Redis, Valkey, behind Sentinels, in a cluster.

use std::sync::Arc;

use bytes::Bytes;
use exam_engine::{
    clock::{Clock, SystemClock, Timestamp},
    id::{CandidateId, ExamId, SessionKey},
    store::{
        AlarmChange, Commit, EmbeddedStore, Error, Field, RedisOptions, RedisStore, SessionStore,
    },
};

use crate::{
    redis_group::{Cluster, SentinelGroup},
    redis_server::{DURABLE, RedisServer, valkey_program},
};

/// A store with whatever must live as long.
struct Opened {
    store: Arc<dyn SessionStore>,
    _redis: Option<RedisServer>,
    _folder: tempfile::TempDir,
}

async fn embedded() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), Arc::new(SystemClock)).unwrap();
    Opened {
        store: Arc::new(store),
        _redis: None,
        _folder: folder,
    }
}

async fn redis() -> Opened {
    let server = RedisServer::start();
    let store = RedisStore::connect(&server.url(), false).await.unwrap();
    Opened {
        store: Arc::new(store),
        _redis: Some(server),
        _folder: tempfile::tempdir().unwrap(),
    }
}

async fn valkey() -> Option<Opened> {
    let server = RedisServer::on_socket(&valkey_program()?, &DURABLE);
    let store = RedisStore::connect(&server.url(), false).await.unwrap();
    Some(Opened {
        store: Arc::new(store),
        _redis: Some(server),
        _folder: tempfile::tempdir().unwrap(),
    })
}

/// Returns a store of a class on servers that lived before: what was there is deleted.
async fn again(url: &str, servers: &[RedisServer], replicated: bool) -> Opened {
    for server in servers {
        if server.info("replication").contains("role:master") {
            server.tell(&["FLUSHALL"]);
        }
    }
    let options = RedisOptions {
        replicated,
        ..RedisOptions::default()
    };
    Opened {
        store: Arc::new(RedisStore::open(url, options).await.unwrap()),
        _redis: None,
        _folder: tempfile::tempdir().unwrap(),
    }
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        /// Groups of servers take long to start, so all tests share one; each in both classes.
        async fn all_on(url: &str, servers: &[RedisServer]) {
            for replicated in [false, true] {
                $(
                    eprintln!("{}, replicated: {replicated}", stringify!($name));
                    $name(again(url, servers, replicated).await).await;
                )*
            }
        }
        mod on_valkey {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                if let Some(opened) = super::valkey().await { super::$name(opened).await; }
            })*
        }
        mod on_embedded { $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::embedded().await).await; })* }
        mod on_redis { $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::redis().await).await; })* }
    };
}

suite!(
    a_commit_names_the_version_it_expects,
    a_commit_after_its_limit_is_refused,
    a_reset_drops_what_was_there,
    the_log_has_no_gaps,
    the_deadline_index_tells_who_is_due,
    of_many_writers_one_wins_each_version,
    exams_do_not_meet,
);

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_behind_sentinels() {
    let group = SentinelGroup::start();
    all_on(&group.url(), &group.servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_in_a_cluster() {
    let cluster = Cluster::start();
    all_on(&cluster.url(), &cluster.servers).await;
}

fn exam(name: &str) -> ExamId {
    ExamId::parse(name).unwrap()
}

fn key(candidate: u8) -> SessionKey {
    SessionKey {
        exam: exam("a"),
        partition: 1,
        candidate: CandidateId([candidate; 16]),
    }
}

fn commit(expected_version: u64, text: &'static str) -> Commit {
    Commit {
        expected_version,
        not_after: None,
        reset: false,
        fields: vec![(Field::Progress, Bytes::from_static(text.as_bytes()))],
        alarm: AlarmChange::Keep,
        events: vec![Bytes::from_static(text.as_bytes())],
    }
}

async fn fields(store: &dyn SessionStore, key: &SessionKey) -> (u64, Vec<(Field, Bytes)>) {
    let mut record = store.load(key).await.unwrap().unwrap();
    record.fields.sort();
    (record.version, record.fields)
}

async fn log(store: &dyn SessionStore) -> Vec<Bytes> {
    store.read_log(&exam("a"), 1, 0, 10_000).await.unwrap()
}

async fn a_commit_names_the_version_it_expects(opened: Opened) {
    let store = &*opened.store;
    assert!(store.load(&key(1)).await.unwrap().is_none());
    assert!(matches!(
        store.commit(&key(1), commit(1, "x")).await,
        Err(Error::Conflict)
    ));
    assert_eq!(store.commit(&key(1), commit(0, "a")).await.unwrap(), 1);
    assert!(matches!(
        store.commit(&key(1), commit(0, "x")).await,
        Err(Error::Conflict)
    ));
    assert_eq!(store.commit(&key(1), commit(1, "b")).await.unwrap(), 2);
    assert_eq!(
        fields(store, &key(1)).await,
        (2, vec![(Field::Progress, Bytes::from_static(b"b"))])
    );
    assert_eq!(
        log(store).await,
        ["a", "b"],
        "what was refused left nothing in the log"
    );
}

async fn a_commit_after_its_limit_is_refused(opened: Opened) {
    let store = &*opened.store;
    let now = SystemClock.now();
    let late = Commit {
        not_after: Some(Timestamp(now.0 - 1)),
        ..commit(0, "x")
    };
    assert!(matches!(
        store.commit(&key(1), late).await,
        Err(Error::TooLate)
    ));
    assert!(store.load(&key(1)).await.unwrap().is_none());
    let in_time = Commit {
        not_after: Some(now.plus_ms(60_000)),
        ..commit(0, "a")
    };
    store.commit(&key(1), in_time).await.unwrap();
    assert_eq!(log(store).await, ["a"]);
}

async fn a_reset_drops_what_was_there(opened: Opened) {
    let store = &*opened.store;
    let mut first = commit(0, "a");
    first
        .fields
        .push((Field::Answer(7), Bytes::from_static(b"seven")));
    first.fields.push((Field::Head, Bytes::from_static(b"old")));
    store.commit(&key(1), first).await.unwrap();
    store.commit(&key(2), commit(0, "other")).await.unwrap();
    let mut second = Commit {
        reset: true,
        ..commit(1, "b")
    };
    second
        .fields
        .push((Field::Head, Bytes::from_static(b"new")));
    store.commit(&key(1), second).await.unwrap();
    let expected = vec![
        (Field::Head, Bytes::from_static(b"new")),
        (Field::Progress, Bytes::from_static(b"b")),
    ];
    assert_eq!(fields(store, &key(1)).await, (2, expected));
    assert_eq!(
        fields(store, &key(2)).await.0,
        1,
        "another candidate is untouched"
    );
}

async fn the_log_has_no_gaps(opened: Opened) {
    let store = &*opened.store;
    let events = |text: [&'static str; 2]| {
        text.map(|event| Bytes::from_static(event.as_bytes()))
            .to_vec()
    };
    store
        .commit(
            &key(1),
            Commit {
                events: events(["a", "b"]),
                ..commit(0, "")
            },
        )
        .await
        .unwrap();
    store
        .commit(
            &key(2),
            Commit {
                events: events(["c", "d"]),
                ..commit(0, "")
            },
        )
        .await
        .unwrap();
    assert_eq!(log(store).await, ["a", "b", "c", "d"]);
    assert_eq!(
        store.read_log(&exam("a"), 1, 1, 2).await.unwrap(),
        ["b", "c"]
    );
    assert!(
        store
            .read_log(&exam("a"), 1, 4, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.log_ends(&exam("a"), 4).await.unwrap(), [0, 4, 0, 0]);
}

async fn the_deadline_index_tells_who_is_due(opened: Opened) {
    let store = &*opened.store;
    let due = async |now| {
        let (due, next) = store.due(&exam("a"), 4, Timestamp(now), 10).await.unwrap();
        (
            due.into_iter()
                .map(|candidate| candidate.0[0])
                .collect::<Vec<_>>(),
            next.map(|at| at.0),
        )
    };
    assert_eq!(due(1_000).await, (vec![], None));
    for (candidate, at) in [(1, 3_000), (2, 2_000)] {
        store
            .commit(
                &key(candidate),
                Commit {
                    alarm: AlarmChange::Set(Timestamp(at)),
                    ..commit(0, "a")
                },
            )
            .await
            .unwrap();
    }
    assert_eq!(due(1_999).await, (vec![], Some(2_000)));
    assert_eq!(due(2_000).await, (vec![2], Some(3_000)));
    assert_eq!(due(9_000).await, (vec![2, 1], None));
    // Moved, then cleared: the old places are gone.
    store
        .commit(
            &key(2),
            Commit {
                alarm: AlarmChange::Set(Timestamp(5_000)),
                ..commit(1, "b")
            },
        )
        .await
        .unwrap();
    assert_eq!(due(2_000).await, (vec![], Some(3_000)));
    store
        .commit(
            &key(1),
            Commit {
                alarm: AlarmChange::Clear,
                ..commit(1, "b")
            },
        )
        .await
        .unwrap();
    assert_eq!(due(9_000).await, (vec![2], None));
}

async fn of_many_writers_one_wins_each_version(opened: Opened) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let store = Arc::clone(&opened.store);
        tasks.spawn(async move {
            let mut n_won = 0;
            for version in 0..10 {
                match store.commit(&key(1), commit(version, "w")).await {
                    Ok(won) => {
                        assert_eq!(won, version + 1);
                        n_won += 1;
                    }
                    Err(Error::Conflict) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            n_won
        });
    }
    let n_won: u32 = tasks.join_all().await.into_iter().sum();
    let (version, _) = fields(&*opened.store, &key(1)).await;
    assert_eq!(
        (u64::from(n_won), log(&*opened.store).await.len()),
        (version, n_won as usize)
    );
}

async fn exams_do_not_meet(opened: Opened) {
    let store = &*opened.store;
    let other = SessionKey {
        exam: exam("ab"),
        ..key(1)
    };
    store
        .commit(
            &key(1),
            Commit {
                alarm: AlarmChange::Set(Timestamp(5)),
                ..commit(0, "a")
            },
        )
        .await
        .unwrap();
    assert!(store.load(&other).await.unwrap().is_none());
    store.commit(&other, commit(0, "ab")).await.unwrap();
    assert_eq!(log(store).await, ["a"]);
    assert_eq!(
        store.due(&exam("ab"), 4, Timestamp(9), 9).await.unwrap(),
        (vec![], None)
    );
}

/// What was acknowledged is there after a process restart, and positions go on.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_store_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let open = || EmbeddedStore::open(folder.path(), Arc::new(SystemClock));
    let store = open().unwrap();
    store.commit(&key(1), commit(0, "a")).await.unwrap();
    let second = open().map(|_| ()).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second}");
    drop(store);
    let mut reopened = open();
    for _ in 0..100 {
        if reopened.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        reopened = open();
    }
    let store = reopened.unwrap();
    assert_eq!(store.commit(&key(1), commit(1, "b")).await.unwrap(), 2);
    assert_eq!(log(&store).await, ["a", "b"]);
}
