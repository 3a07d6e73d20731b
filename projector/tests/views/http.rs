//! The reading routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::Value;
use tidewheel_api::{Namespaces, Waiting};
use tidewheel_projector::Generations;
use tidewheel_projector::query::status::{Part, Process};
use tidewheel_projector::query::{QueryOptions, Reading, router};
use tidewheel_projector::{Projector, ProjectorOptions};
use tidewheel_schemas::event::{RunCompleted, RunDiverged, RunResumed, RunSignaled, StepCompleted};
use tidewheel_schemas::{Location, Payload, Position, TopicFamily};
use tower::ServiceExt;

use crate::world::{DAY_US, World, block_on, memory, name, run_id};

struct Node {
    router: Router,
    projector: Projector,
    waiting: Waiting,
}

impl Node {
    async fn of(world: &World, until: usize) -> Self {
        let projector = Projector::start(memory().await, 1, ProjectorOptions::default()).await.unwrap();
        let waiting = Waiting::new(1);
        let end = world.transitions.len() as i64;
        let options = QueryOptions {
            namespaces: Namespaces::new([name("default"), name("other")]),
            datacenter: 1,
            log_end: Arc::new(move |_| Box::pin(async move { Some(end) })),
            process: Process {
                name: "one-7".into(),
                datacenter: name("local"),
                roles: vec!["projector"],
                max_lag: 9,
                part: Arc::new(|_| Part { leading: true, claim: Some(0), ..Part::default() }),
            },
            stopping: tokio_util::sync::CancellationToken::new(),
        };
        let reads = Reading::new(Generations::new(projector.clone()), waiting.clone(), options);
        let (router, _) = router(reads).split_for_parts();
        let node = Self { router, projector, waiting };
        node.feed(world, 0, until).await;
        node
    }

    async fn feed(&self, world: &World, from: usize, to: usize) {
        if from == to {
            return;
        }
        self.projector
            .submit(0, world.transitions[from..to].to_vec(), &world.controls[to - 1])
            .await
            .unwrap();
        self.waiting.publish(&world.transitions[from..to]);
        self.projector.wait_submitted(0, Duration::from_secs(30)).await.unwrap();
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body))),
        )
    }
}

fn ids(page: &Value) -> Vec<String> {
    page["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_any_size_show_every_run_once_newest_first_whatever_ties_there_are(
        runs in prop::collection::vec((0..4_i64, 0..3_i64, 0..2_usize, any::<bool>(), any::<bool>()), 1..40),
        limit in 1..7_usize,
    ) {
        let mut world = World::new();
        for (number, (day, time, workflow, tagged, completed)) in runs.iter().enumerate() {
            let run = run_id(number as u8);
            let tags: &[_] = if *tagged { &[("shop", "berlin")] } else { &[] };
            world.start(run, ["a", "b"][*workflow], tags, day * DAY_US + time);
            if *completed {
                world.engine(run, 0, false, RunCompleted { output: Payload::null() }.into());
            }
        }
        block_on(async {
            let node = Node::of(&world, world.transitions.len()).await;
            let wanted = |filter: &dyn Fn(usize) -> bool| {
                let mut order: Vec<_> = (0..runs.len()).filter(|number| filter(*number)).collect();
                // Later starts have higher offsets.
                order.sort_by_key(|number| std::cmp::Reverse((runs[*number].0, runs[*number].1, *number)));
                order.iter().map(|number| run_id(*number as u8).to_string()).collect::<Vec<_>>()
            };
            for (query, expected) in [
                ("", wanted(&|_| true)),
                ("&workflow=a", wanted(&|number| runs[number].2 == 0)),
                ("&status=running", wanted(&|number| !runs[number].4)),
                ("&status=completed&workflow=b", wanted(&|number| runs[number].4 && runs[number].2 == 1)),
                ("&tag=shop:berlin", wanted(&|number| runs[number].3)),
                ("&created_before=1970-01-03T00:00:00Z", wanted(&|number| runs[number].0 < 2)),
                ("&created_after=1970-01-02T00:00:00Z", wanted(&|number| runs[number].0 >= 1)),
            ] {
                let mut found = Vec::new();
                let mut cursor = String::new();
                loop {
                    let path = format!("/v1/namespaces/default/runs?limit={limit}{query}{cursor}");
                    let (status, page) = node.get(&path).await;
                    prop_assert_eq!(status, 200, "{}", page);
                    let shown = ids(&page);
                    prop_assert!(shown.len() <= limit);
                    let next = page["next_cursor"].as_str();
                    prop_assert!(!shown.is_empty() || next.is_none(), "an empty page that is not the last");
                    found.extend(shown);
                    let Some(next) = next else { break };
                    cursor = format!("&cursor={next}");
                }
                prop_assert_eq!(found, expected, "{}", query);
            }
            let (_, other) = node.get("/v1/namespaces/other/runs").await;
            prop_assert!(ids(&other).is_empty());
            Ok(())
        })?;
    }
}

