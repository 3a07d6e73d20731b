//! The house rules as functions from a [`Tree`] to violations; `tests/tidy.rs` runs them on this repository.
//!
//! What the rules are for is said in `CONTRIBUTING.md`. Formatting and code lints belong to rustfmt and clippy.

pub mod code;
pub mod document;
pub mod manifest;
pub mod mutation;
pub mod operating;
pub mod source;
pub mod tree;
pub mod wall;

pub use tree::{Tree, Violation};

/// Every rule, with the name a failing test shows.
pub const RULES: &[(&str, Rule)] = &[
    ("source files open with `//!`", source::module_docs),
    ("source files stay under 500 lines", source::file_lengths),
    ("no mod.rs", source::no_mod_rs),
    ("no commented-out code", source::no_commented_out_code),
    ("nothing unfinished", source::nothing_unfinished),
    ("crates know only the rooms they may", wall::edges),
    ("vendors are named only in their rooms", wall::vendors),
    ("pure rooms name no clock, randomness, runtime or unordered map", wall::purity),
    ("members have a description and the workspace's lints", manifest::members),
    ("release builds keep overflow checks", manifest::release_profile),
    ("no build but a test's can switch a rule off", mutation::only_in_tests),
    ("every switch has a test in docs/reliability.md", mutation::every_switch_has_a_test),
    ("paths in documents exist", document::paths_exist),
    ("ARCHITECTURE.md names every room", document::rooms_are_named),
    ("the index of decisions is complete", document::decision_index),
    ("README names the system packages the checks install", document::system_packages),
    ("no paths of somebody's machine", document::machine_paths),
    ("the operator's guide lists every metric", operating::metrics_are_listed),
    ("the operator's guide explains every problem code", operating::problem_codes_are_listed),
];

/// One rule: what it finds wrong in a tree.
pub type Rule = fn(&Tree) -> Vec<Violation>;
