//! Access tokens and namespaces from outside: a node that asks for tokens, the command line, the log behind them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};
use tidewheel_api::auth::access::is_listed;

use crate::node::{Node, tidewheel};

const REQUIRED: &str = "tokens_required = true\n";

/// A folder whose node asks for tokens, and its first token.
fn bootstrapped() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("tidewheel.toml"), REQUIRED).expect("the file is written");
    let token = bootstrap(folder.path());
    (folder, token)
}

fn bootstrap(folder: &Path) -> String {
    let output = tidewheel(folder).args(["token", "bootstrap"]).output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().last().expect("a token").to_owned()
}

struct Http<'a> {
    node: &'a Node,
    token: Option<&'a str>,
}

impl Http<'_> {
    fn connect(&self, method: &str, path: &str, body: &str) -> BufReader<TcpStream> {
        let address = self.node.address.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("a connection");
        let token = self.token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{token}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the request is sent");
        stream.write_all(body.as_bytes()).expect("the request is sent");
        BufReader::new(stream)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut text = String::new();
        self.connect(method, path, body).read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "")
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, &body.to_string())
    }
}

fn code(answer: (u16, Value)) -> (u16, String) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default().to_owned())
}

fn create(admin: &Http<'_>, body: &Value) -> (String, String) {
    let (status, answer) = admin.post("/v1/tokens", body);
    assert_eq!(status, 201, "{answer}");
    let text = |field: &str| answer[field].as_str().expect(field).to_owned();
    (text("token_id"), text("token"))
}

#[test]
fn a_token_is_made_without_a_server_and_everything_else_follows_from_it_also_after_a_restart() {
    let (folder, root) = bootstrapped();
    let node = Node::start(folder.path(), &[]);
    let admin = Http { node: &node, token: Some(&root) };
    let nobody = Http { node: &node, token: None };
    let runs = "/v1/namespaces/default/runs";
    let start = json!({"workflow": "steps", "input": {"steps": 1, "payload": 1}});
    assert_eq!(code(nobody.post(runs, &start)), (401, "token_missing".to_owned()));
    assert_eq!(nobody.get("/health/live").0, 200);
    assert_eq!(code(nobody.get("/metrics")), (401, "token_missing".to_owned()));

    let (token_id, token) =
        create(&admin, &json!({"name": "billing", "roles": ["producer"], "namespaces": ["default"]}));
    let producer = Http { node: &node, token: Some(&token) };
    let (status, run) = producer.post(&format!("{runs}?wait=30s"), &start);
    assert_eq!(status, 200, "{run}");
    let run_id = run["run_id"].as_str().expect("a run").to_owned();
    assert_eq!(
        code(producer.post(&format!("{runs}/{run_id}/cancel"), &json!({}))),
        (403, "forbidden".to_owned())
    );
    assert_eq!(code(producer.get(runs)), (403, "forbidden".to_owned()));
    assert_eq!(producer.get(&format!("{runs}/{run_id}")).0, 200);
    assert_eq!(code(producer.get("/v1/tokens")), (403, "forbidden".to_owned()));
    node.kill();

    let node = Node::start(folder.path(), &[]);
    let admin = Http { node: &node, token: Some(&root) };
    let (status, shown) = admin.get(&format!("/v1/tokens/{token_id}"));
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["roles"], json!(["producer"]));
    assert!(shown["created_by"].as_str().is_some_and(|by| by.starts_with("token:root/")), "{shown}");
    assert_eq!(shown.get("token"), None);
    let producer = Http { node: &node, token: Some(&token) };
    assert_eq!(producer.get(&format!("{runs}/{run_id}/result?timeout=30s")).0, 200);

    // The log of the folder tells who did it, and holds no secret.
    let secret = &token[27..71];
    drop(node);
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder.path().join(".tidewheel/log")).expect("the log's folder") {
        bytes.extend(std::fs::read(entry.expect("an entry").path()).expect("a file"));
    }
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&format!("token:billing/{token_id}")), "the producer's principal is in its record");
    assert!(!holds(secret) && !holds(&root[27..71]), "no secret is in the log");
}

