//! `/v1/tokens`: create, list, rotate and revoke access tokens. A secret is in one answer and nowhere else; how it is
//! made and checked is said in `api`.

use std::collections::BTreeSet;
use std::ops::Bound;

use axum::extract::State;
use axum::response::Response;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tidewheel_api::token::Secret;
use tidewheel_api::{
    AtLeast, Code, Cursor, Identity, JsonBody, Path, Problem, Query, Role, Time, json, page_items,
};
use tidewheel_engine::config::{ConfigEntity, ConfigSnapshot, TokenState};
use tidewheel_schemas::event::{TokenCreated, TokenRevoked, TokenRotated};
use tidewheel_schemas::limit::FAILURE_MESSAGE_BYTES_MAX;
use tidewheel_schemas::{ConfigEvent, Entity, Name, Position, TokenId};
use utoipa::{IntoParams, ToSchema};

use super::namespaces::PendingChangeAnswer;
use crate::administration::{Accepted, Administration, Asker};
use crate::start::{name, over};

/// Namespaces one token may be for; more are every namespace.
const NAMESPACES_MAX: usize = 100;
/// How long the secret before stays valid unless a rotation says otherwise: a day.
const OVERLAP_S: u32 = 24 * 60 * 60;
/// Longest time it may stay valid: 30 days.
const OVERLAP_S_MAX: u32 = 30 * 24 * 60 * 60;

/// Asks for a token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What people call it: 1 to 128 characters out of `a-z A-Z 0-9 . _ -`.
    #[schema(example = "billing")]
    name: String,
    /// What it may do.
    roles: BTreeSet<Role>,
    /// Where it may do it, 1 to 100 namespaces; every namespace if absent.
    #[serde(default)]
    namespaces: Option<Vec<String>>,
}

/// Asks for a new secret.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateToken {
    /// Seconds for which the secret before stays valid too; a day if absent, at most 30 days.
    #[serde(default)]
    overlap_s: Option<u32>,
    /// The version of the token this was decided on; refused if it is another by now.
    #[serde(default)]
    expected_version: Option<u64>,
}

/// Ends a token.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// Why, for people; at most 16 KiB.
    #[serde(default)]
    reason: Option<String>,
}

/// A token.
#[derive(Serialize, ToSchema)]
pub struct TokenAnswer {
    /// Its id, which is no secret.
    #[schema(value_type = String, format = Uuid)]
    pub token_id: TokenId,
    /// What people call it.
    #[schema(value_type = String)]
    pub name: Name,
    /// What it may do.
    #[schema(value_type = Vec<String>)]
    pub roles: BTreeSet<Name>,
    /// Where it may do it; `null` for every namespace.
    #[schema(value_type = Option<Vec<String>>)]
    pub namespaces: Option<BTreeSet<Name>>,
    /// Number of changes, its creation among them.
    pub version: u64,
    /// When it was created.
    pub created_at: Time,
    /// Who created it.
    pub created_by: String,
    /// When its secret was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Time>,
    /// Until when the secret before is valid too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<Time>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
    /// Why it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_reason: Option<String>,
    /// The token itself: in this one answer, never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Where the change lies, when there was one: pass it as `at_least` to another node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub position: Option<Position>,
}

/// A page of tokens, in the order of ids.
#[derive(Serialize, ToSchema)]
pub struct TokensAnswer {
    /// Those whose namespaces the own token covers.
    pub tokens: Vec<TokenAnswer>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<Cursor>,
}

/// Which tokens to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListTokensParameters {
    /// Most tokens of the page: 1 to 1000, 100 if absent.
    limit: Option<usize>,
    /// Go on where a page ended.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// The position of a change this read must know of.
    #[param(value_type = Option<String>)]
    at_least: Option<AtLeast>,
}

/// The token a path names.
#[derive(Debug, Deserialize)]
pub struct TokenPath {
    token_id: TokenId,
}

fn answer(token: &TokenState, secret: Option<&Secret>, position: Option<Position>) -> TokenAnswer {
    TokenAnswer {
        token_id: token.token_id,
        name: token.name.clone(),
        roles: token.roles.clone(),
        namespaces: token.namespaces.clone(),
        version: token.version,
        created_at: Time(token.created_at_us),
        created_by: token.created_by.to_string(),
        rotated_at: token.rotated_at_us.map(Time),
        previous_until: token.previous.map(|previous| Time(previous.until_us)),
        revoked_at: token.revoked_at_us.map(Time),
        revoked_reason: token.revoked_reason.as_deref().map(str::to_owned),
        token: secret.map(Secret::text),
        position,
    }
}

