//! Where an archive lies: a folder of this machine or a bucket, and the few operations the rest needs of it.
//!
//! Credentials come from the environment of the process (as every program for object stores takes them) and appear
//! nowhere else.

use std::fmt;
use std::path::Path as FolderPath;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use url::Url;

use crate::error::ArchiveError;

/// An archive. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    shown: Arc<str>,
}

impl fmt::Display for Archive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown)
    }
}

/// Whether an object was written now or was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    /// It was written.
    Now,
    /// There is one of this name; nothing was written.
    Before,
}

impl Archive {
    /// The archive at `file:///folder` (made if it does not exist) or `s3://bucket/prefix`. The bucket's region, address
    /// and credentials are taken from the usual variables, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and so on. Nothing is asked of a bucket yet.
    ///
    /// # Errors
    /// [`ArchiveError::Location`] for anything else, and for a folder that cannot be made.
    pub fn open(location: &str) -> Result<Self, ArchiveError> {
        let wrong = |what: String| ArchiveError::Location { given: without_secrets(location), what };
        let url = Url::parse(location).map_err(|error| wrong(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong(
                "credentials and parameters do not belong into it but into the environment".to_owned(),
            ));
        }
        match url.scheme() {
            "file" => {
                let folder = url
                    .to_file_path()
                    .map_err(|()| wrong("it names no folder of this machine".to_owned()))?;
                std::fs::create_dir_all(&folder).map_err(|error| wrong(error.to_string()))?;
                Self::folder(&folder).map_err(|error| wrong(error.to_string()))
            }
            "s3" => {
                let bucket = url.host_str().filter(|host| !host.is_empty());
                let bucket = bucket.ok_or_else(|| wrong("it names no bucket".to_owned()))?;
                let store = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_allow_http(std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true"))
                    .build()
                    .map_err(|error| wrong(error.to_string()))?;
                let prefix = Path::from_url_path(url.path()).map_err(|error| wrong(error.to_string()))?;
                Ok(Self::on(Arc::new(PrefixStore::new(store, prefix)), location.trim_end_matches('/')))
            }
            other => Err(wrong(format!("`{other}:` is not known"))),
        }
    }

    fn folder(folder: &FolderPath) -> Result<Self, object_store::Error> {
        // What is named as sealed must survive a loss of power: the log may be trimmed next.
        let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self::on(Arc::new(store), &format!("file://{}", folder.display())))
    }

    /// An archive on a store that was opened elsewhere; `shown` is how it is called in messages.
    pub fn on(store: Arc<dyn ObjectStore>, shown: &str) -> Self {
        Self { store, shown: shown.into() }
    }

    fn failed(what: String) -> impl FnOnce(object_store::Error) -> ArchiveError {
        move |error| ArchiveError::Store { what, source: Arc::new(error) }
    }

    /// Writes an object as a whole, unless there is one of its name.
    pub(crate) async fn create(&self, name: &str, bytes: Bytes) -> Result<Created, ArchiveError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&Path::from(name), PutPayload::from(bytes), options).await {
            Ok(_) => Ok(Created::Now),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Before),
            Err(error) => Err(Self::failed(format!("writing {self}/{name}"))(error)),
        }
    }

    /// Reads an object as a whole; `None` if there is none.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Bytes>, ArchiveError> {
        let what = || format!("reading {self}/{name}");
        let found = match self.store.get(&Path::from(name)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Self::failed(what())(error)),
        };
        found.bytes().await.map(Some).map_err(Self::failed(what()))
    }

    /// The size of an object in bytes; `None` if there is none.
    pub(crate) async fn size(&self, name: &str) -> Result<Option<u64>, ArchiveError> {
        match self.store.head(&Path::from(name)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Self::failed(format!("looking for {self}/{name}"))(error)),
        }
    }

    /// The names below a folder, `""` being everything, in no order.
    pub(crate) async fn names(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        let prefix = (!folder.is_empty()).then(|| Path::from(folder));
        let names = self.store.list(prefix.as_ref()).map_ok(|found| found.location.to_string());
        names.try_collect().await.map_err(Self::failed(format!("listing {self}/{folder}")))
    }
}

/// What was given, without what stands where credentials would.
fn without_secrets(location: &str) -> String {
    let Ok(mut url) = Url::parse(location) else { return "(unreadable)".to_owned() };
    // Neither can fail where there is something to remove.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_none_is_refused_without_showing_secrets() {
        for (given, word) in [
            ("archive", "relative"),
            ("ftp://a/b", "`ftp:`"),
            ("s3:///prefix", "bucket"),
            ("s3://key:geheim@bucket/a", "environment"),
            ("s3://bucket/a?secret=geheim", "environment"),
        ] {
            let error = Archive::open(given).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("geheim"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_object_is_written_once_and_never_again() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open(&format!("file://{}/deep/er", folder.path().display())).unwrap();
        assert_eq!(archive.read("a/b.json").await.unwrap(), None);
        assert_eq!(archive.create("a/b.json", Bytes::from_static(b"1")).await.unwrap(), Created::Now);
        assert_eq!(archive.create("a/b.json", Bytes::from_static(b"2")).await.unwrap(), Created::Before);
        assert_eq!(archive.read("a/b.json").await.unwrap().unwrap(), "1");
        assert_eq!(archive.names("a").await.unwrap(), ["a/b.json"]);
        assert_eq!(archive.names("").await.unwrap(), ["a/b.json"]);
        assert!(archive.names("b").await.unwrap().is_empty());
    }
}