#[test]
fn the_command_line_creates_lists_rotates_and_revokes() {
    let (folder, root) = bootstrapped();
    let node = Node::start(folder.path(), &[]);
    let run = |token: &str, words: &[&str]| {
        tidewheel(folder.path())
            .args(words)
            .args(["--server", &node.address])
            .env("TIDEWHEEL_TOKEN", token)
            .output()
            .expect("the command runs")
    };
    let json = |token: &str, words: &[&str]| -> Value {
        let output = run(token, &[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON value")
    };
    json(&root, &["namespace", "create", "billing"]);
    let namespaces = json(&root, &["namespace", "list"]);
    let names: Vec<_> = namespaces["namespaces"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["billing", "default"]);
    let again = run(&root, &["namespace", "create", "billing"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("namespace_exists"));

    let created = json(
        &root,
        &["token", "create", "ops", "--role", "operator", "--role", "producer", "--in", "billing"],
    );
    let token_id = created["token_id"].as_str().unwrap();
    let old = created["token"].as_str().unwrap();
    let started = json(old, &["run", "start", "wait", "--namespace", "billing"]);
    let run_id = started["run_id"].as_str().unwrap();
    let elsewhere = run(old, &["run", "start", "wait"]);
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("forbidden"));

    // Neither namespace sees the other's runs.
    let other = run(&root, &["run", "show", run_id]);
    assert_eq!(other.status.code(), Some(4), "{}", String::from_utf8_lossy(&other.stderr));
    let here = json(&root, &["run", "list", "--namespace", "billing"]);
    assert!(here.to_string().contains(run_id) && !json(&root, &["run", "list"]).to_string().contains(run_id));

    let rotated = json(&root, &["token", "rotate", token_id]);
    let new = rotated["token"].as_str().unwrap();
    assert!(old != new && rotated["previous_until"].is_string());
    for secret in [old, new] {
        json(secret, &["run", "show", run_id, "--namespace", "billing"]);
    }
    json(&root, &["token", "rotate", token_id, "--overlap-s", "0"]);
    let stale = run(new, &["run", "show", run_id, "--namespace", "billing"]);
    assert!(String::from_utf8_lossy(&stale.stderr).contains("token_refused"));
    let revoked = json(&root, &["token", "revoke", token_id, "--reason", "over"]);
    assert_eq!(revoked["revoked_reason"], "over");
    let twice = run(&root, &["token", "revoke", token_id]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("token_revoked"));
    let list = json(&root, &["token", "list"]).to_string();
    for secret in [old, new, &root] {
        assert!(!list.contains(secret) && !list.contains(&secret[27..71]));
    }
    let table = run(&root, &["token", "list"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("operator, producer"));

    let file = folder.path().join("token");
    std::fs::write(&file, format!("{root}\n")).expect("the file is written");
    let file = file.to_str().expect("a path");
    let by_file = run("", &["status", "--token-file", file]);
    assert!(by_file.status.success(), "{}", String::from_utf8_lossy(&by_file.stderr));
}

#[test]
fn an_open_stream_ends_when_its_token_is_revoked() {
    let (folder, root) = bootstrapped();
    let node = Node::start(folder.path(), &[]);
    let admin = Http { node: &node, token: Some(&root) };
    let (token_id, token) = create(&admin, &json!({"name": "eyes", "roles": ["reader"]}));
    let runs = "/v1/namespaces/default/runs";
    let (_, run) = admin.post(runs, &json!({"workflow": "wait"}));
    let path = format!("{runs}/{}/events", run["run_id"].as_str().expect("a run"));
    let mut stream = Http { node: &node, token: Some(&token) }.connect("GET", &path, "");
    let mut line = String::new();
    while !line.starts_with("event: run-started") {
        line.clear();
        assert!(stream.read_line(&mut line).expect("an open stream") > 0, "the stream ended early");
    }
    let (status, _) = admin.post(&format!("/v1/tokens/{token_id}/revoke"), &json!({}));
    assert_eq!(status, 200);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the stream ends");
    assert!(rest.contains("event: problem") && rest.contains("token_refused"), "{rest}");
    let after = Http { node: &node, token: Some(&token) };
    assert_eq!(code(after.get(&path)), (401, "token_refused".to_owned()));
}

#[test]
fn an_admin_of_one_namespace_rules_there_alone() {
    let (folder, root) = bootstrapped();
    let node = Node::start(folder.path(), &[]);
    let admin = Http { node: &node, token: Some(&root) };
    assert_eq!(admin.post("/v1/namespaces", &json!({"name": "billing"})).0, 201);
    let (_, token) = create(&admin, &json!({"name": "lead", "roles": ["admin"], "namespaces": ["billing"]}));
    let lead = Http { node: &node, token: Some(&token) };
    let ask = |namespaces: Value| {
        let mut body = json!({"name": "new", "roles": ["producer"]});
        if !namespaces.is_null() {
            body["namespaces"] = namespaces;
        }
        code(lead.post("/v1/tokens", &body))
    };
    assert_eq!(ask(json!(["billing"])).0, 201);
    assert_eq!(ask(Value::Null), (403, "forbidden".to_owned()));
    assert_eq!(ask(json!(["billing", "default"])), (403, "forbidden".to_owned()));
    assert_eq!(ask(json!([])), (422, "invalid_field".to_owned()));
    assert_eq!(code(lead.post("/v1/namespaces", &json!({"name": "more"}))), (403, "forbidden".to_owned()));
    let (_, list) = lead.get("/v1/tokens");
    assert_eq!(list["tokens"].as_array().expect("a list").len(), 2, "{list}");
    let (_, namespaces) = lead.get("/v1/namespaces");
    assert_eq!(namespaces["namespaces"].as_array().expect("a list").len(), 1, "{namespaces}");
    let (_, all) = admin.get("/v1/tokens?limit=1");
    let cursor = all["next_cursor"].as_str().expect("another page");
    let (_, rest) = admin.get(&format!("/v1/tokens?cursor={cursor}"));
    assert_eq!(rest["tokens"].as_array().expect("a list").len(), 2, "{rest}");
    let others = all["tokens"][0]["token_id"].as_str().filter(|_| all["tokens"][0]["namespaces"].is_null());
    let root_id = others.map(str::to_owned).or_else(|| {
        let tokens = rest["tokens"].as_array()?;
        let root = tokens.iter().find(|token| token["namespaces"].is_null())?;
        root["token_id"].as_str().map(str::to_owned)
    });
    let root_id = root_id.expect("the first token");
    let revoke = lead.post(&format!("/v1/tokens/{root_id}/revoke"), &json!({}));
    assert_eq!(code(revoke), (404, "token_not_found".to_owned()));
}

#[test]
fn bad_requests_for_tokens_and_namespaces_name_their_field() {
    let (folder, root) = bootstrapped();
    let node = Node::start(folder.path(), &[]);
    let admin = Http { node: &node, token: Some(&root) };
    for (path, body, status, code, field) in [
        ("/v1/tokens", json!({"name": "a b", "roles": ["reader"]}), 422, "invalid_name", "name"),
        ("/v1/tokens", json!({"name": "a", "roles": []}), 422, "invalid_field", "roles"),
        ("/v1/tokens", json!({"name": "a", "roles": ["king"]}), 422, "invalid_field", "roles"),
        ("/v1/tokens", json!({"name": "a"}), 422, "missing_field", "roles"),
        ("/v1/tokens", json!({"name": "a", "roles": ["reader"], "more": 1}), 422, "unknown_field", "more"),
        (
            "/v1/tokens",
            json!({"name": "a", "roles": ["reader"], "namespaces": ["nowhere"]}),
            404,
            "namespace_not_found",
            "namespaces",
        ),
        ("/v1/namespaces", json!({"name": ""}), 422, "invalid_name", "name"),
        ("/v1/namespaces", json!({"name": "a", "home": "b c"}), 422, "invalid_name", "home"),
        ("/v1/namespaces", json!({"name": "a", "home": "nowhere"}), 422, "invalid_field", "home"),
        (
            "/v1/tokens/018f3a6e-7c1d-8001-8a2b-3c4d5e6f7081/rotate",
            json!({"overlap_s": 9_999_999}),
            422,
            "over_limit",
            "overlap_s",
        ),
        ("/v1/tokens/x/revoke", json!({}), 422, "invalid_parameter", "token_id"),
    ] {
        let (found, problem) = admin.post(path, &body);
        let shown = (found, problem["code"].as_str().unwrap_or_default());
        assert_eq!(shown, (status, code), "{path} {body}: {problem}");
        assert!(problem["field"].as_str().is_some_and(|found| found.starts_with(field)), "{problem}");
    }
    let unknown = admin.post("/v1/tokens/018f3a6e-7c1d-8001-8a2b-3c4d5e6f7081/revoke", &json!({}));
    assert_eq!(code(unknown), (404, "token_not_found".to_owned()));
    assert_eq!(code(admin.get("/v1/tokens?limit=0")), (422, "invalid_parameter".to_owned()));
    assert_eq!(code(admin.get("/v1/tokens?cursor=abc")), (422, "invalid_cursor".to_owned()));
    let existing = admin.post("/v1/namespaces", &json!({"name": "default"}));
    assert_eq!(code(existing), (409, "namespace_exists".to_owned()));
}

#[test]
fn a_node_without_required_tokens_asks_nobody_and_still_judges_what_it_is_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = Node::start(folder.path(), &["--ephemeral"]);
    let nobody = Http { node: &node, token: None };
    let (token_id, token) = create(&nobody, &json!({"name": "eyes", "roles": ["reader"]}));
    let reader = Http { node: &node, token: Some(&token) };
    assert_eq!(reader.get("/v1/namespaces/default/runs").0, 200);
    let start = json!({"workflow": "steps", "input": {"steps": 1, "payload": 1}});
    assert_eq!(code(reader.post("/v1/namespaces/default/runs", &start)), (403, "forbidden".to_owned()));
    assert_eq!(nobody.post("/v1/namespaces/default/runs", &start).0, 201);
    let (_, shown) = nobody.get(&format!("/v1/tokens/{token_id}"));
    assert_eq!(shown["created_by"], "anonymous");
}

#[test]
fn every_route_of_the_description_is_in_the_table_of_roles_and_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = Node::start(folder.path(), &["--ephemeral"]);
    let (_, document) = Http { node: &node, token: None }.get("/openapi.json");
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.contains_key("/v1/tokens/{token_id}/rotate") && paths.len() > 25);
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let listed = is_listed(&method.to_uppercase().parse().expect("a method"), path);
            assert!(listed, "{method} {path} is not in the table of roles");
            let security = operation["security"].as_array().expect("a word about security");
            let responses = operation["responses"].as_object().expect("responses");
            if path.starts_with("/health") {
                assert!(security.is_empty() && !responses.contains_key("401"), "{method} {path}");
            } else {
                let needs = security[0]["token"].as_array().is_some_and(|roles| !roles.is_empty());
                assert!(
                    needs && responses.contains_key("401") && responses.contains_key("403"),
                    "{method} {path}"
                );
            }
        }
    }
}
