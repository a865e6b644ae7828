//! A backup in the middle of a sitting, and the exam that goes on from it elsewhere.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use exam_engine::archive::Policy;
use proto::exam::v1::{CloseExamRequest, ExportExamRequest, GetSessionRequest};

use crate::harness::{Backend, EXAM, TestServer, choice};

async fn exam(data: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exam"));
    command.arg("--data").arg(data).args(words);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exam_goes_on_from_a_backup_taken_while_it_runs() {
    // So eager that the log is in the archive for the most part, which belongs into the backup.
    let policy = Policy {
        max_entries: 8,
        max_age: Duration::from_millis(20),
        retained: 2,
    };
    let mut server = TestServer::start_archiving(Backend::Embedded, policy).await;
    server.open_exam().await;
    let mut sitting = server.sit(1).await;
    for n in 0..40 {
        sitting.answer(n % 6, n % 4).await.unwrap();
    }
    // Answers go on while the backup is taken.
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU32::new(40));
    let writer = tokio::spawn({
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let first = sitting.next_seq;
        async move {
            for seq in first.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                sitting
                    .send(vec![choice(seq, seq % 6, seq % 4)])
                    .await
                    .unwrap();
                acknowledged.store(seq, Ordering::Relaxed);
            }
            sitting
        }
    });
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("backup");
    let before = acknowledged.load(Ordering::Relaxed);
    let words = ["backup", target.to_str().unwrap(), "--server", &server.url];
    let output = exam(server.data.path(), &words).await;
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("keys and secrets are in it"),
        "{}",
        text(&output)
    );
    stop.store(true, Ordering::Relaxed);
    let mut sitting = writer.await.unwrap();
    assert!(
        acknowledged.load(Ordering::Relaxed) > before,
        "nothing went on meanwhile"
    );
    assert!(
        target.join("archive").is_dir(),
        "the archived part of the log is missing"
    );
    for name in ["", "secrets", "keys"] {
        let mode = fs::metadata(target.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    let again = exam(server.data.path(), &words).await;
    assert!(
        !again.status.success() && text(&again).contains("is not empty"),
        "{}",
        text(&again)
    );

    let data = tempfile::tempdir().unwrap();
    let restored = exam(data.path(), &["restore", target.to_str().unwrap()]).await;
    assert!(restored.status.success(), "{}", text(&restored));
    let old = std::mem::replace(&mut server.data, data);
    server.restart().await;
    drop(old);
    sitting.client = server.candidate().await;
    let request = sitting.request(GetSessionRequest {});
    let session = sitting
        .client
        .get_session(request)
        .await
        .unwrap()
        .into_inner();
    let next = session.session.unwrap().next_seq;
    assert!(
        next > before,
        "{before} were acknowledged before the backup, {next} is next"
    );
    sitting.send(vec![choice(next, 0, 0)]).await.unwrap();
    let close = CloseExamRequest {
        exam_id: EXAM.to_owned(),
        end_running: true,
    };
    let mut organizer = server.organizer().await;
    organizer
        .close_exam(server.as_organizer(close))
        .await
        .unwrap();
    let export = ExportExamRequest {
        exam_id: EXAM.to_owned(),
        ..ExportExamRequest::default()
    };
    let mut pieces = organizer
        .export_exam(server.as_organizer(export))
        .await
        .unwrap()
        .into_inner();
    let folder = tempfile::tempdir().unwrap();
    let mut files = std::collections::BTreeMap::<String, Vec<u8>>::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        files.entry(piece.file).or_default().extend(piece.data);
    }
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let verdict = verifier::verify_folder(folder.path()).unwrap();
    assert!(verdict.ok(), "{verdict}");
    assert_eq!(verdict.n_answers, u64::from(next));

    refused_when_damaged(&target).await;
}

/// Each damage is named, and nothing is made.
async fn refused_when_damaged(backup: &Path) {
    let check = async |named: &str, change: &dyn Fn(&Path)| {
        let place = tempfile::tempdir().unwrap();
        let damaged = place.path().join("backup");
        copy(backup, &damaged);
        change(&damaged);
        let data = place.path().join("data");
        let output = exam(&data, &["restore", damaged.to_str().unwrap()]).await;
        assert!(!output.status.success(), "{named}");
        assert!(text(&output).contains(named), "{named}: {}", text(&output));
        assert!(
            is_empty(&data) && is_empty(&place.path().join("data.new")),
            "{named}"
        );
    };
    check("live.dump: nội dung khác", &|folder| {
        flip(&folder.join("live.dump"))
    })
    .await;
    check("secrets/receipt.key: thiếu", &|folder| {
        fs::remove_file(folder.join("secrets/receipt.key")).unwrap();
    })
    .await;
    check("lạ.txt: không có trong danh mục", &|folder| {
        fs::write(folder.join("lạ.txt"), "x").unwrap();
    })
    .await;
    check("manifest.json", &|folder| {
        flip(&folder.join("manifest.json"))
    })
    .await;
    check("manifest.json", &|folder| {
        fs::remove_file(folder.join("manifest.json")).unwrap()
    })
    .await;
}

fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_redis_says_how_and_leaves_nothing_behind() {
    let server = TestServer::start(Backend::Redis).await;
    server.open_exam().await;
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("backup");
    let words = ["backup", target.to_str().unwrap(), "--server", &server.url];
    let output = exam(server.data.path(), &words).await;
    assert!(!output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("append-only file"),
        "{}",
        text(&output)
    );
    assert!(is_empty(place.path()), "{}", text(&output));
}
