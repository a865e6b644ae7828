//! Measures the figures of the design and prints a line for each: name, value, target, ok or miss, then what it is.
//!
//! A figure with a second target (a ratio and a rate) is ok only if both are reached; the second stands in the text.

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
                let (ratio, rate) = (number(&report, ratio)?, number(&report, rate)?);
                say(&line(name, (ratio, wanted_ratio), (rate, wanted_rate)));
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

fn line(name: &str, (ratio, wanted_ratio): (f64, f64), (rate, wanted_rate): (f64, f64)) -> String {
    let is_ok = ratio >= wanted_ratio && rate >= wanted_rate;
    let verdict = if is_ok { "ok" } else { "miss" };
    format!(
        "{name} {ratio:.3} {wanted_ratio} {verdict} of a bare handler, at least; {rate:.0} answers/s, at least {wanted_rate:.0}"
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_and_rate_must_both_be_reached() {
        let line = |ratio, rate| line("F1", (ratio, 0.7), (rate, 25_000.0));
        assert_eq!(
            line(0.7, 25_000.0),
            "F1 0.700 0.7 ok of a bare handler, at least; 25000 answers/s, at least 25000"
        );
        assert!(line(0.699, 25_000.0).starts_with("F1 0.699 0.7 miss "));
        assert!(line(0.9, 24_999.0).starts_with("F1 0.900 0.7 miss "));
    }

    #[test]
    fn numbers_are_found_by_name() {
        let json = r#"{"f1_ratio":0.72,"redis_per_s": 36000.5}"#;
        assert_eq!(number(json, "f1_ratio"), Ok(0.72));
        assert_eq!(number(json, "redis_per_s"), Ok(36_000.5));
        assert!(number(json, "f2_ratio").is_err());
    }
}
