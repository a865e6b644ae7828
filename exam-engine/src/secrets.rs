//! The secrets of an installation: nine kinds with their holders, each a file of its own, made at the first start.
//!
//! | file in `secrets/` | what it does | who needs it | to change it |
//! | --- | --- | --- | --- |
//! | `access-code.key` | signs candidates' access codes | engines | delete, restart, issue codes again |
//! | `session-token.key` | signs session tokens | engines | delete, restart; candidates start again with their code |
//! | `receipt.key` | signs receipts | engines, auditors | keep as long as receipts may be shown |
//! | `slip.key` | signs slips of submission; its public half stands in each exam | engines | delete, restart: exams published later use the new one |
//! | `organizer.token` | opens organizers' calls | organizers | delete, restart |
//! | `approver.hash` | knows the word that approves what organizers propose; the word itself, `approver.token`, is made with it and belongs to another person, not to the server | control | delete both, restart |
//! | `verdict.pub` | stands in each exam: the public half of the auditor's key, `verdict.key`, which is made with it and belongs to the auditor, not to the server | control | delete both, restart: exams published later name the new one |
//! | `service.token` | opens the log and the grader | roles among themselves | delete, restart all roles |
//! | `cluster.key` | seals papers and exam secrets in a shared store | engines, control | never while an exam is kept there |
//!
//! `approver.token` and `verdict.key` are to be taken away from the server: it needs only what is derived from them.
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

use crate::{files, token};

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

/// What recognizes a word that its holder alone knows.
#[derive(Clone)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(word: &str) -> Self {
        Self(*blake3::hash(word.as_bytes()).as_bytes())
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, given: &str) -> bool {
        Self::of(given).0.ct_eq(&self.0).into()
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
    /// Recognizes who approves what organizers propose.
    pub approver: TokenHash,
    /// Public half of the key that signs the auditor's verdict.
    pub verdict: [u8; 32],
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
            approver: TokenHash(derived(folder, "approver.hash", "approver.token", |key| {
                TokenHash::of(&hex::encode(key.0)).0
            })?),
            verdict: derived(folder, "verdict.pub", "verdict.key", token::public_key)?,
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
        ] {
            hash.update(&secret.0);
        }
        hash.update(&self.approver.0);
        hash.update(&self.verdict);
        for word in [&self.organizer, &self.service] {
            hash.update(word.0.as_bytes()); // each 64 digits long, so no boundary can move
        }
        hash.finalize().to_hex().to_string()
    }
}

/// Reads what is derived from a secret that others hold, or makes both.
fn derived(
    folder: &Path,
    public: &str,
    private: &str,
    derive: impl Fn(&Key) -> [u8; 32],
) -> io::Result<[u8; 32]> {
    let file = folder.join(public);
    match Key::load(&file) {
        Ok(bytes) => Ok(bytes.0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes = derive(&Key::load_or_generate(&folder.join(private))?);
            files::write(&file, hex::encode(bytes).as_bytes())?;
            Ok(bytes)
        }
        Err(error) => Err(error),
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
            if ["approver.token", "verdict.key"].contains(&&*name) {
                continue; // not the server's
            }
            let is_copied = copied.split(['{', ',', '}']).any(|word| word == name);
            assert!(is_copied, "{name}");
        }
    }

    #[test]
    fn every_secret_changes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let first = Secrets::load(folder.path()).unwrap().fingerprint();
        assert_eq!(Secrets::load(folder.path()).unwrap().fingerprint(), first);
        for private in ["approver.token", "verdict.key"] {
            std::fs::remove_file(folder.path().join(private)).unwrap(); // their holders have taken them
        }
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
