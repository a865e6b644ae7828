//! Measures the figures of the design and prints a line for each: name, value, target, ok or miss, then what it is.
//!
//! A figure with a second target (a ratio and a rate) is ok only if both are reached; the second stands in the text.

use std::path::Path;

use crate::{Outcome, say, shell};

const KNOWN: [&str; 12] = [
    "F1", "F2", "F3", "F4", "F5", "F7", "F8", "F9", "F12", "P9", "faults", "sessions",
];
/// Figures whose last runs are read from what they left behind: they take hours, and run by themselves.
const SOAK: &str = "target/soak.jsonl";
/// Where the start storm is drawn.
const PLOT: &str = "docs/figures/storm.svg";

/// Measures the named figures, or all that there are. `--quick` measures F12 up to 100,000 sessions instead of a million.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let is_quick = words.contains(&"--quick");
    let names: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| *word != "--quick")
        .collect();
    let names = if names.is_empty() {
        KNOWN.to_vec()
    } else {
        names
    };
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
    let loadtest = programs.join("loadtest");
    let wants = |name: &str| names.contains(&name);
    if wants("F7") {
        say(&storm(&loadtest)?);
    }
    if wants("F8") {
        say(shell::output(&programs.join("redis-figures"), &["memory"])?.trim_end());
    }
    if wants("F9") {
        say(&cost(&shell::output(&loadtest, &["cost", "--json"])?)?);
    }
    if wants("F12") {
        say(&growth(&loadtest, is_quick)?);
    }
    if wants("P9") {
        say(&crate::quiet::measure()?);
    }
    if wants("faults") {
        say(&faults(
            &std::fs::read_to_string(shell::root().join(SOAK)).unwrap_or_default(),
        ));
    }
    if wants("sessions") {
        say(&sessions()?);
    }
    Ok(())
}

/// The start storm. The generator yields to the server, as if it stood on another machine.
fn storm(loadtest: &Path) -> Outcome<String> {
    let program = loadtest.to_string_lossy();
    let words = ["-n", "10", &program, "storm", "--json", "--plot", PLOT];
    let report = shell::output(Path::new("nice"), &words)?;
    let number = |key| number(&report, key);
    let (started, candidates) = (number("f7_started")?, number("candidates")?);
    let (p99, ratio) = (number("f7_start_ms_p99")?, number("f7_goodput_ratio")?);
    let lost = number("f7_lost")?;
    let is_shed_last = report.contains("\"f7_answers_shed_last\":true");
    let is_ok = report.contains("\"f7_ok\":true");
    Ok(format!(
        "F7 {ratio:.3} 0.9 {} goodput of its peak at {:.1} times it ({:.0} of {:.0} answers/s); {started:.0} of {candidates:.0} started, \
         p99 {p99:.0} ms, below 1000; {lost:.0} lost; answers shed last: {is_shed_last}; {PLOT}",
        word(is_ok),
        number("factor")?,
        number("goodput_per_s")?,
        number("peak_per_s")?,
    ))
}

fn cost(report: &str) -> Outcome<String> {
    let embedded = number(report, "f9_embedded_ms")?;
    let redis = number(report, "f9_redis_ms")?;
    let worse = embedded.max(redis);
    Ok(format!(
        "F9 {worse:.3} 3 {} ms CPU a candidate's whole exam, at most; embedded {embedded:.3}, Redis with the server's own {redis:.3}",
        word(worse <= 3.0)
    ))
}

fn growth(loadtest: &Path, is_quick: bool) -> Outcome<String> {
    let mut words = vec!["growth", "--json"];
    words.extend(is_quick.then_some("--quick"));
    let report = shell::output(loadtest, &words)?;
    let embedded = number(&report, "f12_embedded_ratio")?;
    let redis = number(&report, "f12_redis_ratio")?;
    let sessions = if is_quick {
        "100,000 (quick)"
    } else {
        "1,000,000"
    };
    Ok(format!(
        "F12 {:.3} 1.15 {} CPU an answer at {sessions} sessions against 10,000, at most; embedded {embedded:.3}, Redis {redis:.3}; {:.0} s",
        embedded.max(redis),
        word(embedded.max(redis) <= 1.15),
        number(&report, "seconds")?,
    ))
}

