//! What an operator may set; the defaults are for a public port on one machine.

use std::{path::PathBuf, time::Duration};

use crate::admission::{CallerLimits, GateLimits, Rate};

/// Starts a second of one engine. Measured: 12,000 candidates who came within a second, to an engine on 2 cores with the
/// embedded store and its callers beside it, had started and read their papers after 1.6 s, each within 0.63 s; a quarter of
/// that rate leaves the answers of those who have started their share.
pub const STARTS_PER_SECOND: u32 = 2_000;

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Starts of attempts; two seconds' worth at once after a pause.
    pub starts: Rate,
    /// Room by class of calls.
    pub gate: GateLimits,
    /// Rates by caller.
    pub callers: CallerLimits,
    /// Limits of connections.
    pub port: PortLimits,
    /// TLS, if this program ends it.
    pub tls: Option<TlsFiles>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            starts: starts(STARTS_PER_SECOND),
            gate: GateLimits::default(),
            callers: CallerLimits::default(),
            port: PortLimits::default(),
            tls: None,
        }
    }
}

/// Returns the rate of starts with its burst.
#[must_use]
pub fn starts(per_s: u32) -> Rate {
    Rate {
        per_s,
        burst: per_s.saturating_mul(2),
    }
}

/// Files of TLS, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authority whose certificates roles must show to each other, if that is wanted.
    pub client_ca: Option<PathBuf>,
}

/// Limits of connections; each with its reason at its default.
#[derive(Clone, Copy, Debug)]
pub struct PortLimits {
    /// Connections at once.
    pub connections: usize,
    /// A connection says what it speaks, TLS included, within this.
    pub first_bytes: Duration,
    /// A peer takes what is written to it within this, or is let go.
    pub reader: Duration,
    /// A connection is asked to end after this, up to a tenth earlier.
    pub age: Duration,
    /// And ended after this much more.
    pub age_grace: Duration,
}

impl Default for PortLimits {
    fn default() -> Self {
        Self {
            connections: 60_000, // below the usual limit of 65,536 file descriptors of a service
            first_bytes: Duration::from_secs(10), // also on a bad line
            reader: Duration::from_secs(30), // a phone in a tunnel comes back with a new connection
            age: Duration::from_secs(15 * 60), // connections spread over new machines within a quarter of an hour
            age_grace: Duration::from_secs(60), // any call is over by then; streams connect again
        }
    }
}
