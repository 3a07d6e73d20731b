//! The servers' jars: fetched once with Maven into a cache that is kept between runs and shared by parallel processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::LastLines;
use crate::{NativeError, Toolchain};

/// Names the folder for the jars; without it they are in the user's cache folder.
pub const CACHE_VARIABLE: &str = "TIDEWHEEL_NATIVE_CACHE";

/// What one server consists of.
pub(crate) struct Jars {
    /// Names the cached folder; holds the versions, so that another version is another folder.
    pub(crate) name: &'static str,
    /// Group, artifact and version of each dependency.
    pub(crate) coordinates: &'static [(&'static str, &'static str, &'static str)],
}

/// Where the jars are kept: `TIDEWHEEL_NATIVE_CACHE`, or `tidewheel/native` in `XDG_CACHE_HOME` or `~/.cache`.
pub fn cache_folder() -> PathBuf {
    let given =
        |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = given(CACHE_VARIABLE) {
        return folder;
    }
    let user = given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")));
    user.unwrap_or_else(std::env::temp_dir).join("tidewheel/native")
}

impl Jars {
    /// The folder with `jars/` and whatever `prepare` adds, which is given the folder before anybody else can see it.
    pub(crate) fn fetch(
        &self,
        toolchain: &Toolchain,
        prepare: impl FnOnce(&Path) -> Result<(), NativeError>,
    ) -> Result<PathBuf, NativeError> {
        self.fetch_into(&cache_folder(), |partial| {
            self.download(toolchain, partial)?;
            prepare(partial)
        })
    }

    fn fetch_into(
        &self,
        cache: &Path,
        fill: impl FnOnce(&Path) -> Result<(), NativeError>,
    ) -> Result<PathBuf, NativeError> {
        fs::create_dir_all(cache).map_err(NativeError::io("create the folder", cache))?;
        let cache = cache.canonicalize().map_err(NativeError::io("find the folder", cache))?;
        let complete = cache.join(self.name);
        if complete.is_dir() {
            return Ok(complete);
        }
        let lock_path = cache.join(format!("{}.lock", self.name));
        let lock = File::create(&lock_path).map_err(NativeError::io("create", &lock_path))?;
        lock.lock().map_err(NativeError::io("lock", &lock_path))?;
        if complete.is_dir() {
            return Ok(complete);
        }
        let partial = cache.join(format!("{}.partial", self.name));
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(NativeError::io("remove", &partial))?;
        }
        fs::create_dir(&partial).map_err(NativeError::io("create the folder", &partial))?;
        fill(&partial)?;
        fs::rename(&partial, &complete).map_err(NativeError::io("rename", &partial))?;
        Ok(complete)
    }

    fn download(&self, toolchain: &Toolchain, folder: &Path) -> Result<(), NativeError> {
        let pom = folder.join("pom.xml");
        fs::write(&pom, self.pom()).map_err(NativeError::io("write", &pom))?;
        let mut maven = Command::new(&toolchain.maven);
        maven.args([
            "-B",
            "-q",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-DoutputDirectory=jars",
        ]);
        // Maven of a distribution may default to another Java, or to none.
        if let Some(home) =
            toolchain.java.canonicalize().ok().as_deref().and_then(|java| java.parent()?.parent())
        {
            maven.env("JAVA_HOME", home);
        }
        let output = maven
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .map_err(NativeError::io("run", &toolchain.maven))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(NativeError::Download {
            what: self.name,
            last_lines: LastLines::of(&String::from_utf8_lossy(&said)),
        })
    }

    fn pom(&self) -> String {
        let dependencies = self.coordinates.iter().map(|(group, artifact, version)| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>\n"
            )
        });
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n\
             <groupId>tidewheel</groupId><artifactId>native</artifactId><version>1</version>\n\
             <dependencies>\n{}</dependencies>\n</project>\n",
            dependencies.collect::<String>()
        )
    }
}

/// Copies the files of a folder, which has no folders in it.
pub(crate) fn copy_files(from: &Path, to: &Path) -> Result<(), NativeError> {
    fs::create_dir_all(to).map_err(NativeError::io("create the folder", to))?;
    for entry in fs::read_dir(from).map_err(NativeError::io("list", from))? {
        let file = entry.map_err(NativeError::io("list", from))?;
        fs::copy(file.path(), to.join(file.file_name())).map_err(NativeError::io("copy", &file.path()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const JARS: Jars = Jars { name: "thing-1", coordinates: &[("a", "b", "1")] };

    #[test]
    fn jars_are_fetched_once_by_many_at_a_time() {
        let cache = tempfile::tempdir().unwrap();
        let fetched = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let folder = JARS.fetch_into(cache.path(), |partial| {
                        fetched.fetch_add(1, Ordering::Relaxed);
                        fs::write(partial.join("jar"), "").map_err(NativeError::io("write", partial))
                    });
                    assert!(folder.unwrap().join("jar").exists());
                });
            }
        });
        assert_eq!(fetched.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_interrupted_download_is_begun_again() {
        let cache = tempfile::tempdir().unwrap();
        let failed = JARS.fetch_into(cache.path(), |partial| {
            fs::write(partial.join("half"), "").unwrap();
            Err(NativeError::Download { what: JARS.name, last_lines: LastLines::of("no network") })
        });
        assert!(failed.unwrap_err().to_string().contains("no network"));
        let folder = JARS.fetch_into(cache.path(), |_| Ok(())).unwrap();
        assert!(!folder.join("half").exists());
    }

    #[test]
    fn what_maven_says_is_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let maven = folder.path().join("mvn");
        fs::write(&maven, "#!/bin/sh\necho \"[ERROR] no route to $1 $3\"\nexit 1\n").unwrap();
        fs::set_permissions(&maven, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let toolchain = Toolchain { java: "java".into(), java_version: "17".into(), maven };
        let error = JARS.download(&toolchain, folder.path()).unwrap_err().to_string();
        assert!(error.contains("thing-1") && error.contains("no route to -B dependency:"), "{error}");
        let pom = fs::read_to_string(folder.path().join("pom.xml")).unwrap();
        assert!(pom.contains("<artifactId>b</artifactId><version>1</version>"), "{pom}");
    }
}
