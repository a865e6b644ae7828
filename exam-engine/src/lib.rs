//! The exam engine: session rules, live stores, log, gRPC, and the composition of all roles.
//!
//! A call comes in at [`grpc`], becomes one operation of [`engine`], is decided by the pure rules in [`session`] and
//! committed through [`store`]. [`server`] puts the roles of one process together. docs/ARCHITECTURE.md has the map.

pub mod session;

pub mod store;

pub mod engine;

pub mod admission;

pub mod grpc;

pub mod bank;
pub mod cli;
pub mod clock;
pub mod files;
pub mod id;
pub mod packages;
pub mod secrets;
pub mod server;
pub mod token;
