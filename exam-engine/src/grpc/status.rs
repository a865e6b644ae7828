//! The one place where a refusal becomes a `tonic::Status`.
//!
//! A caller gets the code's fixed sentence, Vietnamese then English, the code's name in `google.rpc.ErrorInfo`, and facts
//! as metadata. Causes stay in the log.

use std::collections::HashMap;

use proto::{DOMAIN, exam::v1::ErrorCode, reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{archive, engine::Error, session, store, token::CodeError};

/// A caller told to come again waits at least this long.
const RETRY_AFTER_MS: u32 = 500;

/// Names and values of a refusal's metadata.
pub type Facts = Vec<(&'static str, String)>;

/// Turns a refusal into what the caller sees, and logs what the caller does not see.
#[must_use]
pub fn to_status(error: Error) -> Status {
    if let Error::Grader(status) = error {
        return from_grader(*status);
    }
    let (code, facts) = classify(&error);
    match code {
        ErrorCode::Internal | ErrorCode::StoreCorrupt => tracing::error!(error = %error, "refused"),
        // One line a call would bury the log; `Engine::store_is_up` tells when the store goes and comes back.
        ErrorCode::StoreUnavailable => tracing::debug!(error = %error, "refused"),
        _ => {}
    }
    let (grpc_code, sentence) = describe(code);
    let detail = match &error {
        Error::Bank(error) => error.to_string(),
        Error::Invalid { field, what } => format!("{field}: {what}"),
        Error::Ungradable(error) => {
            format!(
                "Không chấm được kỳ thi như vậy: {error} / Such an exam cannot be graded: {error}"
            )
        }
        _ => sentence.to_owned(),
    };
    with_info(code, facts, grpc_code, detail)
}

/// Passes a refusal of the grader on; what the network made of a grader that is away says names of machines, and means
/// for the caller that the result is not there yet.
#[must_use]
pub fn from_grader(status: Status) -> Status {
    if status.get_details_error_info().is_some() {
        return status; // made by the grader's own table
    }
    tracing::debug!(error = %status, "the grader does not answer");
    refusal(ErrorCode::ResultNotReady, vec![])
}

/// Makes the status of a code that no operation returns, with its fixed sentence.
#[must_use]
pub fn refusal(code: ErrorCode, facts: Facts) -> Status {
    let (grpc_code, sentence) = describe(code);
    with_info(code, facts, grpc_code, sentence.to_owned())
}

/// Makes the last word of a stream that ends because the server stops: without a code of ours, as from the network,
/// since the caller is to do the same.
#[must_use]
pub fn stopping() -> Status {
    Status::unavailable("Máy chủ đang dừng, hãy nối lại / The server is stopping, connect again")
}

fn with_info(code: ErrorCode, facts: Facts, grpc_code: Code, detail: String) -> Status {
    let metadata: HashMap<String, String> = facts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Status::with_error_details(
        grpc_code,
        detail,
        ErrorDetails::with_error_info(reason(code), DOMAIN, metadata),
    )
}

fn classify(error: &Error) -> (ErrorCode, Facts) {
    match error {
        Error::Session(refusal) => classify_session(refusal),
        Error::Store(refusal) => classify_store(refusal),
        Error::Archive(archive::Error::Unavailable(_)) => (
            ErrorCode::StoreUnavailable,
            vec![("retry_after_ms", RETRY_AFTER_MS.to_string())],
        ),
        Error::Archive(
            archive::Error::Missing { .. }
            | archive::Error::Damaged { .. }
            | archive::Error::Differs { .. }
            | archive::Error::Ahead { .. },
        ) => (ErrorCode::StoreCorrupt, vec![]),
        Error::Bank(question_bank::Error::Infeasible(_)) => {
            (ErrorCode::BlueprintInfeasible, vec![])
        }
        Error::Bank(question_bank::Error::EmptyBank) => (ErrorCode::ReleaseNotFound, vec![]),
        Error::Bank(
            question_bank::Error::Package(_)
            | question_bank::Error::Unreadable { .. }
            | question_bank::Error::NoItems { .. },
        ) => (ErrorCode::Internal, vec![]),
        Error::ExamNotFound => (ErrorCode::ExamNotFound, vec![]),
        Error::ExamExists => (ErrorCode::ExamExists, vec![]),
        Error::ExamState { state } => (
            ErrorCode::ExamStateWrong,
            vec![("state", state.as_str_name().to_owned())],
        ),
        Error::AccessCode(CodeError::Invalid) => (ErrorCode::AccessCodeInvalid, vec![]),
        Error::AccessCode(CodeError::Expired) => (ErrorCode::AccessCodeExpired, vec![]),
        Error::Token => (ErrorCode::TokenInvalid, vec![]),
        Error::PermissionDenied => (ErrorCode::PermissionDenied, vec![]),
        Error::Invalid { field, .. } => (
            ErrorCode::InvalidArgument,
            vec![("field", (*field).to_owned())],
        ),
        Error::AreaUnknown { area } => (ErrorCode::AreaUnknown, vec![("area", area.clone())]),
        Error::TooManyAnswers => (
            ErrorCode::TooManyAnswers,
            vec![("limit", crate::engine::MAX_ANSWERS.to_string())],
        ),
        Error::PositionUnknown {
            partition,
            position,
        } => (
            ErrorCode::PositionUnknown,
            vec![
                ("partition", partition.to_string()),
                ("position", position.to_string()),
            ],
        ),
        Error::ReleaseNotFound => (ErrorCode::ReleaseNotFound, vec![]),
        Error::Ungradable(_) => (
            ErrorCode::InvalidArgument,
            vec![("field", "spec".to_owned())],
        ),
        Error::ResultNotReady => (ErrorCode::ResultNotReady, vec![]),
        Error::ProposalNotFound => (ErrorCode::ProposalNotFound, vec![]),
        Error::ProposalOutdated => (ErrorCode::ProposalOutdated, vec![]),
        Error::ResultFinal => (ErrorCode::ResultFinal, vec![]),
        Error::TwoPersonsNeeded => (ErrorCode::TwoPersonsNeeded, vec![]),
        Error::VerdictInvalid => (ErrorCode::VerdictInvalid, vec![]),
        Error::Grader(_) | Error::OtherSecrets(_) | Error::File(_) => (ErrorCode::Internal, vec![]),
        Error::NotYet(wait) => (
            ErrorCode::WaitInLobby,
            vec![
                ("position", wait.position.to_string()),
                ("expected_ms", wait.expected_ms.to_string()),
                ("retry_after_ms", wait.retry_after_ms.to_string()),
                ("slot_token", wait.slot_token.clone()),
            ],
        ),
        Error::LobbyFull { retry_after_ms } => (
            ErrorCode::Overloaded,
            vec![("retry_after_ms", retry_after_ms.to_string())],
        ),
    }
}

fn classify_session(refusal: &session::Error) -> (ErrorCode, Facts) {
    match refusal {
        session::Error::AnswerGap { expected_seq } => (
            ErrorCode::AnswerGap,
            vec![("expected_seq", expected_seq.to_string())],
        ),
        session::Error::OptionOutOfRange { position } => (
            ErrorCode::AnswerOptionOutOfRange,
            vec![("position", position.to_string())],
        ),
        session::Error::PositionUnknown { position } => (
            ErrorCode::AnswerPositionUnknown,
            vec![("position", position.to_string())],
        ),
        session::Error::SeqReused { seq } => {
            (ErrorCode::AnswerSeqReused, vec![("seq", seq.to_string())])
        }
        session::Error::TypeMismatch { position } => (
            ErrorCode::AnswerTypeMismatch,
            vec![("position", position.to_string())],
        ),
        session::Error::Ended { by } => (
            ErrorCode::AttemptEnded,
            vec![("ended_by", format!("{by:?}").to_lowercase())],
        ),
        session::Error::TooManyAnswers { limit } => (
            ErrorCode::TooManyAnswers,
            vec![("limit", limit.to_string())],
        ),
        session::Error::OlderAttempt => (ErrorCode::AttemptEnded, vec![]),
        session::Error::AttemptsExhausted { limit } => (
            ErrorCode::AttemptsExhausted,
            vec![("limit", limit.to_string())],
        ),
        session::Error::DeadlinePassed { deadline } => (
            ErrorCode::DeadlinePassed,
            vec![("deadline_ms", deadline.0.to_string())],
        ),
        session::Error::NotOpen { next_opens_at } => {
            let opens = next_opens_at.map(|at| ("next_opens_at_ms", at.0.to_string()));
            (ErrorCode::ExamNotOpen, opens.into_iter().collect())
        }
        session::Error::Answer { seq, why } => {
            let (code, mut facts) = classify_session(why);
            facts.push(("seq", seq.to_string()));
            (code, facts)
        }
        session::Error::Paused => (ErrorCode::AttemptPaused, vec![]),
        session::Error::ForwardOnly { furthest } => (
            ErrorCode::NavigationForwardOnly,
            vec![("position", furthest.to_string())],
        ),
        session::Error::SectionClosed { section } => (
            ErrorCode::SectionClosed,
            vec![("section", section.to_string())],
        ),
        session::Error::TakenOver { epoch } => (
            ErrorCode::SessionTakenOver,
            vec![("epoch", epoch.to_string())],
        ),
        session::Error::SubmitMismatch { expected_seq } => (
            ErrorCode::SubmitMismatch,
            vec![("expected_seq", expected_seq.to_string())],
        ),
    }
}

fn classify_store(refusal: &store::Error) -> (ErrorCode, Facts) {
    let again = vec![("retry_after_ms", RETRY_AFTER_MS.to_string())];
    match refusal {
        store::Error::Conflict => (ErrorCode::Conflict, again),
        store::Error::TooLate => (ErrorCode::DeadlinePassed, vec![]),
        // Weak settings take no answers until they are mended: nothing is lost, and the device comes again.
        store::Error::Unavailable(_) | store::Error::Busy | store::Error::WeakSettings(_) => {
            (ErrorCode::StoreUnavailable, again)
        }
        store::Error::Corrupt(_) => (ErrorCode::StoreCorrupt, vec![]),
        // The engine reads on from the archive; this reaches nobody who has one.
        store::Error::Trimmed { first } => (
            ErrorCode::PositionUnknown,
            vec![("position", first.to_string())],
        ),
        store::Error::BadAddress(_) => (ErrorCode::Internal, vec![]),
    }
}

/// The public table: gRPC code and sentence of each error code.
#[must_use]
pub fn describe(code: ErrorCode) -> (Code, &'static str) {
    match code {
        ErrorCode::ProposalNotFound => (
            Code::NotFound,
            "Không có đề xuất này, hãy đề xuất lại / There is no such proposal, propose again",
        ),
        ErrorCode::ProposalOutdated => (
            Code::FailedPrecondition,
            "Đã có quyết định khác từ khi đề xuất, hãy xem lại ảnh hưởng và đề xuất lại / Another decision came into force since, look at its effects and propose again",
        ),
        ErrorCode::ResultFinal => (
            Code::FailedPrecondition,
            "Kết quả đã là chính thức, bài thi không thay đổi được nữa / The result is final, attempts cannot be changed any more",
        ),
        ErrorCode::TwoPersonsNeeded => (
            Code::PermissionDenied,
            "Người duyệt phải khác người đề xuất / Who approves must be another person than who proposed",
        ),
        ErrorCode::VerdictInvalid => (
            Code::FailedPrecondition,
            "Chữ ký kiểm tra không đúng với kết quả này, hãy kiểm tra lại hồ sơ / The verdict is not the auditor's on this result, verify the archive again",
        ),
        ErrorCode::AccessCodeExpired => (
            Code::Unauthenticated,
            "Mã dự thi đã hết hạn, hãy xin ban tổ chức mã mới / The access code has expired, ask the organizer for a new one",
        ),
        ErrorCode::AccessCodeInvalid => (
            Code::Unauthenticated,
            "Mã dự thi không đúng, hãy nhập lại / The access code is not valid, type it again",
        ),
        ErrorCode::AnswerGap => (
            Code::FailedPrecondition,
            "Thiếu câu trả lời trước đó, hãy gửi lại từ số được nêu / An earlier answer is missing, send again from the number given",
        ),
        ErrorCode::AnswerOptionOutOfRange => (
            Code::InvalidArgument,
            "Câu này không có phương án đó / This item has no such option",
        ),
        ErrorCode::AnswerPositionUnknown => (
            Code::InvalidArgument,
            "Đề không có câu đó / The paper has no such item",
        ),
        ErrorCode::AnswerSeqReused => (
            Code::InvalidArgument,
            "Một số thứ tự đã dùng cho câu trả lời khác, hãy tải lại trang / A number was used for another answer, reload the page",
        ),
        ErrorCode::AnswerTypeMismatch => (
            Code::InvalidArgument,
            "Kiểu trả lời không hợp với câu này / The kind of response does not fit this item",
        ),
        ErrorCode::AreaUnknown => (
            Code::InvalidArgument,
            "Mã tỉnh, thành không có trong bản đồ của kỳ thi / The area code is not in the exam's map edition",
        ),
        ErrorCode::AttemptEnded => (
            Code::FailedPrecondition,
            "Lượt thi đã kết thúc / The attempt has ended",
        ),
        ErrorCode::AttemptPaused => (
            Code::FailedPrecondition,
            "Ban tổ chức đang tạm dừng giờ, bài vẫn còn trên máy / The organizer has stopped the clock, keep the answers",
        ),
        ErrorCode::NavigationForwardOnly => (
            Code::FailedPrecondition,
            "Không được quay lại câu trước / Earlier items are closed",
        ),
        ErrorCode::SectionClosed => (
            Code::FailedPrecondition,
            "Phần này chưa mở hoặc đã đóng / The section is not the present one",
        ),
        ErrorCode::AttemptsExhausted => (
            Code::FailedPrecondition,
            "Đã hết số lượt thi được phép / No attempt is left",
        ),
        ErrorCode::BlueprintInfeasible => (
            Code::FailedPrecondition,
            "Ngân hàng không đủ câu cho ma trận đề / The bank cannot fill the blueprint",
        ),
        ErrorCode::Conflict => (
            Code::Aborted,
            "Có thao tác khác xen vào, hãy gửi lại / Another call came in between, send again",
        ),
        ErrorCode::DeadlinePassed => (
            Code::FailedPrecondition,
            "Đã hết giờ làm bài / Time is over",
        ),
        ErrorCode::ExamExists => (
            Code::AlreadyExists,
            "Tên kỳ thi đã dùng, hãy chọn tên khác / The exam's name is taken, choose another",
        ),
        ErrorCode::ExamNotFound => (
            Code::NotFound,
            "Không có kỳ thi này / There is no such exam",
        ),
        ErrorCode::ExamNotOpen => (
            Code::FailedPrecondition,
            "Kỳ thi chưa mở hoặc đã đóng / The exam is not open",
        ),
        ErrorCode::ExamStateWrong => (
            Code::FailedPrecondition,
            "Trạng thái kỳ thi chưa cho phép bước này / The exam's state does not allow this step",
        ),
        ErrorCode::Unspecified | ErrorCode::Internal => (
            Code::Internal,
            "Máy chủ gặp lỗi, đã ghi lại / The server has met an error and noted it",
        ),
        ErrorCode::InvalidArgument => (
            Code::InvalidArgument,
            "Có trường thiếu hoặc sai / A field is missing or out of range",
        ),
        ErrorCode::MessageTooLarge => (
            Code::OutOfRange,
            "Gói tin quá lớn / The message is too large",
        ),
        ErrorCode::PermissionDenied => (
            Code::PermissionDenied,
            "Không có quyền làm việc này / Not allowed to do this",
        ),
        ErrorCode::PositionUnknown => (
            Code::OutOfRange,
            "Nhật ký không có vị trí này / The log has no such position",
        ),
        ErrorCode::ResultNotReady => (
            Code::FailedPrecondition,
            "Chưa có kết quả, hãy xem lại sau / The result is not there yet, come again later",
        ),
        ErrorCode::ReleaseNotFound => (
            Code::NotFound,
            "Không có bản phát hành câu hỏi, hãy chạy `exam bank release` / There is no such release, run `exam bank release`",
        ),
        ErrorCode::RoleNotHere => (
            Code::Unimplemented,
            "Tiến trình này không giữ vai trò đó, hãy gọi máy chạy vai trò được nêu / This process does not have that role, call one that runs the role named",
        ),
        ErrorCode::SessionTakenOver => (
            Code::Aborted,
            "Bài đang làm trên thiết bị khác / Another device has taken over",
        ),
        ErrorCode::StoreUnavailable => (
            Code::Unavailable,
            "Kho dữ liệu tạm gián đoạn, bài không mất, hãy gửi lại / The store does not answer, nothing is lost, send again",
        ),
        ErrorCode::StoreCorrupt => (
            Code::DataLoss,
            "Dữ liệu lưu không đọc được, đã báo người vận hành / Stored data cannot be read, the operator is told",
        ),
        ErrorCode::SubmitMismatch => (
            Code::FailedPrecondition,
            "Máy chủ chưa có đủ câu trả lời như thiết bị, hãy gửi lại / The server holds other answers than the device, send again",
        ),
        ErrorCode::CallTimedOut => (
            Code::DeadlineExceeded,
            "Quá thời gian chờ, bài không mất, hãy gửi lại / The call took too long, nothing is lost, send it again",
        ),
        ErrorCode::Overloaded => (
            Code::Unavailable,
            "Máy chủ đang quá tải, bài không mất, hãy gửi lại sau ít giây / The server is overloaded, nothing is lost, send again in a few seconds",
        ),
        ErrorCode::TooManyCalls => (
            Code::ResourceExhausted,
            "Gửi quá nhiều lần, hãy chờ rồi gửi lại / Too many calls, wait and send again",
        ),
        ErrorCode::WaitInLobby => (
            Code::Unavailable,
            "Chưa đến lượt vào thi, hãy chờ; đồng hồ làm bài chỉ chạy khi bạn bắt đầu / Not your turn yet, please wait; your time runs only from your own start",
        ),
        ErrorCode::TooManyAnswers => (
            Code::InvalidArgument,
            "Quá nhiều câu trả lời / Too many answers",
        ),
        ErrorCode::TokenInvalid => (
            Code::Unauthenticated,
            "Phiên làm bài không hợp lệ, hãy vào lại bằng mã dự thi / The session is not valid, start again with the access code",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_sentence_in_both_languages() {
        let codes = (1..=99).filter_map(|number| ErrorCode::try_from(number).ok());
        assert!(codes.clone().count() > 30);
        for code in codes {
            let (_, sentence) = describe(code);
            assert!(sentence.contains(" / "), "{code:?}");
        }
    }

    #[test]
    fn a_grader_that_is_away_is_no_name_of_a_machine() {
        let away = Status::unavailable("tcp connect error: 10.0.0.3:7800");
        let told = to_status(away.into());
        assert_eq!(
            told.get_details_error_info().unwrap().reason,
            "RESULT_NOT_READY"
        );
        assert!(!told.message().contains("10.0.0.3"));
        let own = refusal(ErrorCode::ExamNotFound, vec![]);
        let told = to_status(own.into());
        assert_eq!(
            told.get_details_error_info().unwrap().reason,
            "EXAM_NOT_FOUND"
        );
    }

    #[test]
    fn a_refusal_carries_its_code_and_facts_and_no_cause() {
        let status = to_status(store::Error::Unavailable("password of redis".to_owned()).into());
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("STORE_UNAVAILABLE", "khoabang")
        );
        assert_eq!(info.metadata["retry_after_ms"], "500");
        assert!(!status.message().contains("password"));
    }
}
