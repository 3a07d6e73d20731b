//! `tidewheel replay diff`: what changed in a run between two places of the log.

use serde_json::Value;

use super::inspect::{history, place, read};
use crate::args::DiffArguments;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{fields, print, table};

/// Looks, and shows.
pub async fn run(arguments: &DiffArguments) -> Result<(), Failure> {
    let client = Client::at(&arguments.at.server)?;
    let (namespace, run_id) = (&arguments.at.namespace, arguments.run_id);
    let mut query = vec![("from", arguments.from.as_str())];
    query.extend(arguments.to.as_deref().map(|to| ("to", to)));
    let path = format!("/v1/namespaces/{namespace}/runs/{run_id}/past/diff");
    let answer = client.get(&path, &query).await?;
    if arguments.at.server.json {
        return Ok(print(&answer.text)?);
    }
    let said = answer.json()?;
    print(&fields(&[("from", place(&said["from"])), ("to", place(&said["to"]))]))?;
    let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    let changes = said["changes"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |change: &Value| {
        let path = change["path"].as_str().filter(|path| !path.is_empty()).unwrap_or("(the run)");
        vec![path.to_owned(), shown(change.get("before")), shown(change.get("after"))]
    };
    let rows: Vec<_> = changes.iter().map(row).collect();
    print(&format!("\n{}", table(&["field", "before", "after"], &rows)))?;
    print(&format!("\n{}", history(&said)))?;
    Ok(print(&read(&said))?)
}
