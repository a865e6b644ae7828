//! The command line, with its bounds.
//!
//! Invariant: what passes here is bounded in count and time, and stays on this machine.

use std::{fmt, path::PathBuf, str::FromStr};

use anyhow::{Error, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};

/// Load and proof for Khoa Bảng.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, about)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `loadtest` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Plays a whole exam against a running engine and gives the verdict.
    Run(RunArgs),
    /// Measures the engine against bare handlers on the same machine.
    Floor(FloorArgs),
    /// Breaks engine, store, disk, network and clock under load; what was acknowledged must be there.
    Faults(FaultsArgs),
    /// Measures the processor time of a candidate's whole exam, and the memory of a session in Redis.
    Cost(CostArgs),
    /// Measures whether an answer costs more when more sessions live.
    Growth(GrowthArgs),
    /// Releases everybody within seconds, then asks for a multiple of what the machine can do.
    Storm(StormArgs),
    /// Serves a handler that only replies (a child of `floor`).
    #[command(hide = true)]
    EchoServer,
    /// Serves a handler that only calls the store's script (a child of `floor`).
    #[command(hide = true)]
    ScriptServer {
        /// Redis to call, on this machine.
        #[arg(long)]
        redis: String,
    },
}

/// What `loadtest run` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Engine to drive: http://127.0.0.1:PORT.
    #[arg(long)]
    pub(crate) server: Server,
    /// File that holds the organizer's token.
    #[arg(long)]
    pub(crate) organizer_token_file: PathBuf,
    /// The exam, which must be open.
    #[arg(long = "exam")]
    pub(crate) exam_id: String,
    /// Candidates.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) candidates: u32,
    /// Seconds over which they arrive.
    #[arg(long, default_value_t = 15.0, value_parser = seconds)]
    pub(crate) arrivals_s: f64,
    /// How arrivals are spread over those seconds.
    #[arg(long, value_enum, default_value_t = Spread::Poisson)]
    pub(crate) arrivals: Spread,
    /// Mean time before each answer, milliseconds.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(0..=600_000))]
    pub(crate) think_ms: u32,
    /// Candidates of a hundred who never submit.
    #[arg(long, default_value_t = 2.0, value_parser = percent)]
    pub(crate) abandon_percent: f64,
    /// Candidates of a hundred who lose their connection and come back.
    #[arg(long, default_value_t = 5.0, value_parser = percent)]
    pub(crate) reconnect_percent: f64,
    /// Candidates of a hundred who go on with a second device.
    #[arg(long, default_value_t = 1.0, value_parser = percent)]
    pub(crate) takeover_percent: f64,
    /// Candidates of a hundred who send one message twice at once.
    #[arg(long, default_value_t = 5.0, value_parser = percent)]
    pub(crate) twice_percent: f64,
    /// Everything random follows from it; the same seed makes the same candidates.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// HTTP/2 connections.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) channels: u32,
    /// Longest wait for deadlines to end the abandoned attempts, seconds; behind it the organizer ends them.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) wait_s: u32,
    /// Folder for the archive; a temporary one if not given, which stays only if the verdict fails.
    #[arg(long)]
    pub(crate) archive_dir: Option<PathBuf>,
    /// Writes the report as JSON to this file; without a name, or "-", to standard output instead of the text.
    #[arg(long, num_args = 0..=1, default_missing_value = "-")]
    pub(crate) json: Option<String>,
    /// Rows of the standings to print.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) top: u32,
}

/// What `loadtest floor` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// Measured seconds for each of the four servers, spread over the rounds.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Calls in flight, each of another candidate.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub(crate) in_flight: u32,
    /// HTTP/2 connections.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) channels: u32,
    /// The engine's binary; `exam` beside this one if not given.
    #[arg(long)]
    pub(crate) exam_bin: Option<PathBuf>,
    /// Question file of the exam; the sample bank of the sources if not given.
    #[arg(long)]
    pub(crate) bank: Option<PathBuf>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `loadtest faults` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FaultsArgs {
    /// Seed of the first round; every further round takes the next.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    pub(crate) seed: u64,
    /// Rounds of every scenario.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// Only this scenario; may be given several times.
    #[arg(long)]
    pub(crate) scenario: Vec<String>,
    /// No round begins behind so many minutes.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) minutes: Option<u32>,
    /// The engine's binary; `exam` beside this one if not given.
    #[arg(long)]
    pub(crate) exam_bin: Option<PathBuf>,
    /// Question file of the exam; the sample bank of the sources if not given.
    #[arg(long)]
    pub(crate) bank: Option<PathBuf>,
}

