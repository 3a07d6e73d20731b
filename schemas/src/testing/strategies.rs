//! Proptest strategies for every type of the contract; all they give can be encoded.

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

use crate::event::*;
use crate::limit::{PAYLOAD_BYTES_MAX, TAGS_MAX};
use crate::payload::ContentType;
use crate::{
    Author, Entity, EventId, Failure, Headers, LogId, Name, OutboxName, Payload, Position, RunId, TokenHash,
    TokenId, TopicFamily,
};

/// Any event id.
pub fn any_event_id() -> impl Strategy<Value = EventId> {
    any::<[u8; 16]>().prop_map(EventId::from_bytes)
}

/// Any log id.
pub fn any_log_id() -> impl Strategy<Value = LogId> {
    any::<[u8; 16]>().prop_map(LogId::from_bytes)
}

/// Any run id.
pub fn any_run_id() -> impl Strategy<Value = RunId> {
    any::<[u8; 16]>().prop_map(RunId::from_bytes)
}

/// Any name, mostly short.
pub fn any_name() -> impl Strategy<Value = Name> {
    prop_oneof![9 => "[a-zA-Z0-9._-]{1,12}", 1 => "[a-zA-Z0-9._-]{100,128}"]
        .prop_filter_map("a name", |text| Name::new(&text).ok())
}

/// Any location: mostly one coordinate, sometimes nested, sometimes with large numbers.
pub fn any_location() -> impl Strategy<Value = Location> {
    let coordinate = prop_oneof![8 => 1..30_u32, 1 => 1..=u32::MAX, 1 => Just(u32::MAX)];
    vec(coordinate, 1..6).prop_map(|coordinates| Location(coordinates.into()))
}

/// Any payload, mostly small JSON, sometimes binary of another type, rarely large.
pub fn any_payload() -> impl Strategy<Value = Payload> {
    let content_type = prop_oneof![
        4 => Just(ContentType::json()),
        1 => "[a-z]{1,10}/[a-z+.]{1,20}".prop_map(|text| ContentType::new(&text)),
    ];
    let data = prop_oneof![
        8 => vec(any::<u8>(), 0..40),
        3 => vec(any::<u8>(), 1000..1100),
        1 => (0..=PAYLOAD_BYTES_MAX, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ];
    (content_type, data).prop_map(|(content_type, data)| Payload { content_type, data: data.into() })
}

/// Any failure.
pub fn any_failure() -> impl Strategy<Value = Failure> {
    ("[a-z-]{1,12}", ".{0,60}").prop_map(|(code, message)| Failure { code, message })
}

/// Any tags within the limits.
pub fn any_tags() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    btree_map("\\PC{1,12}", "\\PC{0,12}", 0..=TAGS_MAX)
}

/// Any entity.
pub fn any_entity() -> impl Strategy<Value = Entity> {
    prop_oneof![
        any::<u32>().prop_map(Entity::Partition),
        any_run_id().prop_map(Entity::Run),
        any_name().prop_map(Entity::Namespace),
        any_token_id().prop_map(Entity::Token),
        any_name().prop_map(Entity::Views),
    ]
}

/// Any token id.
pub fn any_token_id() -> impl Strategy<Value = TokenId> {
    any::<[u8; 16]>().prop_map(TokenId::from_bytes)
}

/// Any hash of a token's secret.
pub fn any_token_hash() -> impl Strategy<Value = TokenHash> {
    any::<[u8; 32]>().prop_map(TokenHash::from_bytes)
}

/// Any name of an outbox entry that a record can hold.
pub fn any_outbox_name() -> impl Strategy<Value = OutboxName> {
    (any::<i64>(), 0..=i32::MAX.cast_unsigned()).prop_map(|(offset, index)| OutboxName { offset, index })
}

