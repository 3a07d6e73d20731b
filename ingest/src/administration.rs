//! Changing the configuration over HTTP: what the routes of namespaces and tokens share. Who follows the
//! configuration's log is the node's business; which roles the routes need is said in `api`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use futures::future::BoxFuture;
use http::request::Parts;
use tidewheel_api::{Code, Idempotency, Namespaces, Principal, Problem, Traceparent};
use tidewheel_engine::Verdict;
use tidewheel_engine::config::{ConfigEntity, ConfigSnapshot};
use tidewheel_log::LogError;
use tidewheel_schemas::codec::EncodeError;
use tidewheel_schemas::{
    Author, ConfigEvent, Entity, Envelope, EventId, Name, Position, TokenId, TopicFamily,
};

use crate::state::RETRY_AFTER_MS;

/// What became of a change that is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Where its record lies.
    pub position: Position,
    /// What the fold said and what it left; `None` if it was not judged in time.
    pub judged: Option<(Verdict, Option<ConfigEntity>)>,
}

/// Why a change came to nothing, as far as is known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// The configuration's log was not reached; nothing was appended.
    #[error("{0}")]
    Away(String),
    /// The change cannot be a record; nothing was appended.
    #[error(transparent)]
    Encode(EncodeError),
    /// The log refused or failed.
    #[error(transparent)]
    Log(LogError),
    /// Whether the change was appended is not known.
    #[error("{0}")]
    Unanswered(String),
}

/// What the routes need of the node: its configuration.
pub trait Configuration: Send + Sync + 'static {
    /// The newest snapshot.
    fn snapshot(&self) -> Arc<ConfigSnapshot>;

    /// Appends a change and waits for the fold's verdict on it, both within `patience`.
    fn change(
        &self,
        envelope: Envelope,
        event: ConfigEvent,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Changed, ChangeError>>;

    /// Waits until the snapshot holds the record at `position`; `false` if it does not within `patience`.
    fn reach(&self, position: Position, patience: Duration) -> BoxFuture<'static, bool>;

    /// The time now, microseconds since 1970.
    fn now_us(&self) -> i64;

    /// Random bytes for ids and secrets.
    fn random(&self) -> [u8; 16];
}

/// The state of the routes of namespaces and tokens. Cloning is cheap.
#[derive(Clone)]
pub struct Administration {
    pub(crate) configuration: Arc<dyn Configuration>,
    pub(crate) namespaces: Namespaces,
    /// The datacenter of this node: the home of a namespace unless its creation says otherwise.
    pub(crate) datacenter: Name,
    /// Every datacenter that may be a home, this one among them.
    datacenters: Arc<BTreeSet<Name>>,
    patience: Duration,
}

impl FromRef<Administration> for Namespaces {
    fn from_ref(administration: &Administration) -> Self {
        administration.namespaces.clone()
    }
}

/// Who asks for a change, and under which key.
pub struct Asker {
    /// On whose behalf.
    pub principal: Principal,
    /// What makes retries the same change.
    pub idempotency: Idempotency,
    /// The trace that the request belongs to.
    pub traceparent: Traceparent,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(principal) = Principal::from_request_parts(parts, state).await;
        let idempotency = Idempotency::from_request_parts(parts, state).await?;
        let Ok(traceparent) = Traceparent::from_request_parts(parts, state).await;
        Ok(Self { principal, idempotency, traceparent })
    }
}

/// A change that counts.
pub struct Accepted {
    /// Where its record lies.
    pub position: Position,
    /// What it left, and whether it was this very request that did it; `None` if it was not judged in time.
    pub judged: Option<(ConfigEntity, bool)>,
}

impl Administration {
    /// The routes' state. `datacenters` are the others, where namespaces may have their home too. `patience` is how long a
    /// change waits for the fold's verdict.
    pub fn new(
        configuration: Arc<dyn Configuration>,
        namespaces: Namespaces,
        datacenter: Name,
        datacenters: impl IntoIterator<Item = Name>,
        patience: Duration,
    ) -> Self {
        let mut datacenters: BTreeSet<_> = datacenters.into_iter().collect();
        datacenters.insert(datacenter.clone());
        Self { configuration, namespaces, datacenter, datacenters: Arc::new(datacenters), patience }
    }

