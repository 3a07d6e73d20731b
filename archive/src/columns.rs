//! An archive as Parquet: one file of columns for each sealed range, for whoever asks a log questions with SQL. What the
//! columns are is in `row`, how a file is made in `file`.
//!
//! A file and its manifest lie under the names of their range and are written once. What is there and fits is left, so
//! that whoever is stopped goes on by beginning again.

mod file;
mod json;
mod row;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidewheel_schemas::LogId;

use self::file::ColumnFile;
use crate::catalog::Catalog;
use crate::container::Reader;
use crate::error::ArchiveError;
use crate::location::{Archive, Created};
use crate::manifest::{Manifest, checksum, log_folder};

/// The version of columns and manifests. Others are refused.
pub const COLUMNS_FORMAT: u32 = 1;
/// Records read at once.
const READ_RECORDS: usize = 1_000;
const READ_BYTES: usize = 4 << 20;

/// The manifest of a file of columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnsManifest {
    /// [`COLUMNS_FORMAT`].
    pub format: u32,
    /// The partition's log.
    pub log_id: LogId,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The first offset.
    pub from: i64,
    /// One past the last offset.
    pub to: i64,
    /// How many rows: `to - from`.
    pub records: u64,
    /// The file's name, beside the manifest.
    pub file: String,
    /// The file's size.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The name of the sealed file that it was made of.
    pub source: String,
    /// SHA-256 of that file.
    pub source_sha256: String,
    /// Whether there is a column of the values' bytes.
    pub raw: bool,
}

/// A range as columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Converted {
    /// The manifest of its file.
    #[serde(flatten)]
    pub manifest: ColumnsManifest,
    /// Whether the file was written now; it was there before otherwise.
    pub is_new: bool,
}

/// The name of a range, for its file of columns and the manifest of it.
fn name(range: &Manifest, ending: &str) -> String {
    format!("{}/{:020}-{:020}{ending}", log_folder(&range.place(), range.log_id), range.from, range.to)
}

/// Writes every sealed range of the archive as columns below `into`, and tells of each. With `raw` there is a column with
/// the bytes of the values, too. In memory is one range at a time.
///
/// # Errors
/// When the archive cannot be read, `into` cannot be written, or holds something else under a name that is needed.
pub async fn write_columns(
    archive: &Archive,
    into: &Archive,
    raw: bool,
    mut each: impl FnMut(&Converted),
) -> Result<u64, ArchiveError> {
    let catalog = Catalog::load(archive, None).await?;
    let mut ranges = 0;
    for range in catalog.chains.iter().flat_map(|chain| &chain.ranges) {
        each(&convert(archive, into, range, raw).await?);
        ranges += 1;
    }
    Ok(ranges)
}

async fn convert(
    archive: &Archive,
    into: &Archive,
    range: &Manifest,
    raw: bool,
) -> Result<Converted, ArchiveError> {
    let manifest_name = name(range, ".parquet.json");
    let before = match into.read(&manifest_name).await? {
        Some(text) => Some(fitting(into, &manifest_name, &text, range, raw)?),
        None => None,
    };
    let file_name = name(range, ".parquet");
    if let Some(manifest) = &before
        && into.size(&file_name).await? == Some(manifest.bytes)
    {
        return Ok(Converted { manifest: manifest.clone(), is_new: false });
    }
    let reader = archive.open_range(range).await?;
    let packing = {
        let range = range.clone();
        // Packing is work for a processor, not for a thread that others wait on.
        tokio::task::spawn_blocking(move || pack(reader, &range, raw))
    };
    let packed = packing.await.map_err(|_| ArchiveError::Log(tidewheel_log::LogError::Closed))?;
    let object = || format!("{archive}/{}", range.file_name());
    let packed = packed.map_err(|what| ArchiveError::Columns { object: object(), what })?;
    let manifest = ColumnsManifest {
        format: COLUMNS_FORMAT,
        log_id: range.log_id,
        topic: range.topic.clone(),
        partition: range.partition,
        from: range.from,
        to: range.to,
        records: range.records,
        file: name_alone(&file_name),
        bytes: packed.len() as u64,
        sha256: checksum(&packed),
        source: range.file.clone(),
        source_sha256: range.sha256.clone(),
        raw,
    };
    // Whoever was stopped between the two left a file of the same bytes, if it was a build of the same version.
    if let Created::Before = into.create(&file_name, packed.clone()).await?
        && into.read(&file_name).await?.is_none_or(|found| found != packed)
    {
        let what =
            "it is another file than this build makes of its source, and no manifest is beside it".to_owned();
        return Err(ArchiveError::Foreign { object: format!("{into}/{file_name}"), what });
    }
    if before.as_ref().is_some_and(|before| *before != manifest) {
        let what = "its file was gone, and this build makes another one of the same source".to_owned();
        return Err(ArchiveError::Foreign { object: format!("{into}/{manifest_name}"), what });
    }
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    into.create(&manifest_name, text.into()).await?;
    Ok(Converted { manifest, is_new: true })
}

fn name_alone(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

/// The manifest that lies there, if it is of the same range, the same source and the same columns.
fn fitting(
    into: &Archive,
    name: &str,
    text: &[u8],
    range: &Manifest,
    raw: bool,
) -> Result<ColumnsManifest, ArchiveError> {
    let foreign =
        |what: &str| ArchiveError::Foreign { object: format!("{into}/{name}"), what: what.to_owned() };
    let manifest: ColumnsManifest =
        serde_json::from_slice(text).map_err(|_| foreign("it is no manifest of columns of this version"))?;
    if manifest.format != COLUMNS_FORMAT {
        return Err(foreign("it has columns of another version"));
    }
    if manifest.source_sha256 != range.sha256 {
        return Err(foreign("it was made of another file"));
    }
    if manifest.raw != raw {
        return Err(foreign("it was written with `raw` turned the other way, which changes the columns"));
    }
    Ok(manifest)
}

fn pack(mut reader: Reader, range: &Manifest, raw: bool) -> Result<Bytes, String> {
    let mut file = ColumnFile::new(range, raw)?;
    loop {
        let records = reader.read(READ_RECORDS, READ_BYTES).map_err(|malformed| malformed.0)?;
        if records.is_empty() {
            return file.finish();
        }
        for record in &records {
            file.push(record)?;
        }
    }
}
