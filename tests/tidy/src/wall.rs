//! The walls between rooms: who may depend on whom, where vendors may be named, what pure rooms must not name.

use crate::code::{lines_with_word, split};
use crate::manifest::{dependencies, manifest_path, member_folders};
use crate::{Tree, Violation};

/// What a room may depend on.
struct Wall {
    /// Folder of the package; empty for the root package.
    folder: &'static str,
    /// Packages of this workspace it may depend on, without the `tidewheel-` prefix.
    may: &'static [&'static str],
    /// Further ones its tests may depend on.
    tests_may: &'static [&'static str],
    /// Why not more.
    reason: &'static str,
}

const ANY: &[&str] = &["*"];

/// One line per room. A new edge is a decision: change the table and say why in the same commit.
const WALLS: &[Wall] = &[
    Wall { folder: "schemas", may: &[], tests_may: &[], reason: "the contract knows nobody" },
    Wall {
        folder: "log",
        may: &["schemas", "folder"],
        tests_may: &["native"],
        reason: "facts are kept without knowing what they do",
    },
    Wall {
        folder: "store",
        may: &["schemas", "folder"],
        tests_may: &["native"],
        reason: "rows are kept without knowing what they mean",
    },
    Wall { folder: "folder", may: &[], tests_may: &[], reason: "a lock knows nothing of what it guards" },
    Wall { folder: "engine", may: &["schemas"], tests_may: &[], reason: "the rules do no IO" },
    Wall {
        folder: "api",
        may: &["schemas", "engine"],
        tests_may: &[],
        reason: "answers are made of facts and verdicts; where they come from is their routes' business",
    },
    Wall {
        folder: "archive",
        may: &["schemas", "engine", "log"],
        tests_may: &["sdk"],
        reason: "it keeps records; only which pasts are consistent it asks the fold",
    },
    Wall {
        folder: "engine/runtime",
        may: &["schemas", "engine", "log", "store", "projector"],
        tests_may: &["sdk"],
        reason: "the owner reads views through the projector's loader and never speaks HTTP",
    },
    Wall {
        folder: "sdk",
        may: &["schemas", "engine"],
        tests_may: &[],
        reason: "a workflow's author builds no log, store or server",
    },
    Wall {
        folder: "projector",
        may: &["schemas", "engine", "log", "store", "api"],
        tests_may: &[],
        reason: "views follow from the log alone; nobody tells the projector anything else",
    },
    Wall {
        folder: "ingest",
        may: &["schemas", "engine", "log", "api"],
        tests_may: &["store", "projector"],
        reason: "the left edge appends and follows the log; it never reads or writes a view",
    },
    Wall {
        folder: "replay",
        may: &["schemas", "engine", "runtime", "log", "store", "projector", "api", "ingest"],
        tests_may: &["sdk"],
        reason: "it refolds with the projector's code, and fills generations as the configuration its process follows says",
    },
    Wall {
        folder: "tests/sim",
        may: &["schemas", "engine", "runtime", "log", "store", "projector", "replay", "sdk"],
        tests_may: &[],
        reason: "it drives processes without their HTTP faces, and nobody depends on it",
    },
    Wall {
        folder: "compose/native",
        may: &["folder"],
        tests_may: &[],
        reason: "it starts other people's servers and knows nothing of what is kept in them",
    },
    Wall {
        folder: "tests/cluster",
        may: ANY,
        tests_may: ANY,
        reason: "it holds every room against real servers, and nobody depends on it",
    },
    Wall { folder: "tests/tidy", may: &[], tests_may: &[], reason: "it judges the others" },
    Wall { folder: "", may: ANY, tests_may: ANY, reason: "the door knows every room" },
    Wall { folder: "bench", may: ANY, tests_may: ANY, reason: "it measures every room" },
];

/// Crates with a room of their own, and where they may be named.
const VENDORS: &[(&str, &[&str])] = &[
    ("rdkafka", &["log"]),
    ("scylla", &["store"]),
    ("fjall", &["store"]),
    ("object_store", &["archive"]),
    ("parquet", &["archive"]),
    ("apache_avro", &["schemas"]),
    ("axum", &["api", "ingest", "projector", "replay", "src"]),
    ("utoipa", &["api", "ingest", "projector", "replay", "src"]),
];

/// Rooms without clock, randomness, runtime and unordered maps.
const PURE_ROOMS: &[&str] = &["engine/src/", "schemas/src/"];

const IMPURE_WORDS: &[(&str, &str)] = &[
    ("tokio", "effects are returned as data; `engine/runtime` does them"),
    ("SystemTime", "time comes in as an argument"),
    ("Instant", "time comes in as an argument"),
    ("HashMap", "its order differs from run to run: use BTreeMap"),
    ("HashSet", "its order differs from run to run: use BTreeSet"),
    ("rand", "randomness comes in as an argument"),
    ("getrandom", "randomness comes in as an argument"),
    ("new_v4", "ids come in as arguments"),
    ("now_v7", "ids come in as arguments"),
];

