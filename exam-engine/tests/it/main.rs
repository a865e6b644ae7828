//! The product from outside: real gRPC, real stores, real processes. One binary, a module a feature.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod actions;
mod admission;
mod archive;
mod backup;
mod bad_input;
mod cluster;
mod command_line;
mod decisions;
mod embedded_store;
mod failover;
mod faults;
mod harness;
mod kill;
mod port;
mod power_cut;
mod processes;
mod redis_access;
mod redis_group;
mod redis_server;
mod redis_store;
mod rolling_upgrade;
mod rpc_coverage;
mod several_engines;
mod sim;
mod sitting;
mod stalled;
mod store_suite;
mod tls;
