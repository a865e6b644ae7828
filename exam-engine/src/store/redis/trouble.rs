//! What an error of the server means for the call that it answers.

use redis::{ServerErrorKind, Value};

use crate::store::Error;

/// Why a call has no values yet, or never will.
pub(super) enum Trouble {
    /// Nothing was done: another server is the right one, or will be.
    Elsewhere(String),
    /// Nothing was done: this one for now, by `ASKING`.
    Ask(String, u16),
    /// Nothing was done: the same server, in a moment.
    Later(String),
    Final(Error),
}

/// What XINFO says of a log that was never written to: an answer, no trouble.
const NO_SUCH_KEY: &str = "no such key";

/// Looks for errors of the server among the values.
pub(super) fn verdict(values: Vec<Value>) -> Result<Vec<Value>, Trouble> {
    let error = values.iter().find_map(|value| match value {
        Value::ServerError(error) if error.details() != Some(NO_SUCH_KEY) => Some(error),
        _ => None,
    });
    let Some(error) = error else {
        return Ok(values);
    };
    let why = format!("{} {}", error.code(), error.details().unwrap_or(""));
    Err(match error.kind() {
        Some(ServerErrorKind::Ask) => match redirect(error.details()) {
            Some((host, port)) => Trouble::Ask(host, port),
            None => Trouble::Later(why),
        },
        Some(
            ServerErrorKind::Moved
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => Trouble::Elsewhere(why),
        Some(
            ServerErrorKind::NoScript | ServerErrorKind::TryAgain | ServerErrorKind::BusyLoading,
        ) => Trouble::Later(why),
        _ => Trouble::Final(Error::Unavailable(why)),
    })
}

/// Reads "3999 127.0.0.1:6381".
fn redirect(details: Option<&str>) -> Option<(String, u16)> {
    let (_, endpoint) = details?.split_once(' ')?;
    let (host, port) = endpoint.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_names_a_server() {
        let read = |text| redirect(Some(text));
        assert_eq!(
            read("3999 10.0.0.1:6381"),
            Some(("10.0.0.1".to_owned(), 6_381))
        );
        assert_eq!(read("3999 ::1:6381"), Some(("::1".to_owned(), 6_381)));
        assert_eq!(read("3999"), None);
    }
}