/// Any author that a record can hold.
pub fn any_author() -> impl Strategy<Value = Author> {
    let number = || prop_oneof![0..200_u64, 0..=i64::MAX.cast_unsigned()];
    prop_oneof![
        ".{0,20}".prop_map(|principal| Author::Ingest { principal: principal.into() }),
        (any::<i64>(), number(), number(), any::<bool>())
            .prop_map(|(claim, seq, seen, idle)| Author::Engine { claim, seq, seen, idle }),
        (any_log_id(), 0..=i32::MAX.cast_unsigned(), any_outbox_name(), of(any_outbox_name())).prop_map(
            |(source, partition, name, predecessor)| Author::Outbox { source, partition, name, predecessor }
        ),
        ".{0,20}".prop_map(|process| Author::Candidate { process: process.into() }),
    ]
}

/// Any event of this type, which is one of workflows.
///
/// # Panics
/// For a type that is not.
pub fn any_event_of(event_type: EventType) -> BoxedStrategy<Event> {
    let text = || ".{0,30}";
    match event_type {
        EventType::LogCreated => (any_log_id(), any::<i64>(), any::<i32>(), any::<i32>())
            .prop_map(|(log_id, epoch_us, partitions, fold)| {
                LogCreated { log_id, epoch_us, partitions, fold }.into()
            })
            .boxed(),
        EventType::PartitionClaimed => {
            of(any::<i64>()).prop_map(|replaces| PartitionClaimed { replaces }.into()).boxed()
        }
        EventType::FoldRaised => any::<i32>().prop_map(|fold| FoldRaised { fold }.into()).boxed(),
        EventType::OutboxTrimmed => (any::<i64>(), any::<i32>())
            .prop_map(|(offset, index)| OutboxTrimmed { offset, index }.into())
            .boxed(),
        EventType::RunStarted => (any_name(), of(text()), any_payload(), any_tags())
            .prop_map(|(workflow, key, input, tags)| RunStarted { workflow, key, input, tags }.into())
            .boxed(),
        EventType::RunSignaled => (any_name(), any_payload())
            .prop_map(|(name, payload)| RunSignaled { name, payload }.into())
            .boxed(),
        EventType::RunCancelRequested => {
            text().prop_map(|reason| RunCancelRequested { reason }.into()).boxed()
        }
        EventType::RunTerminated => text().prop_map(|reason| RunTerminated { reason }.into()).boxed(),
        EventType::RunResumed => Just(RunResumed {}.into()).boxed(),
        EventType::StepCompleted => (any_location(), any_name(), any::<i32>(), any_payload())
            .prop_map(|(location, name, attempt, output)| {
                StepCompleted { location, name, attempt, output }.into()
            })
            .boxed(),
        EventType::StepFailed => (any_location(), any_name(), any::<i32>(), any_failure(), of(any::<i64>()))
            .prop_map(|(location, name, attempt, failure, retry_at_us)| {
                StepFailed { location, name, attempt, failure, retry_at_us }.into()
            })
            .boxed(),
        EventType::TimerStarted => (any_location(), any::<i64>())
            .prop_map(|(location, due_us)| TimerStarted { location, due_us }.into())
            .boxed(),
        EventType::TimerFired => any_location().prop_map(|location| TimerFired { location }.into()).boxed(),
        EventType::SignalAwaited => (any_location(), any_name(), of(any::<i64>()))
            .prop_map(|(location, name, due_us)| SignalAwaited { location, name, due_us }.into())
            .boxed(),
        EventType::SignalReceived => (any_location(), any_name(), vec(any::<i64>(), 0..5))
            .prop_map(|(location, name, signals)| SignalReceived { location, name, signals }.into())
            .boxed(),
        EventType::RunStateChanged => (any_location(), any_payload())
            .prop_map(|(location, state)| RunStateChanged { location, state }.into())
            .boxed(),
        EventType::RunTagged => (any_location(), any_tags())
            .prop_map(|(location, tags)| RunTagged { location, tags }.into())
            .boxed(),
        EventType::SignalSent => (any_location(), any_run_id(), any_name(), any_payload())
            .prop_map(|(location, target, name, payload)| {
                SignalSent { location, target, name, payload }.into()
            })
            .boxed(),
        EventType::RunCancelling => {
            vec(any_location(), 0..5).prop_map(|locations| RunCancelling { locations }.into()).boxed()
        }
        EventType::RunCompleted => any_payload().prop_map(|output| RunCompleted { output }.into()).boxed(),
        EventType::RunFailed => any_failure().prop_map(|failure| RunFailed { failure }.into()).boxed(),
        EventType::RunCancelled => text().prop_map(|reason| RunCancelled { reason }.into()).boxed(),
        EventType::RunDiverged => (any_location(), text(), text())
            .prop_map(|(location, expected, found)| RunDiverged { location, expected, found }.into())
            .boxed(),
        EventType::RunUnparked => {
            (any::<i64>(), text()).prop_map(|(offset, reason)| RunUnparked { offset, reason }.into()).boxed()
        }
        EventType::NamespaceCreated
        | EventType::TokenCreated
        | EventType::TokenRotated
        | EventType::TokenRevoked
        | EventType::ReplayStarted
        | EventType::ReplayPaused
        | EventType::ReplayResumed
        | EventType::ReplayRateChanged
        | EventType::ReplayCancelled
        | EventType::ReplayProgressed
        | EventType::ReplayFinished
        | EventType::GenerationActivated
        | EventType::GenerationDropped
        | EventType::ViewsMended => panic!("{event_type} is no event of a workflow"),
    }
}

