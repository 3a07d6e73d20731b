//! The parts of a path every resource shares: its namespace, and the run it is about.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use http::request::Parts;
use tidewheel_engine::config::ConfigSnapshot;
use tidewheel_schemas::{Name, RunId};
use tokio::sync::watch;

use crate::auth::Identity;
use crate::code::Code;
use crate::problem::Problem;

/// The namespaces that exist: those of the configuration file, and those that were created. Part of the routes' state.
#[derive(Debug, Clone)]
pub struct Namespaces {
    fixed: Arc<BTreeSet<Name>>,
    created: Option<watch::Receiver<Arc<ConfigSnapshot>>>,
}

impl Namespaces {
    /// These namespaces.
    pub fn new(names: impl IntoIterator<Item = Name>) -> Self {
        Self { fixed: Arc::new(names.into_iter().collect()), created: None }
    }

    /// These, and those that are created.
    #[must_use]
    pub fn with_created(self, snapshots: watch::Receiver<Arc<ConfigSnapshot>>) -> Self {
        Self { created: Some(snapshots), ..self }
    }

    /// The namespace of this name, if it exists.
    pub fn get(&self, name: &str) -> Option<Name> {
        self.fixed.get(name).cloned().or_else(|| {
            let created = self.created.as_ref()?.borrow();
            created.namespaces.get_key_value(name).map(|(name, _)| name.clone())
        })
    }

    /// Whether the namespace was there from the start.
    pub fn is_fixed(&self, name: &str) -> bool {
        self.fixed.contains(name)
    }

    /// All of them, in order.
    pub fn all(&self) -> BTreeSet<Name> {
        let mut names = BTreeSet::clone(&self.fixed);
        if let Some(created) = &self.created {
            names.extend(created.borrow().namespaces.keys().cloned());
        }
        names
    }
}

/// Most namespaces a problem lists.
const KNOWN_MAX: usize = 50;

impl Namespaces {
    /// The problem of a namespace that does not exist, with those that would do for who asks.
    pub fn not_found(&self, name: &str, field: &'static str, identity: &Identity) -> Problem {
        // It may be among those that were not read yet.
        if self.created.as_ref().is_some_and(|created| !created.borrow().is_complete) {
            let detail = "the node has not read the namespaces yet; try again";
            return Problem::new(Code::NotReady, detail).retry_after_ms(1_000);
        }
        let shown: String = name.chars().take(160).collect();
        let names = self.all().into_iter().filter(|name| identity.is_in(name)).take(KNOWN_MAX);
        Problem::new(Code::NamespaceNotFound, format!("there is no namespace `{shown}`; use one of `known`"))
            .field(field)
            .known(names.map(|name| name.to_string()).collect())
    }
}

/// The existing namespace named by the path's `{ns}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(pub Name);

impl<S: Sync + Send> FromRequestParts<S> for Namespace
where
    Namespaces: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parameters = path_parameters(parts, state).await?;
        find_namespace(parts, &parameters, &Namespaces::from_ref(state)).map(Self)
    }
}

/// The existing namespace named by the path's `{ns}` and the run named by its `{run_id}`, which need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPath {
    /// The namespace.
    pub namespace: Name,
    /// The run.
    pub run_id: RunId,
}

impl<S: Sync + Send> FromRequestParts<S> for RunPath
where
    Namespaces: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parameters = path_parameters(parts, state).await?;
        let namespace = find_namespace(parts, &parameters, &Namespaces::from_ref(state))?;
        let run_id = parameter(&parameters, "run_id")?
            .parse()
            .map_err(|error| Problem::new(Code::InvalidParameter, format!("{error}")).field("run_id"))?;
        Ok(Self { namespace, run_id })
    }
}

pub(crate) async fn path_parameters<S: Sync + Send>(
    parts: &mut Parts,
    state: &S,
) -> Result<RawPathParams, Problem> {
    RawPathParams::from_request_parts(parts, state).await.map_err(|rejection| {
        Problem::new(Code::MalformedRequest, format!("the path cannot be read: {}", rejection.body_text()))
    })
}

fn parameter<'a>(parameters: &'a RawPathParams, name: &'static str) -> Result<&'a str, Problem> {
    parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value).ok_or_else(|| {
        Problem::new(Code::Internal, format!("the route has no part `{name}`; report this path")).field(name)
    })
}

fn find_namespace(
    parts: &Parts,
    parameters: &RawPathParams,
    namespaces: &Namespaces,
) -> Result<Name, Problem> {
    let name = parameter(parameters, "ns")?;
    let identity = parts.extensions.get::<Identity>();
    namespaces.get(name).ok_or_else(|| match identity {
        Some(identity) => namespaces.not_found(name, "ns", identity),
        None => namespaces.not_found(name, "ns", &Identity::anonymous()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_not_said_to_be_missing_before_all_of_them_are_read() {
        let snapshots = watch::Sender::new(Arc::new(ConfigSnapshot::default()));
        let fixed = Name::new("default").unwrap();
        let namespaces = Namespaces::new([fixed.clone()]).with_created(snapshots.subscribe());
        let code = || namespaces.not_found("billing", "ns", &Identity::anonymous()).code();
        assert_eq!(code(), Code::NotReady);
        assert_eq!(namespaces.get("default"), Some(fixed));
        snapshots.send_modify(|snapshot| Arc::make_mut(snapshot).is_complete = true);
        assert_eq!(code(), Code::NamespaceNotFound);
    }
}
