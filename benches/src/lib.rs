//! Workloads by size, for the criterion benches and for the figures of the design.
//!
//! A workload is a function of its sizes and a seed: the same arguments give the same bank, papers and events, so
//! that two runs measure the same work. It goes through public APIs only, and `tests/smoke.rs` runs each of them
//! small and compares what comes out with a plain model. Start at [`bank::Shape`] and [`figures::measure`].

pub mod bank;

pub mod draw;
pub mod fold;
pub mod standing;
pub mod store;

pub mod figures;

pub mod redis_commits;
pub mod redis_memory;
mod redis_server;

/// The programs' allocator: papers and events are many small allocations, so it is part of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
