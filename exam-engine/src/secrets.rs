//! The secrets of an installation: nine kinds with their holders, each a file of its own, made at the first start.
//!
//! | file in `secrets/` | what it does | who needs it | to change it |
//! | --- | --- | --- | --- |
//! | `access-code.key` | signs candidates' access codes | engines | delete, restart, issue codes again |
//! | `session-token.key` | signs session tokens | engines | delete, restart; candidates start again with their code |
//! | `receipt.key` | signs receipts | engines, auditors | keep as long as receipts may be shown |
//! | `slip.key` | signs slips of submission; its public half stands in each exam | engines | delete, restart: exams published later use the new one |
//! | `organizer.token` | opens organizers' calls | organizers | delete, restart |
//! | `approver.token` | approves decisions that organizers propose; held by another person | approvers | delete, restart |
//! | `verdict.key` | signs the auditor's verdict on a result; its public half stands in each exam | auditors | delete, restart: exams published later name the new one |
//! | `service.token` | opens the log and the grader | roles among themselves | delete, restart all roles |
//! | `cluster.key` | seals papers and exam secrets in a shared store | engines, control | never while an exam is kept there |
//!
//! Processes that share a store hold the same nine files, copied by the operator; a fingerprint of them stands in the
//! store, and whoever has others is refused at its start. A change is made on all machines at once, with the processes
//! stopped; the first one then starts with `--accept-new-secrets`.
//!
//! The exam secret of each exam (`exam-<id>.secret`) belongs to the control role; it is revealed after the close.
//! None of them is ever logged.

use std::{io, path::Path};

use rand::{TryRng, rngs::SysRng};
use subtle::ConstantTimeEq;

use crate::files;

/// 32 secret bytes.
#[derive(Clone)]
pub struct Key(pub(crate) [u8; 32]);

impl Key {
    /// Draws a new one from the operating system.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0; 32];
        SysRng
            .try_fill_bytes(&mut bytes)
            .map_err(io::Error::other)?;
        Ok(Self(bytes))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When the file is missing, cannot be read, or holds something else; the message names it.
    pub fn load(file: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?;
        let bytes = hex::decode(text.trim())
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| {
            io::Error::other(format!(
                "{}: cần 64 chữ số thập lục phân / 64 hexadecimal digits are expected",
                file.display()
            ))
        })
    }

    /// Reads the file, or makes it.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub fn load_or_generate(file: &Path) -> io::Result<Self> {
        match Self::load(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate()?;
                files::write(file, hex::encode(key.0).as_bytes())?;
                Ok(key)
            }
            other => other,
        }
    }
}

/// A word that opens a role's calls.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// Returns the word, to be sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// All secrets that the roles of one process hold.
#[derive(Clone)]
pub struct Secrets {
    /// Signs access codes.
    pub access_code: Key,
    /// Signs session tokens.
    pub session_token: Key,
    /// Signs receipts.
    pub receipt: Key,
    /// Signs slips of submission.
    pub slip: Key,
    /// Opens organizers' calls.
    pub organizer: Token,
    /// Approves what organizers propose.
    pub approver: Token,
    /// Signs the auditor's verdict.
    pub verdict: Key,
    /// Opens the log and the grader.
    pub service: Token,
    /// Seals what engines share in a store.
    pub cluster: Key,
}

impl Secrets {
    /// Reads the folder, making what is missing.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let key = |name: &str| Key::load_or_generate(&folder.join(name));
        let token = |name: &str| key(name).map(|key| Token(hex::encode(key.0)));
        Ok(Self {
            access_code: key("access-code.key")?,
            session_token: key("session-token.key")?,
            receipt: key("receipt.key")?,
            slip: key("slip.key")?,
            organizer: token("organizer.token")?,
            approver: token("approver.token")?,
            verdict: key("verdict.key")?,
            service: token("service.token")?,
            cluster: key("cluster.key")?,
        })
    }

    /// Returns what tells these secrets from others and gives none of them away: a hash keyed with the cluster key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let key = blake3::derive_key("khoa-bang secrets-fingerprint v1", &self.cluster.0);
        let mut hash = blake3::Hasher::new_keyed(&key);
        for secret in [
            &self.access_code,
            &self.session_token,
            &self.receipt,
            &self.slip,
            &self.verdict,
        ] {
            hash.update(&secret.0);
        }
        for word in [&self.organizer, &self.approver, &self.service] {
            hash.update(word.0.as_bytes()); // each 64 digits long, so no boundary can move
        }
        hash.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_operation_copies_every_secret() {
        let folder = tempfile::tempdir().unwrap();
        Secrets::load(folder.path()).unwrap();
        let page = include_str!("../../docs/OPERATING.md");
        let copied = page.lines().find(|line| line.starts_with("scp ")).unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_copied = copied.split(['{', ',', '}']).any(|word| word == name);
            assert!(is_copied, "{name}");
        }
    }

    #[test]
    fn every_secret_changes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let first = Secrets::load(folder.path()).unwrap().fingerprint();
        assert_eq!(Secrets::load(folder.path()).unwrap().fingerprint(), first);
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let file = entry.unwrap().path();
            let before = std::fs::read(&file).unwrap();
            std::fs::remove_file(&file).unwrap();
            let other = Secrets::load(folder.path()).unwrap().fingerprint();
            assert_ne!(other, first, "{}", file.display());
            std::fs::write(&file, before).unwrap();
        }
        assert_eq!(Secrets::load(folder.path()).unwrap().fingerprint(), first);
    }
}
