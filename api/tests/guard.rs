//! The guard in front of routes: who gets through to which, and what ends when a token does.

#[path = "guard/world.rs"]
mod world;

use std::collections::BTreeSet;

use http::Method;
use tidewheel_api::Role;
use world::{Answer, World};

use Role::{Admin, Operator, Producer, Reader, Runner};

/// Every route with the roles that get through.
const ROUTES: &[(&str, &str, &[Role])] = &[
    ("GET", "/metrics", &[Operator, Reader, Admin]),
    ("GET", "/v1/status", &[Producer, Operator, Reader, Admin]),
    ("GET", "/schemas/subjects", &[Producer, Operator, Reader, Runner, Admin]),
    ("GET", "/v1/namespaces", &[Producer, Operator, Reader, Runner, Admin]),
    ("POST", "/v1/namespaces", &[Admin]),
    ("GET", "/v1/namespaces/{ns}", &[Producer, Operator, Reader, Runner, Admin]),
    ("GET", "/v1/tokens", &[Admin]),
    ("POST", "/v1/tokens", &[Admin]),
    ("GET", "/v1/tokens/{token_id}", &[Admin]),
    ("POST", "/v1/tokens/{token_id}/rotate", &[Admin]),
    ("POST", "/v1/tokens/{token_id}/revoke", &[Admin]),
    ("POST", "/v1/namespaces/{ns}/runs", &[Producer, Admin]),
    ("POST", "/v1/namespaces/{ns}/runs:batch", &[Producer, Admin]),
    ("POST", "/v1/namespaces/{ns}/runs/{run_id}/signals", &[Producer, Operator, Admin]),
    ("POST", "/v1/namespaces/{ns}/runs/{run_id}/cancel", &[Operator, Admin]),
    ("POST", "/v1/namespaces/{ns}/runs/{run_id}/terminate", &[Operator, Admin]),
    ("POST", "/v1/namespaces/{ns}/runs/{run_id}/resume", &[Operator, Admin]),
    ("GET", "/v1/namespaces/{ns}/runs", &[Operator, Reader, Admin]),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}", &[Producer, Operator, Reader, Admin]),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}/result", &[Producer, Operator, Reader, Admin]),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}/history", &[Operator, Reader, Admin]),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}/events", &[Producer, Operator, Reader, Admin]),
    ("GET", "/v1/namespaces/{ns}/rejections", &[Producer, Operator, Reader, Admin]),
    ("GET", "/v1/not-in-the-table", &[Admin]),
];

fn concrete(path: &str, namespace: &str) -> String {
    path.replace("{ns}", namespace).replace("{run_id}", "r").replace("{token_id}", "t")
}

#[tokio::test]
async fn each_role_gets_through_to_its_routes_and_to_no_others() {
    let mut world = World::new(true);
    let routes: Vec<_> = ROUTES.iter().map(|(method, path, _)| (*method, *path)).collect();
    for role in Role::ALL {
        let token = world.create(&[*role], None);
        for (method, path, allowed) in ROUTES {
            let answer = world.ask(&routes, method, &concrete(path, "default"), Some(&token.text())).await;
            if allowed.contains(role) {
                assert_eq!(answer.status, 200, "{role}: {method} {path}: {}", answer.text);
                assert!(answer.text.starts_with(&format!("token:of-a-test/{}", token.token_id())));
            } else {
                assert_eq!((answer.status, &*answer.code()), (403, "forbidden"), "{role}: {method} {path}");
                let needed: BTreeSet<_> = allowed.iter().map(|role| role.as_str()).collect();
                assert!(needed.iter().any(|role| answer.text.contains(role)), "{}", answer.text);
            }
        }
    }
}

