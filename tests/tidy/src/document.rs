//! Rules about documents: what they name must be there, and what is there must be named.

use crate::code::split;
use crate::manifest::member_folders;
use crate::{Tree, Violation};

/// Documents whose back-ticked paths are promises.
const MAPS: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Endings that make a back-ticked word without `/` a path.
const FILE_ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".avsc", ".sh"];

/// First parts of things with a `/` in them that are no paths: media types.
const NOT_PATHS: &[&str] = &["application/", "text/"];

/// Lines outside fenced blocks, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        (!is_fence && !is_fenced).then_some((index + 1, line))
    })
}

/// The path a back-ticked text promises, up to its first placeholder.
fn promised_path(ticked: &str) -> Option<String> {
    let is_path_text = ticked.chars().all(|c| c.is_ascii_alphanumeric() || "._-/<>*".contains(c));
    let has_ending =
        FILE_ENDINGS.iter().any(|ending| ticked.ends_with(ending) && ticked.len() > ending.len());
    let is_path = is_path_text
        && !ticked.starts_with('/')
        && (ticked.contains('/') || has_ending)
        && !NOT_PATHS.iter().any(|start| ticked.starts_with(start));
    if !is_path {
        return None;
    }
    let known: Vec<&str> = ticked.split('/').take_while(|part| !part.contains(['<', '*'])).collect();
    Some(known.join("/")).filter(|path| !path.is_empty())
}

/// Back-ticked paths and relative links of the maps lead somewhere.
pub fn paths_exist(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for path in MAPS {
        let Some(text) = tree.text(path) else {
            found.push(Violation::new(path, 0, "is missing"));
            continue;
        };
        for (line, words) in prose(text) {
            let ticked = words.split('`').skip(1).step_by(2).filter_map(promised_path);
            let linked = words.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
            let linked = linked.filter(|link| !link.is_empty() && !link.contains(':')).map(str::to_owned);
            for promised in ticked.chain(linked) {
                if !tree.exists(&promised) {
                    found.push(Violation::new(path, line, format!("`{promised}` does not exist")));
                }
            }
        }
    }
    found
}

/// Every member of the workspace has its place on the map.
pub fn rooms_are_named(tree: &Tree) -> Vec<Violation> {
    let text = tree.text("ARCHITECTURE.md").unwrap_or_default();
    let folders = member_folders(tree).into_iter().filter(|folder| !folder.is_empty());
    folders
        .filter(|folder| !text.contains(&format!("`{folder}/`")))
        .map(|folder| Violation::new("ARCHITECTURE.md", 0, format!("does not name the room `{folder}/`")))
        .collect()
}

/// The index of decisions lists every decision once, and no decision has another's number.
pub fn decision_index(tree: &Tree) -> Vec<Violation> {
    let index = "docs/adr/README.md";
    let text = tree.text(index).unwrap_or_default();
    let mut found = Vec::new();
    let mut last_number = "";
    for (path, _) in tree.ending("md") {
        let Some(name) = path.strip_prefix("docs/adr/").filter(|name| *name != "README.md") else { continue };
        let number = name.split('-').next().unwrap_or_default();
        if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            found.push(Violation::new(path, 0, "name it 0001-what-was-decided.md"));
        } else if number == last_number {
            found.push(Violation::new(path, 0, format!("another decision has the number {number}")));
        }
        last_number = number;
        if text.matches(&format!("]({name})")).count() != 1 {
            found.push(Violation::new(index, 0, format!("list {name} once")));
        }
    }
    for (line, words) in prose(text) {
        for link in words.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.ends_with(".md") && !link.contains(':') && !tree.exists(&format!("docs/adr/{link}")) {
                found.push(Violation::new(index, line, format!("{link} does not exist")));
            }
        }
    }
    found
}

