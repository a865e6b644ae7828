//! The binary `exam` as a person or a script uses it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use exam_engine::bank::Bank;
use prost::Message;
use proto::{
    bank::v1::{Blueprint, Section, Stratum},
    exam::v1::{Event, Exam, LogEntry, Started, event::Kind},
};
use question_bank::{
    draw::{Drawer, Scratch},
    release::read_paper_half,
};

fn exam(data: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_exam"))
        .arg("--data")
        .arg(data)
        .args(words)
        .output()
        .unwrap()
}

fn sample(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../question-bank");
    folder.join(name).to_string_lossy().into_owned()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_bank_is_imported_shown_and_released() {
    let data = tempfile::tempdir().unwrap();
    let json: serde_json::Value = serde_json::from_str(&said(&exam(
        data.path(),
        &[
            "bank",
            "import",
            &sample("sample/vietnam-knowledge.xlsx"),
            "--json",
        ],
    )))
    .unwrap();
    let items = json["items"].as_array().unwrap();
    assert!(items.len() >= 150);
    for field in ["number", "text", "options", "key", "topic", "problems"] {
        assert!(!items[0][field].is_null(), "{field}");
    }
    assert!(json["problems"].is_array());
    let questions = sample("sample/vietnam-knowledge-questions.docx");
    let key = sample("sample/vietnam-knowledge-key.docx");
    let again = said(&exam(
        data.path(),
        &["bank", "import", &questions, "--key", &key],
    ));
    assert!(again.contains("0 new items"), "{again}");
    assert!(said(&exam(data.path(), &["bank", "show"])).contains("An toàn giao thông"));
    let first = said(&exam(data.path(), &["bank", "release"]));
    assert_eq!(
        first,
        said(&exam(data.path(), &["bank", "release"])),
        "an unchanged bank gives the same release"
    );
}

#[test]
fn mistakes_are_told_and_nothing_is_kept() {
    let data = tempfile::tempdir().unwrap();
    for (file, word) in [
        ("testdata/not-a-document.docx", "not-a-document.docx"),
        ("testdata/truncated.docx", "truncated.docx"),
        ("testdata/empty.docx", "no question found"),
        ("testdata/foreign.xlsx", "foreign.xlsx"),
        ("testdata/khong-co.docx", "cannot read"),
    ] {
        let output = exam(data.path(), &["bank", "import", &sample(file)]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && error.contains(word),
            "{file}: {error}"
        );
    }
    let empty = exam(data.path(), &["bank", "release"]);
    assert!(!empty.status.success());
    assert!(
        String::from_utf8(empty.stderr)
            .unwrap()
            .contains("the bank is empty")
    );
    assert!(!data.path().join("bank").exists(), "nothing half-written");
    let alone = exam(
        data.path(),
        &["exam", "--server", "http://127.0.0.1:9", "list"],
    );
    assert!(!alone.status.success());
}

#[test]
fn the_template_and_help_are_printed() {
    let data = tempfile::tempdir().unwrap();
    let template = said(&exam(data.path(), &["exam", "template"]));
    assert!(serde_json::from_str::<serde_json::Value>(&template).is_ok());
    let help = said(&exam(data.path(), &["--help"]));
    for word in ["serve", "bank", "exam", "paper"] {
        assert!(help.contains(word), "{help}");
    }
}

#[track_caller]
fn check_refused(data: &Path, words: &[&str], expected: &[&str]) {
    let output = exam(data, words);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{words:?}");
    for word in expected {
        assert!(error.contains(word), "{words:?}: {error}");
    }
}

#[test]
fn an_import_whose_reader_goes_away_is_kept_all_the_same() {
    let data = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_exam"))
        .arg("--data")
        .arg(data.path())
        .args(["bank", "import", &sample("sample/vietnam-knowledge.xlsx")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take()); // as `| head -0` does
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.is_empty(), "{error}");
    assert!(Bank::new(data.path()).items().unwrap().len() >= 150);
}

#[test]
fn a_file_that_cannot_be_used_is_named_before_anything_is_asked_of_a_server() {
    let data = tempfile::tempdir().unwrap();
    let place = |name: &str| data.path().join(name).to_string_lossy().into_owned();
    check_refused(
        data.path(),
        &["exam", "codes", "e", &place("persons.csv")],
        &["persons.csv", "cannot read"],
    );
    let id = "00112233445566778899aabbccddeeff";
    fs::write(place("persons.csv"), format!("id;area\n{id};01\n{id}\n")).unwrap();
    check_refused(
        data.path(),
        &["exam", "codes", "e", &place("persons.csv")],
        &["persons.csv", "line 3"],
    );
    for option in ["--csv", "--xlsx"] {
        check_refused(
            data.path(),
            &["exam", "results", "e", option, &place("absent/result")],
            &["absent/result", "must exist"],
        );
    }
    check_refused(
        data.path(),
        &["exam", "archive", "e", &place("")],
        &["not empty"],
    );
    fs::write(place("secrets"), "a file where a folder should be").unwrap();
    check_refused(
        data.path(),
        &["serve", "--listen", "127.0.0.1:0"],
        &["cannot use the data folder", &place("secrets")],
    );
}

#[test]
fn a_bad_key_file_is_reported_under_its_own_name() {
    let data = tempfile::tempdir().unwrap();
    let questions = sample("sample/vietnam-knowledge-questions.docx");
    let key = sample("sample/vietnam-knowledge-key.docx");
    let broken = sample("testdata/truncated.docx");
    let output = exam(
        data.path(),
        &["bank", "import", &questions, "--key", &broken],
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("truncated.docx") && !error.contains("vietnam-knowledge"),
        "{error}"
    );
    check_refused(
        data.path(),
        &["bank", "import", &key, "--key", &questions],
        &["vietnam-knowledge-key.docx", "give it with --key"],
    );
    assert!(!data.path().join("bank").exists());
}

#[test]
fn an_address_of_redis_is_refused_with_the_forms_that_there_are() {
    let data = tempfile::tempdir().unwrap();
    for (words, expected) in [
        (
            &["serve", "--redis", "redis-sentinel://u:secret@a,b"][..],
            "redis-cluster://[user:password@]host:port",
        ),
        (&["serve", "--durability", "replicated"], "add --redis"),
        (
            &[
                "serve",
                "--redis",
                "rediss://a",
                "--redis-ca",
                "no-such-file",
            ],
            "no-such-file",
        ),
    ] {
        let output = exam(data.path(), words);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{words:?}");
        assert!(
            error.contains(expected) && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn help_does_not_show_the_password_of_redis() {
    let help = Command::new(env!("CARGO_BIN_EXE_exam"))
        .env("EXAM_REDIS", "redis://:secret-word@db")
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let help = said(&help);
    assert!(
        help.contains("EXAM_REDIS") && !help.contains("secret-word"),
        "{help}"
    );
}

const CANDIDATE: [u8; 16] = [7; 16];

/// An archive of one person who started; its log and result are left to the test.
fn archive(data: &Path) -> (PathBuf, Vec<u8>) {
    said(&exam(
        data,
        &["bank", "import", &sample("sample/vietnam-knowledge.xlsx")],
    ));
    let stratum = Stratum {
        topic: "An toàn giao thông".to_owned(),
        any_band: true,
        quota: 5,
        ..Stratum::default()
    };
    let section = Section {
        strata: vec![stratum],
        mark: "1".to_owned(),
        shuffle_items: true,
        shuffle_options: true,
        ..Section::default()
    };
    let blueprint = Blueprint {
        sections: vec![section],
        ..Blueprint::default()
    };
    let release = Bank::new(data).release().unwrap();
    let package = release.package("e", &blueprint, [1; 32]).unwrap();
    let secret = [2; 32];
    let exam = Exam {
        paper_hash: blake3::hash(&package.paper_half).as_bytes().to_vec().into(),
        secret_commitment: blake3::hash(&secret).as_bytes().to_vec().into(),
        ..Exam::default()
    };
    let half = read_paper_half(&package.paper_half, &exam.paper_hash).unwrap();
    let paper = Drawer::new(&half, &secret)
        .unwrap()
        .draw(&CANDIDATE, 1, &mut Scratch::default())
        .unwrap();
    let started = Started {
        item_ids: paper.entries.iter().map(|entry| entry.item_id).collect(),
        option_order: paper.option_order.clone(),
        form_code: paper.form_code.to_vec().into(),
        repaired: paper.repaired,
        ..Started::default()
    };
    let event = Event {
        candidate: CANDIDATE.to_vec().into(),
        attempt: 1,
        kind: Some(Kind::Started(started)),
        ..Event::default()
    };
    let entry = LogEntry {
        partition: 0,
        position: 1,
        event: Some(event),
    };
    let folder = data.join("archive");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("exam.bin"), exam.encode_to_vec()).unwrap();
    fs::write(folder.join("paper.bin"), &package.paper_half).unwrap();
    fs::write(folder.join("secret.hex"), hex::encode(secret)).unwrap();
    (folder, entry.encode_length_delimited_to_vec())
}

#[test]
fn papers_are_verified_only_if_the_log_has_one_for_each_row_of_the_result() {
    let data = tempfile::tempdir().unwrap();
    let (folder, log) = archive(data.path());
    let path = folder.to_string_lossy().into_owned();
    let words = ["paper", "verify", path.as_str()];
    fs::write(folder.join("log.bin"), &log).unwrap();
    check_refused(data.path(), &words, &["the archive lacks", "result.tsv"]);

    let result = |attempt: u32| {
        format!(
            "khoa-bang result\t1\npersons\t1\nrank\tcandidate\tattempt\n1\t{}\t{attempt}\n",
            hex::encode(CANDIDATE)
        )
    };
    fs::write(folder.join("result.tsv"), result(1)).unwrap();
    let verified = said(&exam(data.path(), &words));
    assert!(
        verified.contains("1 papers rebuilt, 0 differ"),
        "{verified}"
    );

    fs::write(folder.join("log.bin"), "").unwrap();
    check_refused(data.path(), &words, &["the log is incomplete: 1 attempts"]);
    fs::write(folder.join("log.bin"), &log).unwrap();
    fs::write(folder.join("result.tsv"), result(2)).unwrap();
    check_refused(data.path(), &words, &["the log is incomplete: 1 attempts"]);
    let cut = result(1).replace("persons\t1", "persons\t2");
    fs::write(folder.join("result.tsv"), cut).unwrap();
    check_refused(data.path(), &words, &["1 rows instead of 2"]);
}
