//! The other datacenter is away, loses answers or falls silent: what is known is said, nothing is done twice, and the
//! one that is asked goes on.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::relay::Way;
use crate::world::{Api, BETA, World, node};

const RUN_OF_BETA: &str = "018f3a6e-7c1d-8002-8a2b-3c4d5e6f7081";

#[tokio::test(flavor = "multi_thread")]
async fn a_datacenter_that_cannot_be_reached_was_sent_nothing() {
    // A port that is taken and not listened on.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    let node = node("alpha", 1, &[]).other_datacenter("beta", BETA, &url).start().await.unwrap();
    let alpha = Api::at(node.address());
    for answer in [
        alpha.get(&format!("/runs/{RUN_OF_BETA}")).await,
        alpha.get(&format!("/runs/{RUN_OF_BETA}/events")).await,
        alpha.post(&format!("/runs/{RUN_OF_BETA}/signals"), &json!({"name": "go"})).await,
        alpha.post("/runs", &json!({"workflow": "wait", "datacenter": "beta"})).await,
        alpha.get("/runs?datacenter=beta").await,
    ] {
        assert_eq!(answer.problem(), (503, "datacenter_unreachable".to_owned()));
        assert_eq!(answer.headers["retry-after"], "1");
        let detail = answer.text("detail");
        assert!(detail.contains("`beta`") && detail.contains("nothing was appended"), "{detail}");
    }
    // Its own work goes on.
    alpha.start_waiting().await;
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_an_unknown_outcome_and_the_retry_is_the_same_event() {
    let world = World::start().await;
    let run_id = world.beta.start_waiting().await;
    let path = format!("/runs/{run_id}/signals");
    let signal = json!({"name": "other", "payload": 1});
    let start = json!({"workflow": "wait", "datacenter": "beta"});
    world.to_beta.set(Way::LosesAnswers);
    for (path, body) in [(path.as_str(), &signal), ("/runs", &start)] {
        let lost = world.alpha.post_with_key(path, "once", body).await;
        assert_eq!(lost.problem(), (503, "outcome_unknown".to_owned()));
        assert!(lost.headers.contains_key("retry-after"));
        assert!(lost.text("detail").contains("Idempotency-Key"), "{}", lost.text_body());
    }
    let read = world.alpha.get(&format!("/runs/{run_id}")).await;
    assert_eq!(read.problem(), (503, "datacenter_unreachable".to_owned()));
    world.to_beta.set(Way::Open);
    let again = world.alpha.post_with_key(&path, "once", &signal).await;
    assert_eq!((again.status, again.text("outcome").as_str()), (200, "duplicate"));
    let history = world.alpha.get(&format!("/runs/{run_id}/history")).await.json();
    let signals =
        history["entries"].as_array().unwrap().iter().filter(|entry| entry["type"] == "run-signaled");
    assert_eq!(signals.count(), 1, "{history}");
    let again = world.alpha.post_with_key("/runs", "once", &start).await;
    assert_eq!(again.status, 200, "the run exists: {}", again.text_body());
    world.beta.until_listed(2).await;
    let runs = world.beta.get("/runs").await.json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_told_when_the_way_breaks_and_goes_on_where_it_was() {
    let world = World::start().await;
    let run_id = world.beta.start_waiting().await;
    let path = format!("/runs/{run_id}/events");
    let mut stream = world.alpha.request(Method::GET, &path).send().await.unwrap().bytes_stream();
    let mut said = String::new();
    while !said.contains("signal-awaited") {
        said += std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap();
    }
    world.to_beta.cut();
    let mut rest = String::new();
    while let Some(part) = stream.next().await {
        rest += std::str::from_utf8(&part.expect("the stream ends as a stream does")).unwrap();
    }
    let problem = rest.strip_prefix("event: problem\ndata: ").unwrap_or_else(|| panic!("{rest}"));
    let problem: Value = serde_json::from_str(problem.trim_end()).unwrap();
    assert_eq!(problem["code"], "datacenter_unreachable");
    let last = said.rsplit("id: ").next().unwrap().lines().next().unwrap().to_owned();
    world.alpha.post(&format!("/runs/{run_id}/signals"), &json!({"name": "go"})).await;
    let again = world.alpha.request(Method::GET, &path).header("last-event-id", last);
    let again = world.alpha.send(again).await.text_body();
    assert!(again.contains("run-completed") && !again.contains("run-started"), "{again}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_datacenter_holds_up_only_those_who_ask_for_it() {
    let world = World::start().await;
    let run_id = world.beta.start_waiting().await;
    world.to_beta.set(Way::Silent);
    let asks: Vec<_> = (0..200)
        .map(|_| {
            let (alpha, path) = (world.alpha.clone(), format!("/runs/{run_id}"));
            tokio::spawn(async move { alpha.request(Method::GET, &path).send().await })
        })
        .collect();
    let own = join_all((0..50).map(|_| world.alpha.start_waiting()));
    tokio::time::timeout(Duration::from_secs(50), own).await.expect("its own runs are started meanwhile");
    assert!(asks.iter().all(|ask| !ask.is_finished()));
    for ask in asks {
        ask.abort();
    }
    // Whoever goes leaves room for the next, and a way that is open again is used again.
    world.to_beta.set(Way::Open);
    world.to_beta.cut();
    assert_eq!(world.alpha.get(&format!("/runs/{run_id}")).await.status, 200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_lets_go_of_those_who_wait_elsewhere() {
    let world = World::start().await;
    let run_id = world.beta.start_waiting().await;
    let other = node("gamma", 3, &[]).other_datacenter("beta", BETA, &world.to_beta.url());
    let other = other.start().await.unwrap();
    let gamma = Api::at(other.address());
    let mut stream =
        gamma.request(Method::GET, &format!("/runs/{run_id}/events")).send().await.unwrap().bytes_stream();
    stream.next().await.expect("an event").expect("a part");
    let path = format!("/runs/{run_id}/result?timeout=5m");
    let waiting = tokio::spawn(async move { gamma.get(&path).await });
    while world.to_beta.connections() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    other.stop().await.unwrap();
    while let Some(part) = stream.next().await {
        part.expect("the stream ends as a stream does");
    }
    assert_eq!(waiting.await.unwrap().problem(), (503, "not_ready".to_owned()));
    world.stop().await;
}
