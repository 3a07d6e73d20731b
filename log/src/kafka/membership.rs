//! Which partitions a process is to work on: the place of one member in a consumer group. The group carries no data
//! and its offsets mean nothing; it only suggests, claims in the log decide (DESIGN §5).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tidewheel_schemas::Topic;
use tokio::sync::watch;

use super::KafkaLogOptions;
use crate::LogError;

/// How long the group's thread waits for news before it looks whether it is to end.
const POLL: Duration = Duration::from_millis(100);

/// What a member of a group is told.
#[derive(Debug, Clone)]
pub struct MembershipOptions {
    /// The group.
    pub group: String,
    /// The topic whose partitions the group shares.
    pub topic: Topic,
    /// A name under which this member comes back: within its session it keeps its partitions then.
    pub instance: Option<String>,
    /// How long a silent member keeps its partitions.
    pub session_timeout: Duration,
}

/// A place in a group, given up when dropped.
#[derive(Debug)]
pub struct KafkaMembership {
    suggested: watch::Receiver<BTreeSet<u32>>,
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl KafkaMembership {
    /// Joins the group on a thread of its own, and goes on joining while the brokers are away.
    ///
    /// # Errors
    /// When the options do not fit together.
    pub fn join(options: &KafkaLogOptions, membership: &MembershipOptions) -> Result<Self, LogError> {
        let cluster = options.topic_clusters.get(&membership.topic).unwrap_or(&options.cluster);
        let mut config = options.client(cluster);
        config.set("group.id", &membership.group);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        // Those that stay keep their partitions while others come and go.
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", membership.session_timeout.as_millis().to_string());
        let heartbeat = (membership.session_timeout / 6).max(Duration::from_millis(500));
        config.set("heartbeat.interval.ms", heartbeat.as_millis().to_string());
        if let Some(instance) = &membership.instance {
            config.set("group.instance.id", instance);
        }
        let (sender, suggested) = watch::channel(BTreeSet::new());
        let context = Context { topic: membership.topic.clone(), group: membership.group.clone(), sender };
        let consumer: BaseConsumer<Context> = config
            .create_with_context(context)
            .map_err(|error| LogError::Options(format!("the group {}: {error}", membership.group)))?;
        consumer
            .subscribe(&[membership.topic.as_str()])
            .map_err(|error| LogError::Options(format!("the group {}: {error}", membership.group)))?;
        let leaving = Arc::new(AtomicBool::new(false));
        let (is_leaving, group) = (Arc::clone(&leaving), membership.group.clone());
        let thread = std::thread::Builder::new()
            .name("membership".to_owned())
            .spawn(move || {
                while !is_leaving.load(Ordering::Acquire) {
                    match consumer.poll(POLL) {
                        // Its partitions are paused, so that nothing comes but errors.
                        None | Some(Ok(_)) => {}
                        Some(Err(error)) => tracing::debug!(group, %error, "the group is not well"),
                    }
                }
                // Closing tells the group that a dynamic member goes; a static one is waited for.
                drop(consumer);
            })
            .map_err(|error| {
                LogError::Failed(format!("no thread for the group {}: {error}", membership.group))
            })?;
        Ok(Self { suggested, leaving, thread: Some(thread) })
    }

    /// The client ids of a group's members now; none where there is no such group, or where this process may not be
    /// told of it. Blocks.
    ///
    /// # Errors
    /// When the options do not fit, or the brokers do not answer.
    pub fn members(options: &KafkaLogOptions, topic: &Topic, group: &str) -> Result<Vec<String>, LogError> {
        let cluster = options.topic_clusters.get(topic).unwrap_or(&options.cluster);
        let consumer: BaseConsumer = options
            .client(cluster)
            .create()
            .map_err(|error| LogError::Options(format!("the group {group}: {error}")))?;
        let groups = consumer.fetch_group_list(Some(group), options.request_timeout).map_err(|error| {
            LogError::Unreachable {
                what: format!("looking who is a member of the group {group}"),
                brokers: cluster.brokers.clone(),
                cause: error.to_string(),
            }
        })?;
        let members = groups.groups().iter().filter(|found| found.name() == group);
        Ok(members.flat_map(|found| found.members()).map(|member| member.client_id().to_owned()).collect())
    }

    /// The partitions suggested to this member, as they stand now and change.
    pub fn suggested(&self) -> watch::Receiver<BTreeSet<u32>> {
        self.suggested.clone()
    }
}

impl Drop for KafkaMembership {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing to tell.
            let _ = thread.join();
        }
    }
}

/// Hears what the group says.
struct Context {
    topic: Topic,
    group: String,
    sender: watch::Sender<BTreeSet<u32>>,
}

impl Context {
    fn of_topic(&self, list: &TopicPartitionList) -> Vec<u32> {
        list.elements()
            .iter()
            .filter(|element| element.topic() == self.topic.as_str())
            .filter_map(|element| u32::try_from(element.partition()).ok())
            .collect()
    }
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let is_incremental = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let partitions = self.of_topic(list);
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.sender.send_if_modified(|suggested| {
                let before = suggested.len();
                suggested.extend(partitions.iter().copied());
                suggested.len() != before
            });
            // From the end, and paused: no record is ever read through the group.
            list.set_all_offsets(Offset::End)
                .and_then(|()| {
                    if is_incremental { consumer.incremental_assign(list) } else { consumer.assign(list) }
                })
                .and_then(|()| consumer.pause(list))
        } else {
            // Taken away, or nobody knows: without a suggestion a process leads nothing new.
            self.sender.send_if_modified(|suggested| {
                let before = suggested.len();
                suggested.retain(|partition| !partitions.contains(partition));
                suggested.len() != before
            });
            if is_incremental { consumer.incremental_unassign(list) } else { consumer.unassign() }
        };
        let code = RDKafkaErrorCode::from(event);
        tracing::info!(group = self.group, ?partitions, %code, "the group suggests other partitions");
        if let Err(error) = done {
            tracing::warn!(group = self.group, %error, "the group's suggestion could not be taken up");
        }
    }
}
