//! Faults for as long as one likes, seed after seed; what became of each is kept in `target/soak.jsonl`.
//!
//! A line there is a seed, the commit, and the last line of the suite. A run goes on behind the highest seed of the file,
//! so that nights add up instead of repeating each other; `loadtest faults --seed N` plays one again.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{Outcome, say, shell};

/// Seeds up to here are played by `cargo xtask ci`.
const CI_SEEDS: u64 = 1;
const MINUTES: u64 = 60;

/// Plays seeds until the time is over; every broken seed is told at the end.
pub(crate) fn run(options: &[&str]) -> Outcome {
    let minutes = minutes(options)?;
    need()?;
    build()?;
    let file = shell::root().join("target/soak.jsonl");
    let commit = commit()?;
    let begun = Instant::now();
    let limit = Duration::from_secs(minutes * 60);
    let mut seed = next_seed(&fs::read_to_string(&file).unwrap_or_default());
    let mut broken = Vec::new();
    while begun.elapsed() < limit {
        let left = (limit - begun.elapsed()).as_secs().div_ceil(60).max(1);
        let is_ok = play(seed, left, &file, &commit)?;
        if !is_ok {
            broken.push(seed.to_string());
        }
        seed += 1;
    }
    say(&format!("đã ghi vào / written to {}", file.display()));
    if broken.is_empty() {
        return Ok(());
    }
    Err(format!(
        "hạt giống hỏng / broken seeds: {}; chơi lại / play again: target/release/loadtest faults --seed N",
        broken.join(", ")
    ))
}

/// Plays every scenario once, as CI does.
pub(crate) fn sample() -> Outcome {
    need()?;
    build()?;
    let program = loadtest();
    shell::run(
        &program.to_string_lossy(),
        &["faults", "--seed", &CI_SEEDS.to_string()],
    )
}

fn need() -> Outcome {
    shell::need("redis-server", "redis-server")?;
    shell::need("redis-cli", "redis-tools")?;
    shell::need("faketime", "faketime")?;
    shell::need("cc", "gcc")
}

fn build() -> Outcome {
    let packages = ["-p", "exam-engine", "-p", "loadtest"];
    shell::cargo(&["build", "--release", "--quiet"], &packages)
}

fn loadtest() -> PathBuf {
    shell::root().join("target/release/loadtest")
}

fn play(seed: u64, minutes_left: u64, file: &Path, commit: &str) -> Outcome<bool> {
    let (seed_word, minutes) = (seed.to_string(), minutes_left.to_string());
    let arguments = ["faults", "--seed", &seed_word, "--minutes", &minutes];
    let (last, outcome) = shell::run_but_last_line(&loadtest(), &arguments)?;
    say(&last);
    let line = record(seed, commit, outcome.is_ok(), &last);
    let mut opened = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .map_err(|error| format!("{}: {error}", file.display()))?;
    writeln!(opened, "{line}").map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(outcome.is_ok())
}

fn record(seed: u64, commit: &str, is_ok: bool, last: &str) -> String {
    let words: String = last
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '"' | '\\') {
                ' '
            } else {
                c
            }
        })
        .collect();
    format!(r#"{{"seed":{seed},"commit":"{commit}","ok":{is_ok},"outcome":"{words}"}}"#)
}

/// The seed behind the highest one of the file; CI's own come first.
fn next_seed(lines: &str) -> u64 {
    let seeds = lines.lines().filter_map(|line| {
        let rest = line.strip_prefix(r#"{"seed":"#)?;
        rest.split(',').next()?.parse::<u64>().ok()
    });
    seeds.max().unwrap_or(CI_SEEDS) + 1
}

fn minutes(options: &[&str]) -> Outcome<u64> {
    match options {
        [] => Ok(MINUTES),
        ["--minutes", text] => text
            .parse()
            .ok()
            .filter(|minutes| (1..=10_000).contains(minutes))
            .ok_or_else(|| "--minutes: số từ 1 đến 10000 / a number from 1 to 10000".to_owned()),
        other => Err(format!(
            "soak: không hiểu / not understood: {}",
            other.join(" ")
        )),
    }
}

fn commit() -> Outcome<String> {
    let words = ["rev-parse", "--short", "HEAD"];
    Ok(shell::output(Path::new("git"), &words)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_go_on_behind_the_highest() {
        assert_eq!(next_seed(""), 2);
        let lines = [
            record(7, "abc", true, "faults: ok"),
            record(5, "abc", false, "x"),
        ];
        assert_eq!(next_seed(&lines.join("\n")), 8);
        assert_eq!(next_seed("{\"seed\":x"), 2);
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        assert_eq!(
            record(3, "abc", false, "a \"b\"\\c\n"),
            r#"{"seed":3,"commit":"abc","ok":false,"outcome":"a  b  c "}"#
        );
    }

    #[test]
    fn minutes_are_a_number() {
        assert_eq!(minutes(&[]), Ok(60));
        assert_eq!(minutes(&["--minutes", "5"]), Ok(5));
        assert!(minutes(&["--minutes", "0"]).is_err());
        assert!(minutes(&["--hours", "1"]).is_err());
    }
}
