//! Who may do what, and how it is said that somebody may not.

use std::time::Duration;

use tidewheel_cluster::kafka;
use tidewheel_log::kafka::{KafkaCluster, KafkaLogOptions, Pem, Sasl, SaslMechanism, Secret, Tls};
use tidewheel_log::suite::{fresh_topic, record};
use tidewheel_log::{EventLog, KafkaLog, LogError};
use tidewheel_native::KafkaOptions;
use tidewheel_schemas::TopicPartition;

fn quick(cluster: KafkaCluster) -> KafkaLog {
    let mut options = KafkaLogOptions::new(cluster);
    options.request_timeout = Duration::from_secs(5);
    options.message_timeout = Duration::from_secs(5);
    options.replication_factor = 1;
    options.overrides = [tidewheel_log::topic_rules::TopicOverride::AllowSingleReplica].into();
    KafkaLog::open(options).unwrap()
}

fn user(brokers: &str, name: &str, password: &str) -> KafkaCluster {
    let sasl =
        Sasl { mechanism: SaslMechanism::Plain, user: name.to_owned(), password: Secret::new(password) };
    KafkaCluster { sasl: Some(sasl), ..KafkaCluster::plain(brokers) }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_missing_permissions_and_absent_brokers_are_told_apart() {
    let asked = KafkaOptions::default().user("tide", "right-word").tls().access_rules();
    let Some(kafka) = kafka::own("credentials and permissions", asked).await else { return };
    let trusting = quick(KafkaCluster::plain(kafka.bootstrap()));
    let topic = fresh_topic();
    trusting.create_topic(&topic, 1).await.unwrap();
    let place = TopicPartition::new(topic.clone(), 0);

    let mistaken = quick(user(&kafka.sasl_bootstrap(), "tide", "wrong-word"));
    let error = mistaken.bounds(&place).await.unwrap_err();
    assert!(matches!(error, LogError::Credentials { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("wrong-word"), "{error:?}");
    let error = mistaken.append(&place, vec![record("lost")]).await.unwrap_err();
    assert!(matches!(error, LogError::OutcomeUnknown { .. }), "{error}");
    assert!(error.to_string().contains("uthenticat"), "{error}");

    // The user is right and may do nothing; what it may not see does not exist for it.
    let powerless = quick(user(&kafka.sasl_bootstrap(), "tide", "right-word"));
    for error in [
        powerless.bounds(&place).await.unwrap_err(),
        powerless.create_topic(&fresh_topic(), 1).await.unwrap_err(),
        powerless.append(&place, vec![record("lost")]).await.unwrap_err(),
    ] {
        assert!(matches!(error, LogError::Forbidden { .. }), "{error}");
    }

    let authority = kafka.certificate().unwrap().display().to_string();
    let tls = |authority: Option<Pem>| Tls { authority, ..Tls::default() };
    let secure = |tls| KafkaCluster { tls: Some(tls), ..KafkaCluster::plain(kafka.tls_bootstrap()) };
    let distrustful = quick(secure(tls(None)));
    let error = distrustful.bounds(&place).await.unwrap_err();
    assert!(matches!(error, LogError::Credentials { .. }), "{error}");
    let inline = Pem::Text(Secret::new(std::fs::read_to_string(&authority).unwrap()));
    for authority in [Pem::File(authority), inline] {
        let encrypted = quick(secure(tls(Some(authority))));
        let outcome = encrypted.bounds(&place).await;
        // Who comes without credentials over TLS is somebody the access rules know nothing of, or may do all.
        assert!(matches!(outcome, Ok(_) | Err(LogError::Forbidden { .. })), "{outcome:?}");
    }

    kafka.kill(0).unwrap();
    let absent = quick(KafkaCluster::plain(kafka.bootstrap()));
    let error = absent.bounds(&place).await.unwrap_err();
    assert!(matches!(error, LogError::Unreachable { .. }) && error.is_transient(), "{error}");
}