/// Whoever follows the README has every system package that the checks install.
pub fn system_packages(tree: &Tree) -> Vec<Violation> {
    let Some(script) = tree.text(".ci/run") else {
        return vec![Violation::new(".ci/run", 0, "is missing")];
    };
    let readme = tree.text("README.md").unwrap_or_default();
    let list = script.split("system_packages=(").nth(1).and_then(|rest| rest.split(')').next());
    let Some(list) = list else {
        return vec![Violation::new(".ci/run", 0, "list the packages as `system_packages=(…)`")];
    };
    list.split_whitespace()
        .filter(|package| !readme.split([' ', '\n', '`', ',']).any(|word| word == *package))
        .map(|package| Violation::new("README.md", 0, format!("name the system package {package}")))
        .collect()
}

/// Documents and comments hold for every machine.
pub fn machine_paths(tree: &Tree) -> Vec<Violation> {
    const STARTS: &[&str] = &["/home/", "/root/", "/work/", "/Users/"];
    let mut found = Vec::new();
    let documents = ["md", "toml", "avsc", "sh", "py", "yml", "yaml", "run", "justfile"];
    let plain =
        documents.iter().flat_map(|ending| tree.ending(ending)).map(|(path, text)| (path, text.to_owned()));
    let comments = tree.ending("rs").map(|(path, text)| (path, split(text).comments));
    for (path, text) in plain.chain(comments) {
        for (index, line) in text.lines().enumerate() {
            let is_start =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}>~".contains(c));
            let hit = STARTS.iter().find(|start| line.match_indices(**start).any(|(at, _)| is_start(at)));
            if let Some(start) = hit {
                found.push(Violation::new(path, index + 1, format!("`{start}…` is a path of one machine")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(readme: &str) -> Tree {
        Tree::of(&[
            ("README.md", readme),
            ("ARCHITECTURE.md", ""),
            ("CONTRIBUTING.md", ""),
            ("log/src/lib.rs", ""),
            ("docs/a.md", ""),
        ])
    }

    #[test]
    fn a_path_that_leads_nowhere_is_found() {
        let lines = "`log/src/gone.rs`\n`log/`\n`log/source/<name>.rs`\n`log/src/<name>.rs`\n`gone.md`\n[a](docs/b.md)\n";
        let found: Vec<_> = paths_exist(&maps(lines)).into_iter().map(|found| found.line).collect();
        assert_eq!(found, [1, 3, 5, 6]);
    }

    #[test]
    fn routes_media_types_code_and_fenced_blocks_are_no_paths() {
        let lines = "`/v1/runs` `POST /v1/x` `application/json` `Node::builder()` [x](https://a.b/c)\n```sh\n`gone/x`\n```\n";
        assert_eq!(paths_exist(&maps(lines)), []);
    }

    #[test]
    fn a_room_missing_from_the_map_is_found() {
        let root = "[workspace]\nmembers = [\"log\", \"store\"]\n";
        let tree = Tree::of(&[("Cargo.toml", root), ("ARCHITECTURE.md", "`log/` keeps facts")]);
        assert_eq!(rooms_are_named(&tree).len(), 1);
    }

    #[test]
    fn an_unlisted_a_missing_and_a_twice_numbered_decision_are_found() {
        let tree = Tree::of(&[
            ("docs/adr/README.md", "[1](0001-a.md)\n[3](0003-gone.md)\n"),
            ("docs/adr/0001-a.md", ""),
            ("docs/adr/0001-b.md", ""),
        ]);
        assert_eq!(decision_index(&tree).len(), 3);
    }

    #[test]
    fn a_package_the_readme_does_not_name_is_found() {
        let tree =
            Tree::of(&[(".ci/run", "system_packages=(curl git)\n"), ("README.md", "apt install curl\n")]);
        assert_eq!(system_packages(&tree), [Violation::new("README.md", 0, "name the system package git")]);
    }

    #[test]
    fn a_machine_path_is_found_in_documents_and_comments_but_not_in_texts() {
        let tree = Tree::of(&[
            ("a.md", "see /home/x\nsrc/work/y\n"),
            ("a.rs", "// /work/x\nlet a = \"/root/x\";\n"),
        ]);
        assert_eq!(machine_paths(&tree).len(), 2);
    }
}
