//! Whether this machine has the Java and the Maven that the servers need, and what tests do when it has not.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What to do in tests without Java or Maven: `require` makes it a failure, anything else and nothing a skipped test.
pub const CLUSTER_VARIABLE: &str = "TIDEWHEEL_CLUSTER";

/// The version of Java on which both servers run: Kafka 4 needs at least 17, Cassandra 5 knows none above it.
const JAVA_VERSION: u32 = 17;

/// The programs that fetch and run the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The program `java`, version 17.
    pub java: PathBuf,
    /// What it says of its version.
    pub java_version: String,
    /// The program `mvn`.
    pub maven: PathBuf,
}

impl Toolchain {
    /// The program `keytool` that belongs to this Java.
    pub(crate) fn keytool(&self) -> PathBuf {
        self.java.with_file_name("keytool")
    }
}

/// What this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No Java at all.
    #[error("there is no Java: install Java 17 (Debian: openjdk-17-jre-headless), or set JAVA_HOME")]
    Java,
    /// Java of another version.
    #[error("Java 17 is needed and {} is version {found}: install Java 17 and set JAVA_HOME", path.display())]
    JavaVersion {
        /// Where the other one is.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// No Maven.
    #[error("there is no Maven (the program mvn): install it (Debian: maven)")]
    Maven,
}

/// Looks for Java 17 (`JAVA_HOME`, `PATH`, then where Linux distributions install it) and Maven (`PATH`).
///
/// # Errors
/// What is missing and what to install.
pub fn available() -> Result<Toolchain, Missing> {
    let mut candidates: Vec<_> =
        env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java")).into_iter().collect();
    candidates.extend(on_path("java"));
    candidates.extend(installed_java());
    let (java, java_version) = choose_java(candidates, version_of)?;
    Ok(Toolchain { java, java_version, maven: on_path("mvn").ok_or(Missing::Maven)? })
}

/// For tests that need servers: the toolchain; or `None`, after one line on standard error that says which test is
/// skipped and why.
///
/// With `TIDEWHEEL_CLUSTER=skip` there is none for anybody.
///
/// # Panics
/// Where something is missing and `TIDEWHEEL_CLUSTER` is `require`.
pub fn available_or_skip(test: &str) -> Option<Toolchain> {
    let wanted = env::var_os(CLUSTER_VARIABLE);
    if wanted.as_ref().is_some_and(|value| value == "skip") {
        eprintln!("skipped: {test}: {CLUSTER_VARIABLE}=skip");
        return None;
    }
    let required = wanted.is_some_and(|value| value == "require");
    match available() {
        Ok(toolchain) => Some(toolchain),
        Err(missing) => {
            assert!(!required, "{test} must run because {CLUSTER_VARIABLE}=require, but {missing}");
            eprintln!("skipped: {test}: {missing}");
            None
        }
    }
}

fn choose_java(
    candidates: Vec<PathBuf>,
    version_of: impl Fn(&Path) -> Option<String>,
) -> Result<(PathBuf, String), Missing> {
    let mut missing = Missing::Java;
    for path in candidates {
        let Some(found) = version_of(&path) else { continue };
        if major(&found) == Some(JAVA_VERSION) {
            return Ok((path, found));
        }
        if missing == Missing::Java {
            missing = Missing::JavaVersion { path, found };
        }
    }
    Err(missing)
}

/// The program of that name that a shell would run.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// Java 17 where distributions put it when another version is the default.
fn installed_java() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/usr/lib/jvm") else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().contains("17"))
        .map(|path| path.join("bin/java"))
        .collect();
    found.sort();
    found
}

/// The quoted version in the first line of `java -version`.
fn version_of(java: &Path) -> Option<String> {
    let output = Command::new(java).arg("-version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.lines().find(|line| line.contains(" version \""))?.split('"').nth(1)?;
    output.status.success().then(|| version.to_owned())
}

/// 17 of `17.0.15`, 8 of `1.8.0_402`.
fn major(version: &str) -> Option<u32> {
    let mut numbers = version.split(['.', '-', '_', '+']).map(str::parse);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_17_is_taken_wherever_it_stands_and_another_version_is_named() {
        let version_of = |path: &Path| match path.to_str()? {
            "old" => Some("1.8.0_402".to_owned()),
            "new" => Some("21.0.2".to_owned()),
            "right" => Some("17.0.15".to_owned()),
            _ => None,
        };
        let choose = |names: &[&str]| choose_java(names.iter().map(PathBuf::from).collect(), version_of);
        assert_eq!(choose(&["gone", "new", "right"]), Ok(("right".into(), "17.0.15".into())));
        assert_eq!(choose(&["gone"]), Err(Missing::Java));
        let wrong = Missing::JavaVersion { path: "new".into(), found: "21.0.2".into() };
        assert_eq!(choose(&["gone", "new", "old"]), Err(wrong));
    }

    #[test]
    fn a_version_is_read_in_both_of_its_forms() {
        for (text, version) in [("17", 17), ("17.0.15", 17), ("17-ea", 17), ("1.8.0_402", 8), ("21.0.2", 21)]
        {
            assert_eq!(major(text), Some(version), "{text}");
        }
        assert_eq!(major("seventeen"), None);
    }
}
