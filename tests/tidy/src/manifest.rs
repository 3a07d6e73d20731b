//! Reads the few things the rules need out of Cargo.toml files, and the rules about these alone.
//!
//! Understands the subset of TOML this repository writes: one entry a line, arrays over several lines.

use crate::{Tree, Violation};

/// A line of a manifest: the section it is in, its key, its value, its number from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Section without brackets; empty at the top.
    pub section: String,
    /// What is left of the `=`; dotted keys stay dotted.
    pub key: String,
    /// What is right of it; a multi-line array is joined.
    pub value: String,
    /// Line of the key.
    pub line: usize,
}

/// All entries of a manifest.
pub fn entries(text: &str) -> Vec<Entry> {
    let mut section = String::new();
    let mut found: Vec<Entry> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        let line = without_comment(line);
        if line.is_empty() {
            continue;
        }
        if is_open {
            if let Some(last) = found.last_mut() {
                last.value.push_str(line);
                is_open = !line.ends_with(']');
            }
        } else if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).replace('"', "");
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim().to_owned();
            is_open = value.starts_with('[') && !value.ends_with(']');
            let key = key.trim().replace('"', "");
            found.push(Entry { section: section.clone(), key, value, line: index + 1 });
        }
    }
    found
}

fn without_comment(line: &str) -> &str {
    let mut is_text = false;
    for (index, character) in line.char_indices() {
        match character {
            '"' => is_text = !is_text,
            '#' if !is_text => return line[..index].trim(),
            _ => {}
        }
    }
    line.trim()
}

/// A dependency as a manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Name of the package, also when it is renamed.
    pub package: String,
    /// Whether it is for tests and benches only.
    pub is_development: bool,
    /// Line in the manifest.
    pub line: usize,
}

/// The dependencies of a package, of every kind and target.
pub fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    for entry in entries(text) {
        let parts: Vec<&str> = entry.section.split('.').collect();
        let Some(at) = parts.iter().position(|part| part.ends_with("dependencies")) else { continue };
        if parts[0] == "workspace" {
            continue;
        }
        let is_development = parts[at] == "dev-dependencies";
        let name = parts.get(at + 1).copied().unwrap_or_else(|| first_part(&entry.key)).to_owned();
        let package = renamed(&entry).unwrap_or_else(|| name.clone());
        match found.iter_mut().find(|dependency| dependency.package == name) {
            Some(known) if parts.len() > at + 1 || entry.key.contains('.') => known.package = package,
            _ => found.push(Dependency { package, is_development, line: entry.line }),
        }
    }
    found
}

fn first_part(key: &str) -> &str {
    key.split('.').next().unwrap_or(key)
}

fn renamed(entry: &Entry) -> Option<String> {
    let quoted = |text: &str| text.split('"').nth(1).map(str::to_owned);
    if entry.key == "package" || entry.key.ends_with(".package") {
        return quoted(&entry.value);
    }
    let (_, rest) = entry.value.split_once("package")?;
    quoted(rest.trim_start().strip_prefix('=')?)
}

/// The folders of the workspace's members; the root package is the empty text when there is one.
pub fn member_folders(tree: &Tree) -> Vec<String> {
    let Some(text) = tree.text("Cargo.toml") else { return Vec::new() };
    let all = entries(text);
    let mut folders: Vec<String> = all
        .iter()
        .filter(|entry| entry.section == "workspace" && entry.key == "members")
        .flat_map(|entry| entry.value.split('"').skip(1).step_by(2).map(str::to_owned))
        .collect();
    if all.iter().any(|entry| entry.section == "package") {
        folders.push(String::new());
    }
    folders
}

/// The path of a member's manifest.
pub fn manifest_path(folder: &str) -> String {
    if folder.is_empty() { "Cargo.toml".to_owned() } else { format!("{folder}/Cargo.toml") }
}

/// Every member says what it is and takes the workspace's lints.
pub fn members(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for folder in member_folders(tree) {
        let path = manifest_path(&folder);
        let Some(text) = tree.text(&path) else {
            found.push(Violation::new("Cargo.toml", 0, format!("member `{folder}` has no Cargo.toml")));
            continue;
        };
        let all = entries(text);
        let has =
            |section: &str, key: &str| all.iter().any(|entry| entry.section == section && entry.key == key);
        if !has("package", "description") {
            found.push(Violation::new(&path, 0, "add a `description`: what this room is for"));
        }
        let takes_lints = all
            .iter()
            .any(|entry| entry.section == "lints" && entry.key == "workspace" && entry.value == "true")
            || all.iter().any(|entry| entry.key == "lints.workspace" && entry.value == "true");
        if !takes_lints {
            found.push(Violation::new(&path, 0, "add `[lints]` with `workspace = true`"));
        }
    }
    found
}

/// An overflow in a release build must stop, never wrap: offsets and counters are facts.
pub fn release_profile(tree: &Tree) -> Vec<Violation> {
    let Some(text) = tree.text("Cargo.toml") else { return Vec::new() };
    let keeps = entries(text).iter().any(|entry| {
        entry.section == "profile.release" && entry.key == "overflow-checks" && entry.value == "true"
    });
    if keeps {
        return Vec::new();
    }
    vec![Violation::new("Cargo.toml", 0, "keep `overflow-checks = true` in `[profile.release]`")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_dependency_is_seen() {
        let text = "[dependencies]\na = \"1\"\nb.workspace = true\nc = { version = \"1\", package = \"real-c\" }\n\
                    [dev-dependencies]\nd = \"1\" # why\n[target.'cfg(unix)'.dependencies]\ne = \"1\"\n\
                    [dependencies.f]\nversion = \"1\"\npackage = \"real-f\"\n[features]\ng = []\n";
        let names: Vec<_> = dependencies(text).into_iter().map(|dependency| dependency.package).collect();
        assert_eq!(names, ["a", "b", "real-c", "d", "e", "real-f"]);
        assert!(dependencies(text)[3].is_development && !dependencies(text)[2].is_development);
    }

    #[test]
    fn a_member_without_description_or_lints_is_found() {
        let root = "[workspace]\nmembers = [\n    \"log\", # why\n    \"gone\",\n]\n";
        let tree = Tree::of(&[("Cargo.toml", root), ("log/Cargo.toml", "[package]\nname = \"l\"\n")]);
        assert_eq!(members(&tree).len(), 3);
        let log = "[package]\ndescription = \"x\"\n[lints]\nworkspace = true\n";
        let root =
            "[workspace]\nmembers = [\"log\"]\n[package]\ndescription = \"x\"\nlints.workspace = true\n";
        assert_eq!(members(&Tree::of(&[("Cargo.toml", root), ("log/Cargo.toml", log)])), []);
        assert_eq!(member_folders(&Tree::of(&[("Cargo.toml", root)])), ["log", ""]);
    }

    #[test]
    fn a_release_profile_that_wraps_is_found() {
        let wraps = Tree::of(&[("Cargo.toml", "[profile.dev]\noverflow-checks = true\n[profile.release]\n")]);
        assert_eq!(release_profile(&wraps).len(), 1);
        let stops = Tree::of(&[("Cargo.toml", "[profile.release]\noverflow-checks = true\n")]);
        assert_eq!(release_profile(&stops), []);
    }
}
