//! `tidewheel replay archive export --offline`: seals the log of a configuration whose processes are all stopped. How is
//! said in the library.

use serde_json::{Value, json};
use tidewheel::config::Config;
use tidewheel::seal::{SealError, seal};
use tidewheel::telemetry;
use tidewheel_archive::Progress;

use crate::args::ExportArchiveArguments;
use crate::failure::Failure;
use crate::output::print;

/// Seals, and gives the lines of the report as a node does.
pub async fn run(arguments: &ExportArchiveArguments) -> Result<Vec<Value>, Failure> {
    let config = Config::load(arguments.sources())?;
    telemetry::start_logging(&config)?;
    let until_us = arguments.until.map(|time| time.as_microsecond());
    let is_json = arguments.server.json;
    let each = |sealed: &Progress| {
        if !is_json {
            let Progress { topic, partition, from, to, until, .. } = sealed;
            eprintln!("{topic}[{partition}]: sealed offsets {from} to {to} of {until}");
        }
    };
    let done = seal(&config, until_us, each).await.map_err(|error| match error {
        SealError::Ephemeral | SealError::NoArchive => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.to_string()),
    })?;
    let mut lines = Vec::new();
    for exported in done {
        let mut line = serde_json::to_value(exported).map_err(|error| Failure::Failed(error.to_string()))?;
        line["kind"] = json!("exported");
        if is_json {
            print(&line.to_string())?;
        }
        lines.push(line);
    }
    Ok(lines)
}