/// The answer to a change; only the request that did it is told the secret.
fn changed(accepted: Accepted, token_id: TokenId, status: StatusCode, secret: Option<&Secret>) -> Response {
    let Accepted { position, judged } = accepted;
    match judged {
        Some((ConfigEntity::Token(token), is_new)) => {
            let secret = secret.filter(|_| is_new);
            let status = if is_new { status } else { StatusCode::OK };
            let mut response = json(status, &answer(&token, secret, Some(position)));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Some((ConfigEntity::Namespace(_) | ConfigEntity::Views(_), _)) | None => {
            let entity = Entity::Token(token_id).to_string();
            json(StatusCode::ACCEPTED, &PendingChangeAnswer { entity, status: "pending", position })
        }
    }
}

/// The token, if who asks may know of it.
fn find<'a>(
    snapshot: &'a ConfigSnapshot,
    token_id: TokenId,
    identity: &Identity,
) -> Result<&'a TokenState, Problem> {
    let token = snapshot.tokens.get(&token_id).filter(|token| identity.covers(token.namespaces.as_ref()));
    token.map(AsRef::as_ref).ok_or_else(|| {
        Problem::rejected(tidewheel_engine::Rejection::TokenNotFound).instance(format!("token/{token_id}"))
    })
}

impl Administration {
    /// The namespaces a token is to be for, all of which exist and are the asker's to give.
    fn scope(
        &self,
        asked: Option<Vec<String>>,
        identity: &Identity,
    ) -> Result<Option<BTreeSet<Name>>, Problem> {
        let field = "namespaces";
        let Some(asked) = asked else {
            if identity.is_everywhere() {
                return Ok(None);
            }
            let detail = "the access token holds in some namespaces; name those the new one is to be for";
            return Err(Problem::new(Code::Forbidden, detail).field(field));
        };
        if asked.is_empty() {
            let detail = "`namespaces` is empty; name some, or leave it out for every namespace";
            return Err(Problem::new(Code::InvalidField, detail).field(field));
        }
        over(asked.len(), NAMESPACES_MAX, field, "namespaces")?;
        let find = |asked: &String| match self.namespaces.get(asked) {
            Some(name) => Ok(name),
            None => Err(self.namespaces.not_found(asked, field, identity)),
        };
        let names = asked.iter().map(find).collect::<Result<BTreeSet<_>, _>>()?;
        if identity.covers(Some(&names)) {
            return Ok(Some(names));
        }
        let detail = "the access token does not hold in every one of these namespaces";
        Err(Problem::new(Code::Forbidden, detail).field(field))
    }
}

