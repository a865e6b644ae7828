//! How a program calls a server: how it connects, and the one layer that sends again.
//!
//! Only here is a call repeated. What may pass is sent again unchanged after a random pause; what the server decided is
//! returned. Answers carry their numbers, so a message that was stored already is stored once. Invariant: a call ends, by
//! a reply or at its `give_up`. Start at [`Retries::call`], or at [`Device`] for a candidate.

mod backoff;
mod device;
mod failure;
mod retries;

use std::time::Duration;

pub use backoff::{Backoff, Budget};
pub use device::Device;
pub use failure::{Failure, Verdict, judge};
pub use retries::{Reply, Retries};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue, errors::InvalidMetadataValue},
    transport::{Channel, Endpoint, Error},
};

/// A call without a reply for so long is sent again: far above any honest latency, below a deadline.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Receive windows: never adaptive, since small frames left unread would end a connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// Prepares a connection with our windows and limits.
///
/// # Errors
/// If the address is none.
pub fn endpoint(url: &str) -> Result<Endpoint, Error> {
    Ok(Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CALL_TIMEOUT)
        .tcp_nodelay(true)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_adaptive_window(false))
}

/// Returns a connection that opens when it is first used, and again whenever it broke.
///
/// # Errors
/// If the address is none.
pub fn channel(url: &str) -> Result<Channel, Error> {
    Ok(endpoint(url)?.connect_lazy())
}

/// Makes the header value for a token.
///
/// # Errors
/// If the token does not fit a header.
pub fn bearer(token: &str) -> Result<MetadataValue<Ascii>, InvalidMetadataValue> {
    format!("Bearer {token}").parse()
}

/// Puts a token on a message.
pub fn authorized<T>(body: T, token: &MetadataValue<Ascii>) -> Request<T> {
    let mut request = Request::new(body);
    request
        .metadata_mut()
        .insert("authorization", token.clone());
    request
}
