//! The lines of a batch go to their datacenters, and their answers come back in the order of the lines.

use reqwest::Method;
use serde_json::{Value, json};

use crate::relay::Way;
use crate::world::{ALPHA, Api, BETA, World, label};

async fn send(api: &Api, key: &str, body: &str) -> Vec<Value> {
    let request = api.request(Method::POST, "/runs:batch").header("content-type", "application/x-ndjson");
    let answer = api.send(request.header("idempotency-key", key).body(body.to_owned())).await;
    assert_eq!(answer.status, 200, "{}", answer.text_body());
    answer.text_body().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn numbers(answers: &[Value]) -> Vec<u64> {
    answers.iter().map(|answer| answer["line"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_goes_to_its_datacenter_and_a_retry_starts_nothing_twice() {
    let world = World::start().await;
    let mut lines = String::new();
    for index in 0..2_500 {
        let datacenter = if index % 2 == 0 { "alpha" } else { "beta" };
        // Lines without a key: what makes them the same again is the number they have in the whole batch.
        lines += &format!(r#"{{"workflow":"echo","input":{index},"datacenter":"{datacenter}"}}"#);
        lines += if index % 7 == 0 { "\n\n" } else { "\n" };
    }
    let first = send(&world.alpha, "once", &lines).await;
    assert_eq!(first.len(), 2_500);
    assert!(numbers(&first).is_sorted());
    for (index, answer) in first.iter().enumerate() {
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        let expected = if index % 2 == 0 { ALPHA } else { BETA };
        assert_eq!(label(answer["run_id"].as_str().unwrap()), expected);
    }
    for api in [&world.alpha, &world.beta] {
        let again = send(api, "once", &lines).await;
        assert_eq!(numbers(&again), numbers(&first));
        for (before, after) in first.iter().zip(&again) {
            assert_eq!((&after["outcome"], &after["run_id"]), (&json!("duplicate"), &before["run_id"]));
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_refused_there_keeps_its_place_and_its_problem() {
    let world = World::with_homes(&[("default", "beta")]).await;
    let lines = [
        r#"{"workflow":"echo"}"#,
        r#"{"workflow":"none"}"#,
        r#"{"workflow":"echo","datacenter":"gamma"}"#,
        "not json",
        "",
        r#"{"workflow":"echo","datacenter":"alpha"}"#,
        r#"{"workflow":"wait","key":"k"}"#,
        r#"{"workflow":"wait","key":"k"}"#,
    ];
    let answers = send(&world.alpha, "mixed", &lines.join("\n")).await;
    assert_eq!(numbers(&answers), [1, 2, 3, 4, 6, 7, 8]);
    let said: Vec<_> = answers
        .iter()
        .map(|answer| answer["outcome"].as_str().or(answer["problem"]["code"].as_str()).unwrap())
        .collect();
    assert_eq!(
        said,
        [
            "accepted",
            "workflow_not_found",
            "datacenter_not_found",
            "invalid_json",
            "accepted",
            "accepted",
            "duplicate"
        ]
    );
    assert_eq!(label(answers[0]["run_id"].as_str().unwrap()), BETA);
    assert_eq!(label(answers[4]["run_id"].as_str().unwrap()), ALPHA);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_a_datacenter_that_does_not_answer_are_told_so_and_the_others_go_on() {
    let world = World::start().await;
    let lines = "{\"workflow\":\"echo\",\"datacenter\":\"beta\"}\n{\"workflow\":\"echo\"}\n";
    world.to_beta.set(Way::LosesAnswers);
    let answers = send(&world.alpha, "lost", lines).await;
    assert_eq!(answers[0]["problem"]["code"], "outcome_unknown", "{answers:?}");
    assert_eq!(answers[1]["outcome"], "accepted");
    world.to_beta.set(Way::Open);
    let again = send(&world.alpha, "lost", lines).await;
    assert_eq!((&again[0]["outcome"], &again[1]["outcome"]), (&json!("duplicate"), &json!("duplicate")));
    world.beta.until_listed(1).await;
    assert_eq!(world.beta.get("/runs").await.json()["runs"].as_array().unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbered_lines_are_taken_from_another_datacenter_only() {
    let world = World::start().await;
    let request = |forwarded: bool| {
        let request = world.alpha.request(Method::POST, "/runs:batch");
        let request = request.header("content-type", "application/vnd.tidewheel.numbered-lines");
        let request = if forwarded { request.header("tidewheel-forwarded", "alpha") } else { request };
        request.body("7 {\"workflow\":\"echo\"}\nno number\n")
    };
    let refused = world.alpha.send(request(false)).await;
    assert_eq!(refused.problem(), (415, "unsupported_media_type".to_owned()));
    let taken = world.alpha.send(request(true)).await.text_body();
    let taken: Vec<Value> = taken.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&taken[0]["line"], &taken[0]["outcome"]), (&json!(7), &json!("accepted")));
    assert_eq!(taken[1]["problem"]["code"], "malformed_request");
    world.stop().await;
}
