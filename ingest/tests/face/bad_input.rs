//! Every bad input, and exactly what is said of it.

use crate::node::Node;

const RUNS: &str = "/v1/namespaces/default/runs";

#[tokio::test]
async fn every_bad_start_is_told_its_code_and_field() {
    let node = Node::start().await;
    let long = "x".repeat(600);
    let big = "x".repeat(513 * 1024);
    let tags: Vec<String> = (0..17).map(|index| format!(r#""t{index}":"""#)).collect();
    let cases: Vec<(String, u16, &str, Option<&str>)> = vec![
        ("{".into(), 400, "invalid_json", None),
        ("".into(), 400, "invalid_json", None),
        (r#"{"workflow":"wait"}}"#.into(), 400, "invalid_json", None),
        (r#"{"workflow":"wait","input":{"a":01}}"#.into(), 400, "invalid_json", None),
        (
            format!(r#"{{"workflow":"wait","input":{}{}}}"#, "[".repeat(150), "]".repeat(150)),
            400,
            "invalid_json",
            None,
        ),
        ("[]".into(), 422, "invalid_field", None),
        ("{}".into(), 422, "missing_field", Some("workflow")),
        (r#"{"workflow":"wait","inptu":1}"#.into(), 422, "unknown_field", Some("inptu")),
        (r#"{"workflow":7}"#.into(), 422, "invalid_field", Some("workflow")),
        (r#"{"workflow":"no such/name"}"#.into(), 422, "invalid_name", Some("workflow")),
        (r#"{"workflow":"other"}"#.into(), 422, "workflow_not_found", Some("workflow")),
        (r#"{"workflow":"wait","key":""}"#.into(), 422, "invalid_field", Some("key")),
        (r#"{"workflow":"wait","key":"a\u0000b"}"#.into(), 422, "invalid_field", Some("key")),
        (format!(r#"{{"workflow":"wait","key":"{long}"}}"#), 422, "over_limit", Some("key")),
        (format!(r#"{{"workflow":"wait","tags":{{{}}}}}"#, tags.join(",")), 422, "over_limit", Some("tags")),
        (format!(r#"{{"workflow":"wait","tags":{{"{long}":""}}}}"#), 422, "over_limit", Some("tags")),
        (format!(r#"{{"workflow":"wait","tags":{{"a":"{long}"}}}}"#), 422, "over_limit", Some("tags")),
        (r#"{"workflow":"wait","tags":{"a":1}}"#.into(), 422, "invalid_field", Some("tags.a")),
        (format!(r#"{{"workflow":"wait","input":"{big}"}}"#), 413, "payload_too_large", Some("input")),
        (format!(r#"{{"workflow":"wait","input":"{big}{big}"}}"#), 413, "body_too_large", None),
    ];
    for (body, status, code, field) in cases {
        let answer = node.post(RUNS, &body).await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{shown}");
        assert_eq!(answer.json()["field"].as_str(), field, "{shown}");
        assert!(answer.text("detail").len() > 10, "{shown}");
    }
    assert_eq!(node.records().await, 0, "nothing bad reaches the log");
    let limits = node.post(RUNS, &format!(r#"{{"workflow":"wait","key":"{long}"}}"#)).await.text("detail");
    assert!(limits.contains("512"), "{limits}");
    let known = node.post(RUNS, r#"{"workflow":"other"}"#).await.json()["known"].clone();
    assert_eq!(known, serde_json::json!(["diverge", "echo", "wait"]));
}

#[tokio::test]
async fn bad_requests_around_the_body_are_problems_too() {
    let node = Node::start().await;
    let start = r#"{"workflow":"wait"}"#;
    let run = format!("{RUNS}/018f3a6e-7c1d-8007-8a2b-3c4d5e6f7081");
    let json = "content-type: application/json";
    let long = "k".repeat(513);
    let cases: Vec<(String, &str, u16, &str, Option<&str>)> = vec![
        (format!("POST {RUNS} HTTP/1.1"), start, 415, "unsupported_media_type", Some("content-type")),
        (
            format!("POST {RUNS} HTTP/1.1\r\ncontent-type: text/plain"),
            start,
            415,
            "unsupported_media_type",
            Some("content-type"),
        ),
        (
            format!("POST /v1/namespaces/other/runs HTTP/1.1\r\n{json}"),
            start,
            404,
            "namespace_not_found",
            Some("ns"),
        ),
        (format!("POST {RUNS}?wait=soon HTTP/1.1\r\n{json}"), start, 422, "invalid_parameter", Some("wait")),
        (format!("POST {RUNS}?wait=10m HTTP/1.1\r\n{json}"), start, 422, "invalid_parameter", Some("wait")),
        (format!("POST {RUNS}?wiat=1s HTTP/1.1\r\n{json}"), start, 422, "unknown_parameter", Some("wiat")),
        (
            format!("POST {RUNS} HTTP/1.1\r\nidempotency-key: {long}\r\n{json}"),
            start,
            422,
            "invalid_idempotency_key",
            Some("idempotency-key"),
        ),
        (
            format!("POST {RUNS} HTTP/1.1\r\nidempotency-key: \r\n{json}"),
            start,
            422,
            "invalid_idempotency_key",
            Some("idempotency-key"),
        ),
        (
            format!("POST {RUNS} HTTP/1.1\r\nidempotency-key: ä\r\n{json}"),
            start,
            422,
            "invalid_idempotency_key",
            Some("idempotency-key"),
        ),
        (
            format!("POST {RUNS} HTTP/1.1\r\nidempotency-key: a\r\nidempotency-key: b\r\n{json}"),
            start,
            422,
            "invalid_idempotency_key",
            Some("idempotency-key"),
        ),
        (format!("DELETE {RUNS} HTTP/1.1"), "", 405, "method_not_allowed", None),
        ("GET /v2/anything HTTP/1.1".into(), "", 404, "route_not_found", None),
        (
            format!("POST {RUNS}/no-run/signals HTTP/1.1\r\n{json}"),
            r#"{"name":"go"}"#,
            422,
            "invalid_parameter",
            Some("run_id"),
        ),
        (
            format!("POST {run}/signals HTTP/1.1\r\n{json}"),
            r#"{"name":"a b"}"#,
            422,
            "invalid_name",
            Some("name"),
        ),
        (
            format!("POST {run}/signals HTTP/1.1\r\n{json}"),
            r#"{"payload":1}"#,
            422,
            "missing_field",
            Some("name"),
        ),
        (
            format!("POST {run}/signals HTTP/1.1"),
            r#"{"name":"go"}"#,
            415,
            "unsupported_media_type",
            Some("content-type"),
        ),
        (
            format!("POST {run}/cancel HTTP/1.1\r\n{json}"),
            r#"{"why":"x"}"#,
            422,
            "unknown_field",
            Some("why"),
        ),
        (format!("POST {run}/cancel HTTP/1.1"), "{}", 415, "unsupported_media_type", Some("content-type")),
        (format!("POST {run}/resume HTTP/1.1\r\n{json}"), r#"{"x":1}"#, 422, "unknown_field", Some("x")),
        (
            format!("POST {RUNS}:batch HTTP/1.1\r\n{json}"),
            start,
            415,
            "unsupported_media_type",
            Some("content-type"),
        ),
        ("POST /v1/namespaces/%FF/runs HTTP/1.1".into(), start, 400, "malformed_request", None),
    ];
    for (head, body, status, code, field) in cases {
        let answer = node.send(&head, body.as_bytes()).await;
        let shown: String = head.chars().take(120).collect();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{shown}");
        assert_eq!(answer.json()["field"].as_str(), field, "{shown}");
    }
    assert_eq!(node.records().await, 0, "nothing bad reaches the log");
}
