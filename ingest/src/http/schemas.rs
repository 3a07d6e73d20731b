//! `/schemas`: the part of Confluent's Schema Registry API that clients need to read records. Nothing is written here.
//!
//! Source: <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tidewheel_api::{Path, Problem};
use tidewheel_schemas::TopicFamily;
use tidewheel_schemas::registry::{self, ReleasedSchema};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::Ingest;

const CONTENT_TYPE_REGISTRY: &str = "application/vnd.schemaregistry.v1+json";

/// The routes.
pub fn router() -> OpenApiRouter<Ingest> {
    OpenApiRouter::new()
        .routes(routes!(root))
        .routes(routes!(subjects))
        .routes(routes!(subject_versions))
        .routes(routes!(subject_version))
        .routes(routes!(subject_version_schema))
        .routes(routes!(schema_by_id))
        .routes(routes!(schema_text_by_id))
        .routes(routes!(schema_versions))
        .routes(routes!(schema_subjects))
        .routes(routes!(types))
        .routes(routes!(config))
        .routes(routes!(mode))
}

/// An error as Confluent's registry words it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegistryError {
    /// Confluent's number: the HTTP status and two digits.
    error_code: u32,
    /// What happened.
    message: String,
}

/// A schema by its id.
#[derive(Debug, Serialize, ToSchema)]
pub struct SchemaText {
    /// The Avro schema as JSON text.
    schema: &'static str,
}

/// A version of a subject.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubjectVersion {
    /// The subject.
    subject: String,
    /// Its version, from 1.
    version: u32,
    /// The id in records' framing.
    id: u32,
    /// The Avro schema as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'static str>,
}

/// The compatibility every change of a schema keeps.
#[derive(Debug, Serialize, ToSchema)]
pub struct Compatibility {
    /// Always `FULL_TRANSITIVE`.
    #[serde(rename = "compatibilityLevel")]
    compatibility_level: &'static str,
}

/// What the registry lets clients do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mode {
    /// Always `READONLY`.
    mode: &'static str,
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).unwrap_or_default();
    (status, [(CONTENT_TYPE, CONTENT_TYPE_REGISTRY)], body).into_response()
}

fn found<T: Serialize>(result: Result<T, RegistryError>) -> Response {
    match result {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(error) => {
            let status = u16::try_from(error.error_code / 100).ok();
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            answer(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &error)
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

impl Ingest {
    fn all_subjects(&self) -> Vec<(String, TopicFamily)> {
        let topics = &self.0.settings.topics;
        let released = topics.iter().filter(|(family, _)| registry::latest(*family).is_some());
        let mut subjects: Vec<_> =
            released.map(|(family, topic)| (registry::subject(topic), *family)).collect();
        subjects.sort();
        subjects.dedup();
        subjects
    }

    fn family_of(&self, subject: &str) -> Result<TopicFamily, RegistryError> {
        let subjects = self.all_subjects();
        subjects.into_iter().find(|(name, _)| name == subject).map(|(_, family)| family).ok_or_else(|| {
            RegistryError { error_code: 40401, message: format!("Subject '{}' not found.", cut(subject)) }
        })
    }

    /// The versions that records may have now. Who writes with the newest one that is shown here is not refused by a
    /// partition that folds by an older version.
    fn versions_in_force(&self, family: TopicFamily) -> impl Iterator<Item = &'static ReleasedSchema> {
        let partitions = 0..self.0.producer.partitions();
        let lowest = partitions.map(|partition| (self.0.settings.in_force)(partition)).min().unwrap_or(0);
        // Before its first record a partition says 0, and might fold by any version.
        registry::versions(family).filter(move |schema| registry::fold_of(schema.id) <= lowest.max(1))
    }

    fn version_of(&self, subject: &str, version: &str) -> Result<&'static ReleasedSchema, RegistryError> {
        let family = self.family_of(subject)?;
        let wanted = match version {
            "latest" | "-1" => self.versions_in_force(family).last().map(|schema| schema.version),
            text => match text.parse::<u32>() {
                Ok(number @ 1..) => Some(number),
                Ok(0) | Err(_) => {
                    let message = format!(
                        "The specified version '{}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\"",
                        cut(text)
                    );
                    return Err(RegistryError { error_code: 42202, message });
                }
            },
        };
        registry::versions(family).find(|schema| Some(schema.version) == wanted).ok_or_else(|| {
            RegistryError { error_code: 40402, message: format!("Version {} not found.", cut(version)) }
        })
    }
}

fn by_id(id: &str) -> Result<&'static ReleasedSchema, RegistryError> {
    let found =
        id.parse().ok().and_then(|id: u32| registry::released().iter().find(|schema| schema.id == id));
    found.ok_or_else(|| RegistryError { error_code: 40403, message: format!("Schema {} not found", cut(id)) })
}

