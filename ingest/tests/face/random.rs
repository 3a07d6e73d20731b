//! Whatever is sent, nothing answers with a fault of ours.

use axum::body::Body;
use http::Request;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use crate::node::Node;

const PATHS: [&str; 12] = [
    "/v1/namespaces/default/runs",
    "/v1/namespaces/default/runs?wait=1ms",
    "/v1/namespaces/default/runs:batch",
    "/v1/namespaces/default/runs/018f3a6e-7c1d-8007-8a2b-3c4d5e6f7081/signals",
    "/v1/namespaces/default/runs/018f3a6e-7c1d-8007-8a2b-3c4d5e6f7081/cancel",
    "/v1/namespaces/default/runs/018f3a6e-7c1d-8007-8a2b-3c4d5e6f7081/terminate",
    "/v1/namespaces/default/runs/018f3a6e-7c1d-8007-8a2b-3c4d5e6f7081/resume",
    "/schemas/subjects/x/versions/latest",
    "/schemas/schemas/ids/1",
    "/health/ready",
    "/docs",
    "/openapi.json",
];

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        r#"\{"(workflow|name|key|input|tags|reason)":[\[\]{}:,"a-z0-9\\]{0,30}\}?"#
            .prop_map(String::into_bytes),
        r#"(\{"workflow":"(wait|echo|x)"(,"key":".{0,5}")?\}?\n){0,5}"#.prop_map(String::into_bytes),
    ]
}

#[test]
fn random_bytes_to_any_route_are_never_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = runtime.block_on(Node::start());
    let types = prop_oneof![
        Just("application/json".to_owned()),
        Just("application/x-ndjson".to_owned()),
        "[a-z/;=+ ]{0,20}",
    ];
    let methods = prop_oneof![3 => Just("POST"), 1 => Just("GET"), 1 => Just("DELETE")];
    let paths = prop_oneof![4 => prop::sample::select(&PATHS[..]).prop_map(str::to_owned), 1 => "/[a-z0-9/%:?=&{}.]{0,40}"];
    let mut runner = TestRunner::new(Config { cases: 600, ..Config::default() });
    runner
        .run(
            &(methods, paths, types, any_body(), prop::option::of("[ -~]{0,20}")),
            |(method, path, content_type, body, key)| {
                let mut request =
                    Request::builder().method(method).uri(&path).header("content-type", &content_type);
                if let Some(key) = key {
                    request = request.header("idempotency-key", key);
                }
                let Ok(request) = request.body(Body::from(body)) else { return Ok(()) };
                let status = runtime.block_on(async {
                    let response = node.router.clone().oneshot(request).await.expect("infallible");
                    let status = response.status();
                    axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
                    status
                });
                prop_assert!(!status.is_server_error(), "{method} {path}: {status}");
                Ok(())
            },
        )
        .unwrap();
}

#[test]
fn random_bytes_on_a_connection_are_never_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = runtime.block_on(Node::start());
    let mut runner = TestRunner::new(Config { cases: 100, ..Config::default() });
    let bytes = prop_oneof![
        any::<Vec<u8>>(),
        "(GET|POST) /[a-z]{0,9} HTTP/1.[019]\r\n([a-z-]{0,9}:[ -~]{0,9}\r\n){0,4}\r\n.{0,9}"
            .prop_map(String::into_bytes)
    ];
    runner
        .run(&bytes, |bytes| {
            let answer = runtime.block_on(async {
                let mut stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                answer
            });
            let text = String::from_utf8_lossy(&answer);
            prop_assert!(!text.starts_with("HTTP/1.1 5"), "{text}");
            Ok(())
        })
        .unwrap();
    runtime.block_on(async { assert_eq!(node.get("/health/live").await.status, 200) });
}