#[tokio::test]
async fn a_token_holds_in_its_namespaces_alone() {
    let mut world = World::new(true);
    let routes: Vec<_> = ROUTES.iter().map(|(method, path, _)| (*method, *path)).collect();
    let token = world.create(&[Admin], Some(&["billing"])).text();
    for (method, path, _) in ROUTES.iter().filter(|(_, path, _)| path.contains("{ns}")) {
        let own = world.ask(&routes, method, &concrete(path, "billing"), Some(&token)).await;
        assert_eq!(own.status, 200, "{method} {path}: {}", own.text);
        // Also where it is spelled otherwise, and where there is no such namespace.
        for other in ["default", "bill%69ng2", "nowhere"] {
            let answer = world.ask(&routes, method, &concrete(path, other), Some(&token)).await;
            assert_eq!((answer.status, &*answer.code()), (403, "forbidden"), "{method} {path} {other}");
        }
        let spelled = world.ask(&routes, method, &concrete(path, "bill%69ng"), Some(&token)).await;
        assert_eq!(spelled.status, 200, "{}", spelled.text);
    }
    let everywhere = world.ask(&routes, "POST", "/v1/namespaces", Some(&token)).await;
    assert_eq!((everywhere.status, &*everywhere.code()), (403, "forbidden"));
}

async fn status(world: &World, token: Option<&str>) -> Answer {
    world.ask(&[("GET", "/v1/status")], "GET", "/v1/status", token).await
}

#[tokio::test]
async fn without_a_valid_token_the_answer_is_401_and_names_the_scheme() {
    let mut world = World::new(true);
    let token = world.create(&[Reader], None);
    let missing = status(&world, None).await;
    assert_eq!((missing.status, &*missing.code()), (401, "token_missing"));
    assert_eq!(missing.challenge.as_deref(), Some("Bearer realm=\"tidewheel\""));
    let unknown = tidewheel_api::token::Secret::new(world::token_id(200), [9; 32]).text();
    let wrong = tidewheel_api::token::Secret::new(token.token_id(), [9; 32]).text();
    let mut mistyped = token.text();
    mistyped.replace_range(10..11, if &mistyped[10..11] == "a" { "b" } else { "a" });
    for refused in [unknown, wrong, mistyped, String::new(), "twk_".to_owned(), "x".repeat(9_000)] {
        let answer = status(&world, Some(&refused)).await;
        assert_eq!((answer.status, &*answer.code()), (401, "token_refused"), "{refused}");
        assert!(answer.challenge.as_deref().is_some_and(|text| text.contains("invalid_token")));
        // The form of a token is shown, none of what was sent.
        assert!(refused.len() < 10 || !answer.text.contains(&refused), "{}", answer.text);
    }
    for scheme in ["Basic dXNlcjpwYXNz", "Bearer", "bearer\ttwk"] {
        let answer = world.ask_as(&[("GET", "/v1/status")], "GET", "/v1/status", Some(scheme)).await;
        assert_eq!((answer.status, &*answer.code()), (401, "token_refused"), "{scheme}");
    }
    let lower = format!("bearer {}", token.text());
    assert_eq!(world.ask_as(&[("GET", "/v1/status")], "GET", "/v1/status", Some(&lower)).await.status, 200);
}

#[tokio::test]
async fn health_and_unknown_paths_need_no_token() {
    let world = World::new(true);
    let routes = [("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/v1/status")];
    assert_eq!(world.ask(&routes, "GET", "/health/live", None).await.status, 200);
    assert_eq!(world.ask(&routes, "GET", "/health/ready", None).await.status, 200);
    assert_eq!(world.ask(&routes, "GET", "/nothing/here", None).await.status, 404);
}

#[tokio::test]
async fn where_none_is_required_a_request_without_a_token_may_do_all_and_one_with_a_token_is_judged() {
    let mut world = World::new(false);
    let open = world.ask(&[("POST", "/v1/tokens")], "POST", "/v1/tokens", None).await;
    assert_eq!((open.status, open.text.as_str()), (200, "anonymous"));
    let reader = world.create(&[Reader], None).text();
    let judged = world.ask(&[("POST", "/v1/tokens")], "POST", "/v1/tokens", Some(&reader)).await;
    assert_eq!(judged.status, 403);
    assert_eq!(status(&world, Some("twk_wrong")).await.status, 401);
}