/// The registry itself.
#[utoipa::path(get, path = "/schemas", tag = "schemas", operation_id = "registry", responses((status = 200, description = "Found", content_type = "application/vnd.schemaregistry.v1+json")))]
pub async fn root() -> Response {
    answer(StatusCode::OK, &serde_json::json!({}))
}

/// All subjects.
#[utoipa::path(get, path = "/schemas/subjects", tag = "schemas", responses((status = 200, description = "Found", body = Vec<String>, content_type = "application/vnd.schemaregistry.v1+json")))]
pub async fn subjects(State(ingest): State<Ingest>) -> Response {
    let names: Vec<String> = ingest.all_subjects().into_iter().map(|(name, _)| name).collect();
    answer(StatusCode::OK, &names)
}

/// The versions of a subject.
#[utoipa::path(
    get, path = "/schemas/subjects/{subject}/versions", tag = "schemas",
    params(("subject" = String, Path, description = "A topic's name and `-value`")),
    responses(
        (status = 200, description = "Found", body = Vec<u32>, content_type = "application/vnd.schemaregistry.v1+json"),
        (status = 404, description = "Not found", body = RegistryError, content_type = "application/vnd.schemaregistry.v1+json"),
    )
)]
pub async fn subject_versions(
    State(ingest): State<Ingest>,
    Path(subject): Path<String>,
) -> Result<Response, Problem> {
    let family = ingest.family_of(&subject);
    Ok(found(
        family
            .map(|family| ingest.versions_in_force(family).map(|schema| schema.version).collect::<Vec<_>>()),
    ))
}

/// One version of a subject.
#[utoipa::path(
    get, path = "/schemas/subjects/{subject}/versions/{version}", tag = "schemas",
    params(
        ("subject" = String, Path, description = "A topic's name and `-value`"),
        ("version" = String, Path, description = "A number from 1, or `latest`"),
    ),
    responses(
        (status = 200, description = "Found", body = SubjectVersion, content_type = "application/vnd.schemaregistry.v1+json"),
        (status = "4XX", description = "Not found, or no version at all", body = RegistryError, content_type = "application/vnd.schemaregistry.v1+json"),
    )
)]
pub async fn subject_version(
    State(ingest): State<Ingest>,
    Path((subject, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let schema = ingest.version_of(&subject, &version);
    Ok(found(schema.map(|schema| SubjectVersion {
        subject,
        version: schema.version,
        id: schema.id,
        schema: Some(schema.text),
    })))
}

/// The schema of one version of a subject, alone.
#[utoipa::path(
    get, path = "/schemas/subjects/{subject}/versions/{version}/schema", tag = "schemas",
    params(
        ("subject" = String, Path, description = "A topic's name and `-value`"),
        ("version" = String, Path, description = "A number from 1, or `latest`"),
    ),
    responses(
        (status = 200, description = "Found", body = serde_json::Value, content_type = "application/vnd.schemaregistry.v1+json"),
        (status = "4XX", description = "Not found, or no version at all", body = RegistryError, content_type = "application/vnd.schemaregistry.v1+json"),
    )
)]
pub async fn subject_version_schema(
    State(ingest): State<Ingest>,
    Path((subject, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    Ok(text(ingest.version_of(&subject, &version)))
}

fn text(schema: Result<&'static ReleasedSchema, RegistryError>) -> Response {
    match schema {
        Ok(schema) => ([(CONTENT_TYPE, CONTENT_TYPE_REGISTRY)], schema.text).into_response(),
        Err(error) => found(Err::<(), _>(error)),
    }
}

/// The schema with an id.
#[utoipa::path(
    get, path = "/schemas/schemas/ids/{id}", tag = "schemas",
    params(("id" = String, Path, description = "The id in a record's framing")),
    responses(
        (status = 200, description = "Found", body = SchemaText, content_type = "application/vnd.schemaregistry.v1+json"),
        (status = 404, description = "Not found", body = RegistryError, content_type = "application/vnd.schemaregistry.v1+json"),
    )
)]
pub async fn schema_by_id(Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(found(by_id(&id).map(|schema| SchemaText { schema: schema.text })))
}