    /// Whether there is a datacenter of this name.
    pub(crate) fn check_home(&self, home: &Name) -> Result<(), Problem> {
        if self.datacenters.contains(home) {
            return Ok(());
        }
        let detail = format!("there is no datacenter `{home}`; use one of `known`");
        let known = self.datacenters.iter().map(Name::to_string).collect();
        Err(Problem::new(Code::InvalidField, detail).field("home").known(known))
    }

    /// The datacenter of this node.
    pub const fn datacenter(&self) -> &Name {
        &self.datacenter
    }

    /// Every datacenter that there is, as far as this node is told: its own among them.
    pub fn datacenters(&self) -> &BTreeSet<Name> {
        &self.datacenters
    }

    /// Appends a change, whose request is `verb` to `entity`, and says what became of it.
    ///
    /// # Errors
    /// The problem to answer with: the fold refused it, or it was not appended as far as is known.
    pub async fn change(
        &self,
        asker: Asker,
        verb: &str,
        entity: Entity,
        event: ConfigEvent,
    ) -> Result<Accepted, Problem> {
        let instance = entity.to_string();
        let event_id = match &asker.idempotency.0 {
            // No namespace has an empty name, so these are apart from the events of runs.
            Some(key) => EventId::idempotent("", &format!("{verb}/{entity}"), key),
            None => EventId::random(self.configuration.random()),
        };
        let envelope = Envelope {
            event_id,
            namespace: if let Entity::Namespace(name) = &entity { Some(name.clone()) } else { None },
            entity,
            recorded_at_us: self.configuration.now_us(),
            cause: None,
            traceparent: asker.traceparent.0,
            author: Author::Ingest { principal: asker.principal.0 },
        };
        let changed = self.configuration.change(envelope, event, self.patience).await;
        let Changed { position, judged } = changed.map_err(|error| change_failed(&error))?;
        let Some((verdict, after)) = judged else { return Ok(Accepted { position, judged: None }) };
        if let Some(problem) = crate::submit::refusal(verdict, position) {
            return Err(problem.instance(instance));
        }
        let judged = after.map(|after| (after, verdict == Verdict::Accepted));
        Ok(Accepted { position, judged })
    }

    /// The newest snapshot, once it holds `at_least`.
    ///
    /// # Errors
    /// The problem to answer with: it is not there yet, or the position is of another log.
    pub async fn read(&self, at_least: Option<Position>) -> Result<Arc<ConfigSnapshot>, Problem> {
        if let Some(position) = at_least {
            if position.family != TopicFamily::ConfigChanges {
                let detail =
                    "the position is not one of the configuration's; pass one that a change of it answered";
                return Err(Problem::new(Code::ForeignPosition, detail).field("at_least"));
            }
            if !self.configuration.reach(position, self.patience).await {
                let detail =
                    "the configuration read here does not hold the position yet, or is of another log";
                return Err(Problem::new(Code::PositionNotReached, detail)
                    .position(Some(position))
                    .retry_after_ms(RETRY_AFTER_MS));
            }
        }
        let snapshot = self.configuration.snapshot();
        if snapshot.is_complete {
            return Ok(snapshot);
        }
        let detail = "the node has not read its configuration yet; try again";
        Err(Problem::new(Code::NotReady, detail).retry_after_ms(RETRY_AFTER_MS))
    }

    /// A fresh id, or the one that retries under the same key share.
    pub(crate) fn token_id(&self, asker: &Asker) -> TokenId {
        match &asker.idempotency.0 {
            Some(key) => TokenId::idempotent(&asker.principal.0, key),
            None => TokenId::random(self.configuration.random()),
        }
    }

    /// 32 random bytes for a secret.
    pub(crate) fn random_secret(&self) -> [u8; 32] {
        let mut random = [0; 32];
        random[..16].copy_from_slice(&self.configuration.random());
        random[16..].copy_from_slice(&self.configuration.random());
        random
    }
}

fn change_failed(error: &ChangeError) -> Problem {
    match error {
        ChangeError::Away(what) => {
            Problem::new(Code::ConfigUnavailable, what.clone()).retry_after_ms(RETRY_AFTER_MS)
        }
        ChangeError::Encode(error) => crate::submit::unencodable(error),
        ChangeError::Log(error) => crate::submit::append_failed(error),
        ChangeError::Unanswered(what) => Problem::new(
            Code::OutcomeUnknown,
            format!("{what}; whether it happened is not known: read it, or send it again with the same key"),
        )
        .retry_after_ms(RETRY_AFTER_MS),
    }
}
