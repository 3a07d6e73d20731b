//! Measures the producer API alone: a log in memory, the real fold, keep-alive clients in the same process.
//!
//! `cargo run --release -p tidewheel-ingest --example start_rate -- [connections] [seconds] [idle connections]`

#[path = "../tests/face/node.rs"]
#[allow(dead_code, reason = "the tests use more of the node than this does")]
mod node;

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use node::Node;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let connections = arguments.next().unwrap_or(64);
    let duration = Duration::from_secs(arguments.next().unwrap_or(5));
    let idle = arguments.next().unwrap_or(0);
    let node = Node::start().await;
    let mut silent = Vec::new();
    for _ in 0..idle {
        silent.push(TcpStream::connect(node.address).await.expect("an idle connection"));
    }
    if idle > 0 {
        println!("{idle} idle connections (both ends): {} resident", resident());
    }
    measure(&node, connections, duration, "", "wait", "start").await;
    measure(&node, connections, duration, "?wait=30s", "echo", "start and wait for the result").await;
    batches(&node, duration).await;
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("VmRSS: unknown");
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

async fn measure(node: &Node, connections: u64, duration: Duration, query: &str, workflow: &str, what: &str) {
    let body = format!(r#"{{"workflow":"{workflow}","input":{{"payload":"0123456789"}}}}"#);
    let request = format!(
        "POST /v1/namespaces/default/runs{query} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let began = Instant::now();
    let clients =
        (0..connections).map(|_| tokio::spawn(client(node.address, request.clone(), began + duration)));
    let mut micros: Vec<u64> = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        micros.extend(client.await.expect("a client"));
    }
    let rate = micros.len() as f64 / began.elapsed().as_secs_f64();
    micros.sort_unstable();
    let at = |percent: usize| micros[(micros.len() - 1) * percent / 100];
    println!("{what}: {rate:.0}/s, p50 {} µs, p99 {} µs, {connections} connections", at(50), at(99));
}

async fn client(address: std::net::SocketAddr, request: String, until: Instant) -> Vec<u64> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let mut micros = Vec::new();
    let mut bytes = [0; 4096];
    while Instant::now() < until {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut count = 0;
        while !bytes[..count].ends_with(b"}") {
            let read = stream.read(&mut bytes[count..]).await.expect("an answer");
            assert!(read > 0, "closed");
            count += read;
        }
        assert!(bytes.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&bytes[..count]));
        micros.push(began.elapsed().as_micros() as u64);
    }
    micros
}

async fn batches(node: &Node, duration: Duration) {
    let body = "{\"workflow\":\"wait\",\"input\":{\"payload\":\"0123456789\"}}\n".repeat(10_000);
    let head = "POST /v1/namespaces/default/runs:batch HTTP/1.1\r\ncontent-type: application/x-ndjson";
    let began = Instant::now();
    let mut runs = 0;
    while began.elapsed() < duration {
        let answer = node.send(head, body.as_bytes()).await;
        assert_eq!(answer.status, 200);
        runs += answer.body.iter().filter(|byte| **byte == b'\n').count();
    }
    println!("batch: {:.0} runs/s, one connection", runs as f64 / began.elapsed().as_secs_f64());
}
