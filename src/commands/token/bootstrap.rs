//! `tidewheel token bootstrap`: the first admin token, appended to the configuration's log by whoever holds the nodes'
//! configuration file. Who can write to the log can do everything anyway, so this opens no door that was shut.

use std::time::Duration;

use tidewheel::config::Config;
use tidewheel::wire;
use tidewheel_api::Role;
use tidewheel_api::token::Secret;
use tidewheel_engine::Verdict;
use tidewheel_log::SystemClock;
use tidewheel_runtime::{ConfigOptions, Configuration};
use tidewheel_schemas::event::TokenCreated;
use tidewheel_schemas::{Author, Entity, Envelope, EventId, Name, TokenId, TopicFamily};
use tokio_util::sync::CancellationToken;

use crate::args::BootstrapArguments;
use crate::failure::Failure;
use crate::output::print;

/// How long the log may take to be read and to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Who is said to have created the token.
const PRINCIPAL: &str = "bootstrap";

/// Creates the token and prints it.
pub async fn run(arguments: BootstrapArguments) -> Result<(), Failure> {
    let config = Config::load(arguments.config.sources())?;
    let failed = |what: String| Failure::Failed(what);
    if config.ephemeral {
        return Err(Failure::Usage(
            "an ephemeral log is gone when this command ends; use one that is kept".into(),
        ));
    }
    let opening = config.clone();
    let log = tokio::task::spawn_blocking(move || wire::open_log(&opening))
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    let shutdown = CancellationToken::new();
    let configuration = Configuration::start(ConfigOptions {
        log: log.log.clone(),
        topic: TopicFamily::ConfigChanges.topic(&config.prefix, &config.datacenter),
        process: format!("tidewheel-bootstrap-{}", std::process::id()).into(),
        clock: SystemClock::shared(),
        shutdown: shutdown.clone(),
    });
    let created = create(&configuration, &arguments.name).await;
    shutdown.cancel();
    let closed = tokio::task::spawn_blocking(move || log.close()).await;
    let (token_id, secret) = created?;
    closed.map_err(|error| failed(format!("the log cannot be closed: {error}")))?;
    print(&format!(
        "token_id  {token_id}\nroles     admin\n\nThe token, shown this once:\n{}",
        secret.text()
    ))?;
    Ok(())
}

async fn create(configuration: &Configuration, name: &Name) -> Result<(TokenId, Secret), Failure> {
    let away = || {
        Failure::Failed(format!(
            "the configuration's log could not be read within {} s; are its brokers there?",
            PATIENCE.as_secs()
        ))
    };
    tokio::time::timeout(PATIENCE, configuration.complete()).await.map_err(|_| away())?;
    let clock = SystemClock::shared();
    let token_id = TokenId::random(clock.random_16());
    let mut random = [0; 32];
    random[..16].copy_from_slice(&clock.random_16());
    random[16..].copy_from_slice(&clock.random_16());
    let secret = Secret::new(token_id, random);
    let role = Name::new(Role::Admin.as_str()).map_err(|error| Failure::Failed(error.to_string()))?;
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
    let changed = configuration.change(envelope, event.into(), PATIENCE).await;
    let changed = changed.map_err(|error| Failure::Failed(error.to_string()))?;
    match changed.judged.map(|judged| judged.verdict) {
        Some(Verdict::Accepted) => Ok((token_id, secret)),
        Some(verdict) => Err(Failure::Failed(format!("the token was not created: {verdict:?}"))),
        None => Err(away()),
    }
}
