//! An access token: what a record does to it. How a secret is made and checked is said in `api`.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidewheel_schemas::event::{TokenCreated, TokenRotated};
use tidewheel_schemas::{ConfigEvent, Envelope, Name, TokenHash, TokenId};

use super::judged::Judged;
use super::namespace::principal;
use crate::run::apply::Place;
use crate::verdict::{Rejection, Verdict};

/// The secret before the current one, which stays valid for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousSecret {
    /// Its hash.
    pub hash: TokenHash,
    /// Until when it is valid, microseconds since 1970.
    pub until_us: i64,
}

/// An access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenState {
    /// Its id.
    pub token_id: TokenId,
    /// What people call it.
    pub name: Name,
    /// What it may do. A role that a reader does not know grants nothing.
    pub roles: BTreeSet<Name>,
    /// Where it may do it; `None` for every namespace.
    pub namespaces: Option<BTreeSet<Name>>,
    /// Hash of its secret.
    pub hash: TokenHash,
    /// The secret before, as of the last rotation.
    pub previous: Option<PreviousSecret>,
    /// When it was created, microseconds since 1970.
    pub created_at_us: i64,
    /// Who created it.
    pub created_by: Arc<str>,
    /// When its secret was last changed, microseconds since 1970.
    pub rotated_at_us: Option<i64>,
    /// When it was revoked, microseconds since 1970: valid no more, for ever.
    pub revoked_at_us: Option<i64>,
    /// Why it was revoked, in the words of who did it.
    pub revoked_reason: Option<Arc<str>>,
    /// Number of records it accepted.
    pub version: u64,
    judged: Judged,
}

impl TokenState {
    pub(super) fn create(
        token_id: TokenId,
        place: Place,
        envelope: &Envelope,
        created: &TokenCreated,
    ) -> Self {
        let mut judged = Judged::default();
        judged.judge(place, envelope.event_id, Ok(()));
        Self {
            token_id,
            name: created.name.clone(),
            roles: created.roles.iter().cloned().collect(),
            namespaces: created.namespaces.as_ref().map(|names| names.iter().cloned().collect()),
            hash: created.hash,
            previous: None,
            created_at_us: envelope.recorded_at_us,
            created_by: principal(envelope),
            rotated_at_us: None,
            revoked_at_us: None,
            revoked_reason: None,
            version: 1,
            judged,
        }
    }

    /// Whether it was revoked.
    pub const fn is_revoked(&self) -> bool {
        self.revoked_at_us.is_some()
    }

    pub(super) fn apply(&mut self, place: Place, envelope: &Envelope, event: &ConfigEvent) -> Verdict {
        // Before anything that depends on how the token stands: a repetition gets the first answer.
        if let Some(repeated) = self.judged.repeated(envelope.event_id) {
            return repeated;
        }
        let outcome = match event {
            ConfigEvent::TokenCreated(_) => Err(Rejection::TokenExists),
            ConfigEvent::TokenRotated(_) | ConfigEvent::TokenRevoked(_) if self.is_revoked() => {
                Err(Rejection::TokenRevoked)
            }
            ConfigEvent::TokenRotated(rotated) => self.rotate(envelope, rotated),
            ConfigEvent::TokenRevoked(revoked) => {
                self.revoked_at_us = Some(envelope.recorded_at_us);
                self.revoked_reason = Some(revoked.reason.as_str().into());
                self.previous = None;
                Ok(())
            }
            // The codec lets no event through that is about something else.
            ConfigEvent::LogCreated(_)
            | ConfigEvent::FoldRaised(_)
            | ConfigEvent::NamespaceCreated(_)
            | ConfigEvent::ReplayStarted(_)
            | ConfigEvent::ReplayPaused(_)
            | ConfigEvent::ReplayResumed(_)
            | ConfigEvent::ReplayRateChanged(_)
            | ConfigEvent::ReplayCancelled(_)
            | ConfigEvent::ReplayProgressed(_)
            | ConfigEvent::ReplayFinished(_)
            | ConfigEvent::GenerationActivated(_)
            | ConfigEvent::GenerationDropped(_)
            | ConfigEvent::ViewsMended(_) => Err(Rejection::Undecodable),
        };
        if outcome.is_ok() {
            self.version = self.version.saturating_add(1);
        }
        self.judged.judge(place, envelope.event_id, outcome)
    }

    fn rotate(&mut self, envelope: &Envelope, rotated: &TokenRotated) -> Result<(), Rejection> {
        let is_expected = |expected| u64::try_from(expected) == Ok(self.version);
        if !rotated.expected_version.is_none_or(is_expected) {
            return Err(Rejection::VersionConflict);
        }
        self.previous = Some(PreviousSecret { hash: self.hash, until_us: rotated.previous_until_us });
        self.hash = rotated.hash;
        self.rotated_at_us = Some(envelope.recorded_at_us);
        Ok(())
    }
}
