//! Runs every house rule on this repository. The rules and their own tests live in `tests/tidy/src`.

use std::path::Path;

use tidewheel_tidy::{RULES, Tree};

#[test]
fn the_house_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = Tree::read(&root).expect("the repository can be read");
    assert!(tree.ending("rs").count() > 10, "the walk found no sources below {}", root.display());
    let mut report = String::new();
    for (name, rule) in RULES {
        let violations = rule(&tree);
        if !violations.is_empty() {
            report.push_str(&format!("\n{name}:\n"));
            report.extend(violations.iter().map(|violation| format!("  {violation}\n")));
        }
    }
    assert!(report.is_empty(), "{report}");
}
