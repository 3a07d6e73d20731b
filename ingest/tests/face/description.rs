//! What the API says of itself: OpenAPI, the page, the schema registry, metrics.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::node::Node;

#[tokio::test]
async fn the_document_lists_every_route_and_every_route_answers() {
    let node = Node::start().await;
    let document = node.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let source = [
        include_str!("../../src/http/runs.rs"),
        include_str!("../../src/http/batch.rs"),
        include_str!("../../src/http/commands.rs"),
        include_str!("../../src/http/health.rs"),
        include_str!("../../src/http/schemas.rs"),
    ]
    .concat();
    let written: std::collections::BTreeSet<&str> = source
        .split('"')
        .filter(|text| {
            ["/v1/", "/health", "/metrics", "/schemas"].iter().any(|start| text.starts_with(start))
        })
        .collect();
    assert!(written.len() > 15, "{written:?}");
    for path in &written {
        assert!(paths.contains(path), "{path} is not described");
    }
    for path in paths {
        let concrete = path
            .replace("{ns}", "default")
            .replace("{run_id}", "018f3a6e-7c1d-8007-8a2b-3c4d5e6f7081")
            .replace("{subject}", "none")
            .replace("{version}", "1")
            .replace("{id}", "1");
        let method = if document["paths"][path].get("post").is_some() { "POST" } else { "GET" };
        let answer = node.send(&format!("{method} {concrete} HTTP/1.1"), b"").await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("route_not_found") && answer.status != 405, "{path}: {text}");
        assert!(answer.status < 500, "{path}: {text}");
    }
    let start = &document["paths"]["/v1/namespaces/{ns}/runs"]["post"];
    assert_eq!(
        start["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/StartRun"
    );
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap())
    {
        assert!(schemas.contains_key(reference), "{reference} is referred to, but not described");
    }
}

#[tokio::test]
async fn every_answer_is_described_as_openapi_requires() {
    let node = Node::start().await;
    let document = node.get("/openapi.json").await.json();
    let methods = document["paths"].as_object().unwrap().values();
    for operation in methods.flat_map(|methods| methods.as_object().unwrap().values()) {
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let name = &operation["operationId"];
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} {status}");
        }
    }
}

#[tokio::test]
async fn the_page_asks_no_other_server() {
    let node = Node::start().await;
    let page = node.get("/docs").await;
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("/openapi.json"));
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("src="));
}

#[tokio::test]
async fn the_schema_registry_answers_as_confluents_does() {
    let node = Node::start().await;
    let get = async |path: &str| -> (u16, Value) {
        let answer = node.get(path).await;
        assert_eq!(answer.headers["content-type"], "application/vnd.schemaregistry.v1+json", "{path}");
        (answer.status, answer.json())
    };
    let subject = "test.dc1.workflow.events-value";
    let schema = tidewheel_schemas::registry::schema_text(1).unwrap();
    assert_eq!(get("/schemas/subjects").await, (200, json!([subject])));
    assert_eq!(get(&format!("/schemas/subjects/{subject}/versions")).await, (200, json!([1, 2])));
    let version = json!({"subject": subject, "version": 1, "id": 1, "schema": schema});
    assert_eq!(get(&format!("/schemas/subjects/{subject}/versions/1")).await, (200, version));
    let newest = tidewheel_schemas::registry::schema_text(3).unwrap();
    let version = json!({"subject": subject, "version": 2, "id": 3, "schema": newest});
    assert_eq!(get(&format!("/schemas/subjects/{subject}/versions/latest")).await, (200, version.clone()));
    assert_eq!(get(&format!("/schemas/subjects/{subject}/versions/2")).await, (200, version.clone()));
    for fold in [0, 1] {
        node.fold.store(fold, Ordering::Relaxed);
        assert_eq!(get(&format!("/schemas/subjects/{subject}/versions")).await, (200, json!([1])));
        for path in ["latest", "-1"] {
            let found = get(&format!("/schemas/subjects/{subject}/versions/{path}")).await;
            assert_eq!((found.0, &found.1["id"]), (200, &json!(1)), "fold version {fold}");
        }
        assert_eq!(get("/schemas/schemas/ids/3").await, (200, json!({"schema": newest})));
    }
    assert_eq!(get("/schemas/schemas/ids/1").await, (200, json!({"schema": schema})));
    let plain: Value = serde_json::from_str(schema).unwrap();
    assert_eq!(get("/schemas/schemas/ids/1/schema").await, (200, plain));
    let used = json!([{"subject": subject, "version": 1, "id": 1}]);
    assert_eq!(get("/schemas/schemas/ids/1/versions").await, (200, used));
    assert_eq!(get("/schemas/schemas/types").await, (200, json!(["AVRO"])));
    assert_eq!(get("/schemas/config").await, (200, json!({"compatibilityLevel": "FULL_TRANSITIVE"})));
    for (path, status, code) in [
        ("/schemas/schemas/ids/99".to_owned(), 404, 40403),
        ("/schemas/schemas/ids/x".to_owned(), 404, 40403),
        ("/schemas/subjects/none/versions".to_owned(), 404, 40401),
        (format!("/schemas/subjects/{subject}/versions/9"), 404, 40402),
        (format!("/schemas/subjects/{subject}/versions/0"), 422, 42202),
    ] {
        let (found, error) = get(&path).await;
        assert_eq!((found, error["error_code"].as_u64()), (status, Some(code)), "{path}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
}
