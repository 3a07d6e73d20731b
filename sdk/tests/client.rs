//! The client against a server that fails first: retried with the same key, refusals told as they are.
#![cfg(feature = "client")]

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::json;
use tidewheel_sdk::client::{Client, ClientError, Start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const RUN: &str = r#"{"run_id":"018f3a6e-7c1d-8001-8a2b-3c4d5e6f7081","workflow":"order","status":"completed","output":7,"position":"p","tags":{}}"#;

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nretry-after: 0\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// Serves one answer per connection, an empty one by hanging up, and returns the requests' texts.
async fn serve(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut answers = VecDeque::from(answers);
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        while let Some(answer) = answers.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // A body follows the head within its stated length.
            while !is_whole(&request) {
                let count = stream.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the request ends early");
                request.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            requests.push(String::from_utf8(request).unwrap());
        }
        requests
    });
    (address, served)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

fn key(request: &str) -> &str {
    request.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).expect("a key")
}

#[tokio::test]
async fn a_start_is_retried_with_the_same_key_until_it_is_answered() {
    let (address, served) = serve(vec![
        String::new(),
        answer("503 Unavailable", "{}"),
        answer("429 Slow", "{}"),
        answer("200 OK", RUN),
    ])
    .await;
    let client = Client::new(&address, "default").unwrap();
    let run = client
        .start(&Start::new("order", &json!({"item": "tea"})), Some(Duration::from_secs(3)))
        .await
        .unwrap();
    assert_eq!((&*run.status, run.output), ("completed", Some(json!(7))));
    let requests = served.await.unwrap();
    assert!(requests.iter().all(|request| key(request) == key(&requests[0])));
    assert!(requests[3].starts_with("POST /v1/namespaces/default/runs?wait=3000ms HTTP/1.1"));
    assert!(requests[3].ends_with(r#"{"workflow":"order","input":{"item":"tea"}}"#), "{}", requests[3]);
}

#[tokio::test]
async fn a_refusal_is_told_with_its_code_and_not_retried() {
    let problem = answer("409 Conflict", r#"{"code":"run_finished","detail":"the run has ended"}"#);
    let (address, served) = serve(vec![problem]).await;
    let run_id = "018f3a6e-7c1d-8001-8a2b-3c4d5e6f7081".parse().unwrap();
    let refused = Client::new(&address, "default").unwrap().signal(run_id, "go", &1).await;
    let Err(ClientError::Refused { status: 409, code, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(code, "run_finished");
    let requests = served.await.unwrap();
    assert!(requests[0].contains("/runs/018f3a6e-7c1d-8001-8a2b-3c4d5e6f7081/signals HTTP"));
}

#[test]
fn an_address_that_is_none_is_refused() {
    assert!(matches!(Client::new("localhost", "default"), Err(ClientError::Address(_))));
}
