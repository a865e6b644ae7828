//! What a refusal means to its caller: send again, or not.

use std::{collections::HashMap, fmt, time::Duration};

use proto::exam::v1::ErrorCode;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// No pause that a server asks for is longer: beyond it the caller looks by itself.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server refused, with a code of its public list.
    Refused {
        /// Which.
        code: ErrorCode,
        /// The facts that came with it.
        metadata: Vec<(String, String)>,
    },
    /// A status without such a code that sending again will not mend.
    Strange {
        /// As it came.
        status: String,
    },
    /// Nothing came until time was up.
    NoReply {
        /// Reason of the last failure.
        last: String,
    },
}

impl Failure {
    /// Tells whether the server refused with this code.
    #[must_use]
    pub fn is(&self, expected: ErrorCode) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == expected)
    }

    /// Returns a short name for counts.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { code, .. } => proto::reason(*code),
            Self::Strange { .. } => "STRANGE",
            Self::NoReply { .. } => "NO_REPLY",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, metadata } => {
                write!(f, "refused with {}", proto::reason(*code))?;
                for (name, value) in metadata {
                    write!(f, " {name}={value}")?;
                }
                Ok(())
            }
            Self::Strange { status } => write!(f, "strange status {status}"),
            Self::NoReply { last } => write!(f, "no reply in time, last {last}"),
        }
    }
}

impl std::error::Error for Failure {}

/// What a status means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass: send again.
    Again {
        /// Short name for counts.
        reason: &'static str,
        /// Not before this.
        after: Option<Duration>,
        /// To be sent along, if it was a start.
        slot_token: Option<String>,
    },
    /// It will not.
    Final(Failure),
}

/// Says what a status means.
#[must_use]
pub fn judge(status: &Status) -> Verdict {
    let info = status
        .get_details_error_info()
        .filter(|info| info.domain == proto::DOMAIN);
    let Some(mut info) = info else {
        return judge_foreign(status);
    };
    match ErrorCode::from_str_name(&format!("ERROR_CODE_{}", info.reason)) {
        Some(code) if passes(code) => Verdict::Again {
            reason: proto::reason(code),
            after: info
                .metadata
                .get("retry_after_ms")
                .and_then(|ms| ms.parse().ok())
                .map(|ms| Duration::from_millis(ms).min(LONGEST_ASKED)),
            slot_token: info.metadata.remove("slot_token"),
        },
        Some(code) => Verdict::Final(Failure::Refused {
            code,
            metadata: sorted(info.metadata),
        }),
        None => Verdict::Final(Failure::Strange {
            status: format!("with unknown reason {}", info.reason),
        }),
    }
}

/// Tells which refusals pass by themselves.
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::StoreUnavailable
            | ErrorCode::Conflict
            | ErrorCode::Overloaded
            | ErrorCode::WaitInLobby
            | ErrorCode::TooManyCalls
            | ErrorCode::CallTimedOut
    )
}

/// Statuses the server did not make: the connection broke, or something in between refused.
fn judge_foreign(status: &Status) -> Verdict {
    match status.code() {
        Code::Unavailable
        | Code::Unknown
        | Code::Internal
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted => Verdict::Again {
            reason: "TRANSPORT",
            after: None,
            slot_token: None,
        },
        code => Verdict::Final(Failure::Strange {
            status: format!("{code:?}: {}", status.message()),
        }),
    }
}

fn sorted(metadata: HashMap<String, String>) -> Vec<(String, String)> {
    let mut metadata: Vec<_> = metadata.into_iter().collect();
    metadata.sort_unstable();
    metadata
}
