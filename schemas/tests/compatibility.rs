//! Schemas change by addition only: fields at the end with defaults, union branches at the end, nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use apache_avro::Schema;
use apache_avro::schema_compatibility::SchemaCompatibility;
use serde_json::{Value, json};
use tidewheel_schemas::event::StepFailed;
use tidewheel_schemas::testing::{Fixture, WorkflowEvent, compose, read_with_apache_avro};
use tidewheel_schemas::{ConfigEvent, Event, EventType, TopicFamily, registry};

fn newest() -> Value {
    serde_json::from_str(registry::latest(TopicFamily::WorkflowEvents).unwrap().text).unwrap()
}

#[test]
fn the_files_compose_into_the_newest_released_schema() {
    let avro = Path::new(env!("CARGO_MANIFEST_DIR")).join("avro");
    let composed = compose::workflow_event(&avro).unwrap();
    let released = registry::latest(TopicFamily::WorkflowEvents).unwrap();
    assert!(
        composed == released.text,
        "schemas/avro no longer composes into schema {}: freeze the output of the example compose_schema as a new id",
        released.id
    );
}

#[test]
fn the_files_compose_into_the_schema_of_configuration_changes() {
    let avro = Path::new(env!("CARGO_MANIFEST_DIR")).join("avro");
    let released = registry::latest(TopicFamily::ConfigChanges).unwrap();
    assert!(
        compose::config_change(&avro).unwrap() == released.text,
        "schemas/avro no longer composes into schema {}: freeze the output of the example `compose_schema config` as \
         a new id",
        released.id
    );
    let schema: Value = serde_json::from_str(released.text).unwrap();
    let branches = schema["fields"][8]["type"].as_array().unwrap();
    let branches: Vec<String> =
        branches.iter().map(|branch| kebab(branch["name"].as_str().unwrap())).collect();
    let types: Vec<&str> = ConfigEvent::TYPES.iter().map(|event_type| event_type.as_str()).collect();
    assert_eq!(branches, types);
}

#[test]
fn the_body_lists_the_event_types_in_their_order() {
    let newest = newest();
    let body = newest["fields"].as_array().unwrap().iter().find(|field| field["name"] == "body").unwrap();
    let branches: Vec<String> = body["type"]
        .as_array()
        .unwrap()
        .iter()
        .map(|branch| kebab(branch["name"].as_str().unwrap()))
        .collect();
    let types: Vec<&str> = EventType::WORKFLOW.iter().map(|event_type| event_type.as_str()).collect();
    assert_eq!(branches, types);
}

fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[test]
fn every_pair_of_released_schemas_reads_each_other() {
    let versions: Vec<_> = registry::versions(TopicFamily::WorkflowEvents).collect();
    for (index, later) in versions.iter().enumerate() {
        for earlier in &versions[..=index] {
            let (old, new) =
                (Schema::parse_str(earlier.text).unwrap(), Schema::parse_str(later.text).unwrap());
            let both = SchemaCompatibility::mutual_read(&old, &new);
            assert!(both.is_ok(), "{} and {}: {both:?}", earlier.id, later.id);
            let (old, new) = (parsed(earlier.text), parsed(later.text));
            assert_eq!(only_adds(&old, &new), Ok(()), "{} and {}", earlier.id, later.id);
        }
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Whether `new` only adds to `old`: stricter than Avro, whose readers would also accept reordered branches.
fn only_adds(old: &Value, new: &Value) -> Result<(), String> {
    let (old, new) = (definitions(old), definitions(new));
    old.iter().try_for_each(|(name, definition)| {
        let later = new.get(name).ok_or_else(|| format!("{name} is gone"))?;
        extends(definition, later, name)
    })
}

/// Every named type by its name, mentions in place of nested definitions, without docs.
fn definitions(schema: &Value) -> BTreeMap<String, Value> {
    fn flatten(value: &Value, found: &mut BTreeMap<String, Value>) -> Value {
        if let Some(list) = value.as_array() {
            return list.iter().map(|item| flatten(item, found)).collect();
        }
        let Some(map) = value.as_object() else { return value.clone() };
        let flat: Value = map
            .iter()
            .filter(|(key, _)| *key != "doc")
            .map(|(key, item)| (key.clone(), flatten(item, found)))
            .collect();
        match (map.get("namespace"), map.get("name")) {
            (Some(namespace), Some(name)) => {
                let full = format!("{}.{}", namespace.as_str().unwrap(), name.as_str().unwrap());
                found.insert(full.clone(), flat);
                full.into()
            }
            _ => flat,
        }
    }
    let mut found = BTreeMap::new();
    flatten(schema, &mut found);
    found
}

fn extends(old: &Value, new: &Value, at: &str) -> Result<(), String> {
    if let (Some(old), Some(new)) = (old.as_object(), new.as_object()) {
        if old.keys().ne(new.keys()) {
            return Err(format!("{at} has other attributes"));
        }
        return old.iter().try_for_each(|(key, value)| extends(value, &new[key], &format!("{at}/{key}")));
    }
    if let (Some(old), Some(new)) = (old.as_array(), new.as_array()) {
        if new.len() < old.len() {
            return Err(format!("{at} has lost items"));
        }
        for (index, (old, new)) in old.iter().zip(new).enumerate() {
            extends(old, new, &format!("{at}/{index}"))?;
        }
        let fields = at.ends_with("/fields");
        return match new[old.len()..].iter().find(|added| fields && added.get("default").is_none()) {
            Some(added) => Err(format!("{at}: the new field {} has no default", added["name"])),
            None => Ok(()),
        };
    }
    if old == new { Ok(()) } else { Err(format!("{at} was {old} and is {new}")) }
}

fn branches(schema: &mut Value) -> &mut Vec<Value> {
    schema["fields"][8]["type"].as_array_mut().unwrap()
}

#[test]
fn additions_at_the_end_are_allowed() {
    let old = newest();
    let mut new = old.clone();
    new["doc"] = "said better".into();
    new["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "note", "type": ["null", "string"], "default": null}));
    let added = json!({"type": "record", "name": "RunPaused", "namespace": "tidewheel.v1", "fields": []});
    branches(&mut new).push(added);
    assert_eq!(only_adds(&old, &new), Ok(()));
    let schemas = [&old, &new].map(|schema| Schema::parse(schema).unwrap());
    assert!(SchemaCompatibility::can_read(&schemas[0], &schemas[1]).is_ok());
}

#[test]
fn any_other_change_is_noticed() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 6] = [
        ("a branch is removed", |schema| drop(branches(schema).pop())),
        ("branches change places", |schema| branches(schema).swap(8, 2)),
        ("a field is removed", |schema| drop(schema["fields"].as_array_mut().unwrap().remove(6))),
        ("a field is renamed", |schema| schema["fields"][3]["name"] = "realm".into()),
        ("a field's type changes", |schema| schema["fields"][1]["type"] = "bytes".into()),
        ("a field without a default is added", |schema| {
            schema["fields"].as_array_mut().unwrap().push(json!({"name": "note", "type": "string"}));
        }),
    ];
    for (change, apply) in changes {
        let old = newest();
        let mut new = old.clone();
        apply(&mut new);
        assert!(only_adds(&old, &new).is_err(), "{change}");
    }
}

#[test]
fn a_record_of_an_older_schema_reads_with_the_defaults_of_what_came_later() {
    let mut older = newest();
    let step_failed = branches(&mut older).iter_mut().find(|branch| branch["name"] == "StepFailed").unwrap();
    let removed = step_failed["fields"].as_array_mut().unwrap().pop().unwrap();
    assert_eq!(removed["name"], "retry_at_us");
    branches(&mut older).truncate(registry::WORKFLOW_TYPES_V1 - 1);
    let older = Schema::parse(&older).unwrap();

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1");
    let fixtures = Fixture::read_all(&folder).unwrap();
    let (_, fixture) = fixtures.iter().find(|(name, _)| name == "step-failed.bare").unwrap();
    let value = fixture.value();
    // The absent retry is the last byte: without it, this is what the older schema would have written.
    let (_, event) = read_with_apache_avro::<WorkflowEvent>(&older, &value[5..value.len() - 1])
        .unwrap()
        .into_event()
        .unwrap();
    assert!(
        matches!(event, Event::StepFailed(StepFailed { retry_at_us: None, attempt: 3, .. })),
        "{event:?}"
    );
}
