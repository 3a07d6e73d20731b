//! The released schemas by their ids, for ever, and which of them each fold version allows. Not the HTTP API.

use std::sync::LazyLock;

use apache_avro::Schema;

use crate::event::EventType;
use crate::topic::{Topic, TopicFamily};

/// Id of the first schema of `{prefix}.{dc}.workflow.events`.
pub const WORKFLOW_EVENT_V1: u32 = 1;

/// Id of the first schema of `{prefix}.config.changes`.
pub const CONFIG_CHANGE_V1: u32 = 2;

/// Id of the second schema of `{prefix}.{dc}.workflow.events`, which has `run-unparked`. Records of the types that the
/// first one has are still written with that: a reader of fold version 1 knows no other.
pub const WORKFLOW_EVENT_V2: u32 = 3;

/// How many event types the first schema has: the first ones of [`EventType::WORKFLOW`].
pub const WORKFLOW_TYPES_V1: usize = 23;

/// A schema that records were written with. Ids and texts never change and are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleasedSchema {
    /// The id in the Confluent framing.
    pub id: u32,
    /// The topics whose values it describes.
    pub family: TopicFamily,
    /// Its version within the family, from 1.
    pub version: u32,
    /// The Avro schema as JSON.
    pub text: &'static str,
}

/// Every released schema in the order of ids. A new one is appended, frozen in `schemas/fixtures/v<id>/`.
const RELEASED: &[ReleasedSchema] = &[
    ReleasedSchema {
        id: WORKFLOW_EVENT_V1,
        family: TopicFamily::WorkflowEvents,
        version: 1,
        text: include_str!("../fixtures/v1/schema.avsc"),
    },
    ReleasedSchema {
        id: CONFIG_CHANGE_V1,
        family: TopicFamily::ConfigChanges,
        version: 1,
        text: include_str!("../fixtures/v2/schema.avsc"),
    },
    ReleasedSchema {
        id: WORKFLOW_EVENT_V2,
        family: TopicFamily::WorkflowEvents,
        version: 2,
        text: include_str!("../fixtures/v3/schema.avsc"),
    },
];

/// The newest fold version this build knows.
const FOLD_NEWEST: u32 = 2;

/// The fold version from which on a parked run takes in what comes from outside, and `run-unparked` lets it go on.
pub const FOLD_UNPARKS: u32 = 2;

/// The newest fold version this process knows: the build's own, unless a test lets it know the next one.
pub fn fold_newest() -> u32 {
    #[cfg(any(test, feature = "test-util"))]
    if crate::testing::next_fold::is_known() {
        return NEXT_FOLD;
    }
    FOLD_NEWEST
}

/// The fold version that a build of the next release would bring.
#[cfg(any(test, feature = "test-util"))]
pub const NEXT_FOLD: u32 = FOLD_NEWEST + 1;

/// The newest fold version of `{prefix}.config.changes` this build knows; it counts apart from that of workflows.
pub const CONFIG_FOLD_NEWEST: i32 = 1;

/// Every released schema, in the order of ids.
pub const fn released() -> &'static [ReleasedSchema] {
    RELEASED
}

/// The text of the schema with this id.
pub fn schema_text(id: u32) -> Option<&'static str> {
    RELEASED.iter().find(|schema| schema.id == id).map(|schema| schema.text)
}

/// The schemas of one topic family, the newest last: the versions of its subject.
pub fn versions(family: TopicFamily) -> impl Iterator<Item = &'static ReleasedSchema> {
    RELEASED.iter().filter(move |schema| schema.family == family)
}

/// The newest schema of a topic family; none if nothing of it is released.
pub fn latest(family: TopicFamily) -> Option<&'static ReleasedSchema> {
    versions(family).last()
}

/// The lowest fold version under which records of a topic family may be written with a schema of it; 1 for those that
/// were there from the first one on.
pub const fn fold_of(schema_id: u32) -> u32 {
    if schema_id == WORKFLOW_EVENT_V2 { FOLD_UNPARKS } else { 1 }
}

/// The subject under which Confluent's clients look for a topic's value schema: `<topic>-value`.
pub fn subject(topic: &Topic) -> String {
    format!("{topic}-value")
}

/// The subjects of those of the topics that have a released schema, each with its newest one.
pub fn subjects<'a>(
    topics: impl IntoIterator<Item = (TopicFamily, &'a Topic)>,
) -> Vec<(String, &'static ReleasedSchema)> {
    topics
        .into_iter()
        .filter_map(|(family, topic)| latest(family).map(|schema| (subject(topic), schema)))
        .collect()
}

/// Whether a record of this type and schema id counts under a fold version. Any other is undecodable, also to a
/// build that knows it, so that nodes of different builds never fold differently.
pub fn allowed(fold: u32, event_type: EventType, schema_id: u32) -> bool {
    match fold {
        1 => schema_id == WORKFLOW_EVENT_V1 && in_fold_1(event_type),
        2 => match schema_id {
            WORKFLOW_EVENT_V1 => in_fold_1(event_type),
            // A producer may write with the newest schema whatever it describes.
            WORKFLOW_EVENT_V2 => in_fold_2(event_type),
            _ => false,
        },
        #[cfg(any(test, feature = "test-util"))]
        NEXT_FOLD => crate::testing::next_fold::allowed(event_type, schema_id),
        _ => false,
    }
}

