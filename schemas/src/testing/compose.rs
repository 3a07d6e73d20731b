//! Composes the `.avsc` files into the schemas that records are written with. The result is frozen when released.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

const NAMESPACE: &str = "tidewheel.v1.";
const FOLDERS: [&str; 4] = ["author", "common", "control", "run"];
const CONFIG_FOLDERS: [&str; 4] = ["author", "common", "control", "config"];

/// The schema `WorkflowEvent` out of `avro/`: the first mention of a type is replaced by its definition, in the
/// order of the text, so that the same files always give the same bytes.
///
/// # Errors
/// When a file cannot be read, has no name, or mentions a type that no file defines.
pub fn workflow_event(avro: &Path) -> io::Result<String> {
    compose(avro, "envelope.avsc", &FOLDERS)
}

/// The schema `ConfigChange`, as [`workflow_event`] makes its own.
///
/// # Errors
/// As [`workflow_event`].
pub fn config_change(avro: &Path) -> io::Result<String> {
    compose(avro, "config-change.avsc", &CONFIG_FOLDERS)
}

fn compose(avro: &Path, top: &str, folders: &[&str]) -> io::Result<String> {
    let mut files = BTreeMap::from([("Author".to_owned(), fs::read_to_string(avro.join("author.avsc"))?)]);
    for folder in folders {
        for entry in fs::read_dir(avro.join(folder))? {
            let path = entry?.path();
            let text = fs::read_to_string(&path)?;
            let json: serde_json::Value = serde_json::from_str(&text)?;
            let name = json["name"].as_str().ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{} has no name", path.display()))
            })?;
            files.insert(name.to_owned(), text);
        }
    }
    let mut composed = String::new();
    let envelope = fs::read_to_string(avro.join(top))?;
    splice(&envelope, "", &files, &mut BTreeSet::new(), &mut composed)?;
    composed.push('\n');
    Ok(composed)
}

fn splice(
    text: &str,
    indent: &str,
    files: &BTreeMap<String, String>,
    defined: &mut BTreeSet<String>,
    out: &mut String,
) -> io::Result<()> {
    let reference = format!("\"{NAMESPACE}");
    for (number, line) in text.trim_end().lines().enumerate() {
        if number > 0 {
            out.push('\n');
            out.push_str(indent);
        }
        let own_indent = &line[..line.len() - line.trim_start().len()];
        let mut rest = line;
        while let Some(at) = rest.find(&reference) {
            let (before, mention) = rest.split_at(at);
            let after_quote = &mention[reference.len()..];
            let Some((name, after)) = after_quote.split_once('"') else { break };
            out.push_str(before);
            let definition = files.get(name).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("no file defines {NAMESPACE}{name}"))
            })?;
            if name == "Author" || defined.insert(name.to_owned()) {
                splice(definition, &format!("{indent}{own_indent}"), files, defined, out)?;
            } else {
                out.push_str(&mention[..mention.len() - after.len()]);
            }
            rest = after;
        }
        out.push_str(rest);
    }
    Ok(())
}
