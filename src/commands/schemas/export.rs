//! `tidewheel schemas export`: every schema and what it describes as files, for programs that read the log without a
//! server.

use std::path::Path;

use serde_json::{Value, json};
use tidewheel::config::{Config, Sources};
use tidewheel_schemas::{Name, TopicFamily, registry};

use super::standalone::{Branch, branches};
use crate::args::ExportArguments;
use crate::failure::Failure;
use crate::output::print;

/// Folder of the schemas of single events.
const EVENTS: &str = "events";
const INDEX: &str = "index.json";
const FRAMING: &str = "a byte 0, the schema's id as 4 bytes, most significant first, then the record in Avro's \
                       binary encoding";

/// Writes them and says where.
pub fn run(arguments: &ExportArguments) -> Result<(), Failure> {
    let config = Config::load(Sources { file: arguments.config.clone(), ..Sources::of_process() })?;
    let datacenters: Vec<&Name> =
        if config.is_cluster() { config.datacenters.keys().collect() } else { vec![&config.datacenter] };
    let files = files(&config.prefix, &datacenters)?;
    for (path, text) in &files {
        write(&arguments.folder.join(path), text)?;
    }
    print(&format!("{} files written to {}", files.len(), arguments.folder.display()))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::Failed(format!("{} cannot be written: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

/// Paths below the folder, with what stands in them; the index is the last.
fn files(prefix: &Name, datacenters: &[&Name]) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    let (mut schemas, mut events, mut topics) = (Vec::new(), Vec::new(), Vec::new());
    for released in registry::released() {
        let id = released.id;
        let broken = || Failure::Failed(format!("schema {id} of this build has no events in it"));
        let envelope: Value = serde_json::from_str(released.text).map_err(|_| broken())?;
        let (name, branches) = branches(&envelope).ok_or_else(broken)?;
        let file = format!("{}.{id}.avsc", kebab(&name));
        files.push((file.clone(), released.text.to_owned()));
        schemas.push(json!({
            "id": id, "version": released.version, "name": name, "topics": pattern(released.family), "file": file,
        }));
        for Branch { name, index, schema } in branches {
            let event = kebab(&name);
            let file = format!("{EVENTS}/{event}.{id}.avsc");
            events.push(json!({
                "type": event, "schema_id": id, "name": name, "branch": index, "file": file,
            }));
            files.push((file, pretty(&schema)?));
        }
    }
    for family in [TopicFamily::WorkflowEvents, TopicFamily::RunnerSignals, TopicFamily::ConfigChanges] {
        let Some(latest) = registry::latest(family) else { continue };
        let mut names: Vec<_> =
            datacenters.iter().map(|datacenter| family.topic(prefix, datacenter)).collect();
        // One topic of configuration serves every datacenter.
        names.dedup();
        let ids: Vec<u32> = registry::versions(family).map(|schema| schema.id).collect();
        for topic in names {
            topics.push(json!({
                "topic": topic.as_str(), "subject": registry::subject(&topic), "schema_id": latest.id,
                "schema_ids": ids,
            }));
        }
    }
    let index = json!({ "framing": FRAMING, "schemas": schemas, "events": events, "topics": topics });
    files.push((INDEX.to_owned(), pretty(&index)?));
    Ok(files)
}

fn pretty(value: &Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(text + "\n")
}

const fn pattern(family: TopicFamily) -> &'static str {
    match family {
        TopicFamily::WorkflowEvents => "{prefix}.{datacenter}.workflow.events",
        TopicFamily::RunnerSignals => "{prefix}.{datacenter}.runner.signals",
        TopicFamily::ConfigChanges => "{prefix}.config.changes",
    }
}

/// `RunStarted` of a namespace as records' headers call it: `run-started`.
fn kebab(full_name: &str) -> String {
    let name = full_name.rsplit('.').next().unwrap_or(full_name);
    let mut text = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(character.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidewheel_schemas::EventType;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn every_event_type_has_a_file_under_its_own_name() {
        let files = files(&name("tide"), &[&name("alpha"), &name("beta")]).unwrap();
        let paths: BTreeSet<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths.len(), files.len(), "two files share a path");
        let index: Value = serde_json::from_str(&files.last().unwrap().1).unwrap();
        let types: BTreeSet<&str> =
            index["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
        let known: BTreeSet<&str> = EventType::ALL.iter().map(|event| event.as_str()).collect();
        assert_eq!(types, known);
        for list in ["schemas", "events"] {
            for entry in index[list].as_array().unwrap() {
                assert!(paths.contains(entry["file"].as_str().unwrap()), "{entry}");
            }
        }
    }

    #[test]
    fn topics_are_named_for_every_datacenter_with_the_schemas_of_their_records() {
        let files = files(&name("tide"), &[&name("alpha"), &name("beta")]).unwrap();
        let index: Value = serde_json::from_str(&files.last().unwrap().1).unwrap();
        let topics = index["topics"].as_array().unwrap();
        let of = |topic: &str| topics.iter().find(|entry| entry["topic"] == topic);
        for datacenter in ["alpha", "beta"] {
            let entry = of(&format!("tide.{datacenter}.workflow.events")).unwrap();
            assert_eq!(entry["subject"], format!("tide.{datacenter}.workflow.events-value"));
            assert_eq!(entry["schema_id"], registry::latest(TopicFamily::WorkflowEvents).unwrap().id);
        }
        let unique: BTreeSet<_> = topics.iter().map(|entry| entry["topic"].as_str()).collect();
        assert_eq!(unique.len(), topics.len());
    }
}
