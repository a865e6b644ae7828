//! What must be green: format, lints, docs, tests, licences, and the main job in small.

use crate::{Outcome, demo, readme, shell};

/// Installs what is missing and runs every test.
pub(crate) fn test() -> Outcome {
    shell::need("redis-server", "redis-server")?;
    if shell::exists("cargo-nextest") {
        shell::cargo(&["nextest", "run", "--workspace"], &[])?;
    } else {
        shell::cargo(&["test", "--workspace"], &[])?;
    }
    shell::cargo(&["test", "--workspace", "--doc"], &["--quiet"])
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
    test()?;
    for options in [
        ["--candidates", "2000", "--exit"].as_slice(),
        &["--candidates", "1000", "--redis", "--exit"],
    ] {
        demo::run(&demo::Options::parse(options)?)?;
    }
    readme::run()
}
