//! `/v1/namespaces`: create, list and read namespaces. What lives in them is said by other routes.

use std::borrow::Cow;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewheel_api::{AtLeast, Identity, JsonBody, Namespace, Problem, Query, Time, json};
use tidewheel_engine::config::{ConfigEntity, ConfigSnapshot, NamespaceState};
use tidewheel_schemas::event::NamespaceCreated;
use tidewheel_schemas::{Entity, Name, Position};
use utoipa::{IntoParams, ToSchema};

use crate::administration::{Accepted, Administration, Asker};
use crate::start::name;

/// Asks for a namespace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateNamespace)]
pub struct CreateNamespace<'a> {
    /// Its name: 1 to 128 characters out of `a-z A-Z 0-9 . _ -`.
    #[serde(borrow)]
    #[schema(value_type = String, example = "billing")]
    name: Cow<'a, str>,
    /// The datacenter its runs live in unless a start says otherwise; that of the node if absent.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    home: Option<Cow<'a, str>>,
}

/// A namespace.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamespaceAnswer {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// The datacenter its runs live in unless a start says otherwise.
    #[schema(value_type = String)]
    pub home: Name,
    /// When it was created; absent for one of the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// Who created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Where its creation lies, when just created: pass it as `at_least` to another node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub position: Option<Position>,
}

/// The namespaces, in the order of names.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamespacesAnswer {
    /// Those in which the access token holds.
    pub namespaces: Vec<NamespaceAnswer>,
}

/// A change that is durable in the log, but that the fold has not judged yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct PendingChangeAnswer {
    /// What it is about.
    pub entity: String,
    /// Always `pending`.
    pub status: &'static str,
    /// Where the record lies.
    #[schema(value_type = String)]
    pub position: Position,
}

/// Parameters of a read of the configuration.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ConfigReadParameters {
    /// The position of a change this read must know of.
    #[param(value_type = Option<String>)]
    pub(super) at_least: Option<AtLeast>,
}

impl Administration {
    fn namespace(&self, name: Name, snapshot: &ConfigSnapshot) -> NamespaceAnswer {
        match snapshot.namespaces.get(&name) {
            Some(created) => answer(created, None),
            None => NamespaceAnswer {
                name,
                home: self.datacenter.clone(),
                created_at: None,
                created_by: None,
                position: None,
            },
        }
    }
}

fn answer(namespace: &NamespaceState, position: Option<Position>) -> NamespaceAnswer {
    NamespaceAnswer {
        name: namespace.name.clone(),
        home: namespace.home.clone(),
        created_at: Some(Time(namespace.created_at_us)),
        created_by: Some(namespace.created_by.to_string()),
        position,
    }
}

/// Create a namespace.
#[utoipa::path(
    post,
    path = "/v1/namespaces",
    tag = "administration",
    operation_id = "create_namespace",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes retries the same event; 1 to 512 printable characters")),
    request_body = CreateNamespace,
    responses(
        (status = 201, description = "It was created", body = NamespaceAnswer),
        (status = 200, description = "This request created it before", body = NamespaceAnswer),
        (status = 202, description = "Durable, but not judged in time", body = PendingChangeAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create_namespace(
    State(administration): State<Administration>,
    asker: Asker,
    body: JsonBody,
) -> Result<Response, Problem> {
    let asked: CreateNamespace<'_> = body.parse()?;
    let namespace = name(&asked.name, "name")?;
    let home = asked.home.map(|home| name(&home, "home")).transpose()?;
    if administration.namespaces.is_fixed(&namespace) {
        return Err(Problem::rejected(tidewheel_engine::Rejection::NamespaceExists)
            .instance(format!("namespace/{namespace}")));
    }
    let home = home.unwrap_or_else(|| administration.datacenter.clone());
    administration.check_home(&home)?;
    let entity = Entity::Namespace(namespace);
    let pending = entity.to_string();
    let Accepted { position, judged } =
        administration.change(asker, "create", entity, NamespaceCreated { home }.into()).await?;
    Ok(match judged {
        Some((ConfigEntity::Namespace(namespace), is_new)) => {
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            json(status, &answer(&namespace, Some(position)))
        }
        Some((ConfigEntity::Token(_) | ConfigEntity::Views(_), _)) | None => {
            let answer = PendingChangeAnswer { entity: pending, status: "pending", position };
            json(StatusCode::ACCEPTED, &answer)
        }
    })
}

/// List the namespaces.
#[utoipa::path(
    get,
    path = "/v1/namespaces",
    tag = "administration",
    operation_id = "list_namespaces",
    params(ConfigReadParameters),
    responses(
        (status = 200, description = "Those in which the access token holds", body = NamespacesAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_namespaces(
    State(administration): State<Administration>,
    Query(parameters): Query<ConfigReadParameters>,
    identity: Identity,
) -> Result<Response, Problem> {
    let snapshot = administration.read(parameters.at_least.map(|AtLeast(position)| position)).await?;
    let names = administration.namespaces.all().into_iter().filter(|name| identity.is_in(name));
    let namespaces = names.map(|name| administration.namespace(name, &snapshot)).collect();
    Ok(json(StatusCode::OK, &NamespacesAnswer { namespaces }))
}

/// Read a namespace.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{ns}",
    tag = "administration",
    operation_id = "get_namespace",
    params(("ns" = String, Path, description = "The namespace, for example `default`")),
    responses(
        (status = 200, description = "The namespace", body = NamespaceAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_namespace(
    State(administration): State<Administration>,
    Namespace(namespace): Namespace,
) -> Response {
    let snapshot = administration.configuration.snapshot();
    json(StatusCode::OK, &administration.namespace(namespace, &snapshot))
}
