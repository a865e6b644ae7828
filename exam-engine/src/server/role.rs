//! Roles of a process, and where it finds those that it does not have.

use std::collections::BTreeSet;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Candidates' calls and the log; holds no keys / lời gọi của thí sinh và nhật ký, không giữ đáp án.
    Engine,
    /// Scores and ranks; holds key halves / chấm và xếp hạng, giữ đáp án.
    Grader,
    /// Organizers' calls, publication, archive; holds the bank / lời gọi của ban tổ chức, công bố, hồ sơ, giữ ngân hàng.
    Control,
}

impl Role {
    /// All of them, the roles of a process that runs alone.
    pub const ALL: [Self; 3] = [Self::Engine, Self::Grader, Self::Control];

    /// Returns the word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Grader => "grader",
            Self::Control => "control",
        }
    }
}

/// The roles of a process and the addresses of the others.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What this process does.
    pub roles: BTreeSet<Role>,
    /// Where logs are read, for a grader without an engine beside it.
    pub engines: Vec<String>,
    /// Where the grader is, for a process without one.
    pub grader: Option<String>,
    /// These secrets replace those that the other processes used.
    pub accept_new_secrets: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            roles: Role::ALL.into(),
            engines: Vec::new(),
            grader: None,
            accept_new_secrets: false,
        }
    }
}

impl Setup {
    /// Tells whether a process has a role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
