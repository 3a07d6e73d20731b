//! Letting a parked run go on: what is refused before anything is appended.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::node::Node;

const RUNS: &str = "/v1/namespaces/default/runs";
const BODY: &str = r#"{"offset":2,"reason":"its value is cut off"}"#;

async fn started(node: &Node, workflow: &str) -> String {
    let answer = node.post(RUNS, &format!(r#"{{"workflow":"{workflow}"}}"#)).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.text("run_id")
}

#[tokio::test]
async fn a_run_that_no_unreadable_record_parks_is_refused_before_anything_is_appended() {
    let node = Node::start().await;
    let run_id = started(&node, "wait").await;
    let path = format!("{RUNS}/{run_id}/unpark");
    // Its first record lies at offset 2 and counts.
    let answer = node.post(&path, BODY).await;
    assert_eq!((answer.status, answer.code()), (409, "not_parked".to_owned()));
    let nobody = format!("{RUNS}/00000000-0000-7000-8000-000000000000/unpark");
    let answer = node.post(&nobody, BODY).await;
    assert_eq!(answer.code(), "run_not_found");
    assert_eq!(node.records().await, 1, "the start alone");
}

#[tokio::test]
async fn a_run_whose_code_diverged_is_told_to_resume() {
    let node = Node::start().await;
    let run_id = started(&node, "diverge").await;
    let began = Instant::now();
    while node.records().await < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "it diverges");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let answer = node.post(&format!("{RUNS}/{run_id}/unpark"), BODY).await;
    assert_eq!((answer.status, answer.code()), (409, "not_parked".to_owned()));
    assert!(answer.text("detail").contains("resume"), "{}", answer.json());
    assert_eq!(node.records().await, 2);
}

#[tokio::test]
async fn an_owner_that_has_not_begun_is_no_older_fold_version() {
    let node = Node::start().await;
    let mut seen = 0;
    for (fold, status, code) in [(0, 503, "not_ready"), (1, 409, "not_in_fold")] {
        node.fold.store(fold, Ordering::Relaxed);
        // One of these runs lies in partition 0.
        for number in 0..64 {
            let run_id = format!("00000000-0000-7000-8000-{number:012}");
            let answer = node.post(&format!("{RUNS}/{run_id}/unpark"), BODY).await;
            if answer.code() != "run_not_found" {
                assert_eq!((answer.status, answer.code()), (status, code.to_owned()));
                seen += 1;
            }
        }
    }
    assert!(seen >= 2, "{seen}");
    assert_eq!(node.records().await, 0);
}