#[tokio::test]
async fn no_token_is_judged_before_all_of_them_are_read() {
    let mut world = World::new(true);
    let token = world.create(&[Admin], None).text();
    world.snapshots.send_modify(|snapshot| std::sync::Arc::make_mut(snapshot).is_complete = false);
    let answer = status(&world, Some(&token)).await;
    assert_eq!((answer.status, &*answer.code()), (503, "not_ready"));
    assert_eq!(status(&world, None).await.status, 401);
}

#[tokio::test]
async fn after_a_rotation_both_secrets_are_valid_until_the_time_and_then_one() {
    let mut world = World::new(true);
    let old = world.create(&[Reader], None);
    let new = world.rotate(old.token_id(), 1_000);
    for secret in [&old, &new] {
        assert_eq!(status(&world, Some(&secret.text())).await.status, 200);
    }
    world.set_now_us(1_000);
    assert_eq!(status(&world, Some(&old.text())).await.code(), "token_refused");
    assert_eq!(status(&world, Some(&new.text())).await.status, 200);
    world.set_now_us(0);
    world.rotate(old.token_id(), 1_000);
    assert_eq!(status(&world, Some(&old.text())).await.status, 401, "a secret two rotations old");
    assert_eq!(status(&world, Some(&new.text())).await.status, 200);
}

#[tokio::test]
async fn a_revoked_token_is_refused_with_every_secret_it_had() {
    let mut world = World::new(true);
    let old = world.create(&[Reader], None);
    let new = world.rotate(old.token_id(), 1_000);
    world.revoke(old.token_id());
    for secret in [old, new] {
        assert_eq!(status(&world, Some(&secret.text())).await.code(), "token_refused");
    }
}

#[tokio::test]
async fn a_stream_ends_with_a_problem_when_its_token_is_revoked() {
    let mut world = World::new(true);
    let token = world.create(&[Reader], None);
    let mut stream = world.open("text/event-stream", &token.text()).await;
    assert_eq!(stream.next().await.as_deref(), Some("data: 1\n\n"));
    // Another token's end is no reason.
    let other = world.create(&[Reader], None);
    world.revoke(other.token_id());
    stream.send("data: 2\n\n");
    assert_eq!(stream.next().await.as_deref(), Some("data: 2\n\n"));
    world.revoke(token.token_id());
    let last = stream.next().await.expect("a last event");
    assert!(last.starts_with("event: problem\ndata: {") && last.contains("\"token_refused\""), "{last}");
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_stream_of_lines_ends_with_a_line_when_the_time_of_a_rotated_secret_is_over() {
    let mut world = World::new(true);
    let token = world.create(&[Reader], None);
    let mut stream = world.open("application/x-ndjson", &token.text()).await;
    assert_eq!(stream.next().await.as_deref(), Some("data: 1\n\n"));
    world.set_now_us(5_000);
    world.rotate(token.token_id(), 4_000);
    let last = stream.next().await.expect("a last line");
    assert!(last.starts_with("{\"line\":0,\"problem\":{") && last.ends_with("}\n"), "{last}");
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn an_answer_that_is_waited_for_becomes_a_problem_when_the_token_is_revoked() {
    let mut world = World::new(true);
    let token = world.create(&[Reader], None);
    let asking = world.begin_waiting(&token.text());
    tokio::task::yield_now().await;
    world.revoke(token.token_id());
    let answer = asking.await.expect("an answer");
    assert_eq!((answer.status, &*answer.code()), (401, "token_refused"));
}

#[test]
fn the_table_knows_every_route_of_this_test_but_one() {
    for (method, path, _) in ROUTES {
        let method: Method = method.parse().expect("a method");
        let is_listed = tidewheel_api::auth::access::is_listed(&method, path);
        assert_eq!(is_listed, *path != "/v1/not-in-the-table", "{method} {path}");
    }
}
