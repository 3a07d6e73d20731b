//! Brokers, topics and groups, with the eyes of users who may do more and more.

use std::time::{Duration, Instant};

use tidewheel::check::{Finding, Level};
use tidewheel::config::Config;
use tidewheel_cluster::kafka;
use tidewheel_log::EventLog as _;
use tidewheel_native::KafkaOptions;
use tidewheel_schemas::{Topic, TopicPartition};

use crate::access::{Operation, Resource, allow};
use crate::{all, config, look, of, says};

const EVENTS: &str = "tide.alpha.workflow.events";
const CHANGES: &str = "tide.config.changes";
/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

fn topic(name: &str) -> Topic {
    Topic::new(name)
}

/// Looks until the finding on `subject` says so: permissions take a moment to reach a broker.
async fn until(config: &Config, subject: &str, level: Level, part: &str) -> Vec<Finding> {
    let began = Instant::now();
    loop {
        let findings = look(config).await;
        let found = of(&findings, subject);
        if found.level == level && found.to_string().contains(part) {
            return findings;
        }
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "{subject} never said {part}:\n{}",
            all(&findings)
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_that_is_lacking_is_named_and_nothing_is_changed() {
    let asked = KafkaOptions::default().user("tide", "right-word").access_rules();
    let Some(kafka) = kafka::own("permissions that are lacking", asked).await else { return };
    let anybody = config("tide", kafka.bootstrap(), vec![NOWHERE.to_owned()], "dc1");

    // Nothing is there yet, and whoever looks may do everything.
    let findings = look(&anybody).await;
    says(&findings, &format!("topic {EVENTS}"), Level::Warning, &["not there yet", "--partitions 3"]);
    says(&findings, &format!("topic {CHANGES}"), Level::Warning, &["not there yet"]);
    for group in ["owners", "projectors"] {
        says(&findings, &format!("group tide.alpha.{group}"), Level::Ok, &[]);
    }
    says(&findings, &format!("database {NOWHERE}"), Level::Error, &[]);
    let log = kafka::log(&kafka);
    assert_eq!(log.partitions(&topic(EVENTS)).await.unwrap(), None, "the topic was created");

    log.create_topic(&topic(EVENTS), 3).await.unwrap();
    log.create_topic(&topic(CHANGES), 1).await.unwrap();
    let findings = look(&anybody).await;
    says(&findings, &format!("topic {EVENTS}"), Level::Ok, &["3 partitions"]);
    says(&findings, &format!("permissions on {EVENTS}"), Level::Ok, &["write"]);
    says(&findings, &format!("permissions on {CHANGES}"), Level::Ok, &["write"]);

    // A user who may nothing, and gets one permission after the other.
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "right-word").unwrap();
    let mut user = anybody.clone();
    user.datacenters.values_mut().for_each(|datacenter| datacenter.brokers = kafka.sasl_bootstrap());
    user.kafka.mechanism = "plain".into();
    user.kafka.user = Some("tide".into());
    user.kafka.password = Some(format!("file:{}", password.display()));
    let grant = |resource, operation| allow(kafka.bootstrap(), "tide", resource, operation);

    let events = format!("topic {EVENTS}");
    let findings = until(&user, &events, Level::Error, "permit").await;
    says(&findings, &events, Level::Error, &["kafka-acls.sh", "User:tide", "--operation Describe"]);
    for name in [EVENTS, CHANGES] {
        grant(Resource::Topic(name), Operation::Describe);
        grant(Resource::Topic(name), Operation::DescribeConfigs);
    }
    let permissions = format!("permissions on {EVENTS}");
    until(&user, &permissions, Level::Error, "reading").await;
    grant(Resource::Topic(EVENTS), Operation::Read);
    until(&user, &permissions, Level::Error, "appending").await;
    grant(Resource::Topic(EVENTS), Operation::Write);
    let findings = until(&user, &permissions, Level::Ok, "write").await;
    says(&findings, &format!("permissions on {CHANGES}"), Level::Error, &["reading"]);
    let owners = "group tide.alpha.owners";
    says(&findings, owners, Level::Error, &["permit", "--group tide.alpha.owners"]);
    grant(Resource::Group("tide.alpha.owners"), Operation::Read);
    let findings = until(&user, owners, Level::Ok, "").await;
    says(&findings, "group tide.alpha.projectors", Level::Error, &["permit"]);

    // A topic that is not there and may not be made.
    let mut other = user.clone();
    other.prefix = tidewheel_schemas::Name::new("other").unwrap();
    let missing = "topic other.alpha.workflow.events";
    let findings = look(&other).await;
    assert_eq!(of(&findings, missing).level, Level::Error, "{}", all(&findings));
    grant(Resource::Topic("other.alpha.workflow.events"), Operation::Describe);
    grant(Resource::Topic("other.alpha.workflow.events"), Operation::DescribeConfigs);
    until(&other, missing, Level::Error, "not there, and").await;
    grant(Resource::Topic("other.alpha.workflow.events"), Operation::Create);
    until(&other, missing, Level::Warning, "which this user may").await;

    std::fs::write(&password, "wrong-word").unwrap();
    let findings = look(&user).await;
    says(&findings, "brokers", Level::Error, &["do not trust each other"]);
    assert!(!all(&findings).contains("wrong-word"));

    for partition in 0..3 {
        let place = TopicPartition::new(topic(EVENTS), partition);
        assert_eq!(log.bounds(&place).await.unwrap().end, 0, "something was appended");
    }
    assert_eq!(log.partitions(&topic("other.alpha.workflow.events")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_would_lose_facts_is_told_with_the_command_that_mends_it() {
    let Some(kafka) = kafka::shared("topics that would lose facts").await else { return };
    let mut config = config("leaky", kafka.bootstrap(), vec![NOWHERE.to_owned()], "dc1");
    config.kafka.allow.clear();
    let events = topic("leaky.alpha.workflow.events");
    kafka::create_topic(kafka, &events, &[("retention.ms", "604800000"), ("cleanup.policy", "compact")])
        .await;
    let findings = look(&config).await;
    let text = all(&findings);
    for part in [
        "1 partitions, configured are 3",
        "retention.ms=604800000",
        "--add-config retention.ms=-1",
        "--add-config cleanup.policy=delete",
        "allow-finite-retention",
        "replication factor=1",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    // The other topic is not there, and would be created with too few replicas.
    says(&findings, "topic leaky.config.changes", Level::Error, &["allow-single-replica"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_do_not_answer_are_an_error_here_and_a_warning_elsewhere() {
    let Some(kafka) = kafka::shared("brokers that do not answer").await else { return };
    let mut config = config("far", kafka.bootstrap(), vec![NOWHERE.to_owned()], "dc1");
    let (alpha, own) =
        config.datacenters.first_key_value().map(|(name, own)| (name.clone(), own.clone())).unwrap();
    let beta = tidewheel_schemas::Name::new("beta").unwrap();
    let far = tidewheel::config::Datacenter {
        label: 2,
        brokers: NOWHERE.to_owned(),
        url: Some("http://127.0.0.1:1".to_owned()),
        ..own
    };
    config.datacenters.insert(beta.clone(), far);
    config.config_datacenter = Some(alpha);
    let findings = look(&config).await;
    says(&findings, &format!("brokers {NOWHERE} of beta"), Level::Warning, &["cannot be reached"]);
    config.datacenter = beta;
    let findings = look(&config).await;
    says(&findings, &format!("brokers {NOWHERE}"), Level::Error, &["cannot be reached"]);
}
