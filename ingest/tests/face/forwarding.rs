//! Another datacenter that is slow, silent or speaks nonsense: requests for it are bounded in number and in time.

use std::net::SocketAddr;
use std::time::Duration;

use tidewheel_ingest::Datacenters;
use tidewheel_ingest::datacenters::Elsewhere;
use tidewheel_ingest::forward::ForwardLimits;
use tidewheel_ingest::server::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::node::{Answer, Node, name};

const RUN_THERE: &str = "/v1/namespaces/default/runs/018f3a6e-7c1d-8009-8a2b-3c4d5e6f7081";
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that counts connections and says the same on each, once it has been asked something.
async fn server(said: &'static [u8]) -> (SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, asked) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(said).await;
                sender.send_modify(|asked| *asked += 1);
                let _held_open = stream;
                std::future::pending::<()>().await;
            });
        }
    });
    (address, asked)
}

async fn node(there: SocketAddr, limits: ForwardLimits) -> Node {
    let there = Elsewhere { name: name("dc2"), label: 9, url: format!("http://{there}") };
    let datacenters = Datacenters { others: vec![there], ..Datacenters::alone(name("dc1"), 7) };
    Node::among(datacenters, limits, Limits::default(), Duration::from_secs(5)).await
}

async fn get(node: &Node, path: &str) -> Answer {
    timeout(PATIENCE, node.get(path)).await.expect("an answer")
}

#[tokio::test]
async fn no_more_than_its_share_waits_for_a_silent_datacenter_and_the_rest_is_told_at_once() {
    let (there, mut asked) = server(b"").await;
    let limits = ForwardLimits { requests_max: 3, waits_max: 1, ..ForwardLimits::default() };
    let node = std::sync::Arc::new(node(there, limits).await);
    let mut waiting = Vec::new();
    for path in ["", "?timeout=1s", "/history", "/result?timeout=1m"] {
        let (node, path) = (node.clone(), format!("{RUN_THERE}{path}"));
        waiting.push(tokio::spawn(async move { node.get(&path).await.status }));
    }
    timeout(PATIENCE, asked.wait_for(|asked| *asked == 4)).await.expect("all are on their way").unwrap();
    for path in ["", "/result?timeout=2m", "/events"] {
        let refused = get(&node, &format!("{RUN_THERE}{path}")).await;
        assert_eq!((refused.status, refused.code()), (503, "datacenter_unreachable".to_owned()));
        assert_eq!(refused.headers["retry-after"], "1");
    }
    let started = node.post("/v1/namespaces/default/runs", r#"{"workflow":"wait"}"#).await;
    assert_eq!(started.status, 201);
    // Who goes away makes room.
    waiting.remove(0).abort();
    for wait in waiting {
        wait.abort();
    }
    let room = async {
        while get(&node, "/health/live").await.status != 200 || *asked.borrow() < 5 {
            let (node, path) = (node.clone(), RUN_THERE.to_owned());
            let ask = tokio::spawn(async move { node.get(&path).await.status });
            tokio::time::sleep(Duration::from_millis(20)).await;
            ask.abort();
        }
    };
    timeout(PATIENCE, room).await.expect("room again");
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_given_up() {
    let (there, _) = server(b"").await;
    // The longest that is granted to a request which asks for 1 ms.
    let limits = ForwardLimits { answer_slack: Duration::from_millis(50), ..ForwardLimits::default() };
    let node = node(there, limits).await;
    let read = get(&node, &format!("{RUN_THERE}?timeout=1ms")).await;
    assert_eq!((read.status, read.code()), (503, "datacenter_unreachable".to_owned()));
    let path = format!("{RUN_THERE}/signals?timeout=1ms");
    let signal = timeout(PATIENCE, node.post(&path, r#"{"name":"go"}"#)).await.expect("an answer");
    assert_eq!((signal.status, signal.code()), (503, "outcome_unknown".to_owned()));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told_and_not_taken_for_whole() {
    let limits = || ForwardLimits { idle_timeout: Duration::from_millis(50), ..ForwardLimits::default() };
    let (there, _) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"a\"").await;
    let short = node(there, limits()).await;
    let answer = get(&short, RUN_THERE).await;
    assert_eq!((answer.status, answer.code()), (503, "datacenter_unreachable".to_owned()));
    // One that is being handed on already can only be cut.
    let (there, _) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhalf").await;
    let long = node(there, limits()).await;
    let answer = get(&long, RUN_THERE).await;
    assert_eq!((answer.status, answer.headers["content-length"].as_str()), (200, "1000000"));
    assert_eq!(answer.body, b"half");
    // An event that is torn is not ended by the problem that follows.
    let torn =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: a\n\ndata: b";
    let (there, _) = server(torn).await;
    let torn = node(there, limits()).await;
    let answer = get(&torn, &format!("{RUN_THERE}/events")).await;
    assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (200, "data: a\n\ndata: b"));
}

#[tokio::test]
async fn what_is_no_http_is_not_handed_on() {
    let (there, _) = server(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await;
    let node = node(there, ForwardLimits::default()).await;
    let answer = get(&node, RUN_THERE).await;
    assert_eq!((answer.status, answer.code()), (503, "datacenter_unreachable".to_owned()));
    let started = node.post("/v1/namespaces/default/runs", r#"{"workflow":"wait","datacenter":"dc2"}"#).await;
    assert_eq!((started.status, started.code()), (503, "outcome_unknown".to_owned()));
}
