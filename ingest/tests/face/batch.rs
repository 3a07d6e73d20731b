//! Batches: one verdict a line, in order, whatever the lines are.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::node::{Answer, Node};

const BATCH: &str = "POST /v1/namespaces/default/runs:batch HTTP/1.1\r\ncontent-type: application/x-ndjson";

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let text = std::str::from_utf8(&answer.body).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[tokio::test]
async fn a_bad_line_is_told_so_and_the_others_go_on() {
    let node = Node::start().await;
    let body = "{\"workflow\":\"wait\",\"key\":\"a\"}\n{bad\n\n{\"workflow\":\"nope\"}\r\n{\"workflow\":\"wait\",\"key\":\"a\"}\n{\"workflow\":\"echo\"}";
    let answers = lines(&node.send(BATCH, body.as_bytes()).await);
    let numbers: Vec<_> = answers.iter().map(|answer| answer["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 4, 5, 6]);
    assert_eq!(answers[0]["outcome"], "accepted");
    assert_eq!(answers[1]["problem"]["code"], "invalid_json");
    assert_eq!(answers[2]["problem"]["code"], "workflow_not_found");
    assert_eq!(answers[3]["outcome"], "duplicate");
    assert_eq!(answers[3]["run_id"], answers[0]["run_id"]);
    assert_eq!(answers[4]["outcome"], "accepted");
    assert!(node.waiting.is_empty());
}

#[tokio::test]
async fn a_batch_of_the_largest_size_is_started_and_its_retry_changes_nothing() {
    let node = Node::start().await;
    let body = "{\"workflow\":\"wait\"}\n".repeat(10_000);
    let head = format!("{BATCH}\r\nidempotency-key: all");
    let first = lines(&node.send(&head, body.as_bytes()).await);
    assert_eq!(first.len(), 10_000);
    for (index, answer) in first.iter().enumerate() {
        assert_eq!(
            (answer["line"].as_u64(), &answer["outcome"]),
            (Some(index as u64 + 1), &"accepted".into())
        );
    }
    let second = lines(&node.send(&head, body.as_bytes()).await);
    assert!(second.iter().all(|answer| answer["outcome"] == "duplicate"));
    assert_eq!(second[77]["run_id"], first[77]["run_id"]);
}

#[tokio::test]
async fn lines_over_the_limit_of_a_batch_are_refused_by_name() {
    let node = Node::start().await;
    let body = "{}\n".repeat(10_002);
    let answers = lines(&node.send(BATCH, body.as_bytes()).await);
    assert_eq!(answers.len(), 10_001);
    assert_eq!(answers[9_999]["problem"]["code"], "missing_field");
    assert_eq!(answers[10_000]["problem"]["code"], "batch_too_long");
    assert_eq!(answers[10_000]["line"], 10_001);
}

#[tokio::test]
async fn verdicts_come_while_the_request_is_still_being_sent() {
    let node = Node::start().await;
    let mut stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let head = format!("{BATCH}\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    for key in ["a", "b"] {
        let line = format!("{{\"workflow\":\"wait\",\"key\":\"{key}\"}}\n");
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.unwrap();
        let already = seen.matches("accepted").count();
        while seen.matches("accepted").count() == already {
            let mut part = [0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut part));
            let count = read.await.expect("a verdict before the end").unwrap();
            assert!(count > 0, "{seen}");
            seen.push_str(std::str::from_utf8(&part[..count]).unwrap());
        }
    }
    // Torn in the middle of a line: what came before stands, the server lives on.
    stream.write_all(b"20\r\n{\"workflow\":").await.unwrap();
    drop(stream);
    assert_eq!(node.get("/health/live").await.status, 200);
    assert_eq!(node.records().await, 2);
}

#[tokio::test]
async fn lines_whose_append_fails_are_each_told_so() {
    let node = Node::start().await;
    node.log.overload(true);
    let answers = lines(&node.send(BATCH, b"{\"workflow\":\"wait\"}\n{}\n").await);
    assert_eq!(answers[0]["problem"]["code"], "overloaded");
    assert_eq!(answers[1]["problem"]["code"], "missing_field");
}
