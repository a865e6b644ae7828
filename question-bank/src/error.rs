//! Why the bank refused.

/// A refusal of the question bank; the text says where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not what its name says, or damaged.
    #[error(
        "không đọc được tệp ({what}); hãy mở tệp bằng {program} rồi lưu lại / cannot read the file ({what}); open it in {program} and save it again"
    )]
    Unreadable {
        /// What was wrong, in a few words.
        what: String,
        /// Program that can repair it.
        program: &'static str,
    },
    /// Nothing in the file looks like a question.
    #[error("không tìm thấy câu hỏi nào: {hint} / no question found: {hint}")]
    NoItems {
        /// What was looked for.
        hint: &'static str,
    },
    /// The blueprint asks for more than the release holds, or makes no sense.
    #[error("ma trận đề không khả thi: {0} / the blueprint cannot be filled: {0}")]
    Infeasible(String),
    /// A package or release is damaged or of a format this software does not know.
    #[error("gói đề hỏng: {0} / damaged package: {0}")]
    Package(String),
}

/// Result of the question bank.
pub type Result<T> = std::result::Result<T, Error>;
