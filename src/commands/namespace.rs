//! `tidewheel namespace`: namespaces on a server, through its HTTP API.

use serde_json::{Value, json};

use crate::args::{CreateNamespaceArguments, NamespaceCommand, ServerArguments};
use crate::client::{Client, random_key};
use crate::failure::Failure;
use crate::output::{cell, print, table};

/// Does what the command line asks.
pub async fn run(command: NamespaceCommand) -> Result<(), Failure> {
    match command {
        NamespaceCommand::Create(arguments) => create(&arguments).await,
        NamespaceCommand::List(server) => list(&server).await,
    }
}

async fn create(arguments: &CreateNamespaceArguments) -> Result<(), Failure> {
    let mut body = json!({ "name": arguments.name });
    if let Some(home) = &arguments.home {
        body["home"] = json!(home);
    }
    let client = Client::at(&arguments.server)?;
    let answer = client.post("/v1/namespaces", &[], body.to_string(), &random_key()).await?;
    if arguments.server.json {
        return Ok(print(&answer.text)?);
    }
    let namespace = answer.json()?;
    let rows = [row(&namespace)];
    Ok(print(&table(&["namespace", "home", "created_at", "created_by"], &rows))?)
}

async fn list(server: &ServerArguments) -> Result<(), Failure> {
    let answer = Client::at(server)?.get("/v1/namespaces", &[]).await?;
    if server.json {
        return Ok(print(&answer.text)?);
    }
    let page = answer.json()?;
    let namespaces = page.get("namespaces").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let rows: Vec<_> = namespaces.iter().map(row).collect();
    Ok(print(&table(&["namespace", "home", "created_at", "created_by"], &rows))?)
}

fn row(namespace: &Value) -> Vec<String> {
    ["name", "home", "created_at", "created_by"].iter().map(|name| cell(namespace.get(name))).collect()
}
