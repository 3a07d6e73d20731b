//! Who asks, and what they may do. How that is found out is the guard's business.

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use tidewheel_engine::config::TokenState;
use tidewheel_schemas::Name;

use super::role::Role;
use crate::principal::Principal;

/// Who asks and what they may do: the request extension that the guard sets, else everything, as nobody in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name in the records of what they do.
    pub principal: Principal,
    roles: BTreeSet<Role>,
    namespaces: Option<BTreeSet<Name>>,
}

impl Identity {
    /// Nobody in particular, who may do everything.
    pub fn anonymous() -> Self {
        let roles = Role::ALL.iter().copied().collect();
        Self { principal: Principal::anonymous(), roles, namespaces: None }
    }

    /// Who shows this token: `token:<name>/<id>`. Roles this build does not know grant nothing.
    pub fn of(token: &TokenState) -> Self {
        let principal = Principal(format!("token:{}/{}", token.name, token.token_id).into());
        let roles = token.roles.iter().filter_map(|role| role.parse().ok()).collect();
        Self { principal, roles, namespaces: token.namespaces.clone() }
    }

    /// Whether they have one of these roles; an admin has all.
    pub fn is_any_of(&self, roles: &[Role]) -> bool {
        self.roles.contains(&Role::Admin) || roles.iter().any(|role| self.roles.contains(role))
    }

    /// Whether their roles hold in this namespace.
    pub fn is_in(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|names| names.contains(namespace))
    }

    /// Whether their roles hold in every namespace.
    pub const fn is_everywhere(&self) -> bool {
        self.namespaces.is_none()
    }

    /// Whether their roles hold wherever a token's do.
    pub fn covers(&self, namespaces: Option<&BTreeSet<Name>>) -> bool {
        match (&self.namespaces, namespaces) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(theirs)) => theirs.is_subset(own),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::anonymous))
    }
}
