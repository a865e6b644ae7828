//! A whole contest by one command: bank, exam, thousands of candidates, results, verdict.
//!
//! The verdict is the last line, but for the address of a server that stays up.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Outcome, say,
    shell::{self, Started},
};

const EXAM: &str = "tim-hieu-viet-nam";
/// Time for an attempt in the demo, seconds: long enough for 20 simulated answers, short enough to watch it end.
const DURATION_S: u32 = 25;
const ARRIVALS_S: u32 = 15;
/// As many as loadtest plays.
const MAX_CANDIDATES: u32 = 200_000;

pub(crate) struct Options {
    candidates: u32,
    redis: bool,
    exit: bool,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Outcome<Self> {
        let mut options = Self {
            candidates: 5_000,
            redis: false,
            exit: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--redis" => options.redis = true,
                "--exit" => options.exit = true,
                "--candidates" => {
                    let number = words
                        .next()
                        .and_then(|text| text.parse().ok())
                        .filter(|n| (1..=MAX_CANDIDATES).contains(n));
                    options.candidates = number.ok_or_else(|| {
                        format!("--candidates: số từ 1 đến {MAX_CANDIDATES} / a number from 1 to {MAX_CANDIDATES}")
                    })?;
                }
                other => return Err(format!("demo: không hiểu / not understood: {other}")),
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(options: &Options) -> Outcome {
    let begun = Instant::now();
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
        ],
    )?;
    let built = begun.elapsed();
    let folder = shell::root().join("target/demo");
    let _ = fs::remove_dir_all(&folder); // there may be none
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let data = folder.join("data");
    let exam = Exam {
        program: release_program("exam"),
        data: data.clone(),
    };
    let sample = shell::root().join("question-bank/sample");
    let sample = |name: &str| sample.join(name).to_string_lossy().into_owned();
    exam.run(&["bank", "import", &sample("vietnam-knowledge.xlsx")])?;
    // The same bank as people type it in Word: nothing is added twice.
    let (questions, key) = (
        sample("vietnam-knowledge-questions.docx"),
        sample("vietnam-knowledge-key.docx"),
    );
    exam.run(&["bank", "import", &questions, "--key", &key])?;
    exam.run(&["bank", "release"])?;
    let redis = if options.redis {
        Some(start_redis(&folder)?)
    } else {
        None
    };
    let (server, url) = exam.serve(redis.as_ref().map(|(_, url)| url.as_str()))?;
    let spec = folder.join("exam.json");
    fs::write(&spec, exam_file(EXAM, options.candidates)).map_err(|error| error.to_string())?;
    exam.run(&["exam", "--server", &url, "create", &spec.to_string_lossy()])?;
    exam.run(&["exam", "--server", &url, "open", EXAM])?;
    let (verdict, outcome) = contest(options, &url, &data, &folder)?;
    say(&format!(
        "biên dịch / build {:.0} s, tất cả / in all {:.0} s",
        built.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    ));
    say(&verdict);
    outcome?;
    if options.exit {
        return Ok(());
    }
    say(&format!(
        "Máy chủ vẫn chạy tại {url} (Ctrl+C để dừng) / the server stays up at {url} (Ctrl+C ends it)"
    ));
    let mut server = server;
    server
        .0
        .wait()
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Plays the contest; returns the line with the verdict, and whether it is a good one.
fn contest(options: &Options, url: &str, data: &Path, folder: &Path) -> Outcome<(String, Outcome)> {
    let token = data.join("secrets/organizer.token");
    let archive = folder.join("archive");
    let report = folder.join("report.json");
    shell::run_but_last_line(
        &release_program("loadtest"),
        &[
            "run",
            "--server",
            url,
            "--organizer-token-file",
            &token.to_string_lossy(),
            "--exam",
            EXAM,
            "--candidates",
            &options.candidates.to_string(),
            "--arrivals-s",
            &ARRIVALS_S.to_string(),
            "--archive-dir",
            &archive.to_string_lossy(),
            "--json",
            &report.to_string_lossy(),
        ],
    )
}

pub(crate) fn release_program(name: &str) -> PathBuf {
    shell::root().join("target/release").join(name)
}

/// The program `exam` on one data folder.
pub(crate) struct Exam {
    pub(crate) program: PathBuf,
    pub(crate) data: PathBuf,
}

impl Exam {
    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        let data = self.data.to_string_lossy();
        shell::run(
            &self.program.to_string_lossy(),
            &[&["--data", &data], words].concat(),
        )
    }

    /// Starts the server and waits for the line that tells its address.
    pub(crate) fn serve(&self, redis: Option<&str>) -> Outcome<(Started, String)> {
        let mut command = Command::new(&self.program);
        command
            .arg("--data")
            .arg(&self.data)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped());
        if let Some(url) = redis {
            command.args(["--redis", url]);
        }
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        let server = Started(child);
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .ok_or("máy chủ không khởi động được / the server did not start")?;
        Ok((server, url.to_owned()))
    }
}