/// Any event of the configuration.
pub fn any_config_event() -> impl Strategy<Value = ConfigEvent> {
    prop_oneof![
        (any_log_id(), any::<i64>(), any::<i32>(), any::<i32>()).prop_map(
            |(log_id, epoch_us, partitions, fold)| LogCreated { log_id, epoch_us, partitions, fold }.into()
        ),
        any::<i32>().prop_map(|fold| FoldRaised { fold }.into()),
        any_name().prop_map(|home| NamespaceCreated { home }.into()),
        (any_name(), any_token_hash(), vec(any_name(), 0..5), of(vec(any_name(), 0..4))).prop_map(
            |(name, hash, roles, namespaces)| TokenCreated { name, hash, roles, namespaces }.into()
        ),
        (any_token_hash(), any::<i64>(), of(any::<i64>())).prop_map(
            |(hash, previous_until_us, expected_version)| {
                TokenRotated { hash, previous_until_us, expected_version }.into()
            }
        ),
        ".{0,30}".prop_map(|reason| TokenRevoked { reason }.into()),
        any_views_event(),
    ]
}

/// Any event about views.
fn any_views_event() -> impl Strategy<Value = ConfigEvent> {
    let started =
        (any::<(i32, i32, bool)>(), ".{0,12}", any_scope(), vec(any::<i64>(), 0..5), of(any::<i64>()));
    prop_oneof![
        started.prop_map(|((replay, generation, activates), kind, scope, ends, records_per_second)| {
            ReplayStarted { replay, kind, generation, scope, ends, records_per_second, activates }.into()
        }),
        any::<i32>().prop_map(|replay| ReplayPaused { replay }.into()),
        any::<i32>().prop_map(|replay| ReplayResumed { replay }.into()),
        (any::<i32>(), of(any::<i64>())).prop_map(|(replay, records_per_second)| {
            ReplayRateChanged { replay, records_per_second }.into()
        }),
        (any::<i32>(), ".{0,30}").prop_map(|(replay, reason)| ReplayCancelled { replay, reason }.into()),
        any::<(i32, i32, i64, i64)>().prop_map(|(replay, partition, done, rows)| {
            ReplayProgressed { replay, partition, done, rows }.into()
        }),
        any::<i32>().prop_map(|replay| ReplayFinished { replay }.into()),
        any::<(i32, i32, i64, i64)>().prop_map(|(generation, replaces, lag, compared_rows)| {
            GenerationActivated { generation, replaces, lag, compared_rows }.into()
        }),
        any::<i32>().prop_map(|generation| GenerationDropped { generation }.into()),
        any::<(i32, i32)>().prop_map(|(generation, number)| ViewsMended { generation, number }.into()),
    ]
}

/// Any scope of a replay.
fn any_scope() -> impl Strategy<Value = ReplayScope> {
    let lists =
        (vec(any::<i32>(), 0..4), vec(any_run_id(), 0..3), vec(any_name(), 0..3), vec(".{0,12}", 0..3));
    let window = (of(any::<i64>()), of(any::<i64>()), of(any::<i64>()), of(any::<i64>()));
    (lists, window).prop_map(
        |((partitions, runs, namespaces, event_types), (from_offset, until_offset, from_us, until_us))| {
            ReplayScope {
                partitions,
                runs,
                namespaces,
                event_types,
                from_offset,
                until_offset,
                from_us,
                until_us,
            }
        },
    )
}