/// The schema with an id, alone.
#[utoipa::path(
    get, path = "/schemas/schemas/ids/{id}/schema", tag = "schemas",
    params(("id" = String, Path, description = "The id in a record's framing")),
    responses(
        (status = 200, description = "Found", body = serde_json::Value, content_type = "application/vnd.schemaregistry.v1+json"),
        (status = 404, description = "Not found", body = RegistryError, content_type = "application/vnd.schemaregistry.v1+json"),
    )
)]
pub async fn schema_text_by_id(Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(text(by_id(&id)))
}

/// Where a schema is used: subjects and versions.
#[utoipa::path(
    get, path = "/schemas/schemas/ids/{id}/versions", tag = "schemas",
    params(("id" = String, Path, description = "The id in a record's framing")),
    responses(
        (status = 200, description = "Found", body = Vec<SubjectVersion>, content_type = "application/vnd.schemaregistry.v1+json"),
        (status = 404, description = "Not found", body = RegistryError, content_type = "application/vnd.schemaregistry.v1+json"),
    )
)]
pub async fn schema_versions(
    State(ingest): State<Ingest>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(found(by_id(&id).map(|schema| {
        let subjects = ingest.all_subjects().into_iter().filter(|(_, family)| *family == schema.family);
        subjects
            .map(|(subject, _)| SubjectVersion {
                subject,
                version: schema.version,
                id: schema.id,
                schema: None,
            })
            .collect::<Vec<_>>()
    })))
}

/// Where a schema is used: subjects.
#[utoipa::path(
    get, path = "/schemas/schemas/ids/{id}/subjects", tag = "schemas",
    params(("id" = String, Path, description = "The id in a record's framing")),
    responses(
        (status = 200, description = "Found", body = Vec<String>, content_type = "application/vnd.schemaregistry.v1+json"),
        (status = 404, description = "Not found", body = RegistryError, content_type = "application/vnd.schemaregistry.v1+json"),
    )
)]
pub async fn schema_subjects(
    State(ingest): State<Ingest>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(found(by_id(&id).map(|schema| {
        let subjects = ingest.all_subjects().into_iter().filter(|(_, family)| *family == schema.family);
        subjects.map(|(subject, _)| subject).collect::<Vec<_>>()
    })))
}

/// The kinds of schema there are.
#[utoipa::path(get, path = "/schemas/schemas/types", tag = "schemas", responses((status = 200, description = "Found", body = Vec<String>, content_type = "application/vnd.schemaregistry.v1+json")))]
pub async fn types() -> Response {
    answer(StatusCode::OK, &["AVRO"])
}

/// The compatibility every change keeps.
#[utoipa::path(get, path = "/schemas/config", tag = "schemas", responses((status = 200, description = "Found", body = Compatibility, content_type = "application/vnd.schemaregistry.v1+json")))]
pub async fn config() -> Response {
    answer(StatusCode::OK, &Compatibility { compatibility_level: "FULL_TRANSITIVE" })
}

/// What clients may do.
#[utoipa::path(get, path = "/schemas/mode", tag = "schemas", responses((status = 200, description = "Found", body = Mode, content_type = "application/vnd.schemaregistry.v1+json")))]
pub async fn mode() -> Response {
    answer(StatusCode::OK, &Mode { mode: "READONLY" })
}
