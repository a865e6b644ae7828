//! Wire types and gRPC services, and the public list of error codes.
//!
//! The `.proto` files are the source; `src/generated/` is committed so that a build needs neither
//! protoc nor a build script, and `tests/generated.rs` fails when the two differ.
//! Invariant: nothing that [`exam::v1::candidate_service_server`] can send reaches [`key`].

mod error_code;

pub use error_code::{DOMAIN, reason};

/// Descriptors of all packages with their comments, for reflection and for tests that walk them.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptors.bin");

/// Papers: items without keys, blueprints.
pub mod bank {
    /// Version 1.
    pub mod v1 {
        include!("generated/bank.v1.rs");
    }
}

/// Exams, sessions and their log.
pub mod exam {
    /// Version 1.
    #[expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        unused_qualifications,
        reason = "generated"
    )]
    pub mod v1 {
        include!("generated/exam.v1.rs");
    }
}

/// Scores and ranks.
pub mod grader {
    /// Version 1.
    #[expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        unused_qualifications,
        reason = "generated"
    )]
    pub mod v1 {
        include!("generated/grader.v1.rs");
    }
}

/// Keys: only graders and the bank use these.
pub mod key {
    /// Version 1.
    #[expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        unused_qualifications,
        reason = "generated"
    )]
    pub mod v1 {
        include!("generated/key.v1.rs");
    }
}
