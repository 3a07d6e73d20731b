//! Every route about a run answers for one of another datacenter as if it were its own.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{ALPHA, Answer, Api, BETA, World, label, node};

/// All of an answer but what differs between two of the same.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, answer.text_body())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_of_a_run_is_the_same_wherever_it_is_asked() {
    let world = World::start().await;
    let big = "x".repeat(300_000);
    let mut ended = Value::Null;
    for input in [json!("small"), json!({ "big": big })] {
        let body = json!({"workflow": "echo", "input": input});
        ended = world.beta.post("/runs?wait=30s", &body).await.json();
        assert_eq!(ended["status"], "completed");
    }
    let (run_id, position) = (ended["run_id"].as_str().unwrap(), ended["position"].as_str().unwrap());
    assert_eq!(label(run_id), BETA);
    let waiting = world.beta.start_waiting().await;
    world.beta.is_waiting(&waiting).await;
    let unknown = format!("{}0", &run_id[..35]);
    let unknown = if unknown == run_id { format!("{}1", &run_id[..35]) } else { unknown };
    let paths = [
        format!("/runs/{run_id}?at_least={position}"),
        format!("/runs/{run_id}/result?at_least={position}"),
        format!("/runs/{run_id}/result?timeout=20s"),
        format!("/runs/{waiting}/result?timeout=10ms"),
        format!("/runs/{run_id}/history?at_least={position}"),
        format!("/runs/{run_id}/history?limit=1"),
        format!("/runs/{run_id}/events"),
        format!("/runs/{run_id}/history?cursor=nonsense"),
        format!("/runs/{run_id}?at_least=nonsense"),
        format!("/runs/{run_id}?unknown=1"),
        format!("/runs/{run_id}/result?timeout=9m"),
        format!("/runs/{unknown}"),
        format!("/runs/{unknown}/events"),
        "/runs?datacenter=beta".to_owned(),
        "/runs?limit=1&datacenter=beta&workflow=echo".to_owned(),
        "/rejections?datacenter=beta".to_owned(),
    ];
    for path in &paths {
        let (there, here) = (world.beta.get(path).await, world.alpha.get(path).await);
        assert_eq!(comparable(&there), comparable(&here), "{path}");
    }
    assert!(world.alpha.get(&paths[4]).await.body.len() > 600_000, "also what is long");
    for path in &paths[..8] {
        let head = async |api: &Api| comparable(&api.send(api.request(Method::HEAD, path)).await);
        let (status, headers, body) = head(&world.alpha).await;
        let (status_there, headers_there, _) = head(&world.beta).await;
        assert_eq!((status, headers), (status_there, headers_there), "HEAD {path}");
        assert!(body.is_empty());
    }
    let path = format!("/runs/{run_id}");
    let (there, here) = (
        world.beta.in_namespace("other").get(&path).await,
        world.alpha.in_namespace("other").get(&path).await,
    );
    assert_eq!(there.problem(), (404, "run_not_found".to_owned()));
    assert_eq!(comparable(&there), comparable(&here));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_run_is_done_there_and_answered_here() {
    let world = World::start().await;
    for (command, body, status) in [
        ("signals", json!({"name": "go", "payload": 7}), "completed"),
        ("cancel", json!({"reason": "enough"}), "cancelled"),
        ("terminate", json!({}), "terminated"),
    ] {
        let run_id = world.beta.start_waiting().await;
        let path = format!("/runs/{run_id}/{command}");
        let answer = world.alpha.post_with_key(&path, "once", &body).await;
        assert_eq!((answer.status, answer.text("outcome").as_str()), (200, "accepted"), "{command}");
        // The same event, wherever it is sent again.
        let again = world.beta.post_with_key(&path, "once", &body).await;
        assert_eq!(again.text("outcome"), "duplicate");
        assert_eq!(again.text("event_id"), answer.text("event_id"));
        let result = world.alpha.get(&format!("/runs/{run_id}/result?timeout=30s")).await;
        assert_eq!((result.status, result.text("status").as_str()), (200, status));
        let (here, there) = (world.alpha.post(&path, &body).await, world.beta.post(&path, &body).await);
        assert_eq!((here.problem(), here.text("instance")), (there.problem(), there.text("instance")));
    }
    let run_id = world.beta.start_waiting().await;
    let path = format!("/runs/{run_id}/resume");
    // Without a body and a content type, as `curl -X POST` sends it.
    let resumed = world.alpha.send(world.alpha.request(Method::POST, &path)).await;
    assert_eq!(resumed.problem(), (409, "not_parked".to_owned()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_from_another_datacenter_as_it_goes() {
    let world = World::start().await;
    let run_id = world.beta.start_waiting().await;
    let path = format!("/runs/{run_id}/events");
    let response = world.alpha.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    let mut said = String::new();
    while !said.contains("signal-awaited") {
        // What happened so far comes before the run goes on: nothing is held back until the end.
        let part =
            tokio::time::timeout(Duration::from_secs(30), stream.next()).await.expect("an event in time");
        said += std::str::from_utf8(&part.expect("not the end").unwrap()).unwrap();
    }
    let signalled =
        world.alpha.post(&format!("/runs/{run_id}/signals"), &json!({"name": "go", "payload": 1})).await;
    assert_eq!(signalled.status, 200);
    while let Some(part) = stream.next().await {
        said += std::str::from_utf8(&part.unwrap()).unwrap();
    }
    assert!(said.contains("event: run-completed"), "{said}");
    assert_eq!(said, world.beta.get(&path).await.text_body());
    let rest = world.alpha.request(Method::GET, &path).header("last-event-id", "2");
    let rest = world.alpha.send(rest).await.text_body();
    assert!(rest.starts_with("id: 3") || rest.contains("\nid: 3"), "{rest}");
    assert!(!rest.contains("run-started"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_result_ends_when_the_run_does() {
    let world = World::start().await;
    let run_id = world.beta.start_waiting().await;
    let (alpha, path) = (world.alpha.clone(), format!("/runs/{run_id}/result?timeout=50s"));
    let waited = tokio::spawn(async move { alpha.get(&path).await });
    // By then it waits there, most of the time; if not, the answer is the same.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waited.is_finished());
    world.beta.post(&format!("/runs/{run_id}/signals"), &json!({"name": "go", "payload": "done"})).await;
    let waited = waited.await.unwrap();
    assert_eq!((waited.status, waited.json()["output"].clone()), (200, json!("done")));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_holds_the_runs_of_one_datacenter() {
    let world = World::start().await;
    let here = world.alpha.start_waiting().await;
    let mut there = Vec::new();
    for _ in 0..3 {
        there.push(world.beta.start_waiting().await);
    }
    world.alpha.until_listed(1).await;
    world.beta.until_listed(3).await;
    let ids = |page: &Value| -> Vec<String> {
        page["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["run_id"].as_str().unwrap().to_owned())
            .collect()
    };
    for query in ["", "?datacenter=alpha"] {
        assert_eq!(ids(&world.alpha.get(&format!("/runs{query}")).await.json()), std::slice::from_ref(&here));
    }
    let mut found = Vec::new();
    let mut query = "?datacenter=beta&limit=2".to_owned();
    loop {
        let page = world.alpha.get(&format!("/runs{query}")).await.json();
        found.extend(ids(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?datacenter=beta&limit=2&cursor={cursor}");
    }
    found.sort();
    there.sort();
    assert_eq!(found, there);
    let position = world.beta.get(&format!("/runs/{}", there[0])).await.text("position");
    let foreign = world.alpha.get(&format!("/runs?at_least={position}")).await;
    assert_eq!(foreign.problem(), (422, "foreign_position".to_owned()));
    assert_eq!(foreign.text("field"), "at_least");
    assert_eq!(world.alpha.get(&format!("/runs?datacenter=beta&at_least={position}")).await.status, 200);
    let unknown = world.alpha.get("/runs?datacenter=gamma").await;
    assert_eq!(unknown.problem(), (422, "datacenter_not_found".to_owned()));
    assert_eq!(unknown.json()["known"], json!(["alpha", "beta"]));
    let twice = world.alpha.get("/runs?datacenter=beta&datacenter=alpha").await;
    assert_eq!(twice.problem(), (422, "invalid_parameter".to_owned()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_nobody_has_is_told_and_changes_nothing() {
    let world = World::start().await;
    let run_id = "018f3a6e-7c1d-8fff-8a2b-3c4d5e6f7081";
    assert_eq!(label(run_id), 4095);
    for answer in [
        world.alpha.get(&format!("/runs/{run_id}")).await,
        world.alpha.get(&format!("/runs/{run_id}/events")).await,
        world.alpha.post(&format!("/runs/{run_id}/signals"), &json!({"name": "go"})).await,
    ] {
        assert_eq!(answer.problem(), (422, "datacenter_not_found".to_owned()));
        assert_eq!(answer.text("field"), "run_id");
        assert!(answer.text("detail").contains("4095"));
    }
    let malformed = world.alpha.get("/runs/nonsense").await;
    assert_eq!(malformed.problem(), (422, "invalid_parameter".to_owned()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_forwarded_once_at_most() {
    let world = World::start().await;
    let run_id = world.alpha.start_waiting().await;
    let path = format!("/runs/{run_id}");
    // It says that it was forwarded to beta, and is about a run of alpha: sent on, it could go round for ever.
    let request = world.beta.request(Method::GET, &path).header("tidewheel-forwarded", "beta");
    assert_eq!(world.beta.send(request).await.problem(), (502, "datacenter_mismatch".to_owned()));
    assert_eq!(world.to_alpha.connections(), 0);
    // A URL that leads to another datacenter than it is said to.
    let confused = node("gamma", 3, &[]).other_datacenter("delta", 4, &world.to_beta.url());
    let confused = confused.other_datacenter("alpha", ALPHA, &world.to_beta.url()).start().await.unwrap();
    let gamma = Api::at(confused.address());
    let answer = gamma.get(&path).await;
    assert_eq!(answer.problem(), (502, "datacenter_mismatch".to_owned()));
    assert!(answer.text("detail").contains("`alpha`") && answer.text("detail").contains("`beta`"));
    let started = gamma.post("/runs", &json!({"workflow": "wait", "datacenter": "delta"})).await;
    assert_eq!(started.problem(), (502, "datacenter_mismatch".to_owned()));
    assert_eq!(world.beta.get("/runs").await.json()["runs"], json!([]));
    confused.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_between_datacenters_are_used_again() {
    let world = World::start().await;
    let run_id = world.beta.start_waiting().await;
    for _ in 0..20 {
        assert_eq!(world.alpha.get(&format!("/runs/{run_id}")).await.status, 200);
    }
    assert!(world.to_beta.connections() < 20, "{}", world.to_beta.connections());
    world.stop().await;
}
