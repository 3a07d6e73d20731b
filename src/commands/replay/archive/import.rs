//! `tidewheel replay archive import`: makes a clone. How is said in the library.

use jiff::Timestamp;
use tidewheel::clone::{CloneError, clone_from};
use tidewheel::config::Config;
use tidewheel::telemetry;
use tidewheel_archive::{ArchiveError, AsOf, CloneIdentity, Imported};

use crate::args::ImportArchiveArguments;
use crate::failure::Failure;
use crate::output::{print, table};

/// Imports, and prints what each partition became.
pub async fn run(arguments: ImportArchiveArguments) -> Result<(), Failure> {
    let as_of = as_of(arguments.as_of.as_deref())?;
    let identity = if arguments.same_log { CloneIdentity::Same } else { CloneIdentity::Fresh };
    let config = Config::load(arguments.sources())?;
    telemetry::start_logging(&config)?;
    let done = clone_from(&config, &arguments.from, as_of, identity).await.map_err(|error| match error {
        CloneError::Ephemeral | CloneError::Archive(ArchiveError::Width { .. }) => {
            Failure::Usage(error.to_string())
        }
        error => Failure::Failed(error.to_string()),
    })?;
    if arguments.json {
        let text = serde_json::to_string(&done).map_err(|error| Failure::Failed(error.to_string()))?;
        return Ok(print(&text)?);
    }
    Ok(print(&shown(&done))?)
}

fn shown(done: &[Imported]) -> String {
    let is_wider = done.iter().any(|done| done.partition != done.from_partition);
    let row = |done: &Imported| {
        let numbers = [i64::from(done.from_partition), done.records, done.left_out, done.void];
        let numbers = numbers.iter().zip([is_wider, true, true, is_wider]);
        let numbers = numbers.filter(|(_, is_shown)| *is_shown).map(|(number, _)| number.to_string());
        let mut row = vec![done.topic.clone(), done.partition.to_string()];
        row.extend(numbers);
        row.push(done.log_id.to_string());
        row
    };
    let rows: Vec<Vec<String>> = done.iter().map(row).collect();
    if is_wider {
        table(&["topic", "partition", "of", "records", "left out", "void", "log id"], &rows)
    } else {
        table(&["topic", "partition", "records", "left out", "log id"], &rows)
    }
}

fn as_of(text: Option<&str>) -> Result<AsOf, Failure> {
    let Some(text) = text else { return Ok(AsOf::Newest) };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(AsOf::Time(time.as_microsecond()));
    }
    text.parse().map(AsOf::Position).map_err(|error: tidewheel_schemas::ParsePositionError| {
        Failure::Usage(format!(
            "--as-of {text}: neither a time such as 2026-01-31T00:00:00Z nor a position: {error}"
        ))
    })
}