/// Sums what `cargo xtask soak` wrote down.
fn faults(lines: &str) -> String {
    let (mut survived, mut answers, mut seeds, mut broken) = (0_u64, 0_u64, 0_u64, 0_u64);
    for line in lines.lines() {
        let before = |words: &str| -> u64 {
            let (head, _) = line.split_once(words).unwrap_or_default();
            head.rsplit(' ')
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or_default()
        };
        survived += before(" faults survived");
        answers += before(" answers acknowledged");
        seeds += 1;
        broken += u64::from(!line.contains("\"ok\":true"));
    }
    format!(
        "faults {survived} - {} faults survived; {answers} answers acknowledged, {seeds} seeds, {broken} broken; cargo xtask soak adds to them",
        word(broken == 0 && seeds > 0)
    )
}

/// Simulated contests: `SIM_SEEDS` of them, as many as the suite plays by itself if not set.
fn sessions() -> Outcome<String> {
    let seeds = std::env::var("SIM_SEEDS").unwrap_or_else(|_| "500".to_owned());
    let seeds_set = format!("SIM_SEEDS={seeds}");
    let words = [
        &seeds_set,
        "cargo",
        "test",
        "--quiet",
        "-p",
        "exam-engine",
        "--test",
        "it",
        "no_seed_breaks_a_promise",
    ];
    shell::run("env", &words)?;
    Ok(format!(
        "sessions {seeds} - ok simulated contests, none broke a promise; SIM_SEEDS=N plays so many"
    ))
}

fn word(is_ok: bool) -> &'static str {
    if is_ok { "ok" } else { "miss" }
}

fn line(name: &str, (ratio, wanted_ratio): (f64, f64), (rate, wanted_rate): (f64, f64)) -> String {
    let is_ok = ratio >= wanted_ratio && rate >= wanted_rate;
    let verdict = word(is_ok);
    format!(
        "{name} {ratio:.3} {wanted_ratio} {verdict} of a bare handler, at least; {rate:.0} answers/s, at least {wanted_rate:.0}"
    )
}

/// Takes a number out of flat JSON: `"key": 1.5`.
pub(crate) fn number(json: &str, key: &str) -> Outcome<f64> {
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
    fn costs_are_held_against_their_targets() {
        let report = |redis| format!(r#"{{"f9_embedded_ms":1.5,"f9_redis_ms":{redis}}}"#);
        assert!(cost(&report("2.25")).unwrap().starts_with("F9 2.250 3 ok "));
        assert!(
            cost(&report("3.01"))
                .unwrap()
                .starts_with("F9 3.010 3 miss ")
        );
    }

    #[test]
    fn soaks_are_summed_and_a_broken_seed_is_a_miss() {
        let line = |ok| {
            format!(
                "{{\"seed\":1,\"ok\":{ok},\"outcome\":\"faults: x, 11 faults survived, 5040 answers acknowledged, 0 lost\"}}\n"
            )
        };
        let good = faults(&(line(true) + &line(true)));
        assert!(
            good.starts_with("faults 22 - ok faults survived; 10080 answers acknowledged, 2 seeds"),
            "{good}"
        );
        assert!(faults(&(line(true) + &line(false))).starts_with("faults 22 - miss "));
        assert!(faults("").starts_with("faults 0 - miss "));
    }

    #[test]
    fn numbers_are_found_by_name() {
        let json = r#"{"f1_ratio":0.72,"redis_per_s": 36000.5}"#;
        assert_eq!(number(json, "f1_ratio"), Ok(0.72));
        assert_eq!(number(json, "redis_per_s"), Ok(36_000.5));
        assert!(number(json, "f2_ratio").is_err());
    }
}
