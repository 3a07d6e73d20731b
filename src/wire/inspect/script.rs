//! The commands and statements that make what a configuration needs. Pure: they are printed, never run.

use tidewheel_log::topic_rules::settings_of_a_new_topic;
use tidewheel_projector::views::TABLES;
use tidewheel_schemas::{Topic, TopicFamily};
use tidewheel_store::cql::CqlStoreOptions;

use super::super::cluster::{cql_options, own};
use super::kafka::group_names;
use crate::config::Config;
use crate::node::GENERATION;
use crate::wire::WireError;

/// Everything an administrator runs for the datacenter of a configuration. Running it twice changes nothing.
///
/// # Errors
/// When a setting cannot be used.
pub fn commands(config: &Config) -> Result<String, WireError> {
    let (_, own) = own(config)?;
    let home = config.config_home().map_or(own, |(_, home)| home);
    let events = TopicFamily::WorkflowEvents.topic(&config.prefix, &config.datacenter);
    let changes = TopicFamily::ConfigChanges.topic(&config.prefix, &config.datacenter);
    let topics = [(&own.brokers, &events, config.partitions, true), (&home.brokers, &changes, 1, false)];
    let mut lines = vec![format!(
        "# Kafka, for datacenter {}. Add --command-config FILE where the brokers ask who you are.",
        config.datacenter
    )];
    for (brokers, topic, partitions, _) in topics {
        lines.push(create_topic(config, brokers, topic, partitions));
        // For a topic that was there before.
        lines.push(alter_topic(brokers, topic, &settings(config).join(",")));
    }
    if principal(config).is_none() {
        lines.push(
            "# The configuration names no Kafka user, so there is nobody to permit anything to.".to_owned(),
        );
    }
    for (brokers, topic, _, has_groups) in topics {
        lines.extend(access(config, brokers, topic, has_groups));
    }
    let options = cql_options(config)?;
    lines.push(format!(
        "# CQL, for datacenter {}: pass what follows to cqlsh {}.",
        config.datacenter,
        options.contact_points.first().map_or("", String::as_str)
    ));
    lines.extend(options.ddl(GENERATION, TABLES)?.into_iter().map(|statement| statement + ";"));
    lines.extend(grants(&options));
    Ok(lines.join("\n"))
}

fn settings(config: &Config) -> Vec<String> {
    settings_of_a_new_topic(config.kafka.replication_factor)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// The command that creates a topic.
pub(super) fn create_topic(config: &Config, brokers: &str, topic: &Topic, partitions: u32) -> String {
    let settings: String = settings(config).iter().map(|setting| format!(" --config {setting}")).collect();
    format!(
        "kafka-topics.sh --bootstrap-server {brokers} --create --if-not-exists --topic {topic} --partitions \
         {partitions} --replication-factor {}{settings}",
        config.kafka.replication_factor
    )
}

/// The command that changes settings of a topic.
pub(super) fn alter_topic(brokers: &str, topic: &Topic, settings: &str) -> String {
    format!(
        "kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} --add-config \
         {settings}"
    )
}

/// Who a process is to the brokers, if it says so.
fn principal(config: &Config) -> Option<String> {
    match (&config.kafka.user, &config.kafka.tls) {
        (Some(user), _) => Some(format!("User:{user}")),
        // Only the administrator knows what the certificate's name becomes.
        (None, Some(tls)) if tls.certificate.is_some() => Some("User:CN=…".to_owned()),
        (None, _) => None,
    }
}

/// The commands that permit a process to use a topic, and to be a member of its groups.
pub(super) fn access(config: &Config, brokers: &str, topic: &Topic, has_groups: bool) -> Vec<String> {
    let Some(principal) = principal(config) else { return Vec::new() };
    let mut commands = vec![format!(
        "kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal '{principal}' --topic {topic} --operation \
         Describe --operation DescribeConfigs --operation Create --operation Read --operation Write"
    )];
    if has_groups {
        commands.extend(group_names(config).iter().map(|group| group_access(config, brokers, group)));
    }
    commands
}

/// The command that permits a process to be a member of a group.
pub(super) fn group_access(config: &Config, brokers: &str, group: &str) -> String {
    let principal = principal(config).unwrap_or_else(|| "User:…".to_owned());
    format!(
        "kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal '{principal}' --group {group} --operation \
         Read"
    )
}

/// The statements that permit a process to use its keyspace.
pub(super) fn grants(options: &CqlStoreOptions) -> Vec<String> {
    let Some(user) = &options.user else { return Vec::new() };
    let user = user.replace('"', "\"\"");
    ["SELECT", "MODIFY", "CREATE", "ALTER", "DROP"]
        .iter()
        .map(|permission| format!("GRANT {permission} ON KEYSPACE {} TO \"{user}\";", options.keyspace))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidewheel_schemas::Name;

    use super::*;
    use crate::config::Datacenter;

    fn cluster() -> Config {
        let name = |text| Name::new(text).unwrap();
        let datacenter = |label, broker: &str| Datacenter {
            label,
            brokers: broker.into(),
            database: vec!["db".into()],
            database_datacenter: None,
            keyspace: None,
            url: Some("http://one:7400".into()),
        };
        let mut config = Config {
            datacenter: name("alpha"),
            datacenters: BTreeMap::from([
                (name("alpha"), datacenter(1, "one:9092")),
                (name("beta"), datacenter(2, "two:9092")),
            ]),
            config_datacenter: Some(name("beta")),
            ..Config::default()
        };
        config.kafka.user = Some("tide".into());
        config.kafka.password = Some("env:NOBODY_READS_IT".into());
        config
    }

    #[test]
    fn an_administrator_is_given_topics_permissions_and_tables() {
        let script = commands(&cluster()).unwrap();
        for part in [
            "kafka-topics.sh --bootstrap-server one:9092 --create --if-not-exists --topic \
             tidewheel.alpha.workflow.events --partitions 4 --replication-factor 3 --config cleanup.policy=delete",
            "kafka-configs.sh --bootstrap-server two:9092 --alter --entity-type topics --entity-name \
             tidewheel.config.changes --add-config cleanup.policy=delete,retention.ms=-1",
            "--allow-principal 'User:tide' --topic tidewheel.alpha.workflow.events --operation Describe",
            "--group tidewheel.alpha.owners --operation Read",
            "--group tidewheel.alpha.projectors --operation Read",
            "CREATE KEYSPACE IF NOT EXISTS tidewheel_alpha",
            "CREATE TABLE IF NOT EXISTS tidewheel_alpha.runs_g1",
        ] {
            assert!(script.contains(part), "{part} is missing in\n{script}");
        }
        assert_eq!(script.matches("CREATE TABLE").count(), TABLES.len());
        assert!(!script.contains("NOBODY_READS_IT"));
    }

    #[test]
    fn whoever_has_no_user_is_permitted_nothing() {
        let mut config = cluster();
        (config.kafka.user, config.kafka.password) = (None, None);
        let script = commands(&config).unwrap();
        assert!(!script.contains("kafka-acls.sh") && !script.contains("GRANT"), "{script}");
    }
}
