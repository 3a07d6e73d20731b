//! The parts of a path every resource shares: its namespace, and the run it is about.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use http::request::Parts;
use tidewheel_schemas::{Name, RunId};

use crate::code::Code;
use crate::problem::Problem;

/// The namespaces that exist. Part of the routes' state.
#[derive(Debug, Clone)]
pub struct Namespaces(Arc<BTreeSet<Name>>);

impl Namespaces {
    /// These namespaces.
    pub fn new(names: impl IntoIterator<Item = Name>) -> Self {
        Self(Arc::new(names.into_iter().collect()))
    }

    /// The namespace of this name, if it exists.
    pub fn get(&self, name: &str) -> Option<&Name> {
        self.0.get(name)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter()
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
        find_namespace(&parameters, &Namespaces::from_ref(state)).map(Self)
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
        let namespace = find_namespace(&parameters, &Namespaces::from_ref(state))?;
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

fn find_namespace(parameters: &RawPathParams, namespaces: &Namespaces) -> Result<Name, Problem> {
    let name = parameter(parameters, "ns")?;
    namespaces.get(name).cloned().ok_or_else(|| {
        let shown: String = name.chars().take(160).collect();
        Problem::new(Code::NamespaceNotFound, format!("there is no namespace `{shown}`; use one of `known`"))
            .field("ns")
            .known(namespaces.iter().map(Name::to_string).collect())
    })
}
