//! Topic families and names: `{prefix}.{dc}.workflow.events` and its siblings.

use std::fmt;
use std::sync::Arc;

use crate::name::Name;

/// The kinds of topic. Numbers are persisted in positions and embedded logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TopicFamily {
    /// `{prefix}.{dc}.workflow.events`
    WorkflowEvents = 1,
    /// `{prefix}.{dc}.runner.signals`
    RunnerSignals = 2,
    /// `{prefix}.config.changes`
    ConfigChanges = 3,
}

impl TopicFamily {
    /// The family with this persisted number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::WorkflowEvents),
            2 => Some(Self::RunnerSignals),
            3 => Some(Self::ConfigChanges),
            _ => None,
        }
    }

    /// The full topic name under `prefix`, in the datacenter `datacenter` where the family has one.
    pub fn topic(self, prefix: &Name, datacenter: &Name) -> Topic {
        let name = match self {
            Self::WorkflowEvents => format!("{prefix}.{datacenter}.workflow.events"),
            Self::RunnerSignals => format!("{prefix}.{datacenter}.runner.signals"),
            Self::ConfigChanges => format!("{prefix}.config.changes"),
        };
        Topic(name.into())
    }
}

/// A topic's full name. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Wraps a full topic name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Topic,
    /// The partition's number, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Names partition `partition` of `topic`.
    pub const fn new(topic: Topic, partition: u32) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}[{}]", self.topic, self.partition)
    }
}
