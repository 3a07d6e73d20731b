//! Peers that are slow, idle, torn or many: they lose their connection, the others notice nothing.

use std::time::Duration;

use tidewheel_ingest::server::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::{Node, parse};

const PATIENCE: Duration = Duration::from_secs(20);

async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    bytes
}

fn impatient() -> Limits {
    Limits {
        idle_timeout: Duration::from_millis(200),
        write_stall_timeout: Duration::from_millis(200),
        ..Limits::default()
    }
}

#[tokio::test]
async fn idle_and_half_open_connections_are_closed() {
    let node = Node::with(impatient(), Duration::from_secs(5)).await;
    let mut silent = TcpStream::connect(node.address).await.unwrap();
    let mut slow = TcpStream::connect(node.address).await.unwrap();
    slow.write_all(b"GET /health/live HTTP/1.1\r\nhost:").await.unwrap();
    let mut idle = TcpStream::connect(node.address).await.unwrap();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(closed(&mut silent).await.is_empty());
    closed(&mut slow).await;
    assert_eq!(parse(&closed(&mut idle).await).status, 200);
    assert_eq!(node.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_loses_its_connection() {
    let node = Node::with(impatient(), Duration::from_secs(5)).await;
    let mut stuck = TcpStream::connect(node.address).await.unwrap();
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let written = timeout(PATIENCE, async {
        // Answers are never read, so sooner or later the server stops reading too, and then it closes.
        while stuck.write_all(&request).await.is_ok() {}
    });
    written.await.expect("the server gives up on a peer that reads nothing");
    assert_eq!(node.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn a_torn_body_appends_nothing() {
    let node = Node::start().await;
    let mut torn = TcpStream::connect(node.address).await.unwrap();
    let head = "POST /v1/namespaces/default/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    torn.write_all(format!("{head}content-length: 100\r\n\r\n{{\"workflow\":\"wait\"}}").as_bytes())
        .await
        .unwrap();
    torn.shutdown().await.unwrap();
    closed(&mut torn).await;
    let mut misframed = TcpStream::connect(node.address).await.unwrap();
    misframed.write_all(format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n").as_bytes()).await.unwrap();
    let bytes = closed(&mut misframed).await;
    assert!(bytes.is_empty() || parse(&bytes).status == 400, "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(node.records().await, 0);
}

#[tokio::test]
async fn an_oversized_body_is_refused_before_it_is_sent() {
    let node = Node::start().await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = "POST /v1/namespaces/default/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    stream.write_all(format!("{head}content-length: 99999999999\r\n\r\n").as_bytes()).await.unwrap();
    let answer = parse(&closed(&mut stream).await);
    assert_eq!((answer.status, answer.code()), (413, "body_too_large".to_owned()));
    assert!(answer.text("detail").contains("589824"));
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let node = Node::start().await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = format!("GET /health/live HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n", "x".repeat(200_000));
    let _ = stream.write_all(head.as_bytes()).await;
    let bytes = closed(&mut stream).await;
    assert!(bytes.is_empty() || parse(&bytes).status == 431);
    assert_eq!(node.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_a_freed_place_is_used_again() {
    let limits = Limits { connections_max: 3, ..Limits::default() };
    let node = Node::with(limits, Duration::from_secs(5)).await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut part = [0; 1024];
        assert!(stream.read(&mut part).await.unwrap() > 0);
        kept.push(stream);
    }
    let mut refused = TcpStream::connect(node.address).await.unwrap();
    let answer = parse(&closed(&mut refused).await);
    assert_eq!((answer.status, answer.code()), (503, "not_ready".to_owned()));
    drop(kept);
    let served = timeout(PATIENCE, async {
        loop {
            let mut stream = TcpStream::connect(node.address).await.unwrap();
            let request = b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(request).await;
            let bytes = closed(&mut stream).await;
            if bytes.starts_with(b"HTTP/1.1 200") {
                break;
            }
        }
    });
    served.await.expect("a place is free again");
}

#[tokio::test]
async fn requests_sent_back_to_back_are_answered_in_order() {
    let node = Node::start().await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let mut all = String::new();
    for index in 0..50 {
        let body = format!(r#"{{"workflow":"wait","key":"k{index}"}}"#);
        all.push_str(&format!(
            "POST /v1/namespaces/default/runs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{}\r\n{body}",
            body.len(),
            if index == 49 { "connection: close\r\n" } else { "" },
        ));
    }
    stream.write_all(all.as_bytes()).await.unwrap();
    let text = String::from_utf8(closed(&mut stream).await).unwrap();
    let keys: Vec<_> = text.split("\"key\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(keys, (0..50).map(|index| format!("k{index}")).collect::<Vec<_>>());
}
