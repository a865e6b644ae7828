//! Roles of a process, and where it finds those that it does not have.

use std::collections::BTreeSet;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Phục vụ thí sinh và nhật ký, không giữ đáp án / candidates' calls and the log, holds no keys.
    Engine,
    /// Chấm và xếp hạng, giữ đáp án / scores and ranks, holds key halves.
    Grader,
    /// Phục vụ ban tổ chức, công bố, hồ sơ, giữ ngân hàng / organizers' calls, publication, archive, holds the bank.
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
    /// Where graders are: all of them for the control role, and for a process without one.
    pub graders: Vec<String>,
    /// Where the log is archived: a folder that all processes reach, or a bucket by `s3://…`. Without it a store of one
    /// process uses `archive` in the data folder; over a shared store nothing is archived or trimmed.
    pub archive: Option<String>,
    /// These secrets replace those that the other processes used.
    pub accept_new_secrets: bool,
    /// Control candidates sit each exam; the control role makes them.
    pub controls: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            roles: Role::ALL.into(),
            engines: Vec::new(),
            graders: Vec::new(),
            archive: None,
            accept_new_secrets: false,
            controls: true,
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
