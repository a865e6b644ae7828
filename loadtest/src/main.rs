//! Candidates by the thousand over real gRPC, and the verdict on what became of their answers.
//!
//! `loadtest run` plays a whole exam against a running engine and exits 1 when anything it was told
//! differs from what the archive holds; `loadtest floor` measures how far the engine is from a bare
//! handler; `loadtest faults` breaks what can break while candidates work. It sees the product only through its protos, as a stranger would.
//! Invariant: nothing but 127.0.0.1 is ever driven. Start at [`scenario::run`].

mod args;

mod scenario;

mod arrivals;
mod candidate;
mod client;
mod organizer;
mod plan;

mod report;
mod verdict;

mod areas;
mod chain;
mod latency;

mod child;
mod cpu;
mod herd;
mod node;
mod own_exam;
mod proxy;
mod redis_server;

mod cost;
mod faults;
mod floor;
mod growth;
mod storm;

use std::process::ExitCode;

use anyhow::Result;
use args::{Args, Command};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("lỗi (error): {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(dispatch(args.command))
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(run) => Box::pin(scenario::run(run)).await,
        Command::Cost(cost) => Box::pin(cost::run(cost)).await,
        Command::Growth(growth) => Box::pin(growth::run(growth)).await,
        Command::Storm(storm) => Box::pin(storm::run(storm)).await,
        Command::Faults(faults) => Box::pin(faults::run(faults)).await,
        Command::Floor(floor) => Box::pin(floor::run(floor)).await,
        Command::EchoServer => floor::bare::serve_echo().await,
        Command::ScriptServer { redis } => floor::bare::serve_script(&redis).await,
    }
}
