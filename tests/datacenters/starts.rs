//! A start goes where it asks to, or to its namespace's home, and is one run however often it is sent.

use serde_json::json;

use crate::world::{ALPHA, Api, BETA, World, label, node};

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_made_where_it_asks_to_and_acknowledged_from_there() {
    let world = World::start().await;
    let body = json!({"workflow": "echo", "input": [1, 2], "datacenter": "beta", "tags": {"shop": "berlin"}});
    let started = world.alpha.post("/runs?wait=30s", &body).await;
    assert_eq!((started.status, started.text("status").as_str()), (200, "completed"));
    assert_eq!(started.json()["output"], json!([1, 2]));
    assert_eq!(label(&started.text("run_id")), BETA);
    assert_eq!(world.alpha.get("/runs").await.json()["runs"], json!([]));
    // Its position is one of beta.
    let page = format!("/runs?datacenter=beta&tag=shop:berlin&at_least={}", started.text("position"));
    assert_eq!(world.alpha.get(&page).await.json()["runs"][0]["run_id"], started.json()["run_id"]);
    let own = world.alpha.post("/runs", &json!({"workflow": "echo", "datacenter": "alpha"})).await;
    assert_eq!((own.status, label(&own.text("run_id"))), (201, ALPHA));
    let unknown = world.alpha.post("/runs", &json!({"workflow": "echo", "datacenter": "gamma"})).await;
    assert_eq!(unknown.problem(), (422, "datacenter_not_found".to_owned()));
    assert_eq!(unknown.text("field"), "datacenter");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_start_through_both_is_one_run() {
    let world = World::start().await;
    let body = json!({"workflow": "wait", "key": "4711", "datacenter": "beta"});
    let (one, other) = (world.alpha.post("/runs", &body).await, world.beta.post("/runs", &body).await);
    assert_eq!((one.status, other.status), (201, 200));
    assert_eq!(one.text("run_id"), other.text("run_id"));
    // In another datacenter the key names another run.
    let elsewhere = json!({"workflow": "wait", "key": "4711", "datacenter": "alpha"});
    let elsewhere = world.beta.post("/runs", &elsewhere).await;
    assert_eq!((elsewhere.status, label(&elsewhere.text("run_id"))), (201, ALPHA));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_home_of_a_namespace_is_where_its_runs_are_started() {
    let world = World::with_homes(&[("default", "beta")]).await;
    let body = json!({"workflow": "wait", "key": "4711"});
    let (one, other) = (world.alpha.post("/runs", &body).await, world.beta.post("/runs", &body).await);
    assert_eq!((one.status, other.status), (201, 200));
    assert_eq!(one.text("run_id"), other.text("run_id"));
    assert_eq!(label(&one.text("run_id")), BETA);
    // Without a home it is whoever is asked.
    let other = world.alpha.in_namespace("other");
    assert_eq!(label(&other.start_waiting().await), ALPHA);
    // What a start asks for comes first.
    let asked = world.alpha.post("/runs", &json!({"workflow": "wait", "datacenter": "alpha"})).await;
    assert_eq!(label(&asked.text("run_id")), ALPHA);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datacenters_that_differ_over_a_home_do_not_send_a_start_to_and_fro() {
    let world = World::start().await;
    let gamma = node("gamma", 3, &[("default", "beta")]).other_datacenter("beta", BETA, &world.to_beta.url());
    let delta = node("delta", 4, &[("default", "gamma")]);
    let gamma = gamma.start().await.unwrap();
    let delta = delta.other_datacenter("gamma", 3, &format!("http://{}", gamma.address()));
    let delta = delta.start().await.unwrap();
    // Delta takes gamma for the home; gamma, which takes beta for it, starts what was forwarded to it.
    let run_id = Api::at(delta.address()).start_waiting().await;
    assert_eq!(label(&run_id), 3);
    assert_eq!(world.to_beta.connections(), 0);
    delta.stop().await.unwrap();
    gamma.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_start_is_said_by_where_it_belongs() {
    let world = World::start().await;
    for body in [
        json!({"workflow": "none", "datacenter": "beta"}),
        json!({"workflow": "echo", "key": "", "datacenter": "beta"}),
        json!({"workflow": "echo", "tags": {"": "x"}, "datacenter": "beta"}),
        json!({"workflow": "echo", "input": "x".repeat(520 * 1024), "datacenter": "beta"}),
    ] {
        let (here, there) = (world.alpha.post("/runs", &body).await, world.beta.post("/runs", &body).await);
        assert!(here.status >= 400);
        assert_eq!((here.problem(), here.text_body()), (there.problem(), there.text_body()));
    }
    let run_id = world.beta.start_waiting().await;
    let connections = world.to_beta.connections();
    // Over the limit of a whole body, it is refused before it was sent.
    let answer = world.alpha.announce(&format!("/runs/{run_id}/signals"), 600 * 1024).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    assert_eq!(world.to_beta.connections(), connections, "nobody there heard of it");
    assert_eq!(world.alpha.get(&format!("/runs/{run_id}")).await.text("status"), "running");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datacenter_can_be_added_while_the_others_do_not_know_it_yet() {
    let world = World::start().await;
    let there = world.beta.start_waiting().await;
    let gamma = node("gamma", 3, &[]).other_datacenter("alpha", ALPHA, &world.to_alpha.url());
    let gamma = gamma.other_datacenter("beta", BETA, &world.to_beta.url()).start().await.unwrap();
    let api = Api::at(gamma.address());
    assert_eq!(api.get(&format!("/runs/{there}")).await.text("status"), "running");
    let run_id = api.start_waiting().await;
    assert_eq!(label(&run_id), 3);
    let unknown = world.alpha.get(&format!("/runs/{run_id}")).await;
    assert_eq!(unknown.problem(), (422, "datacenter_not_found".to_owned()));
    assert!(unknown.text("detail").contains("restart"));
    gamma.stop().await.unwrap();
    world.stop().await;
}
