//! Rules about the operator's guide: it lists exactly the metrics and the problem codes that there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::split;
use crate::{Tree, Violation};

/// The guide.
const GUIDE: &str = "docs/operating.md";
/// The table of problem codes.
const CODES: &str = "api/src/code.rs";
/// The heading below which the guide lists problem codes.
const CODES_HEADING: &str = "## Problem codes";
/// What registers a metric.
const REGISTERS: &[&str] = &["metrics::counter!(", "metrics::gauge!(", "metrics::histogram!("];

/// The guide's catalogue of metrics names those that the code registers, and no others.
pub fn metrics_are_listed(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut registered: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    for (path, text) in tree.ending("rs") {
        for (line, name) in metrics(text) {
            match name {
                Some(name) => drop(registered.entry(name).or_insert((path, line))),
                None => found.push(Violation::new(path, line, "name the metric where it is registered")),
            }
        }
    }
    let listed = first_cells(tree.text(GUIDE).unwrap_or_default(), None);
    let listed: BTreeSet<&str> = listed.into_iter().filter(|name| name.starts_with("tidewheel_")).collect();
    for (name, (path, line)) in &registered {
        if !listed.contains(name.as_str()) {
            found.push(Violation::new(path, *line, format!("{GUIDE} does not list the metric {name}")));
        }
    }
    for name in listed {
        if !registered.contains_key(name) {
            found.push(Violation::new(GUIDE, 0, format!("nobody registers the metric {name}")));
        }
    }
    found
}

/// The guide says of every problem code what it means and what to do.
pub fn problem_codes_are_listed(tree: &Tree) -> Vec<Violation> {
    let Some(text) = tree.text(CODES) else { return vec![Violation::new(CODES, 0, "is missing")] };
    let known: BTreeSet<&str> = text.lines().filter_map(code_of).collect();
    let listed: BTreeSet<&str> =
        first_cells(tree.text(GUIDE).unwrap_or_default(), Some(CODES_HEADING)).into_iter().collect();
    let missing = known.difference(&listed);
    let missing = missing.map(|code| Violation::new(GUIDE, 0, format!("say what `{code}` means")));
    let unknown = listed.difference(&known);
    let unknown = unknown.map(|code| Violation::new(GUIDE, 0, format!("there is no problem code `{code}`")));
    missing.chain(unknown).collect()
}

/// The code in a line such as `Stale = "stale", CONFLICT, "…";`.
fn code_of(line: &str) -> Option<&str> {
    let (variant, rest) = line.trim().split_once(" = \"")?;
    let (code, rest) = rest.split_once("\", ")?;
    let is_variant = variant.chars().all(char::is_alphanumeric);
    let has_status = rest.starts_with(|first: char| first.is_ascii_uppercase());
    (is_variant && has_status).then_some(code)
}

/// Where metrics are registered, by line, with their names if they stand there.
fn metrics(text: &str) -> Vec<(usize, Option<String>)> {
    let (raw, code): (Vec<char>, Vec<char>) = (text.chars().collect(), split(text).code.chars().collect());
    let mut found = Vec::new();
    for register in REGISTERS {
        let register: Vec<char> = register.chars().collect();
        for at in 0..code.len().saturating_sub(register.len()) {
            if code[at..].starts_with(&register) {
                let line = raw[..at].iter().filter(|character| **character == '\n').count() + 1;
                found.push((line, literal(&raw[at + register.len()..])));
            }
        }
    }
    found
}

/// The text that begins here.
fn literal(raw: &[char]) -> Option<String> {
    let start = raw.iter().position(|character| !character.is_whitespace())?;
    let (quote, rest) = raw[start..].split_first()?;
    let end = rest.iter().position(|character| *character == '"')?;
    (*quote == '"').then(|| rest[..end].iter().collect())
}

/// What stands in back-ticks in the first cells of a document's tables, below a heading if one is given.
fn first_cells<'a>(text: &'a str, heading: Option<&str>) -> Vec<&'a str> {
    let mut is_below = heading.is_none();
    let mut cells = Vec::new();
    for line in text.lines() {
        if let Some(heading) = heading
            && line.starts_with("## ")
        {
            is_below = line == heading;
        }
        let cell = line.strip_prefix("| `").and_then(|rest| rest.split_once('`'));
        if let (true, Some((cell, _))) = (is_below, cell) {
            cells.push(cell);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_that_is_not_listed_and_one_that_is_not_there_are_found() {
        let code = "//! a\nfn a() {\n    metrics::counter!(\n        \"tidewheel_a_total\", \"x\" => y);\n    \
                    // metrics::gauge!(\"tidewheel_comment\")\n    metrics::gauge!(\"tidewheel_b\").set(1.0);\n}\n";
        let guide =
            "| metric | kind |\n|---|---|\n| `tidewheel_a_total` | counter |\n| `tidewheel_c` | gauge |\n";
        let tree = Tree::of(&[("a/src/lib.rs", code), (GUIDE, guide)]);
        let found: Vec<_> =
            metrics_are_listed(&tree).into_iter().map(|found| (found.path, found.line)).collect();
        assert_eq!(found, [("a/src/lib.rs".to_owned(), 6), (GUIDE.to_owned(), 0)]);
    }

    #[test]
    fn a_metric_whose_name_stands_elsewhere_is_found() {
        let tree = Tree::of(&[("a.rs", "fn a() { metrics::counter!(NAME).increment(1); }\n"), (GUIDE, "")]);
        assert_eq!(metrics_are_listed(&tree).len(), 1);
    }

    #[test]
    fn codes_are_compared_both_ways_below_their_heading() {
        let codes = "codes! {\n    Stale = \"stale\", CONFLICT, \"Old\";\n    Void = \"void\", CONFLICT, \"No\";\n}\n";
        let guide = "| `elsewhere` | x |\n## Problem codes\n| `stale` | 409 | old |\n| `gone` | 410 | x |\n## More\n| `x` | y |\n";
        let tree = Tree::of(&[(CODES, codes), (GUIDE, guide)]);
        let found: Vec<_> = problem_codes_are_listed(&tree).into_iter().map(|found| found.message).collect();
        assert_eq!(found, ["say what `void` means", "there is no problem code `gone`"]);
    }
}
