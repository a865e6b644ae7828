//! The log's archive: segments that hang together, a whole exam whose store forgets, and every way it can be damaged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use exam_engine::{
    archive::{Archive, Error, Head, Policy},
    id::ExamId,
    store::{Error as StoreError, RedisStore, SessionStore},
};
use object_store::{ObjectStoreExt, memory::InMemory};
use proto::exam::v1::{CloseExamRequest, ExportExamRequest};
use tonic::Status;

use crate::harness::{Backend, EXAM, TestServer, reason};

const PATIENCE: Duration = Duration::from_secs(30);
/// Segments of eight entries at once, four entries kept in the store.
const EAGER: Policy = Policy {
    max_entries: 8,
    max_age: Duration::from_millis(50),
    retained: 4,
};

fn exam() -> ExamId {
    ExamId::parse(EXAM).unwrap()
}

fn entries(range: std::ops::RangeInclusive<u64>) -> Vec<Bytes> {
    range
        .map(|position| Bytes::from(format!("entry {position}")))
        .collect()
}

/// Three segments of a partition: 1 to 5, 6 to 9, 10 to 12.
async fn three_segments() -> (Arc<InMemory>, Archive, Head) {
    let objects = Arc::new(InMemory::new());
    let archive = Archive::new(objects.clone(), EAGER);
    let mut head = archive.head(&exam(), 2).await.unwrap();
    assert_eq!(head, Head::default());
    for range in [1..=5, 6..=9, 10..=12] {
        head = archive
            .store(&exam(), 2, head, &entries(range))
            .await
            .unwrap();
    }
    (objects, archive, head)
}

fn segment(first: u64) -> object_store::path::Path {
    format!("{EXAM}/2/{first:020}.seg").into()
}

async fn replayed(archive: &Archive) -> Result<u64, Error> {
    let mut next = 1;
    let exam = exam();
    let found = archive.replay(&exam, |partition, position, entry| {
        assert_eq!((partition, position), (2, next));
        assert_eq!(*entry, format!("entry {position}"));
        next += 1;
        Ok(())
    });
    let summaries = found.await?;
    assert_eq!(summaries.len(), 1);
    Ok(summaries[0].last)
}

#[tokio::test]
async fn segments_hang_together_and_are_written_once() {
    let (_objects, archive, head) = three_segments().await;
    assert_eq!(head.last, 12);
    assert_eq!(archive.head(&exam(), 2).await.unwrap(), head);
    assert_eq!(replayed(&archive).await.unwrap(), 12);
    assert_eq!(archive.exams().await.unwrap(), [exam()]);
    for (after, limit, expected) in [
        (0, 3, 1..=3),
        (4, 9, 5..=5),
        (7, 9, 8..=9),
        (11, 9, 12..=12),
    ] {
        let read = archive.read(&exam(), 2, after, limit).await.unwrap();
        assert_eq!(read, entries(expected));
    }
    // Twice the same, and a shorter one over a longer: what stands there is taken.
    let before = Head {
        last: 9,
        ..segment_head(&archive).await
    };
    for range in [10..=12, 10..=11] {
        let again = archive
            .store(&exam(), 2, before, &entries(range))
            .await
            .unwrap();
        assert_eq!(again, head);
    }
    let other = archive
        .store(&exam(), 2, before, &entries(11..=13))
        .await
        .unwrap_err();
    assert!(
        matches!(&other, Error::Damaged { what, .. } if what.contains("other entries")),
        "{other}"
    );
    let foreign = Head {
        last: 9,
        hash: [7; 32],
    };
    let foreign = archive
        .store(&exam(), 2, foreign, &entries(10..=12))
        .await
        .unwrap_err();
    assert!(
        matches!(&foreign, Error::Damaged { what, .. } if what.contains("go on")),
        "{foreign}"
    );
}

/// The head behind the second segment, from an archive that has only two.
async fn segment_head(archive: &Archive) -> Head {
    let (objects, two, _) = three_segments().await;
    objects.delete(&segment(10)).await.unwrap();
    let head = two.head(&exam(), 2).await.unwrap();
    assert_eq!(archive.head(&exam(), 2).await.unwrap().last, 12);
    head
}

/// Two readers far from each other, as an export beside a grader that builds anew, do not fetch everything twice.
#[tokio::test]
async fn several_readers_keep_their_segments() {
    let (objects, archive, _) = three_segments().await;
    let read = async |after| archive.read(&exam(), 2, after, 1).await;
    for after in [0, 5] {
        read(after).await.unwrap();
    }
    for first in [1, 6, 10] {
        objects.delete(&segment(first)).await.unwrap(); // what is fetched again is not there
    }
    for after in [1, 6, 2, 7] {
        assert_eq!(read(after).await.unwrap(), entries(after + 1..=after + 1));
    }
    assert!(matches!(read(9).await, Err(Error::Missing { .. })));
}

