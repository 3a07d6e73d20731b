//! Rules about the switches that break rules: only tests have them, and docs/reliability.md names each with a test.

use std::collections::BTreeSet;

use crate::manifest::{entries, manifest_path, member_folders};
use crate::{Tree, Violation};

/// The document.
const DOCUMENT: &str = "docs/reliability.md";
/// Where the switches are declared.
const SWITCHES: &str = "schemas/src/mutation.rs";
/// The rooms that declare the feature; the others get it from these.
const DECLARING: &[&str] = &["schemas", "store"];

/// No build but a test's can switch a rule off: the feature is asked for below `tests/` and by dev-dependencies
/// alone, is nobody's default, and nobody depends on the simulator, which has it.
pub fn only_in_tests(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for folder in member_folders(tree).iter().filter(|folder| !folder.starts_with("tests/")) {
        let path = manifest_path(folder);
        for entry in entries(tree.text(&path).unwrap_or_default()) {
            let is_for_tests = entry.section.contains("dev-dependencies");
            let is_declared = entry.section == "features"
                && entry.key == "mutation"
                && DECLARING.contains(&folder.as_str());
            if entry.key.contains("tidewheel-sim") && !entry.section.starts_with("workspace") {
                let message = "the simulator can break rules: nothing may depend on it";
                found.push(Violation::new(&path, entry.line, message));
            } else if (entry.key.contains("mutation") || entry.value.contains("mutation"))
                && !is_for_tests
                && !is_declared
            {
                let message = "the feature `mutation` breaks rules: only tests may ask for it";
                found.push(Violation::new(&path, entry.line, message));
            }
        }
    }
    found
}

/// The ticked words of a text that are names of tests or switches.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |word: &str| word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    text.split('`').skip(1).step_by(2).filter(move |word| word.contains('_') && is_name(word))
}

/// A rule's row of the document: its line, its tests, its switches.
fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<&str>, Vec<&str>)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').collect();
        let [_, _, tests, switches] = cells[..] else { return None };
        Some((index + 1, names(tests).collect(), names(switches).collect()))
    })
}

fn declared(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let name = line.trim().strip_suffix("\",")?.split_once(" = \"")?.1;
        Some((index + 1, name))
    })
}

/// Every test that the document names exists; every switch stands in a row with a test, and every row's switch
/// exists.
pub fn every_switch_has_a_test(tree: &Tree) -> Vec<Violation> {
    let Some(text) = tree.text(DOCUMENT) else {
        return vec![Violation::new(DOCUMENT, 0, "is missing")];
    };
    let switches: Vec<_> = declared(tree.text(SWITCHES).unwrap_or_default()).collect();
    let functions: BTreeSet<&str> = tree
        .ending("rs")
        .flat_map(|(_, source)| source.split("fn ").skip(1))
        .filter_map(|rest| rest.split('(').next())
        .collect();
    let mut found = Vec::new();
    let mut held = Vec::new();
    for (line, tests, broken) in rows(text) {
        for test in tests.iter().filter(|test| !functions.contains(*test)) {
            found.push(Violation::new(DOCUMENT, line, format!("there is no test `{test}`")));
        }
        for switch in &broken {
            if !switches.iter().any(|(_, name)| name == switch) {
                found.push(Violation::new(DOCUMENT, line, format!("there is no switch `{switch}`")));
            } else if tests.is_empty() {
                found.push(Violation::new(DOCUMENT, line, format!("name a test that notices `{switch}`")));
            }
        }
        held.extend(broken);
    }
    for (line, name) in switches.iter().filter(|(_, name)| !held.contains(name)) {
        found.push(Violation::new(SWITCHES, *line, format!("{DOCUMENT} has no row for `{name}`")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_could_break_rules_is_found() {
        let root = "[workspace]\nmembers = [\"schemas\", \"engine\", \"tests/sim\"]\n[workspace.dependencies]\ntidewheel-sim = { path = \"tests/sim\" }\n";
        let asks = "tidewheel-schemas = { workspace = true, features = [\"mutation\"] }\n";
        let engine = format!(
            "[dependencies]\n{asks}tidewheel-sim.workspace = true\n[dev-dependencies]\n{asks}[features]\ndefault = [\"tidewheel-schemas/mutation\"]\n"
        );
        let tree = Tree::of(&[
            ("Cargo.toml", root),
            ("schemas/Cargo.toml", "[features]\nmutation = []\n"),
            ("engine/Cargo.toml", &engine),
            ("tests/sim/Cargo.toml", &format!("[dependencies]\n{asks}")),
        ]);
        let lines: Vec<_> = only_in_tests(&tree).into_iter().map(|found| (found.path, found.line)).collect();
        assert_eq!(lines, [2, 3, 7].map(|line| ("engine/Cargo.toml".to_owned(), line)));
    }

    #[test]
    fn a_switch_without_a_row_and_a_test_that_is_gone_are_found() {
        let document = "| Rule | Execution | Tests | Switch |\n|---|---|---|---|\n\
                        | a | b | `it_holds` | `rule_off` |\n| a | b | `it_is_gone` | |\n| a | b | | `other_off` |\n| a | b | | `no_such` |\n";
        let tree = Tree::of(&[
            (DOCUMENT, document),
            (
                SWITCHES,
                "    RuleOff = \"rule_off\",\n    OtherOff = \"other_off\",\n    Third = \"third_off\",\n",
            ),
            ("engine/tests/a.rs", "#[test]\nfn it_holds() {}\n"),
        ]);
        let found = every_switch_has_a_test(&tree);
        let places: Vec<_> = found.iter().map(|found| (found.path.as_str(), found.line)).collect();
        assert_eq!(places, [(DOCUMENT, 4), (DOCUMENT, 5), (DOCUMENT, 6), (SWITCHES, 3)]);
    }
}
