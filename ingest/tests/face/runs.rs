//! Starting runs and asking things of them.

use crate::node::Node;

const RUNS: &str = "/v1/namespaces/default/runs";

#[tokio::test]
async fn a_start_is_answered_with_the_run() {
    let node = Node::start().await;
    let answer =
        node.post(RUNS, r#"{"workflow":"wait","key":"k1","input":{"a": 1.0},"tags":{"team":"x"}}"#).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let run = answer.json();
    assert_eq!(run["status"], "running");
    assert_eq!(run["workflow"], "wait");
    assert_eq!(run["key"], "k1");
    assert_eq!(run["tags"]["team"], "x");
    assert_eq!(run["version"], 1);
    assert_eq!(run["position"].as_str().map(str::len), Some(48));
    assert!(run["created_at"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert!(run.get("output").is_none() && run.get("error").is_none());
}

#[tokio::test]
async fn a_second_start_with_the_same_key_is_the_same_run() {
    let node = Node::start().await;
    let body = r#"{"workflow":"wait","key":"k1"}"#;
    let (first, second) = (node.post(RUNS, body).await, node.post(RUNS, body).await);
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.text("run_id"), second.text("run_id"));
}

#[tokio::test]
async fn a_start_that_waits_is_answered_with_the_result() {
    let node = Node::start().await;
    let path = format!("{RUNS}?wait=20s");
    let answer = node.post(&path, r#"{"workflow":"echo","key":"k","input":{"b": 1.0,"a":[ ]}}"#).await;
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(text.contains(r#""output":{"b": 1.0,"a":[ ]}"#), "{text}");
    assert_eq!(answer.text("status"), "completed");
    // Asked again, the finished run is answered with its result, with or without waiting.
    for path in [path.as_str(), RUNS] {
        let again = node.post(path, r#"{"workflow":"echo","key":"k","input":9}"#).await;
        assert_eq!((again.status, again.text("status")), (200, "completed".to_owned()));
        assert_eq!(again.json()["output"], serde_json::json!({"b": 1.0, "a": []}));
    }
    assert!(node.waiting.is_empty());
}

#[tokio::test]
async fn a_wait_that_ends_too_early_is_answered_with_the_state_so_far() {
    let node = Node::start().await;
    let answer = node.post(&format!("{RUNS}?wait=300ms"), r#"{"workflow":"wait"}"#).await;
    assert_eq!((answer.status, answer.text("status")), (202, "running".to_owned()));
    assert!(node.waiting.is_empty());
}

#[tokio::test]
async fn a_wait_for_a_run_that_is_parked_or_becomes_parked_is_answered_at_once() {
    let node = Node::start().await;
    let path = format!("{RUNS}?wait=5m");
    // Parked while the first one waits, and long since when the second one comes.
    for _ in 0..2 {
        let asked = node.post(&path, r#"{"workflow":"diverge","key":"k"}"#);
        let answer =
            tokio::time::timeout(std::time::Duration::from_secs(60), asked).await.expect("an answer");
        assert_eq!((answer.status, answer.text("status")), (202, "parked".to_owned()));
        assert_eq!(answer.json()["divergence"]["expected"], "a timer");
    }
    assert!(node.waiting.is_empty());
}

#[tokio::test]
async fn a_retry_with_the_same_idempotency_key_is_the_same_event() {
    let node = Node::start().await;
    let body = r#"{"workflow":"wait"}"#;
    let with_a_time = ["018f3a6e-7c1d-7001-8a2b-3c4d5e6f7081", "018f3a6e-7c1d-7001-8a2b-3c4d5e6f7082"];
    let mut run_id = String::new();
    for [key, other_key] in [["once", "twice"], with_a_time] {
        let first = node.post_with_key(RUNS, key, body).await;
        let second = node.post_with_key(RUNS, key, body).await;
        let other = node.post_with_key(RUNS, other_key, body).await;
        assert_eq!((first.status, second.status, other.status), (201, 200, 201));
        assert_eq!(first.text("run_id"), second.text("run_id"));
        assert_ne!(first.text("run_id"), other.text("run_id"));
        run_id = first.text("run_id");
    }
    let path = format!("{RUNS}/{run_id}/signals");
    let outcomes = [
        node.post_with_key(&path, "s", r#"{"name":"go"}"#).await.text("outcome"),
        node.post_with_key(&path, "s", r#"{"name":"go"}"#).await.text("outcome"),
        node.post(&path, r#"{"name":"go"}"#).await.text("outcome"),
    ];
    assert_eq!(outcomes, ["accepted", "duplicate", "accepted"]);
}

#[tokio::test]
async fn racing_requests_with_one_key_are_each_told_of_their_own_record() {
    let node = Node::start().await;
    node.log.hold();
    let body = r#"{"workflow":"wait"}"#;
    let requests = futures::future::join_all((0..8).map(|_| node.post_with_key(RUNS, "race", body)));
    let release = async {
        while node.log.held() < 8 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        node.log.resume();
    };
    let (answers, ()) = tokio::join!(requests, release);
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    let existed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((created, existed), (1, 7));
    let positions: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| answer.text("position")).collect();
    assert_eq!(positions.len(), 8);
}

#[tokio::test]
async fn commands_are_answered_with_the_folds_verdict() {
    let node = Node::start().await;
    let run_id = node.post(RUNS, r#"{"workflow":"wait"}"#).await.text("run_id");
    let run = format!("{RUNS}/{run_id}");
    let signalled = node.post(&format!("{run}/signals"), r#"{"name":"go","payload":[1]}"#).await;
    assert_eq!((signalled.status, signalled.text("outcome")), (200, "accepted".to_owned()));
    assert_eq!(node.post(&format!("{run}/resume"), "{}").await.code(), "not_parked");
    let cancelled = node.send(&format!("POST {run}/cancel HTTP/1.1"), b"").await;
    assert_eq!((cancelled.status, cancelled.text("status")), (200, "running".to_owned()));
    let ended = node.post(&format!("{run}/terminate"), r#"{"reason":"enough"}"#).await;
    assert_eq!((ended.status, ended.text("status")), (200, "terminated".to_owned()));
    let refused = node.post(&format!("{run}/signals"), r#"{"name":"go"}"#).await;
    assert_eq!((refused.status, refused.code()), (409, "run_finished".to_owned()));
    assert_eq!(refused.text("rejection"), "run_finished");
    assert_eq!(refused.text("position").len(), 48);
    assert_eq!(refused.text("instance"), run_id);
}

#[tokio::test]
async fn a_signal_for_a_run_that_does_not_exist_is_a_404() {
    let node = Node::start().await;
    let path = format!("{RUNS}/018f3a6e-7c1d-8007-8a2b-3c4d5e6f7081/signals");
    let answer = node.post(&path, r#"{"name":"go"}"#).await;
    assert_eq!((answer.status, answer.code()), (404, "run_not_found".to_owned()));
}
