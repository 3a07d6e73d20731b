//! `tidewheel replay archive parquet`: writes an archive as columns. How is said in the library.

use std::collections::BTreeMap;

use serde_json::Value;
use tidewheel::config::Config;
use tidewheel_archive::{Archive, ArchiveError, Converted, write_columns};

use crate::args::ParquetArchiveArguments;
use crate::failure::Failure;
use crate::output::{print, table};

/// What became of a partition's log.
#[derive(Default)]
struct Written {
    files: u64,
    new: u64,
    rows: u64,
    bytes: u64,
}

/// Writes what is not there yet, and prints what there is by partition.
pub async fn run(arguments: ParquetArchiveArguments) -> Result<(), Failure> {
    let config = Config::load(arguments.sources())?;
    let Some(from) = &config.archive else {
        let what = "there is no archive: name it with --from, or set `archive`, such as file:///var/archive";
        return Err(Failure::Usage(what.to_owned()));
    };
    let open = |location: &str| Archive::open(location).map_err(|error| Failure::Usage(error.to_string()));
    let (from, into) = (open(from)?, open(&arguments.to)?);
    let mut written = BTreeMap::<(String, u32, String), Written>::new();
    let mut printed = Ok(());
    let each = |range: &Converted| {
        if arguments.json && printed.is_ok() {
            printed = print(&serde_json::to_value(range).unwrap_or(Value::Null).to_string());
        }
        let manifest = &range.manifest;
        let of = (manifest.topic.clone(), manifest.partition, manifest.log_id.to_string());
        let sum = written.entry(of).or_default();
        sum.files += 1;
        sum.new += u64::from(range.is_new);
        sum.rows += manifest.records;
        sum.bytes += manifest.bytes;
    };
    let done = write_columns(&from, &into, arguments.raw, each).await;
    let ranges = done.map_err(|error: ArchiveError| Failure::Failed(error.to_string()))?;
    printed?;
    if ranges == 0 {
        return Err(Failure::Failed(format!(
            "{from} holds nothing yet; `tidewheel replay archive export` seals it"
        )));
    }
    if arguments.json {
        return Ok(());
    }
    let row = |((topic, partition, log_id), written): (&(String, u32, String), &Written)| {
        let numbers = [u64::from(*partition), written.files, written.new, written.rows, written.bytes];
        let numbers = numbers.iter().map(u64::to_string);
        [topic.clone()].into_iter().chain(numbers).chain([log_id.clone()]).collect()
    };
    let rows: Vec<Vec<String>> = written.iter().map(row).collect();
    Ok(print(&table(&["topic", "partition", "files", "new", "rows", "bytes", "log id"], &rows))?)
}
