//! How an [`ErrorCode`] travels: its name in `google.rpc.ErrorInfo.reason`.

use crate::exam::v1::ErrorCode;

/// `google.rpc.ErrorInfo.domain` of every refusal.
pub const DOMAIN: &str = "khoabang";

/// Returns the code's stable name, e.g. `ANSWER_GAP`.
#[must_use]
pub fn reason(code: ErrorCode) -> &'static str {
    code.as_str_name()
        .strip_prefix("ERROR_CODE_")
        .expect("every code carries the prefix")
}
