//! Rules about single Rust files: how they open, how long they are, what must not be in them.

use crate::code::{lines_with_word, split};
use crate::{Tree, Violation};

/// Longest source file, in lines; tests and benches included.
pub const FILE_LINES_MAX: usize = 500;

/// Every source file opens by saying what lives in it and what does not.
pub fn module_docs(tree: &Tree) -> Vec<Violation> {
    tree.ending("rs")
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| Violation::new(path, 1, "open with `//!`: what lives here and what does not"))
        .collect()
}

/// No source file is longer than [`FILE_LINES_MAX`].
pub fn file_lengths(tree: &Tree) -> Vec<Violation> {
    let length = |(path, text): (&str, &str)| {
        let lines = text.lines().count();
        (lines > FILE_LINES_MAX).then(|| {
            Violation::new(path, lines, format!("{lines} lines, at most {FILE_LINES_MAX}: split it by noun"))
        })
    };
    tree.ending("rs").filter_map(length).collect()
}

/// A module is `foo.rs` with `foo/` next to it.
pub fn no_mod_rs(tree: &Tree) -> Vec<Violation> {
    tree.ending("mod.rs")
        // In a package's own `tests/`, cargo would take `common.rs` for a test binary.
        .filter(|(path, _)| path.ends_with("/mod.rs") && !path.contains("tests/"))
        .map(|(path, _)| Violation::new(path, 0, "name the file after its folder and put it next to it"))
        .collect()
}

/// Comments hold reasons, not code.
pub fn no_commented_out_code(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.ending("rs") {
        for (index, line) in split(text).comments.lines().enumerate() {
            let line = line.trim();
            let is_plain = line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!");
            if is_plain && looks_like_code(line.trim_start_matches('/').trim()) {
                found.push(Violation::new(path, index + 1, "delete code instead of commenting it out"));
            }
        }
    }
    found
}

fn looks_like_code(comment: &str) -> bool {
    let opens = comment.ends_with(" {") || comment == "}" || comment == "});" || comment.starts_with("#[");
    let statement = comment.ends_with(';')
        && (comment.contains(" = ")
            || comment.contains('(')
            || comment.starts_with("use ")
            || comment.starts_with("return")
            || comment.starts_with("mod ")
            || comment.starts_with("pub "));
    opens || statement
}

/// Nothing is left for later where a reader would take it for done.
pub fn nothing_unfinished(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in tree.ending("rs") {
        let split = split(text);
        for macro_name in ["todo", "unimplemented"] {
            for line in lines_with_word(&split.code, macro_name) {
                let call = format!("{macro_name}!");
                if split.code.lines().nth(line - 1).is_some_and(|code| code.contains(&call)) {
                    found.push(Violation::new(path, line, format!("`{call}`: answer with a typed error")));
                }
            }
        }
        for (index, line) in split.code.lines().enumerate() {
            if line.contains("#[ignore") {
                found.push(Violation::new(path, index + 1, "an ignored test proves nothing: make it run"));
            }
        }
        for word in ["FIXME", "XXX", "TODO"] {
            for line in lines_with_word(&split.comments, word) {
                let message = format!("`{word}`: do it, or say it in docs/ROADMAP.md");
                found.push(Violation::new(path, line, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_module_docs_is_found() {
        let tree = Tree::of(&[("a.rs", "use std::fmt;\n"), ("b.rs", "//! B.\n")]);
        assert_eq!(module_docs(&tree).len(), 1);
        assert_eq!(module_docs(&tree)[0].path, "a.rs");
    }

    #[test]
    fn a_file_of_501_lines_is_found_and_one_of_500_is_not() {
        let tree = Tree::of(&[("a.rs", &"x\n".repeat(501)), ("b.rs", &"x\n".repeat(500))]);
        assert_eq!(
            file_lengths(&tree),
            [Violation::new("a.rs", 501, "501 lines, at most 500: split it by noun")]
        );
    }

    #[test]
    fn a_mod_rs_is_found() {
        let tree = Tree::of(&[("a/mod.rs", ""), ("a/nomod.rs", ""), ("a/tests/common/mod.rs", "")]);
        assert_eq!(no_mod_rs(&tree).len(), 1);
    }

    #[test]
    fn commented_out_code_is_found_and_prose_is_not() {
        let code = "// let a = 1;\n// if a {\n// }\n// call(a);\n// use std::fmt;\n";
        assert_eq!(no_commented_out_code(&Tree::of(&[("a.rs", code)])).len(), 5);
        let prose = "// First this;\n// then that (see `x`).\n/// let a = 1;\n//! if a {\nlet s = \"// let a = 1;\";\n";
        assert_eq!(no_commented_out_code(&Tree::of(&[("a.rs", prose)])), []);
    }

    #[test]
    fn unfinished_work_is_found_and_talk_of_it_in_texts_is_not() {
        let bad = "fn a() { todo!() }\nfn b() { unimplemented!() }\n#[ignore = \"slow\"]\n// FIXME later\n// XXX\n// TODO\n";
        assert_eq!(nothing_unfinished(&Tree::of(&[("a.rs", bad)])).len(), 6);
        let good = "let todo = \"todo!\"; // todo!\nlet text = \"FIXME\";\n";
        assert_eq!(nothing_unfinished(&Tree::of(&[("a.rs", good)])), []);
    }
}