fn completed_run() -> World {
    let mut world = World::new();
    world.start(run_id(1), "order", &[("shop", "berlin")], DAY_US);
    for step in 1..=3 {
        let step = StepCompleted {
            location: Location::top(step),
            name: name("step"),
            attempt: 1,
            output: Payload::json("1"),
        };
        world.engine(run_id(1), 0, false, step.into());
    }
    world.engine(run_id(1), 0, false, RunCompleted { output: Payload::json("{\"b\": 1.0}") }.into());
    world
}

#[test]
fn a_run_its_history_and_its_result_are_shown() {
    block_on(async {
        let world = completed_run();
        let node = Node::of(&world, world.transitions.len()).await;
        let base = format!("/v1/namespaces/default/runs/{}", run_id(1));
        let (status, run) = node.get(&base).await;
        assert_eq!(status, 200, "{run}");
        assert_eq!(run["status"], "completed");
        assert_eq!(run["output"]["b"], 1.0);
        assert_eq!(run["created_at"], "1970-01-02T00:00:00Z");
        assert_eq!(run["tags"]["shop"], "berlin");
        let (status, result) = node.get(&format!("{base}/result?timeout=30s")).await;
        assert_eq!((status, result), (200, run));
        let (_, first) = node.get(&format!("{base}/history?limit=3")).await;
        let next = first["next_cursor"].as_str().expect("two more entries");
        let (_, second) = node.get(&format!("{base}/history?limit=3&cursor={next}")).await;
        assert!(second["next_cursor"].is_null());
        let entries = [&first, &second].map(|page| page["entries"].as_array().unwrap().clone()).concat();
        let shown: Vec<_> = entries.iter().map(|entry| entry["type"].as_str().unwrap()).collect();
        let expected = ["run-started", "step-completed", "step-completed", "step-completed", "run-completed"];
        assert_eq!(shown, expected);
        let (status, events) = node.get(&format!("{base}/events")).await;
        assert_eq!(status, 200);
        assert_eq!(events.as_str().unwrap().matches("event: ").count(), 5);
        assert_eq!(
            node.get(&format!("/v1/namespaces/other/runs/{}", run_id(1))).await.1["code"],
            "run_not_found"
        );
        assert_eq!(node.get("/v1/namespaces/nowhere/runs").await.1["code"], "namespace_not_found");
        let (_, status) = node.get("/v1/status").await;
        assert_eq!(
            (&status["partitions"][0]["lag"], &status["partitions"][0]["claim"]),
            (&0.into(), &1.into())
        );
        assert_eq!((&status["process"], &status["generation"]), (&"one-7".into(), &1.into()));
        assert_eq!(status["partitions"][0]["leading"], true);
    });
}

