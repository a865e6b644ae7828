//! The product from outside: real gRPC, real stores, real processes. One binary, a module a feature.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod archive;
mod backup;
mod bad_input;
mod command_line;
mod embedded_store;
mod faults;
mod harness;
mod kill;
mod power_cut;
mod redis_server;
mod rpc_coverage;
mod sim;
mod sitting;
mod store_suite;