#[tokio::test]
async fn a_missing_or_changed_segment_is_named() {
    for first in [1, 6] {
        let (objects, archive, _) = three_segments().await;
        objects.delete(&segment(first)).await.unwrap();
        match replayed(&archive).await {
            Err(Error::Missing { position, .. }) => assert_eq!(position, first),
            other => panic!("{other:?}"),
        }
        let read = archive.read(&exam(), 2, first, 9).await;
        assert!(matches!(read, Err(Error::Missing { .. })), "{read:?}");
    }
    let (objects, archive, _) = three_segments().await;
    let whole = objects
        .get(&segment(6))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[at] ^= 1;
        objects.put(&segment(6), changed.into()).await.unwrap();
        let outcome = replayed(&archive).await;
        match outcome {
            Err(Error::Damaged { name, .. }) => {
                assert!(name.ends_with("06.seg"), "byte {at}: {name}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
    for cut in 0..whole.len() {
        objects
            .put(&segment(6), whole.slice(..cut).into())
            .await
            .unwrap();
        assert!(replayed(&archive).await.is_err(), "{cut} bytes");
    }
    objects.put(&segment(6), whole.into()).await.unwrap();
    assert_eq!(replayed(&archive).await.unwrap(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exam_whose_log_is_trimmed_ends_in_a_right_verdict_on_the_embedded_store() {
    trimmed_exam(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exam_whose_log_is_trimmed_ends_in_a_right_verdict_on_redis() {
    trimmed_exam(Backend::Redis).await;
}

async fn store(server: &TestServer) -> Arc<dyn SessionStore> {
    match (&server.embedded, &server.redis) {
        (Some(store), _) => store.clone(),
        (None, redis) => {
            let url = redis.as_ref().unwrap().url();
            Arc::new(RedisStore::connect(&url, false).await.unwrap())
        }
    }
}

/// Waits until the store has forgotten something in each partition that has ten entries.
async fn until_trimmed(server: &TestServer) -> u32 {
    let store = store(server).await;
    let begun = Instant::now();
    loop {
        let ends = store.log_ends(&exam(), 4).await.unwrap();
        let (mut n_long, mut n_trimmed) = (0, 0);
        for (partition, end) in (0u32..).zip(ends) {
            if end > 10 {
                n_long += 1;
                let read = store.read_log(&exam(), partition, 0, 1).await;
                n_trimmed += u32::from(matches!(read, Err(StoreError::Trimmed { .. })));
            }
        }
        if n_long > 0 && n_trimmed == n_long {
            return n_trimmed;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{n_trimmed} of {n_long} were trimmed"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn export(server: &TestServer) -> Result<tempfile::TempDir, Status> {
    let mut organizer = server.organizer().await;
    let exam_id = EXAM.to_owned();
    let request = server.as_organizer(ExportExamRequest {
        exam_id,
        ..ExportExamRequest::default()
    });
    let mut pieces = organizer.export_exam(request).await?.into_inner();
    let folder = tempfile::tempdir().unwrap();
    let mut files = std::collections::BTreeMap::<String, Vec<u8>>::new();
    while let Some(piece) = pieces.message().await? {
        files.entry(piece.file).or_default().extend(piece.data);
    }
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    Ok(folder)
}

fn exam_log(data: &Path, words: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_exam"))
        .arg("--data")
        .arg(data)
        .arg("log")
        .args(words)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn first_segment(data: &Path) -> PathBuf {
    let exam = data.join("archive").join(EXAM);
    let folders = fs::read_dir(exam)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let firsts = folders.map(|folder| folder.join(format!("{:020}.seg", 1)));
    firsts
        .max_by_key(|first| fs::read_dir(first.parent().unwrap()).unwrap().count())
        .unwrap()
}

async fn trimmed_exam(backend: Backend) {
    const N_ANSWERS: u32 = 30;
    let mut server = TestServer::start_archiving(backend, EAGER).await;
    server.open_exam().await;
    let mut sittings = Vec::new();
    for person in 1..=3 {
        let mut sitting = server.sit(person).await;
        for n in 0..N_ANSWERS {
            sitting.answer(n % 6, n % 4).await.unwrap();
        }
        sittings.push(sitting);
    }
    assert!(until_trimmed(&server).await > 0);
    // A grader that has nothing builds everything again, from archive and store.
    fs::remove_dir_all(server.data.path().join("grader")).unwrap();
    server.restart().await;
    for sitting in &mut sittings {
        sitting.client = server.candidate().await;
        sitting.answer(0, 0).await.unwrap();
        sitting.submit().await.unwrap();
    }
    let request = CloseExamRequest {
        exam_id: EXAM.to_owned(),
        end_running: true,
    };
    let request = server.as_organizer(request);
    server.organizer().await.close_exam(request).await.unwrap();
    let folder = export(&server).await.unwrap();
    let verdict = verifier::verify_folder(folder.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
    assert_eq!(
        (verdict.n_persons, verdict.n_answers),
        (3, u64::from(3 * (N_ANSWERS + 1)))
    );
    // Everything reaches the archive: what it replays is the log of the export.
    let data = server.data.path().to_owned();
    let replayed = data.join("replayed.bin");
    let begun = Instant::now();
    loop {
        let (ok, said) = exam_log(&data, &["replay", EXAM, replayed.to_str().unwrap()]);
        assert!(ok, "{said}");
        if fs::read(&replayed).unwrap() == fs::read(folder.path().join("log.bin")).unwrap() {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the archive never gets whole: {said}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (ok, said) = exam_log(&data, &["verify"]);
    assert!(ok && said.contains("right, "), "{said}");
    // Negative controls: a changed and a missing segment are refused, by the command and by the export.
    let first = first_segment(&data);
    let whole = fs::read(&first).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&first, changed).unwrap();
    server.restart().await; // nothing is remembered of it
    let (ok, said) = exam_log(&data, &["verify", EXAM]);
    assert!(!ok && said.contains("is damaged"), "{said}");
    assert_eq!(reason(&export(&server).await.unwrap_err()), "STORE_CORRUPT");
    fs::remove_file(&first).unwrap();
    let (ok, said) = exam_log(&data, &["verify", EXAM]);
    assert!(!ok && said.contains("lacks a segment"), "{said}");
    assert_eq!(reason(&export(&server).await.unwrap_err()), "STORE_CORRUPT");
    fs::write(&first, whole).unwrap();
    assert!(export(&server).await.is_ok());
}

/// After a failover that lost the end of the log, or beside an older store, positions are given again to other entries:
/// what stands in the archive is then not what the store would forget.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_holds_another_log_than_the_archive_forgets_nothing() {
    for is_another in [false, true] {
        let mut server = TestServer::start_archiving(Backend::Redis, EAGER).await;
        server.open_exam().await;
        let mut sitting = server.sit(1).await;
        for n in 0..20 {
            sitting.answer(n % 6, n % 4).await.unwrap();
        }
        assert!(until_trimmed(&server).await > 0);
        server.stop().await.unwrap();
        let redis = server.redis.as_ref().unwrap();
        let keys: Vec<String> = redis.query(&["KEYS", "kb:{*}:log"]).unwrap();
        let [log] = &keys[..] else { panic!("{keys:?}") };
        let end = || -> u64 {
            let info: Vec<redis::Value> = redis.query(&["XINFO", "STREAM", log]).unwrap();
            let at = info
                .iter()
                .position(|word| *word == redis::Value::BulkString(b"last-generated-id".into()));
            let id: String = redis::from_redis_value_ref(&info[at.unwrap() + 1]).unwrap();
            id.trim_start_matches("0-").parse().unwrap()
        };
        let n = end();
        if is_another {
            redis.tell(&["DEL", log]);
            for _ in 0..n {
                redis.tell(&["XADD", log, "0-*", "e", "other"]);
            }
        }
        for _ in 0..50 {
            redis.tell(&["XADD", log, "0-*", "e", "more"]);
        }
        server.start_again().await;
        tokio::time::sleep(Duration::from_millis(1_500)).await; // many turns of the eager archive
        let redis = server.redis.as_ref().unwrap();
        let left: u64 = redis.query(&["XLEN", log]).unwrap();
        let segments = fs::read_dir(first_segment(server.data.path()).parent().unwrap()).unwrap();
        let lasts = segments.map(|file| {
            file.unwrap().file_name().to_str().unwrap()[..20]
                .parse::<u64>()
                .unwrap()
        });
        let newest = lasts.max().unwrap();
        // Entries that nobody can grade are not forgotten in either case; archived they are only behind their own log.
        assert_eq!(newest > n, !is_another, "{newest} behind {n}");
        assert!(!is_another || left == n + 50, "{left} of {}", n + 50);
    }
}

/// A server that starts beside another log must see it before it forgets anything, also while no segment is due.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_compared_before_it_is_forgotten() {
    let mut server = TestServer::start_archiving(Backend::Redis, EAGER).await;
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    for n in 0..20 {
        sitting.answer(n % 6, n % 4).await.unwrap();
    }
    assert!(until_trimmed(&server).await > 0);
    server.stop().await.unwrap();
    let redis = server.redis.as_ref().unwrap();
    let keys: Vec<String> = redis.query(&["KEYS", "kb:{*}:log"]).unwrap();
    let [log] = &keys[..] else { panic!("{keys:?}") };
    let length = |server: &TestServer| -> u64 {
        let redis = server.redis.as_ref().unwrap();
        redis.query(&["XLEN", log]).unwrap()
    };
    // The control: of its own log the server has forgotten most.
    assert!(length(&server) < 20);
    redis.tell(&["DEL", log]);
    for _ in 0..21 {
        redis.tell(&["XADD", log, "0-*", "e", "other"]); // the start and 20 answers
    }
    server.settings.archiving.max_age = Duration::from_secs(3_600);
    server.start_again().await;
    tokio::time::sleep(Duration::from_secs(3)).await; // several turns, of a second each
    assert_eq!(length(&server), 21);
}
