//! The first admin token of an installation, appended to the configuration's log by whoever holds the nodes'
//! configuration file: who can write to that log can do everything anyway, so this opens no door that was shut. Every
//! other token is made over HTTP.

use std::time::Duration;

use tidewheel_api::Role;
use tidewheel_api::token::Secret;
use tidewheel_engine::{Rejection, Verdict};
use tidewheel_log::SystemClock;
use tidewheel_runtime::config::ChangeError;
use tidewheel_runtime::{ConfigOptions, Configuration};
use tidewheel_schemas::event::TokenCreated;
use tidewheel_schemas::{Author, Entity, Envelope, EventId, Name, TokenId, TopicFamily};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::wire::{self, WireError};

/// How long the log may take to be read, and to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Who is said to have created the token.
const PRINCIPAL: &str = "bootstrap";

/// Why there is no first token.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The log would be gone with the token.
    #[error("an ephemeral log is gone when this command ends; use one that is kept")]
    Ephemeral,
    /// The log cannot be opened.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The log did not answer.
    #[error(
        "the configuration's log did not answer within {} s; are its brokers there? Whether a token was made is not \
         known, but nobody has it: try again",
        PATIENCE.as_secs()
    )]
    Away,
    /// The log refused.
    #[error("the token was not created: {0}")]
    Change(#[from] ChangeError),
    /// The fold refused.
    #[error("the token was not created: {0}")]
    Refused(Rejection),
    /// A part of this program failed.
    #[error("the token was not created: {0}")]
    Failed(String),
}

/// Creates an admin token of every namespace in the log that `config` names, which need not exist yet. On an embedded
/// log the node must be stopped meanwhile. The secret is known to the caller alone.
///
/// # Errors
/// See [`BootstrapError`].
pub async fn bootstrap(config: &Config, name: &Name) -> Result<Secret, BootstrapError> {
    if config.ephemeral {
        return Err(BootstrapError::Ephemeral);
    }
    let failed = |error: tokio::task::JoinError| BootstrapError::Failed(error.to_string());
    let opening = config.clone();
    let log = tokio::task::spawn_blocking(move || wire::open_log(&opening)).await.map_err(failed)??;
    let shutdown = CancellationToken::new();
    let configuration = Configuration::start(ConfigOptions {
        log: log.log.clone(),
        topic: TopicFamily::ConfigChanges.topic(&config.prefix, &config.datacenter),
        process: format!("tidewheel-bootstrap-{}", std::process::id()).into(),
        clock: SystemClock::shared(),
        shutdown: shutdown.clone(),
    });
    let created = create(&configuration, name).await;
    shutdown.cancel();
    let closed = tokio::task::spawn_blocking(move || log.close()).await;
    let secret = created?;
    closed.map_err(failed)?;
    Ok(secret)
}

async fn create(configuration: &Configuration, name: &Name) -> Result<Secret, BootstrapError> {
    tokio::select! {
        () = configuration.complete() => {}
        stopped = configuration.stopped() => return Err(BootstrapError::Failed(stopped.to_string())),
        () = tokio::time::sleep(PATIENCE) => return Err(BootstrapError::Away),
    }
    let clock = SystemClock::shared();
    let token_id = TokenId::random(clock.random_16());
    let mut random = [0; 32];
    random[..16].copy_from_slice(&clock.random_16());
    random[16..].copy_from_slice(&clock.random_16());
    let secret = Secret::new(token_id, random);
    let role = Name::new(Role::Admin.as_str()).map_err(|error| BootstrapError::Failed(error.to_string()))?;
    let event = TokenCreated { name: name.clone(), hash: secret.hash(), roles: vec![role], namespaces: None };
    let envelope = Envelope {
        event_id: EventId::random(clock.random_16()),
        entity: Entity::Token(token_id),
        namespace: None,
        recorded_at_us: clock.now_us(),
        cause: None,
        traceparent: None,
        author: Author::Ingest { principal: PRINCIPAL.into() },
    };
    let changed = configuration.change(envelope, event.into(), PATIENCE).await?;
    match changed.judged.map(|judged| judged.verdict) {
        Some(Verdict::Accepted) => Ok(secret),
        Some(Verdict::Rejected(rejection)) => Err(BootstrapError::Refused(rejection)),
        Some(verdict) => Err(BootstrapError::Failed(format!("the fold says {verdict:?}"))),
        None => Err(BootstrapError::Away),
    }
}
