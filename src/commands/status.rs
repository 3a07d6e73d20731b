//! `tidewheel status`: a server's partitions, their owners and how far the views are behind the log.

use serde_json::Value;

use crate::args::ServerArguments;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{cell, fields, print, table};

/// Columns in the order people read them; what a server says beyond them follows.
const COLUMNS: &[&str] = &["partition", "claim", "claimed_by", "log_end", "applied", "lag", "fold"];

/// Asks once and prints it.
pub async fn run(arguments: &ServerArguments) -> Result<(), Failure> {
    let answer = Client::new(&arguments.server)?.get("/v1/status", &[]).await?;
    if arguments.json {
        print(&answer.text)?;
    } else {
        print(&text(&answer.json()?))?;
    }
    Ok(())
}

fn text(status: &Value) -> String {
    let rows = status.get("partitions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut columns: Vec<&str> =
        COLUMNS.iter().copied().filter(|name| rows.iter().any(|row| row.get(name).is_some())).collect();
    for name in rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys()) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let row = |row: &Value| columns.iter().map(|name| cell(row.get(name))).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    let others: Vec<(&str, String)> = status
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "partitions")
        .map(|(name, value)| (name.as_str(), cell(Some(value))))
        .collect();
    let partitions = table(&columns, &rows);
    if others.is_empty() { partitions } else { format!("{}\n\n{partitions}", fields(&others)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn partitions_are_a_table_and_the_rest_stands_above() {
        let status =
            json!({"node": "n", "partitions": [{"partition": 0, "lag": 2, "more": true, "log_end": 9}]});
        assert_eq!(text(&status), "node  n\n\nPARTITION  LOG_END  LAG  MORE\n0          9        2    true");
    }
}
