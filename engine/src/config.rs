//! The fold of `{prefix}.config.changes`: namespaces, access tokens and the views of each
//! datacenter. Nobody owns that topic, so records of an engine
//! are refused, and there is nothing to decide. What the fold of workflows does is in `fold`.

mod judged;
mod namespace;
mod snapshot;
mod token;
pub mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, ConfigEvent, Entity, Envelope, EventType, Headers, Name, Record, RecordHeaders, TokenId, codec,
    registry,
};

pub use self::namespace::NamespaceState;
pub use self::snapshot::{Applied, ConfigSnapshot};
pub use self::token::{PreviousSecret, TokenState};
pub use self::views::ViewsState;
use crate::control::Control;
use crate::run::apply::Place;
use crate::verdict::{Rejection, Verdict};

/// The newest fold version of the configuration this build knows; it counts apart from that of workflows.
pub const CONFIG_FOLD_VERSION: u32 = 1;

/// The configuration's log is ahead of this build, or was read in the wrong order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFoldError {
    /// `FoldRaised` went past this build.
    #[error(
        "partition {partition} of the configuration folds by version {fold} from offset {offset} on, this build knows {CONFIG_FOLD_VERSION}; upgrade this process"
    )]
    Newer {
        /// The partition.
        partition: u32,
        /// Where.
        offset: i64,
        /// The version in force.
        fold: u32,
    },
    /// A record that is not the next one was given.
    #[error(
        "partition {partition} of the configuration: record {found} was given where {expected} was due; this is a defect, restart the process"
    )]
    OutOfOrder {
        /// The partition.
        partition: u32,
        /// The offset due.
        expected: i64,
        /// The offset given.
        found: i64,
    },
}

/// Something configured, as a record left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigEntity {
    /// A namespace.
    Namespace(Arc<NamespaceState>),
    /// An access token.
    Token(Arc<TokenState>),
    /// The views of a datacenter.
    Views(Arc<ViewsState>),
}

/// What the fold made of one record. Every record yields exactly one, in offset order.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigTransition {
    /// The partition.
    pub partition: u32,
    /// The record's offset.
    pub offset: i64,
    /// Its headers; `None` when a foreign producer wrote ones that cannot be read.
    pub headers: Option<Headers>,
    /// What the fold said.
    pub verdict: Verdict,
    /// What the record is about as it stands after it, whether it changed or not; `None` if there is no such thing.
    pub after: Option<ConfigEntity>,
}

/// The state of one partition of the configuration. It is small and kept whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFold {
    control: Control,
    namespaces: BTreeMap<Name, Arc<NamespaceState>>,
    tokens: BTreeMap<TokenId, Arc<TokenState>>,
    views: BTreeMap<Name, Arc<ViewsState>>,
}

impl ConfigFold {
    /// The state before the first record.
    pub fn new(partition: u32) -> Self {
        Self {
            control: Control::new(partition),
            namespaces: BTreeMap::new(),
            tokens: BTreeMap::new(),
            views: BTreeMap::new(),
        }
    }

    /// The control state. Its log time is the largest `recorded_at` of an accepted record: there are no claims here.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The namespaces that were created.
    pub const fn namespaces(&self) -> &BTreeMap<Name, Arc<NamespaceState>> {
        &self.namespaces
    }

    /// The tokens that were created, revoked ones among them.
    pub const fn tokens(&self) -> &BTreeMap<TokenId, Arc<TokenState>> {
        &self.tokens
    }

    /// The views of the datacenters of which a record speaks.
    pub const fn views(&self) -> &BTreeMap<Name, Arc<ViewsState>> {
        &self.views
    }

    /// Folds the next record.
    ///
    /// # Errors
    /// Only when the partition must stop: the log is ahead of this build, or records were given out of order.
    pub fn apply(&mut self, record: &Record) -> Result<ConfigTransition, ConfigFoldError> {
        let (partition, expected) = (self.control.partition, self.control.next_offset);
        if record.offset != expected {
            return Err(ConfigFoldError::OutOfOrder { partition, expected, found: record.offset });
        }
        if self.control.fold > CONFIG_FOLD_VERSION {
            let (offset, fold) = (record.offset, self.control.fold);
            return Err(ConfigFoldError::Newer { partition, offset, fold });
        }
        let headers = match &record.headers {
            RecordHeaders::Known(headers) => Some(headers),
            RecordHeaders::Foreign(_) => None,
        };
        let verdict = match headers {
            Some(headers) => self.judge(record, headers).unwrap_or_else(Verdict::Rejected),
            None => Verdict::Rejected(Rejection::Undecodable),
        };
        self.control.next_offset = record.offset + 1;
        self.control.last_event_id = headers.map(|headers| headers.event_id);
        let after = headers.and_then(|headers| self.entity(&headers.entity));
        Ok(ConfigTransition { partition, offset: record.offset, headers: headers.cloned(), verdict, after })
    }

