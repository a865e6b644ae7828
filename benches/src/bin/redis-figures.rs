//! Measures what needs a Redis, in release mode: `redis-figures memory [SESSIONS]` (F8), `redis-figures commits [IN_FLIGHT …]`.

use std::{process::ExitCode, time::Duration};

use benches::{redis_commits, redis_memory};

/// Sessions that F8 is measured with.
const N_SESSIONS: usize = 20_000;
/// Bytes of a session that F8 allows.
const TARGET: u64 = 5 * 1_024;
const SEED: u64 = 20_260_101;
/// Turns of each way of sending, and how long each lasts.
const N_TURNS: u32 = 7;
const TURN: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match words.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", &[][..]),
    };
    let numbers: Vec<usize> = rest.iter().filter_map(|word| word.parse().ok()).collect();
    let outcome = match command {
        "memory" => memory(numbers.first().copied().unwrap_or(N_SESSIONS)).await,
        "commits" if numbers.is_empty() => commits(&[64, 512]).await,
        "commits" => commits(&numbers).await,
        _ => Err("redis-figures memory [SESSIONS] | commits [IN_FLIGHT …]".into()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lỗi / error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the figures are its output")]
async fn memory(n_sessions: usize) -> Result<ExitCode, Box<dyn std::error::Error + Send + Sync>> {
    let memory = redis_memory::measure(n_sessions, SEED).await?;
    let bytes = memory.bytes_per_session();
    let is_ok = bytes <= TARGET;
    let word = if is_ok { "ok" } else { "FAIL" };
    println!(
        "F8 {bytes} {TARGET} {word}: bytes a session, {} sessions of {} answered items, log included",
        memory.n_sessions,
        redis_memory::N_ITEMS
    );
    Ok(if is_ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[expect(clippy::print_stdout, reason = "the figures are its output")]
async fn commits(
    in_flight: &[usize],
) -> Result<ExitCode, Box<dyn std::error::Error + Send + Sync>> {
    for n in in_flight {
        for rate in redis_commits::measure(*n, N_TURNS, TURN).await? {
            println!("{rate}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
