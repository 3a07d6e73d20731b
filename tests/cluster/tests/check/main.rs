//! What `tidewheel check` finds on real servers, and that it leaves them as they were.

mod access;
mod database;
mod kafka;

use std::collections::BTreeMap;

use tidewheel::check::{Finding, Level};
use tidewheel::config::{Config, Datacenter};
use tidewheel_schemas::Name;

/// A configuration of one datacenter, `alpha`, on these servers, with one replica of everything.
fn config(prefix: &str, brokers: &str, database: Vec<String>, database_datacenter: &str) -> Config {
    let alpha = Name::new("alpha").expect("a name");
    let datacenter = Datacenter {
        label: 1,
        brokers: brokers.to_owned(),
        database,
        database_datacenter: Some(database_datacenter.to_owned()),
        keyspace: None,
        url: None,
    };
    let mut config = Config {
        prefix: Name::new(prefix).expect("a name"),
        datacenter: alpha.clone(),
        datacenters: BTreeMap::from([(alpha, datacenter)]),
        partitions: 3,
        ..Config::default()
    };
    config.kafka.replication_factor = 1;
    config.kafka.allow = ["allow-single-replica".to_owned()].into();
    config.database.replication_factor = 1;
    config.check().expect("a configuration");
    config
}

async fn look(config: &Config) -> Vec<Finding> {
    let findings = tidewheel::wire::inspect(config).await;
    for finding in &findings {
        assert_eq!(finding.to_string().lines().count(), 1, "{finding}");
    }
    findings
}

/// The gravest finding whose subject begins so.
fn of<'a>(findings: &'a [Finding], subject: &str) -> &'a Finding {
    let found = findings.iter().filter(|finding| finding.subject.starts_with(subject));
    found
        .max_by_key(|finding| finding.level)
        .unwrap_or_else(|| panic!("nothing on {subject} in {}", all(findings)))
}

fn all(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

/// Asserts how grave a finding is and what it says.
fn says(findings: &[Finding], subject: &str, level: Level, parts: &[&str]) {
    let finding = of(findings, subject);
    let text = finding.to_string();
    assert_eq!(finding.level, level, "{text}\nof\n{}", all(findings));
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} are not all in {text}");
}