    fn entity(&self, entity: &Entity) -> Option<ConfigEntity> {
        match entity {
            Entity::Namespace(name) => self.namespaces.get(name).cloned().map(ConfigEntity::Namespace),
            Entity::Token(token_id) => self.tokens.get(token_id).cloned().map(ConfigEntity::Token),
            Entity::Views(datacenter) => self.views.get(datacenter).cloned().map(ConfigEntity::Views),
            Entity::Partition(_) | Entity::Run(_) => None,
        }
    }

    fn judge(&mut self, record: &Record, headers: &Headers) -> Result<Verdict, Rejection> {
        self.check_place(record, headers)?;
        let is_begin = headers.event_type == EventType::LogCreated;
        let may_write = match &headers.author {
            Author::Ingest { .. } => !is_begin,
            Author::Candidate { .. } => is_begin,
            Author::Engine { .. } | Author::Outbox { .. } => false,
        };
        if !may_write {
            return Err(Rejection::WrongAuthor);
        }
        let (envelope, event) =
            codec::decode_config(headers, &record.value).map_err(|_| Rejection::Undecodable)?;
        if self.control.log.is_none() && !is_begin {
            return Err(Rejection::Void);
        }
        let log_time_us = self.control.log_time_us.max(envelope.recorded_at_us);
        let verdict = self.change(Place { offset: record.offset, log_time_us }, &envelope, &event);
        if verdict == Verdict::Accepted {
            self.control.log_time_us = log_time_us;
        }
        Ok(verdict)
    }

    /// Whether the record may lie here at all: right key, right partition, a type of the fold in force.
    fn check_place(&self, record: &Record, headers: &Headers) -> Result<(), Rejection> {
        let Some(log) = &self.control.log else {
            let is_here = headers.entity == Entity::Partition(self.control.partition);
            return if is_here { Ok(()) } else { Err(Rejection::Void) };
        };
        let fold = i32::try_from(self.control.fold).unwrap_or(i32::MAX);
        if !registry::allowed_in_config(fold, headers.event_type, headers.schema_id) {
            return Err(Rejection::NotInFold);
        }
        let is_here = match &headers.entity {
            Entity::Partition(number) => *number == self.control.partition,
            Entity::Namespace(_) | Entity::Token(_) | Entity::Views(_) => {
                record.key == headers.entity.routing_key()
                    && partition_for(&record.key, log.partitions) == self.control.partition
            }
            Entity::Run(_) => false,
        };
        if is_here { Ok(()) } else { Err(Rejection::WrongPartition) }
    }

    fn change(&mut self, place: Place, envelope: &Envelope, event: &ConfigEvent) -> Verdict {
        match (&envelope.entity, event) {
            (Entity::Partition(_), ConfigEvent::LogCreated(created)) => {
                self.control.log_created(place.offset, created)
            }
            (Entity::Partition(_), ConfigEvent::FoldRaised(raised)) => self.control.fold_raised(raised),
            (Entity::Namespace(name), ConfigEvent::NamespaceCreated(created)) => {
                match self.namespaces.get_mut(name) {
                    Some(namespace) => Arc::make_mut(namespace).repeat(place, envelope),
                    None => {
                        let namespace = NamespaceState::create(name, place, envelope, created);
                        self.namespaces.insert(name.clone(), Arc::new(namespace));
                        Verdict::Accepted
                    }
                }
            }
            (Entity::Token(token_id), event) => match (self.tokens.get_mut(token_id), event) {
                (Some(token), event) => Arc::make_mut(token).apply(place, envelope, event),
                (None, ConfigEvent::TokenCreated(created)) => {
                    let token = TokenState::create(*token_id, place, envelope, created);
                    self.tokens.insert(*token_id, Arc::new(token));
                    Verdict::Accepted
                }
                (None, _) => Verdict::Rejected(Rejection::TokenNotFound),
            },
            (Entity::Views(datacenter), event) => {
                let initial = || Arc::new(ViewsState::initial(datacenter.clone()));
                let views = self.views.entry(datacenter.clone()).or_insert_with(initial);
                Arc::make_mut(views).apply(place, envelope, event)
            }
            // The codec lets no event through that is about something else.
            (Entity::Partition(_) | Entity::Namespace(_) | Entity::Run(_), _) => {
                Verdict::Rejected(Rejection::Undecodable)
            }
        }
    }
}