/// What `loadtest cost` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CostArgs {
    /// Candidates.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) candidates: u32,
    /// The engine's binary; `exam` beside this one if not given.
    #[arg(long)]
    pub(crate) exam_bin: Option<PathBuf>,
    /// Question file of the exam; the sample bank of the sources if not given.
    #[arg(long)]
    pub(crate) bank: Option<PathBuf>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `loadtest growth` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GrowthArgs {
    /// Stops at 100,000 sessions instead of a million.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this store; both if not given.
    #[arg(long, value_enum)]
    pub(crate) store: Option<crate::node::StoreKind>,
    /// The engine's binary; `exam` beside this one if not given.
    #[arg(long)]
    pub(crate) exam_bin: Option<PathBuf>,
    /// Question file of the exam; the sample bank of the sources if not given.
    #[arg(long)]
    pub(crate) bank: Option<PathBuf>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `loadtest storm` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StormArgs {
    /// Candidates who are released.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) candidates: u32,
    /// Seconds within which they are.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) release_s: f64,
    /// Seconds of overload.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(5..=600))]
    pub(crate) overload_s: u32,
    /// Answers fall due at so many times the peak.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) factor: f64,
    /// Where sessions live.
    #[arg(long, value_enum, default_value = "embedded")]
    pub(crate) store: crate::node::StoreKind,
    /// Draws offered load, goodput, sheds and latency into this SVG file.
    #[arg(long)]
    pub(crate) plot: Option<PathBuf>,
    /// The engine's binary; `exam` beside this one if not given.
    #[arg(long)]
    pub(crate) exam_bin: Option<PathBuf>,
    /// Question file of the exam; the sample bank of the sources if not given.
    #[arg(long)]
    pub(crate) bank: Option<PathBuf>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How arrivals are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spread {
    /// Independent of each other, as people come.
    Poisson,
    /// At equal distances.
    Even,
}

/// An engine on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server(String);

impl Server {
    /// Returns its address as a URL without a path.
    pub(crate) fn url(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Server {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some(port) = text
            .strip_suffix('/')
            .unwrap_or(text)
            .strip_prefix("http://127.0.0.1:")
        else {
            bail!("only http://127.0.0.1:PORT is driven: a load test belongs on one's own machine");
        };
        let port: u16 = port
            .parse()
            .map_err(|_| Error::msg("the port is a number from 1 to 65535"))?;
        ensure!(port > 0, "the port is a number from 1 to 65535");
        Ok(Self(format!("http://127.0.0.1:{port}")))
    }
}

fn percent(text: &str) -> Result<f64, Error> {
    let value: f64 = text.parse()?;
    ensure!(
        (0.0..=100.0).contains(&value),
        "a percentage from 0 to 100 is needed"
    );
    Ok(value)
}

/// An hour is longer than any start storm and any measurement.
fn seconds(text: &str) -> Result<f64, Error> {
    let value: f64 = text.parse()?;
    ensure!(
        (0.0..=3_600.0).contains(&value),
        "seconds from 0 to 3600 are needed"
    );
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["loadtest"], rest].concat())
    }

    const NEEDED: [&str; 7] = [
        "run",
        "--server",
        "http://127.0.0.1:50051",
        "--organizer-token-file",
        "token",
        "--exam",
        "demo",
    ];

    fn run(rest: &[&str]) -> Result<RunArgs, clap::Error> {
        match parse(&[&NEEDED, rest].concat())?.command {
            Command::Run(run) => Ok(run),
            other => panic!("not a run: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_a_contest_of_five_thousand() {
        let args = run(&[]).unwrap();
        assert_eq!(args.candidates, 5_000);
        assert_eq!(args.arrivals, Spread::Poisson);
        assert_eq!((args.think_ms, args.channels, args.top), (400, 4, 10));
        assert_eq!(args.server.url(), "http://127.0.0.1:50051");
    }

    #[test]
    fn other_machines_are_refused() {
        for server in [
            "http://192.168.1.4:50051",
            "http://127.0.0.1.example.org:80",
            "http://localhost:50051",
            "https://127.0.0.1:443",
            "http://127.0.0.1:",
            "http://127.0.0.1:0",
            "http://127.0.0.1:80/exam",
            "http://127.0.0.1:80@example.org",
        ] {
            assert!(server.parse::<Server>().is_err(), "{server}");
        }
    }

    #[test]
    fn bounds_hold() {
        for bad in [
            ["--abandon-percent", "101"],
            ["--abandon-percent", "NaN"],
            ["--candidates", "0"],
            ["--candidates", "200001"],
            ["--arrivals-s", "-1"],
            ["--arrivals-s", "inf"],
            ["--channels", "65"],
            ["--top", "1001"],
        ] {
            assert!(run(&bad).is_err(), "{bad:?}");
        }
        assert!(run(&["--candidates", "200000"]).is_ok());
    }

    #[test]
    fn an_exam_is_needed() {
        assert!(parse(&NEEDED[..5]).is_err());
    }

    #[test]
    fn floor_stands_on_its_own() {
        let Command::Floor(args) = parse(&["floor", "--json"]).unwrap().command else {
            panic!("not a floor");
        };
        assert!(args.json);
        assert_eq!((args.in_flight, args.channels), (256, 4));
    }
}
