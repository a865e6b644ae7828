//! What stops a verification before it can give a verdict.

use std::{fmt, io};

/// An archive or a package that cannot be read as `docs/FORMATS.md` says.
///
/// Whatever can be read but is not true is a [`crate::Difference`] instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing or the disk does not give it.
    #[error("read {file}")]
    Read {
        /// Name in the archive.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not the message it should be.
    #[error("decode {file}")]
    Decode {
        /// Name in the archive.
        file: String,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// `log.bin` ends within an entry, or an entry's length is impossible.
    #[error("read an entry of log.bin: it is cut off or damaged after {n_read} entries")]
    LogDamaged {
        /// Entries read before it.
        n_read: u64,
    },
    /// A value that the formats do not know.
    #[error("understand {what}: {found}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What stands there.
        found: String,
    },
    /// A slip that this exam's key did not sign, or that is cut or mistyped.
    #[error("verify the slip: {what}")]
    Slip {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A verdict is not signed, or not accepted.
    #[error("accept the verdict: {what}")]
    Verdict {
        /// What stands against it.
        what: String,
    },
    /// The blueprint cannot be filled, not even by a repaired paper.
    #[error("draw a paper: no fitting item is left in stratum {stratum}")]
    Infeasible {
        /// Number of the stratum through all sections, from 0.
        stratum: usize,
    },
}

impl Error {
    pub(crate) fn invalid(what: &'static str, found: impl fmt::Display) -> Self {
        Self::Invalid {
            what,
            found: found.to_string(),
        }
    }
}