/// Any event of the configuration with an envelope that fits it: what `encode_config` accepts.
pub fn any_config_envelope_and_event() -> impl Strategy<Value = (Envelope, ConfigEvent)> {
    (any_config_event(), any_envelope_of(EventType::LogCreated), any_name(), any_token_id()).prop_map(
        |(event, mut envelope, name, token_id)| {
            envelope.entity = match &event {
                ConfigEvent::LogCreated(_) | ConfigEvent::FoldRaised(_) => envelope.entity,
                ConfigEvent::NamespaceCreated(_) => Entity::Namespace(name),
                ConfigEvent::TokenCreated(_)
                | ConfigEvent::TokenRotated(_)
                | ConfigEvent::TokenRevoked(_) => Entity::Token(token_id),
                ConfigEvent::ReplayStarted(_)
                | ConfigEvent::ReplayPaused(_)
                | ConfigEvent::ReplayResumed(_)
                | ConfigEvent::ReplayRateChanged(_)
                | ConfigEvent::ReplayCancelled(_)
                | ConfigEvent::ReplayProgressed(_)
                | ConfigEvent::ReplayFinished(_)
                | ConfigEvent::GenerationActivated(_)
                | ConfigEvent::GenerationDropped(_)
                | ConfigEvent::ViewsMended(_) => Entity::Views(name),
            };
            (envelope, event)
        },
    )
}

/// Any event type.
pub fn any_event_type() -> impl Strategy<Value = EventType> {
    proptest::sample::select(EventType::ALL)
}

/// Any type of a workflow's event.
pub fn any_workflow_event_type() -> impl Strategy<Value = EventType> {
    proptest::sample::select(EventType::WORKFLOW)
}

/// Any event.
pub fn any_event() -> impl Strategy<Value = Event> {
    any_workflow_event_type().prop_flat_map(any_event_of)
}

/// Any envelope that events of this type may have.
pub fn any_envelope_of(event_type: EventType) -> BoxedStrategy<Envelope> {
    let entity = if event_type.is_control() {
        any::<u32>().prop_map(Entity::Partition).boxed()
    } else {
        any_run_id().prop_map(Entity::Run).boxed()
    };
    let rest = (of(any_name()), any::<i64>(), of(any_event_id()), of(".{0,55}"), any_author());
    (any_event_id(), entity, rest)
        .prop_map(|(event_id, entity, (namespace, recorded_at_us, cause, traceparent, author))| Envelope {
            event_id,
            entity,
            namespace,
            recorded_at_us,
            cause,
            traceparent,
            author,
        })
        .boxed()
}

/// Any event with an envelope that fits it: what `encode` accepts.
pub fn any_envelope_and_event() -> impl Strategy<Value = (Envelope, Event)> {
    any_workflow_event_type()
        .prop_flat_map(|event_type| (any_envelope_of(event_type), any_event_of(event_type)))
}

/// Any headers.
pub fn any_headers() -> impl Strategy<Value = Headers> {
    (any_event_type(), any_entity(), any_event_id(), any::<i64>(), any::<u32>(), any_author()).prop_map(
        |(event_type, entity, event_id, recorded_at_us, schema_id, author)| Headers {
            event_type,
            entity,
            event_id,
            recorded_at_us,
            schema_id,
            author,
        },
    )
}

/// Any position.
pub fn any_position() -> impl Strategy<Value = Position> {
    let family = proptest::sample::select(vec![
        TopicFamily::WorkflowEvents,
        TopicFamily::RunnerSignals,
        TopicFamily::ConfigChanges,
    ]);
    (any_log_id(), family, any::<u16>(), any::<u32>(), 0..=i64::MAX).prop_map(
        |(log_id, family, datacenter, partition, offset)| Position {
            log_id,
            family,
            datacenter,
            partition,
            offset,
        },
    )
}
