//! What is answered when the log or the node cannot do what it should.

use std::time::Duration;

use tidewheel_ingest::server::Limits;

use crate::node::Node;

const RUNS: &str = "/v1/namespaces/default/runs";
const BODY: &str = r#"{"workflow":"wait","key":"k"}"#;

#[tokio::test]
async fn a_full_queue_is_a_429_that_says_when_to_try_again() {
    let node = Node::start().await;
    node.log.overload(true);
    let answer = node.post(RUNS, BODY).await;
    assert_eq!((answer.status, answer.code()), (429, "overloaded".to_owned()));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.json()["retry_after_ms"], 1000);
    node.log.overload(false);
    assert_eq!(node.post(RUNS, BODY).await.status, 201);
}

#[tokio::test]
async fn views_too_far_behind_are_a_429_and_nothing_is_appended() {
    let node = Node::start().await;
    node.producer.set_lag_over_limit(true);
    let answer = node.post(RUNS, BODY).await;
    assert_eq!((answer.status, answer.code()), (429, "lagging".to_owned()));
    assert_eq!(node.records().await, 0);
}

#[tokio::test]
async fn a_lost_reply_is_a_503_and_the_retry_is_the_same_event() {
    let node = Node::start().await;
    node.log.hold();
    let request = node.post_with_key(RUNS, "lost", BODY);
    let failure = async {
        while node.log.held() < 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        node.log.fail("the disk is gone", 1);
    };
    let (answer, ()) = tokio::join!(request, failure);
    assert_eq!((answer.status, answer.code()), (503, "outcome_unknown".to_owned()));
    node.log.revive();
    node.log.resume();
    let again = node.post_with_key(RUNS, "lost", BODY).await;
    assert_eq!(again.status, 200, "the first one was in the log: {}", again.json());
    assert_eq!(node.records().await, 2);
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_so() {
    let node = Node::start().await;
    assert_eq!(node.get("/health/ready").await.status, 200);
    node.producer.set_ready(false);
    assert_eq!(node.get("/health/ready").await.code(), "not_ready");
    assert_eq!(node.get("/health/live").await.status, 200);
    let answer = node.post(RUNS, BODY).await;
    assert_eq!((answer.status, answer.code()), (503, "not_ready".to_owned()));
}

#[tokio::test]
async fn a_verdict_that_does_not_come_in_time_is_a_202_with_the_position() {
    let node = Node::with(Limits::default(), Duration::from_millis(200)).await;
    let run_id = node.post(RUNS, BODY).await.text("run_id");
    // Nobody tells these waiters anything: as when another process folds, and is slow.
    let quiet = Node::with(Limits::default(), Duration::from_millis(200)).await;
    quiet.stop_folding();
    let answer = quiet.post(RUNS, BODY).await;
    assert_eq!((answer.status, answer.text("status")), (202, "pending".to_owned()));
    assert_eq!(answer.text("run_id"), run_id);
    assert_eq!(answer.text("position").len(), 48);
    let answer = quiet.post(&format!("{RUNS}/{run_id}/signals?timeout=100ms"), r#"{"name":"go"}"#).await;
    assert_eq!((answer.status, answer.text("outcome")), (202, "pending".to_owned()));
    assert!(quiet.waiting.is_empty());
}

#[tokio::test]
async fn a_stopping_server_finishes_what_is_in_flight() {
    let mut node = Node::start().await;
    node.log.hold();
    let held = async {
        while node.log.held() < 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        node.stopping.cancel();
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.log.resume();
    };
    let (answer, ()) = tokio::join!(node.post(RUNS, BODY), held);
    assert_eq!(answer.status, 201);
    (&mut node.server).await.expect("no panic").expect("a clean stop");
    assert!(tokio::net::TcpStream::connect(node.address).await.is_err());
}

#[tokio::test]
async fn a_stop_ends_long_waits_early_with_the_state_so_far() {
    let mut node = Node::start().await;
    let path = format!("{RUNS}?wait=5m");
    let stop = async {
        while node.records().await < 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        node.stopping.cancel();
    };
    let (answer, ()) = tokio::join!(node.post(&path, BODY), stop);
    assert_eq!((answer.status, answer.text("status")), (202, "running".to_owned()));
    (&mut node.server).await.expect("no panic").expect("a clean stop");
}
