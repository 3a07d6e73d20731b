//! What the brokers of a configuration are like, and what they let this process do.

use futures::future::{join, join_all};
use tidewheel_log::kafka::{KafkaInspector, KafkaLogOptions};
use tidewheel_log::topic_rules::{TopicSettings, settings_of_a_new_topic, violations};
use tidewheel_log::{EventLog as _, LogError};
use tidewheel_schemas::{Name, RecordHeaders, Topic, TopicFamily, TopicPartition};

use super::super::cluster::{FOLLOWERS, OWNERS, PROJECTORS, group_name, kafka_options};
use super::script;
use crate::check::{self, Finding};
use crate::config::{Config, Role};

/// Looks at them.
pub(super) async fn inspect(config: &Config) -> Vec<Finding> {
    let (own, others) = join(own(config), join_all(others(config))).await;
    own.into_iter().chain(others).collect()
}

/// What is needed of a topic.
struct Wanted {
    topic: Topic,
    /// How many partitions it must have; `None` if any number will do.
    partitions: Option<u32>,
    /// Where it lives.
    brokers: String,
    options: KafkaLogOptions,
}

async fn own(config: &Config) -> Vec<Finding> {
    let options = match kafka_options(config) {
        Ok(options) => options,
        Err(error) => return vec![Finding::error("configuration", error)],
    };
    let events = TopicFamily::WorkflowEvents.topic(&config.prefix, &config.datacenter);
    let changes = TopicFamily::ConfigChanges.topic(&config.prefix, &config.datacenter);
    let mut home = options.clone();
    if let Some(cluster) = options.topic_clusters.get(&changes) {
        home.cluster = cluster.clone();
    }
    let wanted = [
        Wanted {
            topic: events,
            partitions: Some(config.partitions),
            brokers: options.cluster.brokers.clone(),
            options,
        },
        Wanted { topic: changes, partitions: None, brokers: home.cluster.brokers.clone(), options: home },
    ];
    let looks = wanted.iter().enumerate().map(|(index, wanted)| look(config, wanted, index == 0));
    let mut findings: Vec<Finding> = Vec::new();
    for finding in join_all(looks).await.into_iter().flatten() {
        // Both topics may live with the same brokers, which are told of once.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// Looks at a topic, its brokers and, for the topic that is worked on, the groups that share it out.
async fn look(config: &Config, wanted: &Wanted, has_groups: bool) -> Vec<Finding> {
    let brokers = format!("brokers {}", wanted.brokers);
    let inspector = match KafkaInspector::open(wanted.options.clone()) {
        Ok(inspector) => inspector,
        Err(error) => return vec![Finding::error(brokers, error)],
    };
    let subject = format!("topic {}", wanted.topic);
    let settings = match inspector.settings(&wanted.topic).await {
        Ok(settings) => settings,
        Err(error @ (LogError::Unreachable { .. } | LogError::Credentials { .. })) => {
            return vec![Finding::error(brokers, error)];
        }
        Err(error) => {
            let grant = script::access(config, &wanted.brokers, &wanted.topic, has_groups);
            return vec![
                Finding::ok(brokers, "they answer"),
                with_command(Finding::error(subject, error), grant.into_iter().next()),
            ];
        }
    };
    let mut findings = vec![Finding::ok(brokers, "they answer and accept this process")];
    let Some(settings) = settings else {
        findings.extend(missing(config, wanted, &inspector, subject).await);
        if has_groups {
            findings.extend(groups(config, wanted, &inspector).await);
        }
        return findings;
    };
    findings.extend(rules(wanted, &settings, subject));
    let place = TopicPartition::new(wanted.topic.clone(), 0);
    let limit = settings.values.get("max.message.bytes").and_then(|text| text.parse().ok()).unwrap_or(-1);
    let (reads, writes) = join(inspector.may_read(&place), inspector.may_write(&place, limit)).await;
    let user = format!("permissions on {}", wanted.topic);
    let mut grants = script::access(config, &wanted.brokers, &wanted.topic, has_groups).into_iter();
    findings.push(match (reads, writes) {
        (Ok(()), Ok(true)) => Finding::ok(user, "this user may describe, read and write it"),
        (Ok(()), Ok(false)) => Finding::warning(
            user,
            "this user may describe and read it; its record limit is too large to find out whether it may write",
        ),
        (Err(error), _) | (Ok(()), Err(error)) => with_command(Finding::error(user, error), grants.next()),
    });
    if has_groups {
        findings.extend(groups(config, wanted, &inspector).await);
    }
    findings.extend(last_records(&inspector, &wanted.topic, settings.partitions).await);
    findings
}

fn with_command(finding: Finding, command: Option<String>) -> Finding {
    match command {
        Some(command) => finding.run(command),
        None => finding,
    }
}

/// A topic that is not there: whether the first process would be able to make it.
async fn missing(
    config: &Config,
    wanted: &Wanted,
    inspector: &KafkaInspector,
    subject: String,
) -> Vec<Finding> {
    let partitions = wanted.partitions.unwrap_or(1);
    let create = script::create_topic(config, &wanted.brokers, &wanted.topic, partitions);
    let replicas = wanted.options.replication_factor;
    let planned = TopicSettings {
        partitions,
        replication_factor: replicas,
        values: settings_of_a_new_topic(replicas)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    };
    let broken = violations(&wanted.topic, &planned, &wanted.options.overrides);
    if !broken.is_empty() {
        return broken.into_iter().map(|violation| Finding::error(subject.clone(), violation)).collect();
    }
    vec![match inspector.may_create(&wanted.topic, partitions).await {
        Ok(()) => Finding::warning(
            subject,
            format!("not there yet; the first process creates it with {partitions} partitions, which this user may"),
        )
        .run(create),
        Err(error) => Finding::error(subject, format!("not there, and {error}")).run(create),
    }]
}

/// What a topic's settings break.
fn rules(wanted: &Wanted, settings: &TopicSettings, subject: String) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(expected) = wanted.partitions
        && settings.partitions != expected
    {
        let (topic, found) = (wanted.topic.clone(), settings.partitions);
        findings.push(Finding::error(subject.clone(), LogError::PartitionCount { topic, found, expected }));
    }
    for violation in violations(&wanted.topic, settings, &wanted.options.overrides) {
        let mend = violation.mended_by();
        let command = mend.map(|setting| script::alter_topic(&wanted.brokers, &wanted.topic, setting));
        findings.push(with_command(Finding::error(subject.clone(), violation), command));
    }
    if findings.is_empty() {
        let (partitions, replicas) = (settings.partitions, settings.replication_factor);
        let what = format!("{partitions} partitions, {replicas} replicas, settings as facts need them");
        findings.push(Finding::ok(subject, what));
    }
    findings
}

/// The groups a process of these roles is a member of.
pub(super) fn group_names(config: &Config) -> Vec<String> {
    let mut groups: Vec<_> = [(Role::Engine, OWNERS), (Role::Projector, PROJECTORS)]
        .into_iter()
        .filter(|(role, _)| config.roles.contains(role))
        .map(|(_, group)| group)
        .collect();
    if groups.is_empty() {
        groups.push(FOLLOWERS);
    }
    groups.into_iter().map(|group| group_name(config, group)).collect()
}

async fn groups(config: &Config, wanted: &Wanted, inspector: &KafkaInspector) -> Vec<Finding> {
    let looks = group_names(config).into_iter().map(|group| async move {
        let subject = format!("group {group}");
        match inspector.may_join(&group, &wanted.topic).await {
            Ok(()) => Finding::ok(subject, "this user may be a member"),
            Err(error) => {
                Finding::error(subject, error).run(script::group_access(config, &wanted.brokers, &group))
            }
        }
    });
    join_all(looks).await
}

/// Whether the last records come from clocks that are ahead of this one.
async fn last_records(inspector: &KafkaInspector, topic: &Topic, partitions: u32) -> Option<Finding> {
    let looks = (0..partitions).map(|partition| async move {
        let place = TopicPartition::new(topic.clone(), partition);
        let end = inspector.log().bounds(&place).await.ok()?.end;
        let records = inspector.log().read(&place, (end - 1).max(0), 1).await.ok()?;
        match records.first().map(|record| &record.headers) {
            Some(RecordHeaders::Known(headers)) => Some(headers.recorded_at_us),
            Some(RecordHeaders::Foreign(_)) | None => None,
        }
    });
    let newest = join_all(looks).await.into_iter().flatten().max()?;
    let now_us = tidewheel_log::SystemClock::shared().now_us();
    // That the last record is old says nothing: nobody may have written since.
    let ahead_us = newest - now_us;
    (ahead_us > 0).then(|| check::clock(format!("clock behind the last record of {topic}"), ahead_us, 0))
}

/// Whether the brokers of the other datacenters answer.
fn others(config: &Config) -> Vec<impl Future<Output = Finding> + use<>> {
    let names = config.datacenters.keys().filter(|name| **name != config.datacenter);
    names.map(|name| other(Config { datacenter: name.clone(), ..config.clone() }, name.clone())).collect()
}

async fn other(config: Config, name: Name) -> Finding {
    let brokers = config.datacenters.get(&name).map_or("", |datacenter| datacenter.brokers.as_str());
    let subject = format!("brokers {brokers} of {name}");
    let topic = TopicFamily::WorkflowEvents.topic(&config.prefix, &name);
    let looked = async {
        let inspector = KafkaInspector::open(kafka_options(&config).map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?;
        match inspector.log().partitions(&topic).await {
            Ok(_) | Err(LogError::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    };
    match looked.await {
        Ok(()) => Finding::ok(subject, "they answer"),
        // A process needs its own datacenter's brokers and those of the configuration's home, which were looked at.
        Err(what) => Finding::warning(subject, what),
    }
}
