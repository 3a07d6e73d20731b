//! The drill of every change of schemas, folds and views: archives that past builds made are imported, rebuilt and
//! compared, and hold the runs that they held then. One folder of `archives` for each released schema of workflow events.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tidewheel_schemas::{TopicFamily, registry};

use crate::node::{Node, tidewheel};

type Counts = BTreeMap<String, BTreeMap<String, u64>>;

fn runs(node: &Node, folder: &Path) -> Counts {
    let page = node.json(folder, &["run", "list", "--limit", "1000"]);
    let mut counts = Counts::new();
    for run in page["runs"].as_array().expect("runs") {
        let word = |name: &str| run[name].as_str().expect("a word").to_owned();
        *counts.entry(word("workflow")).or_default().entry(word("status")).or_default() += 1;
    }
    settled(counts)
}

/// A clone works: an order that waited for its payment when it was archived is over a day later, and was not before. Which
/// of both it is depends on when this runs, and says nothing about the archive.
fn settled(mut counts: Counts) -> Counts {
    if let Some(orders) = counts.get_mut("order") {
        let waiting = orders.remove("running").unwrap_or(0);
        *orders.entry("completed".to_owned()).or_default() += waiting;
    }
    counts
}

#[test]
fn archives_of_every_released_schema_are_rebuilt_and_hold_their_runs() {
    let archives = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/archives");
    let released = registry::versions(TopicFamily::WorkflowEvents).map(|schema| format!("v{}", schema.id));
    for version in released {
        let frozen = archives.join(&version);
        let expected = std::fs::read_to_string(frozen.join("runs.json")).expect(&version);
        let expected = settled(serde_json::from_str(&expected).expect("counts of runs"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path();
        let from = format!("file://{}", frozen.join("archive").display());
        let words = ["replay", "archive", "import", "--from", &from, "--data-dir", ".tidewheel"];
        let imported = tidewheel(folder).args(words).output().expect("the command runs");
        assert!(imported.status.success(), "{version}: {}", String::from_utf8_lossy(&imported.stderr));
        let node = Node::start(folder, &[]);
        let began = std::time::Instant::now();
        // The node is ready before its views hold the whole log.
        while runs(&node, folder) != expected && began.elapsed() < std::time::Duration::from_secs(30) {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert_eq!(runs(&node, folder), expected, "{version}");
        let rebuilt = node.run(folder, &["replay", "run", "rebuild", "--cutover"]);
        assert!(rebuilt.status.success(), "{version}: {}", String::from_utf8_lossy(&rebuilt.stderr));
        let status: Value = node.json(folder, &["replay", "status"]);
        assert_eq!(status["active"], 2);
        assert_eq!(runs(&node, folder), expected, "{version}, rebuilt");
    }
}