#[test]
fn waiting_for_a_result_ends_with_the_run_or_with_the_time() {
    block_on(async {
        let world = completed_run();
        let last = world.transitions.len() - 1;
        let node = Arc::new(Node::of(&world, last).await);
        let path = format!("/v1/namespaces/default/runs/{}/result", run_id(1));
        let (status, run) = node.get(&format!("{path}?timeout=10ms")).await;
        assert_eq!((status, run["status"].as_str()), (202, Some("running")));
        let waiting = {
            let (node, path) = (Arc::clone(&node), format!("{path}?timeout=1m"));
            tokio::spawn(async move { node.get(&path).await })
        };
        let events = {
            let (node, path) =
                (Arc::clone(&node), format!("/v1/namespaces/default/runs/{}/events", run_id(1)));
            tokio::spawn(async move { node.get(&path).await })
        };
        while node.waiting.followers() < 2 {
            tokio::task::yield_now().await;
        }
        node.feed(&world, last, last + 1).await;
        let (status, run) = waiting.await.unwrap();
        assert_eq!((status, run["status"].as_str()), (200, Some("completed")));
        assert_eq!(run["output"]["b"], 1.0);
        let events = events.await.unwrap().1;
        assert_eq!(events.as_str().unwrap().matches("event: ").count(), 5);
        assert!(node.waiting.is_empty());
    });
}

#[test]
fn an_end_that_is_on_its_way_to_the_views_is_not_missed() {
    block_on(async {
        let world = completed_run();
        let last = world.transitions.len() - 1;
        let node = Arc::new(Node::of(&world, last).await);
        // Published before anybody follows, projected after they have looked.
        node.waiting.publish(&world.transitions[last..]);
        let base = format!("/v1/namespaces/default/runs/{}", run_id(1));
        let ask = |path: String| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.get(&path).await })
        };
        let (result, events) = (ask(format!("{base}/result?timeout=5m")), ask(format!("{base}/events")));
        while node.waiting.followers() < 2 {
            tokio::task::yield_now().await;
        }
        node.projector.submit(0, world.transitions[last..].to_vec(), &world.controls[last]).await.unwrap();
        let patience = Duration::from_secs(60);
        let (status, run) = tokio::time::timeout(patience, result).await.unwrap().unwrap();
        assert_eq!((status, run["status"].as_str()), (200, Some("completed")));
        let events = tokio::time::timeout(patience, events).await.unwrap().unwrap().1;
        assert_eq!(events.as_str().unwrap().matches("event: ").count(), 5);
    });
}

#[test]
fn a_parked_run_is_not_waited_for_until_it_is_resumed() {
    block_on(async {
        let mut world = World::new();
        world.start(run_id(1), "order", &[], DAY_US);
        let diverged = RunDiverged {
            location: Location::top(1),
            expected: "a timer".to_owned(),
            found: "a step".to_owned(),
        };
        world.engine(run_id(1), 0, false, diverged.into());
        let parked = world.transitions.len();
        world.external(run_id(1), "default", RunResumed {}.into());
        let resumed = world.transitions.len();
        world.engine(run_id(1), 1, false, RunCompleted { output: Payload::json("1") }.into());
        let patience = Duration::from_secs(60);
        let path = format!("/v1/namespaces/default/runs/{}/result?timeout=5m", run_id(1));

        // Parked before anybody asks.
        let node = Arc::new(Node::of(&world, parked).await);
        let (status, run) = tokio::time::timeout(patience, node.get(&path)).await.unwrap();
        assert_eq!((status, run["status"].as_str()), (202, Some("parked")));

        // Resumed, but not in the views yet: the wait is for the end.
        node.waiting.publish(&world.transitions[parked..resumed]);
        let waiting = {
            let (node, path) = (Arc::clone(&node), path.clone());
            tokio::spawn(async move { node.get(&path).await })
        };
        while node.waiting.followers() < 1 {
            tokio::task::yield_now().await;
        }
        node.feed(&world, parked, resumed).await;
        node.feed(&world, resumed, world.transitions.len()).await;
        let (status, run) = tokio::time::timeout(patience, waiting).await.unwrap().unwrap();
        assert_eq!((status, run["status"].as_str()), (200, Some("completed")));
        assert_eq!(run["output"], 1);

        // Parked while somebody waits.
        let node = Arc::new(Node::of(&world, parked - 1).await);
        let waiting = {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.get(&path).await })
        };
        while node.waiting.followers() < 1 {
            tokio::task::yield_now().await;
        }
        node.feed(&world, parked - 1, parked).await;
        let (status, run) = tokio::time::timeout(patience, waiting).await.unwrap().unwrap();
        assert_eq!((status, run["status"].as_str()), (202, Some("parked")));
    });
}

