//! What must be green: format, lints, docs, licences (if cargo-deny is there), tests, the main job in small, and a sample
//! of the faults.

use crate::{Outcome, demo, readme, say, shell, soak, valkey};

/// Installs what is missing and runs every test.
pub(crate) fn test() -> Outcome {
    shell::need("redis-server", "redis-server")?;
    // Who runs all tests means all: one that lacks its server fails instead of being skipped.
    let valkey = format!("EXAM_VALKEY_BIN={}", valkey::need()?);
    let cargo: &[&str] = if shell::exists("cargo-nextest") {
        &["nextest", "run", "--workspace"]
    } else {
        &["test", "--workspace"]
    };
    shell::run("env", &[&["CI=true", &valkey, "cargo"], cargo].concat())?;
    shell::cargo(&["test", "--workspace", "--doc"], &["--quiet"])
}

/// Checks licences, banned crates and sources (deny.toml) where cargo-deny is installed: to build it here would take
/// longer than everything else together.
fn licences() -> Outcome {
    if shell::exists("cargo-deny") {
        return shell::cargo(&["deny", "check", "licenses", "bans", "sources"], &[]);
    }
    say(
        "bỏ qua: giấy phép, vì chưa cài cargo-deny / skipped: licences, cargo-deny is not installed",
    );
    Ok(())
}

/// Runs what CI runs.
pub(crate) fn run() -> Outcome {
    shell::cargo(&["xfmt", "--check"], &[])?;
    shell::cargo(
        &["clippy", "--workspace", "--all-targets", "--quiet"],
        &["--", "-D", "warnings"],
    )?;
    shell::run(
        "env",
        &[
            "RUSTDOCFLAGS=-D warnings",
            "cargo",
            "doc",
            "--workspace",
            "--no-deps",
            "--quiet",
        ],
    )?;
    licences()?;
    test()?;
    for options in [
        ["--candidates", "2000", "--exit"].as_slice(),
        &["--candidates", "1000", "--redis", "--exit"],
    ] {
        demo::run(&demo::Options::parse(options)?)?;
    }
    soak::sample()?;
    readme::run()
}
