//! Who calls: a candidate by session token, an organizer or a service by its word. Everything else is refused.

use tonic::{Status, metadata::MetadataMap};

use super::status::to_status;
use crate::{
    engine::{Engine, Error},
    secrets::{Secrets, Token, TokenHash},
    token::SessionRef,
};

/// The words that open the calls of roles.
#[derive(Clone)]
pub struct Roles {
    organizer: Token,
    approver: TokenHash,
    service: Token,
}

impl Roles {
    /// Takes the words.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        Self {
            organizer: secrets.organizer.clone(),
            approver: secrets.approver.clone(),
            service: secrets.service.clone(),
        }
    }

    /// Lets an organizer pass.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a token, `PERMISSION_DENIED` with another one.
    pub fn organizer(&self, metadata: &MetadataMap) -> Result<(), Status> {
        check(metadata, |word| self.organizer.matches(word))
    }

    /// Lets a service of the operator pass.
    ///
    /// # Errors
    /// As [`Roles::organizer`].
    pub fn service(&self, metadata: &MetadataMap) -> Result<(), Status> {
        check(metadata, |word| self.service.matches(word))
    }

    /// Lets organizers and services pass.
    ///
    /// # Errors
    /// As [`Roles::organizer`].
    pub fn organizer_or_service(&self, metadata: &MetadataMap) -> Result<(), Status> {
        check(metadata, |word| {
            self.organizer.matches(word) || self.service.matches(word)
        })
    }

    /// Lets an approver pass.
    ///
    /// # Errors
    /// As [`Roles::organizer`].
    pub fn approver(&self, metadata: &MetadataMap) -> Result<(), Status> {
        check(metadata, |word| self.approver.matches(word))
    }

    /// Lets organizers and approvers pass.
    ///
    /// # Errors
    /// As [`Roles::organizer`].
    pub fn organizer_or_approver(&self, metadata: &MetadataMap) -> Result<(), Status> {
        check(metadata, |word| {
            self.organizer.matches(word) || self.approver.matches(word)
        })
    }
}

fn check(metadata: &MetadataMap, is_allowed: impl Fn(&str) -> bool) -> Result<(), Status> {
    let given = bearer(metadata).ok_or_else(|| to_status(Error::Token))?;
    if is_allowed(given) {
        return Ok(());
    }
    Err(to_status(Error::PermissionDenied))
}

/// Reads the caller's session token.
///
/// # Errors
/// `UNAUTHENTICATED` if it is missing or refused.
pub fn candidate(engine: &Engine, metadata: &MetadataMap) -> Result<SessionRef, Status> {
    let token = bearer(metadata).ok_or_else(|| to_status(Error::Token))?;
    engine.check_token(token).map_err(to_status)
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    metadata
        .get("authorization")?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}
