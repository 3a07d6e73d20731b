//! Cutting an Avro schema into schemas that stand alone: one for each kind of event. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A branch of an envelope's body, as a schema of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// Its full name, such as `tidewheel.v1.RunStarted`.
    pub name: String,
    /// Its place in the union, from 0: the number that precedes it in a record's bytes.
    pub index: usize,
    /// The schema, with every type it names written out where it is first used.
    pub schema: Value,
}

/// The full name of an envelope's schema and the branches of its field `body`; `None` if it is no such schema.
pub fn branches(envelope: &Value) -> Option<(String, Vec<Branch>)> {
    let name = full_name(envelope.as_object()?, None)?;
    let mut definitions = BTreeMap::new();
    define(envelope, None, &mut definitions);
    let fields = envelope.get("fields")?.as_array()?;
    let body = fields.iter().find(|field| field.get("name").and_then(Value::as_str) == Some("body"))?;
    let namespace = name.rsplit_once('.').map(|(namespace, _)| namespace.to_owned());
    let branch = |(index, branch): (usize, &Value)| {
        let schema = written_out(branch, namespace.as_deref(), &definitions, &mut BTreeSet::new());
        Some(Branch { name: full_name(schema.as_object()?, None)?, index, schema })
    };
    let branches = body.get("type")?.as_array()?.iter().enumerate().map(branch).collect::<Option<_>>()?;
    Some((name, branches))
}

fn is_named(schema: &Map<String, Value>) -> bool {
    matches!(schema.get("type").and_then(Value::as_str), Some("record" | "enum" | "fixed"))
}

fn full_name(schema: &Map<String, Value>, around: Option<&str>) -> Option<String> {
    let name = schema.get("name")?.as_str()?;
    let namespace = schema.get("namespace").and_then(Value::as_str).or(around);
    Some(in_namespace(name, namespace))
}

fn in_namespace(name: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) if !name.contains('.') => format!("{namespace}.{name}"),
        _ => name.to_owned(),
    }
}

fn namespace_of(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(namespace, _)| namespace)
}

/// The schemas within a schema, by Avro's three places for them.
fn parts(schema: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let fields = schema.get("fields").and_then(Value::as_array).into_iter().flatten();
    let of_fields = fields.filter_map(|field| field.get("type"));
    let nested = schema.get("type").filter(|kind| !kind.is_string());
    of_fields.chain(nested).chain(["items", "values"].into_iter().filter_map(|place| schema.get(place)))
}

/// Collects every definition with its full name.
fn define(schema: &Value, around: Option<&str>, definitions: &mut BTreeMap<String, Value>) {
    match schema {
        Value::Array(union) => union.iter().for_each(|branch| define(branch, around, definitions)),
        Value::Object(object) => {
            let name = if is_named(object) { full_name(object, around) } else { None };
            if let Some(name) = &name {
                definitions.insert(name.clone(), schema.clone());
            }
            let inside = name.as_deref().and_then(namespace_of).or(around);
            parts(object).for_each(|part| define(part, inside, definitions));
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The schema with each named type written out at its first use, and named at the others.
fn written_out(
    schema: &Value,
    around: Option<&str>,
    definitions: &BTreeMap<String, Value>,
    written: &mut BTreeSet<String>,
) -> Value {
    match schema {
        Value::String(name) => {
            let full = in_namespace(name, around);
            match definitions.get(&full) {
                Some(definition) if !written.contains(&full) => {
                    written_out(definition, namespace_of(&full), definitions, written)
                }
                Some(_) => Value::String(full),
                None => schema.clone(),
            }
        }
        Value::Array(union) => {
            union.iter().map(|branch| written_out(branch, around, definitions, written)).collect()
        }
        Value::Object(object) => {
            let name = if is_named(object) { full_name(object, around) } else { None };
            if let Some(name) = &name
                && !written.insert(name.clone())
            {
                return Value::String(name.clone());
            }
            let inside = name.as_deref().and_then(namespace_of).or(around);
            let mut copy = object.clone();
            // What surrounded it, and gave it its namespace, is not there any more.
            if let Some(namespace) = name.as_deref().and_then(namespace_of) {
                copy.insert("namespace".to_owned(), Value::from(namespace));
            }
            for (place, value) in &mut copy {
                match place.as_str() {
                    "fields" => {
                        for kind in
                            value.as_array_mut().into_iter().flatten().filter_map(|f| f.get_mut("type"))
                        {
                            *kind = written_out(kind, inside, definitions, written);
                        }
                    }
                    "items" | "values" => *value = written_out(value, inside, definitions, written),
                    "type" if !value.is_string() => {
                        *value = written_out(value, inside, definitions, written);
                    }
                    _ => {}
                }
            }
            Value::Object(copy)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => schema.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidewheel_schemas::registry;

    use super::*;

    const PRIMITIVE: &[&str] =
        &["null", "boolean", "int", "long", "float", "double", "bytes", "string", "record", "enum", "fixed"];

    /// The names a schema uses without having defined them before.
    fn undefined(schema: &Value, known: &mut BTreeSet<String>) -> Vec<String> {
        match schema {
            Value::String(name) if PRIMITIVE.contains(&name.as_str()) || known.contains(name) => Vec::new(),
            Value::String(name) => vec![name.clone()],
            Value::Array(union) => union.iter().flat_map(|branch| undefined(branch, known)).collect(),
            Value::Object(object) => {
                if is_named(object) {
                    known.insert(full_name(object, None).unwrap());
                }
                let parts: Vec<&Value> = parts(object).collect();
                parts.into_iter().flat_map(|part| undefined(part, known)).collect()
            }
            other => panic!("{other} is no schema"),
        }
    }

    #[test]
    fn every_event_of_a_released_schema_stands_alone() {
        let mut count = 0;
        for released in registry::released() {
            let envelope: Value = serde_json::from_str(released.text).unwrap();
            let (_, branches) = branches(&envelope).unwrap();
            for branch in branches {
                assert_eq!(undefined(&branch.schema, &mut BTreeSet::new()), [""; 0], "{}", branch.name);
                count += 1;
            }
        }
        assert!(count >= 23, "{count}");
    }

    #[test]
    fn a_type_is_written_out_once_and_named_after_that() {
        let envelope = json!({
            "type": "record", "name": "E", "namespace": "n", "fields": [
                {"name": "first", "type": {"type": "fixed", "name": "Id", "size": 16}},
                {"name": "body", "type": [
                    {"type": "record", "name": "A", "fields": [
                        {"name": "one", "type": ["null", "Id"]},
                        {"name": "two", "type": {"type": "array", "items": "n.Id"}},
                        {"name": "doc", "type": {"type": "string", "logicalType": "x"}},
                    ]},
                ]},
            ],
        });
        let (name, branches) = branches(&envelope).unwrap();
        assert_eq!((name.as_str(), branches.len(), branches[0].index), ("n.E", 1, 0));
        let alone = &branches[0].schema;
        assert_eq!((&alone["name"], &alone["namespace"]), (&json!("A"), &json!("n")));
        let id = json!({"type": "fixed", "name": "Id", "namespace": "n", "size": 16});
        assert_eq!(alone["fields"][0]["type"], json!(["null", id]));
        assert_eq!(alone["fields"][1]["type"], json!({"type": "array", "items": "n.Id"}));
        assert_eq!(alone["fields"][2]["type"], json!({"type": "string", "logicalType": "x"}));
    }

    #[test]
    fn what_is_no_envelope_has_no_branches() {
        for schema in [json!("string"), json!({"type": "record", "name": "A", "fields": []}), json!([1])] {
            assert_eq!(branches(&schema), None);
        }
    }
}
