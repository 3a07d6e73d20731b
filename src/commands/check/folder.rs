//! What a node on one machine needs: a folder it may write to, room in it, an address.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use tidewheel::check::Finding;
use tidewheel::config::Config;

/// Free bytes below which somebody should know, and below which a node should not be started.
const FREE_BYTES_WARNING: u64 = 4 << 30;
const FREE_BYTES_ERROR: u64 = 64 << 20;

/// Looks.
pub fn inspect(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(
        "configuration",
        "a node on one machine: its log and its store are folders, no server is needed",
    )];
    if config.ephemeral {
        findings.push(Finding::warning("folder", "none: everything is in memory and gone with the process"));
    } else {
        findings.extend(folder(&config.data_dir));
    }
    findings.push(match TcpListener::bind(config.listen) {
        Ok(_) => Finding::ok(format!("address {}", config.listen), "free"),
        Err(error) => {
            let what = format!("{error}; a node may be running there already");
            Finding::warning(format!("address {}", config.listen), what)
        }
    });
    findings
}

fn folder(folder: &Path) -> Vec<Finding> {
    let subject = format!("folder {}", folder.display());
    let existing = existing(folder);
    let mut findings = Vec::new();
    if !existing.is_dir() {
        return vec![Finding::error(subject, format!("{} is no folder", existing.display()))];
    }
    // A file without a name, gone when it is closed: nothing is left behind, whatever happens.
    match tempfile::tempfile_in(&existing) {
        Ok(_) if existing == folder => findings.push(Finding::ok(subject.clone(), "it can be written to")),
        Ok(_) => findings.push(Finding::ok(subject.clone(), "not there yet, and can be made")),
        Err(error) => {
            let what = format!("{} cannot be written to: {error}", existing.display());
            findings.push(Finding::error(subject.clone(), what));
        }
    }
    match rustix::fs::statvfs(&existing) {
        Ok(room) => findings.push(room_in(&subject, room.f_bavail.saturating_mul(room.f_frsize))),
        Err(error) => {
            findings.push(Finding::warning(subject, format!("its free room cannot be told: {error}")))
        }
    }
    findings
}

/// The folder, or the first above it that exists.
fn existing(folder: &Path) -> PathBuf {
    let above = folder.ancestors().find(|above| !above.as_os_str().is_empty() && above.exists());
    above.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

fn room_in(subject: &str, free: u64) -> Finding {
    let subject = format!("disk of {subject}");
    let what = format!("{} MiB are free", free >> 20);
    if free < FREE_BYTES_ERROR {
        Finding::error(subject, format!("{what}; a log that finds none takes no appends"))
    } else if free < FREE_BYTES_WARNING {
        Finding::warning(subject, format!("{what}; the log is kept for ever and grows"))
    } else {
        Finding::ok(subject, what)
    }
}

#[cfg(test)]
mod tests {
    use tidewheel::check::Level;

    use super::*;

    #[test]
    fn looking_leaves_nothing_behind() {
        let parent = tempfile::tempdir().unwrap();
        let wanted = parent.path().join("a/b");
        let found = folder(&wanted);
        assert_eq!(found[0].level, Level::Ok, "{}", found[0]);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
        std::fs::create_dir_all(&wanted).unwrap();
        assert!(folder(&wanted)[0].what.contains("can be written"));
        assert_eq!(std::fs::read_dir(&wanted).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_an_error() {
        let parent = tempfile::tempdir().unwrap();
        let wanted = parent.path().join("file");
        std::fs::write(&wanted, "").unwrap();
        for wanted in [wanted.clone(), wanted.join("below")] {
            let found = folder(&wanted);
            assert_eq!((found.len(), found[0].level), (1, Level::Error), "{}", found[0]);
        }
    }

    #[test]
    fn little_room_is_told_before_there_is_none() {
        assert_eq!(room_in("folder x", 100 << 30).level, Level::Ok);
        assert_eq!(room_in("folder x", 1 << 30).level, Level::Warning);
        assert_eq!(room_in("folder x", 1 << 20).level, Level::Error);
    }
}
