//! What differs between two values, field by field.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    /// Its path, such as `waits_for.timers.2.due_at`.
    pub path: String,
    /// What it was; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What it is; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

/// Everything that differs, in the order of paths.
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                compare(&below(name), before.get(name), after.get(name), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for place in 0..before.len().max(after.len()) {
                compare(&below(&place.to_string()), before.get(place), after.get(place), found);
            }
        }
        (before, after) => {
            let path = path.to_owned();
            found.push(Change { path, before: before.cloned(), after: after.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_equal_is_no_change_and_every_other_field_is_named() {
        let before = json!({"a": 1, "b": [1, {"c": 2}], "d": null, "e": {"f": 1}});
        assert_eq!(changes(&before, &before), []);
        let after = json!({"a": 1, "b": [1, {"c": 3}, 4], "e": 5, "g": 6});
        let found: Vec<_> = changes(&before, &after).into_iter().map(|change| change.path).collect();
        assert_eq!(found, ["b.1.c", "b.2", "d", "e", "g"]);
        let first = &changes(&before, &after)[0];
        assert_eq!((&first.before, &first.after), (&Some(json!(2)), &Some(json!(3))));
    }
}
