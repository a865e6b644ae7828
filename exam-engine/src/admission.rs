//! Who is let in when more come than can be served: starts one after the other, calls by their class, callers by their rate.
//!
//! Three questions, each asked once: is it this candidate's turn to start ([`Lobby`]), has the server room for a call of
//! this class ([`Gate`]), and does this caller call too often ([`Callers`]). Rates are counted by one function,
//! [`TokenBucket::book`]. Invariant: memory does not grow with the number of those who wait or call.
//! Source: E. Brewer, B. Beyer et al., "Site Reliability Engineering", chapter 21 (shed early, by importance).

mod bucket;
mod callers;
mod class;
mod gate;
mod lobby;
mod table;

pub use bucket::{Rate, TokenBucket};
pub use callers::{CallerFrom, CallerLimits, Callers, Excess};
pub use class::Class;
pub use gate::{Gate, GateLimits, Permit, QUEUE_PATIENCE, Shed};
pub use lobby::{Lobby, Place, Turn};