/// Create a token.
///
/// The answer holds the token, once: it is stored as a hash. A retry with the same `Idempotency-Key` creates nothing
/// and is answered without it; rotate the token then.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    tag = "administration",
    operation_id = "create_token",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes retries the same event; 1 to 512 printable characters")),
    request_body = CreateToken,
    responses(
        (status = 201, description = "It was created", body = TokenAnswer),
        (status = 200, description = "This request created it before", body = TokenAnswer),
        (status = 202, description = "Durable, but not judged in time", body = PendingChangeAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create_token(
    State(administration): State<Administration>,
    identity: Identity,
    asker: Asker,
    body: JsonBody,
) -> Result<Response, Problem> {
    let asked: CreateToken = body.parse()?;
    let token_name = name(&asked.name, "name")?;
    if asked.roles.is_empty() {
        return Err(Problem::new(Code::InvalidField, "`roles` is empty; give at least one").field("roles"));
    }
    let roles = asked.roles.iter().map(|role| name(role.as_str(), "roles")).collect::<Result<Vec<_>, _>>()?;
    let namespaces = administration.scope(asked.namespaces, &identity)?;
    let token_id = administration.token_id(&asker);
    let secret = Secret::new(token_id, administration.random_secret());
    let event = TokenCreated {
        name: token_name,
        hash: secret.hash(),
        roles,
        namespaces: namespaces.map(|names| names.into_iter().collect()),
    };
    let accepted = administration.change(asker, "create", Entity::Token(token_id), event.into()).await?;
    Ok(changed(accepted, token_id, StatusCode::CREATED, Some(&secret)))
}

/// List tokens, revoked ones among them. No secret is shown.
#[utoipa::path(
    get,
    path = "/v1/tokens",
    tag = "administration",
    operation_id = "list_tokens",
    params(ListTokensParameters),
    responses(
        (status = 200, description = "A page of tokens", body = TokensAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_tokens(
    State(administration): State<Administration>,
    Query(parameters): Query<ListTokensParameters>,
    identity: Identity,
) -> Result<Response, Problem> {
    let limit = page_items(parameters.limit)?;
    let after = match &parameters.cursor {
        None => Bound::Unbounded,
        Some(cursor) => match <[u8; 16]>::try_from(cursor.bytes()) {
            Ok(bytes) => Bound::Excluded(TokenId::from_bytes(bytes)),
            Err(_) => {
                let detail = "the cursor is of another list; pass `next_cursor` of a page of this one";
                return Err(Problem::new(Code::InvalidCursor, detail).field("cursor"));
            }
        },
    };
    let snapshot = administration.read(parameters.at_least.map(|AtLeast(position)| position)).await?;
    let seen = snapshot.tokens.range((after, Bound::Unbounded)).map(|(_, token)| token);
    let mut seen = seen.filter(|token| identity.covers(token.namespaces.as_ref())).peekable();
    let tokens: Vec<_> = seen.by_ref().take(limit).map(|token| answer(token, None, None)).collect();
    let last = tokens.last().map(|token| token.token_id);
    let next_cursor = last.filter(|_| seen.peek().is_some()).map(|last| Cursor::new(*last.as_bytes()));
    Ok(json(StatusCode::OK, &TokensAnswer { tokens, next_cursor }))
}

/// Read a token. No secret is shown.
#[utoipa::path(
    get,
    path = "/v1/tokens/{token_id}",
    tag = "administration",
    operation_id = "get_token",
    params(("token_id" = String, Path, description = "The token's id"), super::namespaces::ConfigReadParameters),
    responses(
        (status = 200, description = "The token", body = TokenAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_token(
    State(administration): State<Administration>,
    Path(TokenPath { token_id }): Path<TokenPath>,
    Query(parameters): Query<super::namespaces::ConfigReadParameters>,
    identity: Identity,
) -> Result<Response, Problem> {
    let snapshot = administration.read(parameters.at_least.map(|AtLeast(position)| position)).await?;
    Ok(json(StatusCode::OK, &answer(find(&snapshot, token_id, &identity)?, None, None)))
}

/// Give a token a new secret.
///
/// The answer holds the token, once. The secret before stays valid for `overlap_s` seconds, so that whoever uses it can
/// be given the new one meanwhile; one still older is valid no more.
#[utoipa::path(
    post,
    path = "/v1/tokens/{token_id}/rotate",
    tag = "administration",
    operation_id = "rotate_token",
    params(
        ("token_id" = String, Path, description = "The token's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes retries the same event; 1 to 512 printable characters"),
    ),
    request_body = RotateToken,
    responses(
        (status = 200, description = "It has a new secret", body = TokenAnswer),
        (status = 202, description = "Durable, but not judged in time", body = PendingChangeAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate_token(
    State(administration): State<Administration>,
    Path(TokenPath { token_id }): Path<TokenPath>,
    identity: Identity,
    asker: Asker,
    body: JsonBody,
) -> Result<Response, Problem> {
    let asked: RotateToken = body.parse()?;
    let overlap_s = asked.overlap_s.unwrap_or(OVERLAP_S);
    over(overlap_s as usize, OVERLAP_S_MAX as usize, "overlap_s", "seconds")?;
    let expected_version = asked.expected_version.map(|version| i64::try_from(version).unwrap_or(i64::MAX));
    let snapshot = administration.read(None).await?;
    find(&snapshot, token_id, &identity)?;
    let secret = Secret::new(token_id, administration.random_secret());
    let overlap_us = i64::from(overlap_s) * 1_000_000;
    let previous_until_us = administration.configuration.now_us().saturating_add(overlap_us);
    let event: ConfigEvent = TokenRotated { hash: secret.hash(), previous_until_us, expected_version }.into();
    let accepted = administration.change(asker, "rotate", Entity::Token(token_id), event).await?;
    Ok(changed(accepted, token_id, StatusCode::OK, Some(&secret)))
}

/// Revoke a token, for ever. What it keeps open is closed.
#[utoipa::path(
    post,
    path = "/v1/tokens/{token_id}/revoke",
    tag = "administration",
    operation_id = "revoke_token",
    params(
        ("token_id" = String, Path, description = "The token's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes retries the same event; 1 to 512 printable characters"),
    ),
    request_body = RevokeToken,
    responses(
        (status = 200, description = "It is valid no more", body = TokenAnswer),
        (status = 202, description = "Durable, but not judged in time", body = PendingChangeAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn revoke_token(
    State(administration): State<Administration>,
    Path(TokenPath { token_id }): Path<TokenPath>,
    identity: Identity,
    asker: Asker,
    body: JsonBody,
) -> Result<Response, Problem> {
    let asked: RevokeToken = body.parse()?;
    let reason = asked.reason.unwrap_or_default();
    over(reason.len(), FAILURE_MESSAGE_BYTES_MAX, "reason", "bytes")?;
    let snapshot = administration.read(None).await?;
    find(&snapshot, token_id, &identity)?;
    let event: ConfigEvent = TokenRevoked { reason }.into();
    let accepted = administration.change(asker, "revoke", Entity::Token(token_id), event).await?;
    Ok(changed(accepted, token_id, StatusCode::OK, None))
}
