//! The gRPC face: decode, call one operation, encode. Refusals become statuses in [`status`] alone.

pub mod auth;
pub mod candidate;
mod convert;
pub mod grader;
pub mod grader_relay;
pub mod log;
pub mod operator;
pub mod organizer;
pub mod packages;
pub mod ruling;
pub mod status;

pub use candidate::Candidate;
pub use grader::Grader;
pub use grader_relay::GraderRelay;
pub use log::Log;
pub use operator::Operator;
pub use organizer::Organizer;
pub use packages::Packages;
pub use ruling::Rulings;
