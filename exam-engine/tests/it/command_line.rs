//! The binary `exam` as a person or a script uses it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
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