/// Starts a Redis of the demo's own, on a unix socket, with the settings that official exams need.
fn start_redis(folder: &Path) -> Outcome<(Started, String)> {
    shell::need("redis-server", "redis-server")?;
    let home = folder.join("redis");
    fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let child = Command::new("redis-server")
        .args([
            "--port",
            "0",
            "--unixsocket",
            "s.sock",
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ])
        .current_dir(&home)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let server = Started(child);
    let socket = home.join("s.sock");
    let begun = Instant::now();
    while !socket.exists() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(
                "redis-server không khởi động được / redis-server did not start".to_owned(),
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((server, format!("redis+unix://{}", socket.display())))
}

/// The demo's exam: 20 items from four topics, one attempt, all 63 provinces of the old edition.
pub(crate) fn exam_file(id: &str, candidates: u32) -> String {
    let registered: Vec<String> = registered(candidates)
        .iter()
        .map(|(code, n)| format!("\"{code}\": {n}"))
        .collect();
    let strata: Vec<String> = [
        "Địa lý Việt Nam",
        "Lịch sử Việt Nam",
        "An toàn giao thông",
        "Kỹ năng số",
    ]
    .iter()
    .flat_map(|topic| {
        [("NB", 3), ("TH", 2)].map(|(band, quota)| {
            format!(r#"{{"topic": "{topic}", "band": "{band}", "quota": {quota}}}"#)
        })
    })
    .collect();
    format!(
        r#"{{
  "id": "{id}", "title": "Tìm hiểu Việt Nam (thi thử)",
  "sections": [{{"title": "Phần chung", "mark": "0.5", "strata": [{}]}}],
  "duration_s": {DURATION_S}, "grace_s": 1,
  "rounds": [{{"opens": "-1m", "closes": "+2h"}}],
  "attempts_in_all": 1, "counted": "best",
  "ranking": ["score", "net_time", "submitted_at"],
  "result": "at_end", "map": "vn-63", "registered": {{{}}}
}}"#,
        strata.join(", "),
        registered.join(", ")
    )
}

/// Spreads persons over the provinces of the old edition: six times as many in the two largest cities.
fn registered(candidates: u32) -> Vec<(String, u32)> {
    let csv = include_str!("../../directory/data/vn-63.csv");
    let codes: Vec<&str> = csv
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').next())
        .collect();
    let weight = |code: &&str| if matches!(*code, "01" | "79") { 6 } else { 1 };
    let total: u32 = codes.iter().map(weight).sum();
    codes
        .iter()
        .map(|code| ((*code).to_owned(), candidates * weight(code) / total + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_as_many_as_loadtest_plays() {
        let candidates =
            |number| Options::parse(&["--candidates", number]).map(|options| options.candidates);
        assert_eq!(candidates("200000"), Ok(200_000));
        for wrong in ["0", "200001", "many"] {
            assert!(candidates(wrong).is_err(), "{wrong}");
        }
    }
}
