//! What operators are given: the sample configuration, the alert rules, and the commands that look without changing.

use std::path::Path;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde_json::Value;
use tidewheel::config::{Config, Sources};

use crate::node::{Node, tidewheel};

fn document(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn load(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Sources { file: Some(path), ..Sources::default() }).expect("the sample is accepted")
}

/// The sample with every setting that is commented out taken in.
fn uncommented(sample: &str) -> String {
    let setting = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|first: char| first == '[' || first.is_ascii_lowercase()) => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    sample.lines().map(setting).collect::<Vec<_>>().join("\n")
}

/// The settings that a value lacks, by path.
fn lacking(all: &Value, given: &Value, path: &str) -> Vec<String> {
    let Value::Object(all) = all else { return Vec::new() };
    let below = |(key, value): (&String, &Value)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match given.get(key) {
            Some(given) => lacking(value, given, &path),
            None => vec![path],
        }
    };
    all.iter().flat_map(below).collect()
}

fn nulls(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Null => vec![path.to_owned()],
        Value::Object(members) => {
            members.iter().flat_map(|(key, value)| nulls(value, &format!("{path}.{key}"))).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn what_the_sample_configuration_sets_is_the_default() {
    assert_eq!(load(&document("docs/tidewheel.toml")), Config::default());
}

#[test]
fn the_sample_configuration_names_every_setting() {
    let sample = uncommented(&document("docs/tidewheel.toml"));
    let all = serde_json::to_value(load(&sample)).unwrap();
    let given: Value = Figment::from(Toml::string(&sample)).extract().unwrap();
    assert_eq!(lacking(&all, &given, ""), [""; 0]);
    assert_eq!(nulls(&all, ""), [""; 0], "a setting is left out, and with it what lies below");
}

#[test]
fn check_on_one_machine_looks_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let check = |words: &[&str]| {
        let output = tidewheel(folder.path()).arg("check").args(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    std::fs::write(folder.path().join("tidewheel.toml"), "listen = '127.0.0.1:0'").unwrap();
    let (code, text) = check(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.lines().all(|line| line.starts_with("ok ") || line.starts_with("warning ")), "{text}");
    let (_, json) = check(&["--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["errors"], 0);
    assert!(report["findings"].as_array().unwrap().len() >= 3, "{report}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was created");

    std::fs::write(folder.path().join("file"), "").unwrap();
    std::fs::write(folder.path().join("tidewheel.toml"), "data_dir = 'file'").unwrap();
    let (code, text) = check(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.lines().any(|line| line.starts_with("error ")), "{text}");
}

#[test]
fn status_puts_servers_together_and_fails_on_what_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &["--ephemeral"]);
    let status = node.json(folder.path(), &["status", "--check"]);
    assert_eq!(status["processes"][0]["leads"], 4);
    assert_eq!(status["marks"].as_array().unwrap().len(), 0, "{status}");
    let partition = &status["partitions"][0];
    assert_eq!((&partition["leads"], &partition["generation"]), (&true.into(), &1.into()));

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = format!("http://127.0.0.1:{port}");
    let ask = |words: &[&str]| {
        let mut command = tidewheel(folder.path());
        command.args(["status", "--server", &node.address, "--server", &silent]).args(words);
        command.output().unwrap()
    };
    let output = ask(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "it was only asked to show");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (status["processes"].as_array().unwrap().len(), status["marks"].as_array().unwrap().len()),
        (2, 1)
    );
    let output = ask(&["--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&silent));
}

#[test]
fn schemas_are_written_to_a_folder_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let output = tidewheel(folder.path()).args(["schemas", "export", "out/schemas"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = folder.path().join("out/schemas");
    let read = |path: &str| std::fs::read_to_string(out.join(path)).expect(path);
    let index: Value = serde_json::from_str(&read("index.json")).unwrap();
    for list in ["schemas", "events"] {
        for entry in index[list].as_array().unwrap() {
            let schema: Value = serde_json::from_str(&read(entry["file"].as_str().unwrap())).unwrap();
            assert_eq!(schema["type"], "record");
        }
    }
    assert_eq!(index["topics"][0]["topic"], "tidewheel.local.workflow.events");
    let known = tidewheel_schemas::registry::schema_text(1).unwrap();
    assert_eq!(
        read("workflow-event.1.avsc"),
        known,
        "an envelope's schema is the one records were written with"
    );
}