#[test]
fn reads_wait_for_the_position_they_are_given_and_refuse_foreign_ones() {
    block_on(async {
        let world = completed_run();
        let node = Node::of(&world, world.transitions.len()).await;
        let log_id = world.control().log.unwrap().log_id;
        let family = TopicFamily::WorkflowEvents;
        let here = Position { log_id, family, datacenter: 1, partition: 0, offset: 2 };
        let code = |position: Position| {
            let node = &node;
            async move { node.get(&format!("/v1/namespaces/default/runs?at_least={position}&timeout=10ms")).await }
        };
        assert_eq!(code(here).await.0, 200);
        let (status, problem) = code(Position { offset: 1_000, ..here }).await;
        assert_eq!((status, problem["code"].as_str()), (504, Some("position_not_reached")));
        let elsewhere = tidewheel_schemas::LogId::random([9; 16]);
        for foreign in [
            Position { log_id: elsewhere, ..here },
            Position { datacenter: 2, ..here },
            Position { partition: 5, ..here },
            Position { family: TopicFamily::ConfigChanges, ..here },
        ] {
            let (status, problem) = code(foreign).await;
            assert_eq!((status, problem["code"].as_str()), (422, Some("foreign_position")), "{foreign:?}");
        }
    });
}

#[test]
fn a_position_of_another_log_is_foreign_also_to_views_that_read_their_log_while_it_waits() {
    block_on(async {
        let world = completed_run();
        let node = Node::of(&world, 0).await;
        let ahead = Position {
            log_id: tidewheel_schemas::LogId::random([9; 16]),
            family: TopicFamily::WorkflowEvents,
            datacenter: 1,
            partition: 0,
            offset: 1_000,
        };
        let path = format!("/v1/namespaces/default/runs?at_least={ahead}&timeout=300ms");
        let fed = node.feed(&world, 0, world.transitions.len());
        let ((status, problem), ()) = tokio::join!(node.get(&path), fed);
        assert_eq!((status, problem["code"].as_str()), (422, Some("foreign_position")));
    });
}

#[test]
fn refused_and_unread_records_are_listed_and_found_by_run_and_event() {
    block_on(async {
        let mut world = completed_run();
        let signal = || RunSignaled { name: name("late"), payload: Payload::null() }.into();
        world.external(run_id(1), "default", signal());
        let late = world.transitions.last().unwrap().headers.as_ref().unwrap().event_id;
        world.external(run_id(2), "default", signal());
        world.start(run_id(3), "order", &[], DAY_US * 2);
        world.external(run_id(3), "default", signal());
        world.external(run_id(3), "other", signal());
        world.engine(run_id(3), 1, false, RunCompleted { output: Payload::null() }.into());
        let node = Node::of(&world, world.transitions.len()).await;
        let codes = |page: &Value| -> Vec<String> {
            let rows = page["rejections"].as_array().unwrap().iter();
            rows.map(|row| row["code"].as_str().unwrap().to_owned()).collect()
        };
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let (_, page) = node.get(&format!("/v1/namespaces/default/rejections?limit=1{cursor}")).await;
            found.extend(codes(&page));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, ["signal_unread", "wrong_namespace", "run_not_found", "run_finished"]);
        let path = |filter: String| format!("/v1/namespaces/default/rejections?{filter}");
        assert_eq!(codes(&node.get(&path(format!("event_id={late}"))).await.1), ["run_finished"]);
        let of_run = codes(&node.get(&path(format!("run_id={}", run_id(3)))).await.1);
        assert_eq!(of_run, ["signal_unread", "wrong_namespace"]);
        let other = codes(&node.get("/v1/namespaces/other/rejections").await.1);
        assert!(other.is_empty(), "{other:?}");
    });
}
