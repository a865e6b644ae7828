//! Stores that fail: candidates are told to send again, nothing is lost, and it recovers by itself.

use std::time::Duration;

use exam_engine::store::{Durability, Error, RedisStore, SessionStore};

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
