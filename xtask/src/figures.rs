//! Measures the figures of the design and prints a line for each: name, value, target, ok or miss.

use crate::{Outcome, say, shell};

const KNOWN: [&str; 5] = ["F1", "F2", "F3", "F4", "F5"];

/// Measures the named figures, or all that there are.
pub(crate) fn run(names: &[&str]) -> Outcome {
    let names = if names.is_empty() { &KNOWN[..] } else { names };
    if let Some(unknown) = names.iter().find(|name| !KNOWN.contains(name)) {
        return Err(format!(
            "chưa đo được {unknown}; có: {} / {unknown} is not measured yet",
            KNOWN.join(" ")
        ));
    }
    shell::need("redis-server", "redis-server")?;
    shell::run(
        "cargo",
        &[
            "build",
            "--release",
            "--quiet",
            "-p",
            "exam-engine",
            "-p",
            "loadtest",
            "-p",
            "benches",
        ],
    )?;
    let programs = shell::root().join("target/release");
    if names.iter().any(|name| matches!(*name, "F1" | "F2")) {
        let report = shell::output(&programs.join("loadtest"), &["floor", "--json"])?;
        for (name, ratio, rate, wanted_ratio, wanted_rate) in [
            ("F1", "f1_ratio", "redis_per_s", 0.7, 25_000.0),
            ("F2", "f2_ratio", "embedded_per_s", 0.6, 35_000.0),
        ] {
            if names.contains(&name) {
                print(name, number(&report, ratio)?, wanted_ratio, "ratio");
                print(name, number(&report, rate)?, wanted_rate, "answers/s");
            }
        }
    }
    let inner: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| matches!(*name, "F3" | "F4" | "F5"))
        .collect();
    if !inner.is_empty() {
        say(shell::output(&programs.join("figures"), &inner)?.trim_end());
    }
    Ok(())
}

fn print(name: &str, value: f64, target: f64, unit: &str) {
    let verdict = if value >= target { "ok" } else { "miss" };
    say(&format!("{name} {value:.2} >={target} {verdict} {unit}"));
}

/// Takes a number out of flat JSON: `"key": 1.5`.
fn number(json: &str, key: &str) -> Outcome<f64> {
    let missing = || format!("loadtest floor: không thấy / not found: {key}");
    let (_, rest) = json.split_once(&format!("\"{key}\"")).ok_or_else(missing)?;
    let rest = rest.trim_start_matches([':', ' ']);
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | 'e' | 'E' | '+'))
        .unwrap_or(rest.len());
    rest[..end].parse().map_err(|_| missing())
}