/// Written out, so that a new event type must be placed by whoever adds it.
const fn in_fold_1(event_type: EventType) -> bool {
    match event_type {
        EventType::LogCreated
        | EventType::PartitionClaimed
        | EventType::FoldRaised
        | EventType::OutboxTrimmed
        | EventType::RunStarted
        | EventType::RunSignaled
        | EventType::RunCancelRequested
        | EventType::RunTerminated
        | EventType::RunResumed
        | EventType::StepCompleted
        | EventType::StepFailed
        | EventType::TimerStarted
        | EventType::TimerFired
        | EventType::SignalAwaited
        | EventType::SignalReceived
        | EventType::RunStateChanged
        | EventType::RunTagged
        | EventType::SignalSent
        | EventType::RunCancelling
        | EventType::RunCompleted
        | EventType::RunFailed
        | EventType::RunCancelled
        | EventType::RunDiverged => true,
        EventType::RunUnparked
        | EventType::NamespaceCreated
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
        | EventType::ViewsMended => false,
    }
}

/// What the second schema has beside the first one.
const fn in_fold_2(event_type: EventType) -> bool {
    matches!(event_type, EventType::RunUnparked) || in_fold_1(event_type)
}

/// The schema that records of this type are written with: the first one that has it, so that they count under every
/// fold version that does.
pub const fn written_with(event_type: EventType) -> u32 {
    if matches!(event_type, EventType::RunUnparked) { WORKFLOW_EVENT_V2 } else { WORKFLOW_EVENT_V1 }
}

/// As [`allowed`], for `{prefix}.config.changes`.
pub const fn allowed_in_config(fold: i32, event_type: EventType, schema_id: u32) -> bool {
    match fold {
        1 => schema_id == CONFIG_CHANGE_V1 && in_config_fold_1(event_type),
        _ => false,
    }
}

/// Written out, so that a new event type must be placed by whoever adds it.
const fn in_config_fold_1(event_type: EventType) -> bool {
    match event_type {
        EventType::LogCreated
        | EventType::FoldRaised
        | EventType::NamespaceCreated
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
        | EventType::ViewsMended => true,
        EventType::PartitionClaimed
        | EventType::OutboxTrimmed
        | EventType::RunStarted
        | EventType::RunSignaled
        | EventType::RunCancelRequested
        | EventType::RunTerminated
        | EventType::RunResumed
        | EventType::StepCompleted
        | EventType::StepFailed
        | EventType::TimerStarted
        | EventType::TimerFired
        | EventType::SignalAwaited
        | EventType::SignalReceived
        | EventType::RunStateChanged
        | EventType::RunTagged
        | EventType::SignalSent
        | EventType::RunCancelling
        | EventType::RunCompleted
        | EventType::RunFailed
        | EventType::RunCancelled
        | EventType::RunDiverged
        | EventType::RunUnparked => false,
    }
}

static PARSED: LazyLock<Vec<Option<Schema>>> =
    LazyLock::new(|| RELEASED.iter().map(|schema| Schema::parse_str(schema.text).ok()).collect());

/// The schema with this id, parsed once.
pub(crate) fn schema(id: u32) -> Option<&'static Schema> {
    let index = RELEASED.iter().position(|schema| schema.id == id)?;
    PARSED.get(index)?.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn every_released_schema_parses_and_has_its_own_rising_id() {
        for (index, released) in RELEASED.iter().enumerate() {
            assert!(schema(released.id).is_some(), "schema {} does not parse", released.id);
            assert!(index == 0 || RELEASED[index - 1].id < released.id);
        }
        assert_eq!(schema_text(0), None);
    }

    #[test]
    fn subjects_are_named_as_confluent_clients_expect() {
        let (prefix, datacenter) = (Name::new("tidewheel").unwrap(), Name::new("dc1").unwrap());
        let topic = TopicFamily::WorkflowEvents.topic(&prefix, &datacenter);
        let unreleased = TopicFamily::RunnerSignals.topic(&prefix, &datacenter);
        let subjects =
            subjects([(TopicFamily::WorkflowEvents, &topic), (TopicFamily::RunnerSignals, &unreleased)]);
        assert_eq!(subjects.len(), 1);
        assert_eq!(subjects[0].0, "tidewheel.dc1.workflow.events-value");
        assert_eq!((subjects[0].1.id, subjects[0].1.version), (3, 2));
    }

    #[test]
    fn each_fold_version_allows_the_types_of_its_schemas_and_no_other_version_is_known() {
        for event_type in EventType::ALL {
            let is_later = *event_type == EventType::RunUnparked;
            let is_of_workflows = EventType::WORKFLOW.contains(event_type);
            for fold in [1, 2] {
                assert_eq!(allowed(fold, *event_type, 1), is_of_workflows && !is_later);
                assert_eq!(allowed(fold, *event_type, 3), is_of_workflows && fold == 2);
                assert!(!allowed(fold, *event_type, 2));
            }
            for schema_id in [1, 2, 3] {
                assert!(!allowed(0, *event_type, schema_id));
                assert!(!allowed(3, *event_type, schema_id));
            }
            assert_eq!(written_with(*event_type), if is_later { 3 } else { 1 });
        }
    }

    #[test]
    fn the_configuration_folds_its_own_types_of_its_own_schema() {
        for event_type in EventType::ALL {
            let is_of_config = crate::ConfigEvent::TYPES.contains(event_type);
            assert_eq!(allowed_in_config(1, *event_type, 2), is_of_config);
            assert!(!allowed_in_config(1, *event_type, 1));
            assert!(!allowed_in_config(2, *event_type, 2));
        }
    }
}
