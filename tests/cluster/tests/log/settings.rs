//! Topics that facts must not be kept in, and topics as they are created.

use std::collections::BTreeSet;

use tidewheel_cluster::kafka;
use tidewheel_log::kafka::{KafkaCluster, KafkaLogOptions};
use tidewheel_log::suite::fresh_topic;
use tidewheel_log::topic_rules::{TopicOverride, violations};
use tidewheel_log::{EventLog, KafkaLog, LogError};

const GOOD: [(&str, &str); 6] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("min.insync.replicas", "2"),
    ("unclean.leader.election.enable", "false"),
    ("max.message.bytes", "2097152"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_setting_of_a_topic_is_named_and_accepted_by_its_own_override() {
    let Some(kafka) = kafka::shared("wrong settings of topics").await else { return };
    let cases = [
        ("unclean.leader.election.enable", "true", TopicOverride::AllowUncleanElection),
        ("cleanup.policy", "compact", TopicOverride::AllowCompaction),
        ("retention.ms", "604800000", TopicOverride::AllowFiniteRetention),
        ("retention.bytes", "1000000", TopicOverride::AllowFiniteRetention),
        ("max.message.bytes", "1048588", TopicOverride::AllowSmallRecords),
    ];
    for (setting, value, accepted_by) in cases {
        let topic = fresh_topic();
        let settings: Vec<_> =
            GOOD.into_iter().map(|(name, good)| (name, if name == setting { value } else { good })).collect();
        kafka::create_topic(kafka, &topic, &settings).await;
        match kafka::log(kafka).create_topic(&topic, 1).await {
            Err(LogError::Topic(found)) => {
                assert_eq!(found.len(), 1, "{found:?}");
                assert_eq!((found[0].setting, found[0].found.as_str()), (setting, value));
                let text = LogError::Topic(found).to_string();
                assert!(text.contains(topic.as_str()) && text.contains(accepted_by.as_str()), "{text}");
            }
            other => panic!("{setting}={value} was answered with {other:?}"),
        }
        let mut options = kafka::options(kafka);
        options.overrides.insert(accepted_by);
        KafkaLog::open(options).unwrap().create_topic(&topic, 1).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_is_refused_before_a_topic_is_created_and_when_it_is_there() {
    let Some(kafka) = kafka::shared("topics of one replica").await else { return };
    let topic = fresh_topic();
    let strict = |replication_factor| {
        let mut options = KafkaLogOptions::new(KafkaCluster::plain(kafka.bootstrap()));
        options.replication_factor = replication_factor;
        KafkaLog::open(options).unwrap()
    };
    match strict(1).create_topic(&topic, 1).await {
        Err(LogError::Topic(found)) => {
            assert!(found.iter().all(|found| found.overridden_by == TopicOverride::AllowSingleReplica));
        }
        other => panic!("one replica was answered with {other:?}"),
    }
    assert_eq!(strict(1).partitions(&topic).await.unwrap(), None, "it was created all the same");
    // More replicas than brokers.
    match strict(3).create_topic(&topic, 1).await {
        Err(LogError::Options(text)) => assert!(text.contains("3 replicas"), "{text}"),
        other => panic!("more replicas than brokers were answered with {other:?}"),
    }
    kafka::log(kafka).create_topic(&topic, 1).await.unwrap();
    match strict(3).create_topic(&topic, 1).await {
        Err(LogError::Topic(found)) => {
            let settings: Vec<_> = found.iter().map(|found| found.setting).collect();
            assert_eq!(settings, ["replication factor", "min.insync.replicas"]);
        }
        other => panic!("one replica was answered with {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_with_the_settings_that_facts_need_by_whoever_comes_first() {
    let Some(kafka) = kafka::shared("settings of new topics").await else { return };
    let topic = fresh_topic();
    let logs: Vec<_> = (0..4).map(|_| kafka::log(kafka)).collect();
    let created = futures::future::join_all(logs.iter().map(|log| log.create_topic(&topic, 3))).await;
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    let settings = logs[0].settings(&topic).await.unwrap().expect("a topic");
    assert_eq!(settings.partitions, 3);
    let found = violations(&topic, &settings, &BTreeSet::from([TopicOverride::AllowSingleReplica]));
    assert_eq!(found, []);
    assert_eq!(logs[0].settings(&fresh_topic()).await.unwrap(), None);
}
