//! Records of the configuration, made by hand.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidewheel_engine::config::ConfigFold;
use tidewheel_schemas::event::LogCreated;
use tidewheel_schemas::testing::{any_author, any_config_envelope_and_event, any_headers};
use tidewheel_schemas::{
    Author, ConfigEvent, Entity, Envelope, EventId, LogId, Name, Record, RecordHeaders, TokenHash, TokenId,
    encode_config,
};

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub fn event_id(number: u8) -> EventId {
    EventId::random([number; 16])
}

pub fn token_id(number: u8) -> TokenId {
    TokenId::random([number; 16])
}

pub fn hash(number: u8) -> TokenHash {
    TokenHash::from_bytes([number; 32])
}

pub fn ingest(principal: &str) -> Author {
    Author::Ingest { principal: principal.into() }
}

/// A log of the configuration of so many partitions.
pub struct World {
    pub partitions: i32,
}

impl World {
    pub const fn new(partitions: i32) -> Self {
        Self { partitions }
    }

    pub fn record(
        &self,
        offset: i64,
        event_id: EventId,
        entity: Entity,
        author: Author,
        event: &ConfigEvent,
    ) -> Record {
        let envelope = Envelope {
            event_id,
            entity,
            namespace: None,
            // A record repeated elsewhere is the same record.
            recorded_at_us: 1_700_000_000_000_000 + i64::from(event_id.as_bytes()[0]),
            cause: None,
            traceparent: None,
            author,
        };
        let record = encode_config(&envelope, event).expect("a record");
        Record { offset, key: record.key, headers: record.headers, value: record.value }
    }

    pub fn created(&self, partition: u32) -> Record {
        let created =
            LogCreated { log_id: LogId::random([7; 16]), epoch_us: 1, partitions: self.partitions, fold: 1 };
        let author = Author::Candidate { process: "test".into() };
        self.record(0, event_id(255), Entity::Partition(partition), author, &created.into())
    }

    /// A fold that has read the first record.
    pub fn begun(&self, partition: u32) -> ConfigFold {
        let mut fold = ConfigFold::new(partition);
        fold.apply(&self.created(partition)).expect("the first record");
        fold
    }
}

/// What readers see of a configuration, without when it was last looked at.
#[derive(Debug, PartialEq)]
pub struct Shown {
    pub namespaces: BTreeMap<Name, u64>,
    pub tokens: BTreeMap<TokenId, (TokenHash, Option<TokenHash>, bool, u64)>,
}

impl Shown {
    pub fn of(fold: &ConfigFold) -> Self {
        let namespaces =
            fold.namespaces().iter().map(|(name, state)| (name.clone(), state.version)).collect();
        let shown = fold.tokens().iter().map(|(token_id, token)| {
            let previous = token.previous.map(|previous| previous.hash);
            (*token_id, (token.hash, previous, token.is_revoked(), token.version))
        });
        Self { namespaces, tokens: shown.collect() }
    }
}

/// Any record: a good one by any author, one whose headers are another's, or garbage.
pub fn any_record() -> impl Strategy<Value = Record> {
    let good = (any_config_envelope_and_event(), any_author(), any::<bool>()).prop_map(
        |((mut envelope, event), author, is_ingest)| {
            envelope.author = if is_ingest { ingest("a") } else { author };
            encode_config(&envelope, &event).expect("a record")
        },
    );
    prop_oneof![
        6 => good.prop_map(|new| Record { offset: 0, key: new.key, headers: new.headers, value: new.value }),
        1 => (any_headers(), any::<Vec<u8>>()).prop_map(|(headers, value)| Record {
            offset: 0,
            key: headers.entity.routing_key(),
            headers: RecordHeaders::Known(headers),
            value: value.into(),
        }),
        1 => any::<Vec<u8>>().prop_map(|value| Record {
            offset: 0,
            key: bytes::Bytes::new(),
            headers: RecordHeaders::Foreign("garbage".to_owned()),
            value: value.into(),
        }),
    ]
}

pub fn is_of_engine(record: &Record) -> bool {
    matches!(
        &record.headers,
        RecordHeaders::Known(headers)
            if matches!(headers.author, Author::Engine { .. } | Author::Outbox { .. })
    )
}
