//! The rules of `compose.yaml`, where no Docker is needed to check them. `.ci/compose` starts it where there is one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    #[serde(default)]
    volumes: BTreeMap<String, Option<serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    image: String,
    command: serde_json::Value,
    build: Option<Build>,
    profiles: Vec<String>,
    ports: Vec<String>,
    volumes: Vec<String>,
    depends_on: BTreeMap<String, Dependency>,
    healthcheck: Option<Healthcheck>,
}

#[derive(Debug, Deserialize)]
struct Build {
    context: String,
    dockerfile: String,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    condition: String,
}

#[derive(Debug, Deserialize)]
struct Healthcheck {
    test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
}

/// What is against the rules in the text of a compose file that lies in `folder`.
fn violations(text: &str, folder: &Path) -> Vec<String> {
    let compose: Compose = match serde_saphyr::from_str(text) {
        Ok(compose) => compose,
        Err(error) => return vec![error.to_string()],
    };
    let mut found = Vec::new();
    for (name, service) in &compose.services {
        let mut wrong = |what: String| found.push(format!("{name}: {what}"));
        match &service.healthcheck {
            None => wrong("has no healthcheck".into()),
            Some(check) => {
                let known = ["CMD", "CMD-SHELL"].contains(&check.test.first().map_or("", String::as_str));
                let times = [&check.interval, &check.timeout].iter().all(|time| time.ends_with('s'));
                if !known || check.test.len() < 2 || !times || check.retries == 0 {
                    wrong("its healthcheck checks nothing".into());
                }
            }
        }
        for (key, value) in [("image", Some(service.image.as_str())), ("command", service.command.as_str())] {
            let value = value.unwrap_or_default();
            if !(value.starts_with("${TIDEWHEEL_") && value.contains(":-") && value.ends_with('}')) {
                wrong(format!("no variable replaces its {key}: {value}"));
            }
        }
        for port in service.ports.iter().filter(|port| !port.starts_with("127.0.0.1:")) {
            wrong(format!("publishes {port} beyond loopback"));
        }
        for (other, dependency) in &service.depends_on {
            if dependency.condition != "service_healthy" {
                wrong(format!("does not wait until {other} is healthy"));
            }
            match compose.services.get(other) {
                None => wrong(format!("depends on {other}, which there is not")),
                Some(other_service)
                    if !other_service.profiles.is_empty() && other_service.profiles != service.profiles =>
                {
                    wrong(format!("depends on {other}, which other profiles do not start"));
                }
                Some(_) => {}
            }
        }
        for volume in &service.volumes {
            let source = volume.split(':').next().unwrap_or_default();
            if source.starts_with('.') && !folder.join(source).is_file() {
                wrong(format!("mounts {source}, which there is not"));
            }
            if !source.starts_with(['.', '/']) && !compose.volumes.contains_key(source) {
                wrong(format!("mounts the volume {source}, which is not declared"));
            }
        }
        if let Some(build) = &service.build
            && !folder.join(&build.context).join(&build.dockerfile).is_file()
        {
            wrong(format!("is built from {}, which there is not", build.dockerfile));
        }
    }
    found
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn services_are_checked_published_on_loopback_and_replaceable() {
    let text = std::fs::read_to_string(folder().join("compose.yaml")).unwrap();
    assert_eq!(violations(&text, folder()), Vec::<String>::new());
    let compose: Compose = serde_saphyr::from_str(&text).unwrap();
    let environment = std::fs::read_to_string(folder().join(".env")).unwrap();
    let default = environment.lines().find_map(|line| line.strip_prefix("COMPOSE_PROFILES=")).unwrap();
    assert_eq!(default, "scylla");
    for profile in [default, "cassandra"] {
        let nodes = compose.services.values().filter(|service| service.profiles == [profile]);
        assert_eq!(nodes.count(), 2, "one node of {profile} per datacenter");
    }
    assert_eq!(compose.services.keys().filter(|name| name.starts_with("kafka-")).count(), 3);
}

#[test]
fn each_broken_rule_is_found() {
    let bad = r#"
services:
  one:
    image: kafka:4
    command: ${TIDEWHEEL_X_COMMAND:-run}
    ports: ["9092:9092"]
    volumes: ["./no-such-file:/etc/x", "data:/data"]
    depends_on: {two: {condition: service_started}, three: {condition: service_healthy}}
  two:
    image: ${TIDEWHEEL_X_IMAGE:-x}
    build: {context: ., dockerfile: no-such-file}
    profiles: [some]
    healthcheck: {test: [NONE], interval: 1s, timeout: 1s, retries: 1}
"#;
    let found = violations(bad, folder());
    for expected in [
        "one: has no healthcheck",
        "one: no variable replaces its image",
        "one: publishes 9092",
        "one: mounts ./no-such-file",
        "one: mounts the volume data",
        "one: does not wait until two",
        "one: depends on three",
        "one: depends on two",
        "two: its healthcheck",
        "two: no variable replaces its command",
        "two: is built from no-such-file",
    ] {
        assert_eq!(found.iter().filter(|one| one.starts_with(expected)).count(), 1, "{expected}: {found:#?}");
    }
    assert_eq!(found.len(), 11, "{found:#?}");
    assert_eq!(violations("services: [", folder()).len(), 1);
}
