//! A server's loaded classes, archived after a first run beside its jars: Java then starts twice as fast.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::{NativeError, Toolchain};

/// What a server does about its archive.
#[derive(Debug, Clone)]
pub(crate) enum Classes {
    /// There is none.
    Plain,
    /// Writes it when it ends.
    Learn(PathBuf),
    /// Reads it.
    Learned(PathBuf),
}

impl Classes {
    /// The archive of these jars and this Java; where there is none yet, `learn` has to run a server that writes it.
    /// One that cannot be written is no error, because servers run without.
    pub(crate) fn of(
        jars: &Path,
        toolchain: &Toolchain,
        learn: impl FnOnce(&Self) -> Result<(), NativeError>,
    ) -> Result<Self, NativeError> {
        let archive = jars.join(format!("classes-{}.jsa", toolchain.java_version));
        if !archive.exists() {
            let lock_path = jars.join("classes.lock");
            let lock = File::create(&lock_path).map_err(NativeError::io("create", &lock_path))?;
            lock.lock().map_err(NativeError::io("lock", &lock_path))?;
            if !archive.exists() {
                let partial = archive.with_extension("partial");
                let _ = fs::remove_file(&partial);
                if learn(&Self::Learn(partial.clone())).is_err() {
                    // What failed will be told when a server that is wanted fails.
                    return Ok(Self::Plain);
                }
                if !partial.exists() {
                    // This Java writes none; an empty one says that it need not be tried again.
                    fs::write(&partial, "").map_err(NativeError::io("write", &partial))?;
                }
                fs::rename(&partial, &archive).map_err(NativeError::io("rename", &partial))?;
            }
        }
        let length = fs::metadata(&archive).map_err(NativeError::io("read", &archive))?.len();
        Ok(if length == 0 { Self::Plain } else { Self::Learned(archive) })
    }

    /// For Java.
    pub(crate) fn flag(&self) -> Option<OsString> {
        let (flag, path) = match self {
            Self::Plain => return None,
            Self::Learn(path) => ("-XX:ArchiveClassesAtExit=", path),
            Self::Learned(path) => ("-XX:SharedArchiveFile=", path),
        };
        let mut flag = OsString::from(flag);
        flag.push(path);
        Some(flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_learned_once_and_again_only_after_a_failed_start() {
        let toolchain = Toolchain { java: "java".into(), java_version: "17.0.1".into(), maven: "mvn".into() };
        let never = |_: &Classes| panic!("learned again");
        let write = |classes: &Classes| {
            let Classes::Learn(path) = classes else { panic!("{classes:?}") };
            fs::write(path, "classes").map_err(NativeError::io("write", path))
        };
        let fail = |_: &Classes| Err(NativeError::Options("no"));
        let good = tempfile::tempdir().unwrap();
        assert!(matches!(Classes::of(good.path(), &toolchain, fail), Ok(Classes::Plain)));
        assert!(matches!(Classes::of(good.path(), &toolchain, write), Ok(Classes::Learned(_))));
        assert!(matches!(Classes::of(good.path(), &toolchain, never), Ok(Classes::Learned(_))));
        let without = tempfile::tempdir().unwrap();
        assert!(matches!(Classes::of(without.path(), &toolchain, |_| Ok(())), Ok(Classes::Plain)));
        assert!(matches!(Classes::of(without.path(), &toolchain, never), Ok(Classes::Plain)));
    }
}
