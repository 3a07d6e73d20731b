//! `tidewheel token`: access tokens on a server, through its HTTP API. The first one is made in `bootstrap`.

mod bootstrap;

use serde_json::{Map, Value, json};

use crate::args::{
    CreateTokenArguments, ListTokensArguments, RevokeTokenArguments, RotateTokenArguments, ServerArguments,
    TokenCommand,
};
use crate::client::{Answer, Client, random_key};
use crate::failure::Failure;
use crate::output::{cell, fields, print, table};

/// Does what the command line asks.
pub async fn run(command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(arguments) => create(&arguments).await,
        TokenCommand::List(arguments) => list(&arguments).await,
        TokenCommand::Rotate(arguments) => rotate(&arguments).await,
        TokenCommand::Revoke(arguments) => revoke(&arguments).await,
        TokenCommand::Bootstrap(arguments) => bootstrap::run(arguments).await,
    }
}

async fn create(arguments: &CreateTokenArguments) -> Result<(), Failure> {
    let mut body = json!({ "name": arguments.name, "roles": arguments.roles });
    if !arguments.namespaces.is_empty() {
        body["namespaces"] = json!(arguments.namespaces);
    }
    let client = Client::at(&arguments.server)?;
    let answer = client.post("/v1/tokens", &[], body.to_string(), &random_key()).await?;
    show(&arguments.server, &answer)
}

async fn rotate(arguments: &RotateTokenArguments) -> Result<(), Failure> {
    let mut body = Map::new();
    if let Some(overlap_s) = arguments.overlap_s {
        body.insert("overlap_s".to_owned(), json!(overlap_s));
    }
    let path = format!("/v1/tokens/{}/rotate", arguments.token_id);
    let client = Client::at(&arguments.server)?;
    let answer = client.post(&path, &[], Value::Object(body).to_string(), &random_key()).await?;
    show(&arguments.server, &answer)
}

async fn revoke(arguments: &RevokeTokenArguments) -> Result<(), Failure> {
    let body = json!({ "reason": arguments.reason.as_deref().unwrap_or_default() });
    let path = format!("/v1/tokens/{}/revoke", arguments.token_id);
    let client = Client::at(&arguments.server)?;
    let answer = client.post(&path, &[], body.to_string(), &random_key()).await?;
    show(&arguments.server, &answer)
}

/// Prints a token's answer; the secret stands alone on the last line, so that a script can take it.
fn show(server: &ServerArguments, answer: &Answer) -> Result<(), Failure> {
    if server.json {
        return Ok(print(&answer.text)?);
    }
    let token = answer.json()?;
    let rows: Vec<(&str, String)> = token
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "token" && *name != "position")
        .map(|(name, value)| (name.as_str(), words(value)))
        .collect();
    print(&fields(&rows))?;
    match token.get("token").and_then(Value::as_str) {
        Some(secret) => Ok(print(&format!("\nThe token, shown this once:\n{secret}"))?),
        None => Ok(()),
    }
}

/// A value as words: lists with commas, every namespace as such.
fn words(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
        Value::Null => "(all)".to_owned(),
        other => cell(Some(other)),
    }
}

async fn list(arguments: &ListTokensArguments) -> Result<(), Failure> {
    let limit = arguments.limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(arguments.cursor.as_deref().map(|cursor| ("cursor", cursor)));
    let answer = Client::at(&arguments.server)?.get("/v1/tokens", &query).await?;
    if arguments.server.json {
        return Ok(print(&answer.text)?);
    }
    let page = answer.json()?;
    let tokens = page.get("tokens").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let columns = ["token_id", "name", "roles", "namespaces", "created_at", "rotated_at", "revoked_at"];
    let row = |token: &Value| {
        columns.iter().map(|name| token.get(name).map(words).unwrap_or_default()).collect::<Vec<_>>()
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    print(&table(&columns, &rows))?;
    match page.get("next_cursor").and_then(Value::as_str) {
        Some(cursor) => Ok(print(&format!("\nmore: --cursor {cursor}"))?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_words_and_no_list_of_namespaces_is_all_of_them() {
        assert_eq!(words(&json!(["a", "b"])), "a, b");
        assert_eq!(words(&Value::Null), "(all)");
        assert_eq!(words(&json!(3)), "3");
    }
}
