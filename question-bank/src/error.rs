//! Why the bank refused.

/// A refusal of the question bank; the text says where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not what its name says, or damaged.
    #[error(
        "không đọc được tệp {file} ({what_vi}); hãy mở tệp bằng {program} rồi lưu lại / cannot read the file {file} ({what_en}); open it in {program} and save it again"
    )]
    Unreadable {
        /// Name of the file.
        file: String,
        /// What was wrong, in a few Vietnamese words.
        what_vi: String,
        /// What was wrong, in a few English words.
        what_en: String,
        /// Program that can repair it.
        program: &'static str,
    },
    /// Nothing in the file looks like what it was given for: questions, or keys.
    #[error("{file}: {what_vi} / {file}: {what_en}")]
    NoItems {
        /// Name of the file.
        file: String,
        /// What was looked for or what to do, Vietnamese.
        what_vi: String,
        /// What was looked for or what to do, English.
        what_en: String,
    },
    /// The bank has no items yet.
    #[error(
        "ngân hàng câu hỏi trống, hãy nhập câu hỏi trước / the bank is empty, import items first"
    )]
    EmptyBank,
    /// The blueprint asks for more than the release holds, or makes no sense.
    #[error("ma trận đề không khả thi: {0} / the blueprint cannot be filled: {0}")]
    Infeasible(String),
    /// A package or release is damaged or of a format this software does not know.
    #[error("gói đề hỏng: {0} / damaged package: {0}")]
    Package(String),
}

/// Result of the question bank.
pub type Result<T> = std::result::Result<T, Error>;
