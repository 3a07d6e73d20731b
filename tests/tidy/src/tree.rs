//! The files the rules look at, read once. What is wrong with them is said by the rules.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Folders that hold no source of ours. A folder with a `CACHEDIR.TAG` (cargo's target folders) is skipped too.
const SKIPPED_FOLDERS: &[&str] = &[".git", "target", ".tidewheel", "node_modules"];

/// Endings of the files that are read; others count as existing but stay unread.
const READ_ENDINGS: &[&str] = &["rs", "md", "toml", "avsc", "sh", "py", "yml", "yaml", "run", "justfile"];

/// A set of text files by their path relative to the root, with `/` between parts.
#[derive(Debug, Default)]
pub struct Tree {
    texts: BTreeMap<String, String>,
    others: Vec<String>,
}

/// Something a rule found wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The file, relative to the root.
    pub path: String,
    /// The line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl Violation {
    /// A violation at a line (from 1; 0 for the whole file).
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

impl Tree {
    /// Reads the repository below `root`.
    ///
    /// # Errors
    /// When a folder or file cannot be read, with its path in the message.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    /// A tree made of these files: what the rules' own tests plant violations in.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let texts = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self { texts, others: Vec::new() }
    }

    fn read_folder(&mut self, folder: &Path, relative: &str) -> io::Result<()> {
        let name_of = |path: &PathBuf| {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let with_path = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        for entry in fs::read_dir(folder).map_err(|error| with_path(folder, error))? {
            let entry = entry.map_err(|error| with_path(folder, error))?;
            let path = entry.path();
            let name = name_of(&path);
            let relative = if relative.is_empty() { name.clone() } else { format!("{relative}/{name}") };
            let kind = entry.file_type().map_err(|error| with_path(&path, error))?;
            if kind.is_dir() {
                if !SKIPPED_FOLDERS.contains(&name.as_str()) && !path.join("CACHEDIR.TAG").exists() {
                    self.read_folder(&path, &relative)?;
                }
            } else if kind.is_file() && READ_ENDINGS.contains(&name.rsplit('.').next().unwrap_or_default()) {
                match fs::read_to_string(&path) {
                    Ok(text) => drop(self.texts.insert(relative, text)),
                    // Somebody's editor may take a file away while the tests run.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(with_path(&path, error)),
                }
            } else {
                self.others.push(relative);
            }
        }
        Ok(())
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Files whose name ends in `.{ending}` (or is `ending`), in order.
    pub fn ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        self.texts
            .iter()
            .filter(move |(path, _)| {
                path.strip_suffix(ending)
                    .is_some_and(|rest| matches!(rest.chars().last(), None | Some('.' | '/')))
            })
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether there is a file or folder with this path.
    pub fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let inside = |file: &String| {
            file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.texts.keys().any(inside) || self.others.iter().any(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_exists_when_a_file_is_in_it_and_a_prefix_of_a_name_does_not() {
        let tree = Tree::of(&[("log/src/lib.rs", "")]);
        assert!(tree.exists("log/src/lib.rs") && tree.exists("log/src") && tree.exists("log/"));
        assert!(!tree.exists("lo") && !tree.exists("log/src/lib"));
    }

    #[test]
    fn endings_are_whole() {
        let tree = Tree::of(&[("a.rs", ""), ("cars", ""), ("engine/Cargo.toml", ""), ("Cargo.toml", "")]);
        assert_eq!(tree.ending("rs").map(|file| file.0).collect::<Vec<_>>(), ["a.rs"]);
        assert_eq!(tree.ending("Cargo.toml").count(), 2);
    }
}
