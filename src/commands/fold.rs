//! `tidewheel fold raise`: the rules of a newer release come into force in one datacenter.

use serde_json::{Value, json};

use crate::args::RaiseArguments;
use crate::client::{Client, random_key};
use crate::failure::Failure;
use crate::output::{print, table};

/// Asks a server to raise it and prints what became of each partition.
pub async fn raise(arguments: &RaiseArguments) -> Result<(), Failure> {
    let client = Client::at(&arguments.server)?;
    let body = json!({ "to": arguments.version }).to_string();
    let answer = client.post("/v1/fold", &[], body, &random_key()).await?;
    let said = answer.json()?;
    if arguments.server.json {
        print(&answer.text)?;
    } else {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rows: Vec<Vec<String>> = said["partitions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|partition| ["partition", "before", "outcome"].map(|name| text(&partition[name])).to_vec())
            .collect();
        print(&table(&["partition", "before", "outcome"], &rows))?;
    }
    if answer.status == 202 {
        return Err(Failure::Failed("not every partition was raised in time; run it again".to_owned()));
    }
    Ok(())
}