/// Dependencies stay on the right side of their wall, and every member has one.
pub fn edges(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for folder in member_folders(tree) {
        let path = manifest_path(&folder);
        let Some(wall) = WALLS.iter().find(|wall| wall.folder == folder) else {
            let message =
                "a new room: give it a line in WALLS (tests/tidy/src/wall.rs) and in ARCHITECTURE.md";
            found.push(Violation::new(&path, 0, message));
            continue;
        };
        let text = tree.text(&path).unwrap_or_default();
        for dependency in dependencies(text) {
            let Some(room) = dependency.package.strip_prefix("tidewheel-") else { continue };
            let allows = |list: &[&str]| list == ANY || list.contains(&room);
            // A package names itself to switch on its own features in its tests.
            let is_itself = text.contains(&format!("name = \"{}\"", dependency.package));
            let tests_allow = dependency.is_development && (is_itself || allows(wall.tests_may));
            if !allows(wall.may) && !tests_allow {
                let message = format!("must not know `tidewheel-{room}`: {}", wall.reason);
                found.push(Violation::new(&path, dependency.line, message));
            }
        }
    }
    found
}

/// Vendors are named in their rooms alone, in code and in manifests.
pub fn vendors(tree: &Tree) -> Vec<Violation> {
    let is_outside = |path: &str, rooms: &[&str]| {
        // Whole-system tests, benches and examples stand outside the house.
        let guests = ["tests", "bench", "examples"];
        !rooms.iter().chain(&guests).any(|room| path.starts_with(&format!("{room}/")))
    };
    let mut found = Vec::new();
    for (path, text) in tree.ending("rs") {
        let code = split(text).code;
        for (vendor, rooms) in VENDORS.iter().filter(|(_, rooms)| is_outside(path, rooms)) {
            for line in lines_with_word(&code, vendor) {
                let message = format!("`{vendor}` is named only in {}", rooms.join(", "));
                found.push(Violation::new(path, line, message));
            }
        }
    }
    for folder in member_folders(tree) {
        let path = manifest_path(&folder);
        for dependency in dependencies(tree.text(&path).unwrap_or_default()) {
            let name = dependency.package.replace('-', "_");
            for (vendor, rooms) in VENDORS {
                // The root package's code lives in src/, so its manifest counts as part of it.
                let room = if folder.is_empty() { "src/".to_owned() } else { path.clone() };
                if name == *vendor && is_outside(&room, rooms) {
                    let message = format!("`{vendor}` is a dependency only of {}", rooms.join(", "));
                    found.push(Violation::new(&path, dependency.line, message));
                }
            }
        }
    }
    found
}

/// Pure rooms name nothing that makes a replay differ.
pub fn purity(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in
        tree.ending("rs").filter(|(path, _)| PURE_ROOMS.iter().any(|room| path.starts_with(room)))
    {
        let code = split(text).code;
        for (word, instead) in IMPURE_WORDS {
            found.extend(
                lines_with_word(&code, word)
                    .map(|line| Violation::new(path, line, format!("`{word}` in a pure room: {instead}"))),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(folder: &str, manifest: &str) -> Tree {
        let root = format!("[workspace]\nmembers = [\"{folder}\"]\n");
        Tree::of(&[("Cargo.toml", &root), (&format!("{folder}/Cargo.toml"), manifest)])
    }

    #[test]
    fn an_edge_that_points_back_is_found() {
        let back = house(
            "engine",
            "[dependencies]\ntidewheel-schemas.workspace = true\ntidewheel-log.workspace = true\n",
        );
        assert_eq!(edges(&back).len(), 1);
        assert_eq!(edges(&back)[0].line, 3);
        assert_eq!(edges(&house("engine", "[dependencies]\ntidewheel-schemas.workspace = true\n")), []);
    }

    #[test]
    fn tests_may_know_more_only_where_the_table_says_so() {
        let manifest = "[dev-dependencies]\ntidewheel-projector.workspace = true\n";
        assert_eq!(edges(&house("ingest", manifest)), []);
        assert_eq!(edges(&house("log", manifest)).len(), 1);
    }

    #[test]
    fn tests_may_switch_on_features_of_their_own_package() {
        let manifest =
            "[package]\nname = \"tidewheel-log\"\n[dev-dependencies]\ntidewheel-log = { path = \".\" }\n";
        assert_eq!(edges(&house("log", manifest)), []);
    }

    #[test]
    fn a_room_without_a_wall_is_found() {
        assert_eq!(edges(&house("attic", "")).len(), 1);
    }

    #[test]
    fn a_vendor_outside_its_room_is_found() {
        let tree = Tree::of(&[
            ("log/src/kafka.rs", "use rdkafka::X;"),
            ("engine/src/a.rs", "// rdkafka\nuse rdkafka::X;"),
            ("src/wire.rs", "let scylla = \"scylla\"; use axum::Router;"),
        ]);
        let found: Vec<_> = vendors(&tree).into_iter().map(|found| (found.path, found.line)).collect();
        assert_eq!(found, [("engine/src/a.rs".to_owned(), 2), ("src/wire.rs".to_owned(), 1)]);
        assert_eq!(vendors(&house("ingest", "[dependencies]\nscylla = \"1\"\naxum = \"1\"\n")).len(), 1);
    }

    #[test]
    fn an_impure_word_in_the_rules_is_found_and_the_runtime_may_use_it() {
        let bad = "use std::time::SystemTime;\nuse std::collections::HashMap;\nlet a = rand::random();\ntokio::spawn(x);\n";
        let tree = Tree::of(&[("engine/src/a.rs", bad), ("engine/runtime/src/a.rs", bad)]);
        assert_eq!(purity(&tree).len(), 4);
        assert_eq!(purity(&Tree::of(&[("engine/src/a.rs", "//! No tokio.\nlet operand = \"rand\";")])), []);
    }
}
