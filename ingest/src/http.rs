//! The routes of this crate and how a whole face is put together. What they do lies in the files below.

pub mod batch;
pub mod commands;
pub mod docs;
pub mod fold;
pub mod health;
pub mod namespaces;
pub mod runs;
pub mod schemas;
mod security;
pub mod tokens;
pub mod unpark;

use axum::Router;
use tidewheel_api::{Auth, fallback};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::administration::Administration;
use crate::fold::Raising;
use crate::forward::{self, Forwarder};
use crate::state::Ingest;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidewheel",
        description = "Durable workflows whose only source of truth is a message log. Every error is a problem \
                       (RFC 9457) with a stable `code`. Any datacenter answers requests about any run: those about \
                       a run of another one are forwarded there. `datacenter_unreachable` says that nothing was \
                       appended, `outcome_unknown` that it is not known: then send it again with the same \
                       `Idempotency-Key`.",
    ),
    tags(
        (name = "runs", description = "Start, read and steer executions of workflows"),
        (name = "administration", description = "Namespaces and access tokens"),
        (name = "replays", description = "Rebuild the views from the log, and choose which generation of them is read"),
        (name = "schemas", description = "Read-only Schema Registry, for Confluent's clients"),
        (name = "node", description = "Health and metrics"),
    )
)]
struct Document;

/// Every route of this crate, described.
pub fn router(ingest: Ingest) -> OpenApiRouter {
    node_router(ingest.clone()).merge(appending_router(ingest))
}

fn appending_router(ingest: Ingest) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(runs::start))
        .routes(routes!(batch::start_batch))
        .routes(routes!(commands::signal))
        .routes(routes!(commands::cancel))
        .routes(routes!(commands::terminate))
        .routes(routes!(commands::resume))
        .with_state(ingest)
}

/// The routes that every process has, whatever its roles: health, metrics, schemas. Described.
pub fn node_router(ingest: Ingest) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .merge(schemas::router())
        .with_state(ingest)
}

/// The routes of namespaces and tokens, described.
pub fn administration(administration: Administration) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(namespaces::create_namespace, namespaces::list_namespaces))
        .routes(routes!(namespaces::get_namespace))
        .routes(routes!(tokens::create_token, tokens::list_tokens))
        .routes(routes!(tokens::get_token))
        .routes(routes!(tokens::rotate_token))
        .routes(routes!(tokens::revoke_token))
        .with_state(administration)
}

/// The routes given, of which those about runs of other datacenters are answered there.
pub fn forwarding(router: OpenApiRouter, forwarder: Forwarder) -> OpenApiRouter {
    router.route_layer(axum::middleware::from_fn_with_state(forwarder, forward::route::forward))
}

/// The routes that look at the fold version in force: the one that raises it, and what only newer ones have. Described.
pub fn fold_router(raising: Raising) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(fold::raise)).routes(routes!(unpark::unpark)).with_state(raising)
}

/// Puts the face together: the routes given, `/openapi.json` and `/docs` describing them, problems for everything else.
/// Nobody is asked for a token.
pub fn finish(router: OpenApiRouter) -> Router {
    put_together(router, None)
}

/// As [`finish`], with the guard in front of every route given.
pub fn finish_guarded(router: OpenApiRouter, auth: Auth) -> Router {
    put_together(router, Some(auth))
}

fn put_together(router: OpenApiRouter, auth: Option<Auth>) -> Router {
    let (mut router, mut document) = router.split_for_parts();
    security::describe(&mut document);
    if let Some(auth) = auth {
        router = router.route_layer(axum::middleware::from_fn_with_state(auth, tidewheel_api::auth::guard));
    }
    router
        .merge(docs::router(&document))
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .layer(fallback::catch_panic())
}
