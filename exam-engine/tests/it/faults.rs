//! Stores that fail: candidates are told to send again, nothing is lost, and it recovers by itself.

use std::time::Duration;

use exam_engine::store::{Durability, Error, RedisStore, SessionStore};
use proto::exam::v1::WatchExamRequest;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    harness::{Backend, TestServer, fact, reason},
    redis_server::RedisServer,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_goes_and_comes_back_loses_nothing() {
    let mut server = TestServer::start(Backend::Redis).await;
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    sitting.answer(0, 0).await.unwrap();
    server.redis.as_mut().unwrap().kill9();
    let status = sitting.answer(1, 1).await.unwrap_err();
    assert_eq!(reason(&status), "STORE_UNAVAILABLE");
    assert!(fact(&status, "retry_after_ms").is_some());
    server.redis.as_mut().unwrap().restart();
    let begun = std::time::Instant::now();
    while sitting.answer(1, 1).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it did not recover by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let receipt = sitting.submit().await.unwrap().receipt.unwrap();
    assert_eq!(
        (receipt.seq, receipt.chain.as_ref()),
        (2, &sitting.chain[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_refuses_and_takes_answers_again_once_there_is_room() {
    let server = TestServer::start(Backend::Embedded).await;
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    sitting.answer(0, 0).await.unwrap();
    let store = server.embedded.as_ref().unwrap();
    store.set_reserve_bytes(u64::MAX);
    // Free space is asked for every 64 batches.
    let mut refused = None;
    for _ in 0..200 {
        if let Err(status) = sitting.answer(1, 1).await {
            refused = Some(reason(&status));
            break;
        }
    }
    assert_eq!(refused.as_deref(), Some("STORE_UNAVAILABLE"));
    store.set_reserve_bytes(0);
    sitting.answer(2, 2).await.unwrap();
    let receipt = sitting.submit().await.unwrap().receipt.unwrap();
    assert_eq!(receipt.chain.as_ref(), sitting.chain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_is_refused_with_the_setting_to_change() {
    for (settings, named) in [
        (
            ["--appendonly", "no", "--appendfsync", "always"].as_slice(),
            "appendonly no -> yes",
        ),
        (
            &["--appendonly", "yes", "--appendfsync", "everysec"],
            "appendfsync everysec -> always",
        ),
        (
            &[
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--no-appendfsync-on-rewrite",
                "yes",
            ],
            "no-appendfsync-on-rewrite yes -> no",
        ),
        (
            &[
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--maxmemory-policy",
                "allkeys-lru",
            ],
            "maxmemory-policy allkeys-lru -> noeviction",
        ),
    ] {
        let server = RedisServer::with_settings(settings);
        match RedisStore::connect(&server.url(), false).await.map(|_| ()) {
            Err(Error::WeakSettings(text)) => assert!(text.contains(named), "{text}"),
            other => panic!("{other:?}"),
        }
        let practice = RedisStore::connect(&server.url(), true).await.unwrap();
        assert_eq!(practice.durability(), Durability::Practice);
    }
    let server = RedisServer::start();
    assert_eq!(
        RedisStore::connect(&server.url(), false)
            .await
            .unwrap()
            .durability(),
        Durability::Single
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_settings_are_weakened_later_is_noticed() {
    let server = RedisServer::start();
    let store = RedisStore::connect(&server.url(), false).await.unwrap();
    store.check().await.unwrap();
    let mut connection = redis::Client::open(server.url())
        .unwrap()
        .get_connection()
        .unwrap();
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "appendfsync", "everysec"])
        .query(&mut connection)
        .unwrap();
    assert!(matches!(store.check().await, Err(Error::WeakSettings(_))));
}

/// Whoever says `single` on the receipt must not give one while the primary syncs once a second only.
#[tokio::test(flavor = "multi_thread")]
async fn while_settings_are_weak_no_answer_is_acknowledged() {
    let server = TestServer::start(Backend::Redis).await;
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    sitting.answer(0, 0).await.unwrap();
    let redis = server.redis.as_ref().unwrap();
    redis.tell(&["CONFIG", "SET", "appendfsync", "everysec"]);
    let begun = std::time::Instant::now();
    let refused = loop {
        match sitting.answer(1, 1).await {
            Ok(_) => assert!(begun.elapsed() < PATIENCE, "it goes on acknowledging"),
            Err(status) => break status,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(reason(&refused), "STORE_UNAVAILABLE");
    assert!(fact(&refused, "retry_after_ms").is_some());
    redis.tell(&["CONFIG", "SET", "appendfsync", "always"]);
    let begun = std::time::Instant::now();
    while sitting.answer(2, 2).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it did not recover by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let receipt = sitting.submit().await.unwrap().receipt.unwrap();
    assert_eq!(receipt.chain.as_ref(), sitting.chain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_read_does_not_keep_others_from_ending() {
    let server = TestServer::start(Backend::Redis).await;
    server.open_exam().await;
    let _broken = server.sit(1).await;
    server.clock.advance_ms(10);
    let mut sound = server.sit(2).await;
    let url = server.redis.as_ref().unwrap().url();
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let mut pattern = b"kb:{thi-thu:*}:s:".to_vec();
    pattern.extend([1; 16]);
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg(pattern)
        .query(&mut connection)
        .unwrap();
    assert_eq!(keys.len(), 1);
    let _: () = redis::cmd("HSET")
        .arg(&keys[0])
        .arg("p")
        .arg("rubbish")
        .query(&mut connection)
        .unwrap();
    server.clock.advance_ms(crate::harness::DURATION_MS + 1_500);
    let begun = std::time::Instant::now();
    loop {
        let request = sound.request(proto::exam::v1::GetSessionRequest {});
        let session = sound
            .client
            .get_session(request)
            .await
            .unwrap()
            .into_inner()
            .session
            .unwrap();
        if session.ended {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the broken one stops the sound one"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_foreign_exam_secret_is_never_replaced() {
    let mut server = TestServer::start(Backend::Embedded).await;
    server.open_exam().await;
    let code = server.code(1).await;
    let file = server
        .data
        .path()
        .join("secrets")
        .join(format!("exam-{}.secret", crate::harness::EXAM));
    let secret = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    server.restart().await;
    assert!(!file.exists(), "a new secret would draw other papers");
    assert_eq!(
        reason(&server.sit_with(&code, 1).await.map(|_| ()).unwrap_err()),
        "ACCESS_CODE_INVALID"
    );
    std::fs::write(&file, "00".repeat(32)).unwrap();
    server.restart().await;
    assert!(
        server.sit_with(&code, 1).await.is_err(),
        "not the committed one"
    );
    std::fs::write(&file, secret).unwrap();
    server.restart().await;
    server.sit_with(&code, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_data_folder_is_for_others() {
    use std::os::unix::fs::PermissionsExt;
    fn walk(folder: &std::path::Path, files: &mut Vec<(std::path::PathBuf, u32)>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode();
            if entry.path().is_dir() {
                if mode.trailing_zeros() < 6 {
                    walk(&entry.path(), files); // a folder closed to others closes all below it
                }
            } else {
                files.push((entry.path(), mode & 0o077));
            }
        }
    }
    let server = TestServer::start(Backend::Embedded).await;
    server.open_exam().await;
    let mut files = Vec::new();
    walk(server.data.path(), &mut files);
    let open: Vec<_> = files
        .into_iter()
        .filter(|(_, others)| *others != 0)
        .collect();
    assert!(open.is_empty(), "{open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_data_folder_are_refused() {
    let server = TestServer::start(Backend::Redis).await;
    let url = server.redis.as_ref().unwrap().url();
    let store = RedisStore::connect(&url, false).await.unwrap();
    let clock = server.clock.clone();
    let second = exam_engine::server::Server::start(
        server.data.path(),
        std::sync::Arc::new(store),
        clock,
        &server.secrets,
    );
    let error = second.await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("another process"), "{error}");
}

async fn health(server: &TestServer) -> i32 {
    let mut client = HealthClient::new(server.channel().await);
    let request = HealthCheckRequest {
        service: "exam.v1.CandidateService".to_owned(),
    };
    client
        .check(request)
        .await
        .map_or(-1, |reply| reply.into_inner().status)
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_store() {
    let mut server = TestServer::start(Backend::Redis).await;
    let wait_for = async |server: &TestServer, wanted: ServingStatus| {
        let begun = std::time::Instant::now();
        while health(server).await != wanted as i32 {
            assert!(begun.elapsed() < PATIENCE, "never {wanted:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    wait_for(&server, ServingStatus::Serving).await;
    let mut client = HealthClient::new(server.channel().await);
    let stranger = HealthCheckRequest {
        service: "khong.co".to_owned(),
    };
    assert_eq!(
        client.check(stranger).await.unwrap_err().code(),
        tonic::Code::NotFound
    );
    server.redis.as_mut().unwrap().kill9();
    wait_for(&server, ServingStatus::NotServing).await;
    server.redis.as_mut().unwrap().restart();
    wait_for(&server, ServingStatus::Serving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_exam_does_not_hold_up_the_shutdown() {
    let mut server = TestServer::start(Backend::Embedded).await;
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    let mut organizer = server.organizer().await;
    let request = WatchExamRequest {
        exam_id: crate::harness::EXAM.to_owned(),
    };
    let mut watch = organizer
        .watch_exam(server.as_organizer(request))
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap().unwrap();
    sitting.answer(0, 0).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.restart())
        .await
        .expect("the drain waits for the watcher");
    let last = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(
        last.is_err(),
        "half a stream must not look like a whole one"
    );
    sitting.client = server.candidate().await;
    sitting.answer(1, 1).await.unwrap();
}
