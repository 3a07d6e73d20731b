//! The alert rules, where no Prometheus is needed to check them: they are YAML, watch metrics that there are, and the
//! operator's guide says what to do about each.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    r#for: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn document(path: &str) -> String {
    std::fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)).expect(path)
}

/// The metrics an expression watches, as they are registered: without what a histogram's series end with.
fn metrics(expression: &str) -> Vec<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| word.starts_with("tidewheel_"));
    metrics
        .map(|metric| {
            ["_bucket", "_count", "_sum"].iter().find_map(|end| metric.strip_suffix(end)).unwrap_or(metric)
        })
        .collect()
}

#[test]
fn every_alert_watches_a_metric_that_there_is_and_is_explained() {
    let rules: Rules = serde_saphyr::from_str(&document("compose/alerts.yaml")).expect("YAML");
    let guide = document("docs/operating.md");
    let mut names = Vec::new();
    for group in rules.groups {
        assert!(!group.name.is_empty());
        for Rule { alert, expr, r#for, labels, annotations } in group.rules {
            assert!(["critical", "warning"].contains(&labels["severity"].as_str()), "{alert}");
            assert!(r#for.ends_with(['s', 'm']), "{alert} waits {}", r#for);
            for text in ["summary", "description"] {
                assert!(annotations.contains_key(text), "{alert} has no {text}");
            }
            assert!(guide.contains(&format!("| `{alert}` |")), "docs/operating.md does not explain {alert}");
            assert!(!metrics(&expr).is_empty(), "{alert} watches nothing");
            for metric in metrics(&expr) {
                assert!(
                    guide.contains(&format!("| `{metric}` |")),
                    "{alert} watches {metric}, which there is not"
                );
            }
            assert!(!names.contains(&alert), "{alert} is there twice");
            names.push(alert);
        }
    }
    assert!(names.len() >= 5, "{names:?}");
}
