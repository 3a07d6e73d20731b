//! Several datacenters: what is asked of one is done in another, one that is away is told from one that is slow to be
//! known, and one is added while the others go on.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tidewheel_cluster::audit::audit;
use tidewheel_cluster::load::{Load, all_completed, result};
use tidewheel_cluster::nodes::{Cluster, PATIENCE, Process, Servers};
use tidewheel_schemas::RunId;

use crate::NODE;

const ALPHA: u16 = 1;
const BETA: u16 = 2;
const GAMMA: u16 = 3;

/// What a datacenter answered.
struct Answer {
    status: StatusCode,
    has_retry_after: bool,
    body: Value,
}

impl Answer {
    fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field} in {}: {}", self.status, self.body))
    }

    /// Its code, after a look at whether a caller is told to come again.
    fn problem(&self) -> (u16, &str) {
        assert_eq!(self.has_retry_after, self.status == 503, "{}: {}", self.status, self.body);
        (self.status.as_u16(), self.text("code"))
    }

    /// Asserts that a datacenter is said to be away, and that nothing was sent there.
    fn is_away(&self, datacenter: &str) {
        assert_eq!(self.problem(), (503, "datacenter_unreachable"), "{}", self.body);
        let detail = self.text("detail");
        assert!(detail.contains(&format!("`{datacenter}`")), "{detail}");
        assert!(detail.contains("was not sent, nothing was appended"), "{detail}");
    }
}

/// Asks, and again as long as the answer is that the views of a new log have not begun yet.
async fn ask(method: Method, address: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Answer {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = ask_once(method.clone(), address, path, key, body).await;
        if answer.body["code"] != "not_ready" || Instant::now() > until {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn ask_once(
    method: Method,
    address: &str,
    path: &str,
    key: Option<&str>,
    body: Option<&Value>,
) -> Answer {
    let client = Client::builder().timeout(PATIENCE).build().expect("a client");
    let mut request = client.request(method, format!("{address}/v1/namespaces/default{path}"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.expect("an answer");
    let (status, has_retry_after) = (answer.status(), answer.headers().contains_key("retry-after"));
    Answer { status, has_retry_after, body: answer.json().await.expect("JSON") }
}

async fn get(address: &str, path: &str) -> Answer {
    ask(Method::GET, address, path, None, None).await
}

async fn post(address: &str, path: &str, key: &str, body: &Value) -> Answer {
    ask(Method::POST, address, path, Some(key), Some(body)).await
}

fn label(run_id: &str) -> u16 {
    run_id.parse::<RunId>().expect("a run id").datacenter()
}

/// Starts a run that waits for its signal, in `datacenter` through `address`; its id.
async fn start_waiting(address: &str, key: &str, datacenter: &str) -> String {
    let body = json!({ "workflow": "wait", "datacenter": datacenter });
    let started = post(address, "/runs", key, &body).await;
    assert_eq!(started.status, 201, "{}", started.body);
    started.text("run_id").to_owned()
}

/// Sends a run its signal and waits for what it makes of it, each through another address.
async fn finish(signalled: &str, read: &str, run_id: &str, payload: &str) {
    let path = format!("/runs/{run_id}/signals");
    let sent = post(signalled, &path, payload, &json!({ "name": "go", "payload": payload })).await;
    assert_eq!((sent.status.as_u16(), sent.text("outcome")), (200, "accepted"), "{}", sent.body);
    assert_eq!(result(read, run_id).await, payload);
}

/// Starts the process of a datacenter where the others look for it.
async fn start(cluster: &Cluster, datacenter: &str) -> Process {
    let process = cluster.launch(NODE, datacenter, datacenter, "", &cluster.address_of(datacenter));
    process.until_ready().await;
    process
}

async fn audit_all(cluster: &Cluster, datacenters: &[&str]) {
    for datacenter in datacenters {
        let audit = audit(cluster, datacenter).await;
        assert_eq!(audit.rejected, Vec::<String>::new(), "{datacenter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_one_datacenter_is_done_in_the_other_or_said_not_to_be() {
    let test = "what_is_asked_of_one_datacenter_is_done_in_the_other_or_said_not_to_be";
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "apart");
    let (alpha, beta) = tokio::join!(start(&cluster, "alpha"), start(&cluster, "beta"));
    let (here, there) = (alpha.address.clone(), beta.address.clone());

    let keyed = json!({ "workflow": "wait", "key": "4711", "datacenter": "beta" });
    let one = post(&here, "/runs", "one", &keyed).await;
    let other = post(&there, "/runs", "other", &keyed).await;
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (201, 200), "{} {}", one.body, other.body);
    let run_id = one.text("run_id");
    assert_eq!((other.text("run_id"), label(run_id)), (run_id, BETA));

    let steps = json!({ "workflow": "steps", "input": [2, 1], "datacenter": "beta" });
    let done = post(&here, "/runs?wait=60s", "steps", &steps).await;
    assert_eq!((done.text("status"), label(done.text("run_id"))), ("completed", BETA), "{}", done.body);
    assert_eq!(done.body["output"], json!(["step 0", "step 1"]));

    let read = get(&here, &format!("/runs/{run_id}")).await;
    assert_eq!((read.status.as_u16(), read.text("status")), (200, "running"), "{}", read.body);
    for started in [&one, &done] {
        // A position is one of a partition; the list holds what each of them has.
        let query = format!("at_least={}", started.text("position"));
        let listed = get(&here, &format!("/runs?datacenter=beta&{query}")).await;
        assert!(listed.body.to_string().contains(started.text("run_id")), "{}", listed.body);
        assert_eq!(get(&here, &format!("/runs?{query}")).await.problem(), (422, "foreign_position"));
    }
    assert_eq!(get(&here, "/runs").await.body["runs"], json!([]), "a list holds what one datacenter has");
    finish(&here, &here, run_id, "asked of alpha").await;

    // Beta ends while a request is on its way there, and has not read it.
    let waiting = start_waiting(&here, "waiting", "beta").await;
    let path = format!("/runs/{waiting}/signals");
    let signal = json!({ "name": "go", "payload": "once" });
    beta.signal(Signal::STOP);
    let sent = {
        let (here, path, signal) = (here.clone(), path.clone(), signal.clone());
        tokio::spawn(async move { post(&here, &path, "once", &signal).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    beta.kill().await;
    let lost = sent.await.expect("an answer");
    match lost.problem() {
        (503, "outcome_unknown") => assert!(lost.text("detail").contains("same Idempotency-Key")),
        // On a busy machine it may not have been sent yet.
        _ => lost.is_away("beta"),
    }
    get(&here, &format!("/runs/{waiting}")).await.is_away("beta");
    get(&here, "/runs?datacenter=beta").await.is_away("beta");
    post(&here, &path, "once", &signal).await.is_away("beta");
    post(&here, "/runs", "away", &keyed).await.is_away("beta");
    let own = json!({ "workflow": "steps", "input": [2, 1] });
    let own = post(&here, "/runs?wait=60s", "own", &own).await;
    assert_eq!((own.text("status"), label(own.text("run_id"))), ("completed", ALPHA), "{}", own.body);

    let beta = start(&cluster, "beta").await;
    let again = post(&here, &path, "once", &signal).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(result(&here, &waiting).await, "once");
    let history = get(&here, &format!("/runs/{waiting}/history")).await;
    let entries = history.body["entries"].as_array().expect("entries");
    let signals = entries.iter().filter(|entry| entry["type"] == "run-signaled").count();
    assert_eq!(signals, 1, "{}", history.body);
    audit_all(&cluster, &["alpha", "beta"]).await;
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datacenter_is_added_to_a_running_cluster_and_every_run_is_intact() {
    let test = "a_datacenter_is_added_to_a_running_cluster_and_every_run_is_intact";
    let Some(servers) = Servers::shared(test).await else { return };
    let mut cluster = Cluster::new(servers, "growing");
    let (alpha, beta) = tokio::join!(start(&cluster, "alpha"), start(&cluster, "beta"));
    let (at_alpha, at_beta) = (alpha.address.clone(), beta.address.clone());
    let of_alpha = start_waiting(&at_alpha, "alpha's", "alpha").await;
    let of_beta = start_waiting(&at_alpha, "beta's", "beta").await;
    let load = Load::begin(&[&at_alpha, &at_beta], 4);
    load.more(20).await;

    // Its topic and its keyspace are made by its first process; alpha and beta do not know it yet.
    cluster.add(servers, "gamma", "beta");
    let gamma = start(&cluster, "gamma").await;
    let at_gamma = gamma.address.clone();
    for run_id in [&of_alpha, &of_beta] {
        let read = get(&at_gamma, &format!("/runs/{run_id}")).await;
        assert_eq!((read.status.as_u16(), read.text("status")), (200, "running"), "{}", read.body);
    }
    let of_gamma = start_waiting(&at_gamma, "gamma's", "gamma").await;
    let through_gamma = start_waiting(&at_gamma, "alpha's through gamma", "alpha").await;
    assert_eq!((label(&of_gamma), label(&through_gamma)), (GAMMA, ALPHA));
    let path = format!("/runs/{of_gamma}");
    let in_gamma = json!({ "workflow": "steps", "input": [2, 1], "datacenter": "gamma" });
    for address in [&at_alpha, &at_beta] {
        let unknown = get(address, &path).await;
        assert_eq!(unknown.problem(), (422, "datacenter_not_found"));
        assert!(unknown.text("detail").contains("restart"), "{}", unknown.body);
        let refused = post(address, "/runs", "too early", &in_gamma).await;
        assert_eq!(refused.problem(), (422, "datacenter_not_found"));
    }
    load.more(20).await;

    // One after the other learns of it.
    alpha.stop().await;
    let alpha = start(&cluster, "alpha").await;
    assert_eq!(get(&at_alpha, &path).await.text("status"), "running");
    assert_eq!(get(&at_beta, &path).await.problem(), (422, "datacenter_not_found"));
    load.more(20).await;
    beta.stop().await;
    let beta = start(&cluster, "beta").await;
    load.more(20).await;
    for (number, address) in [&at_alpha, &at_beta, &at_gamma].into_iter().enumerate() {
        let key = format!("steps {number}");
        let done = post(address, "/runs?wait=60s", &key, &in_gamma).await;
        assert_eq!((done.text("status"), label(done.text("run_id"))), ("completed", GAMMA), "{}", done.body);
    }
    finish(&at_beta, &at_gamma, &of_alpha, "alpha's").await;
    finish(&at_gamma, &at_alpha, &of_beta, "beta's").await;
    finish(&at_alpha, &at_beta, &of_gamma, "gamma's").await;
    finish(&at_alpha, &at_alpha, &through_gamma, "alpha's through gamma").await;
    let acknowledged = load.end().await;
    all_completed(&at_gamma, &acknowledged).await;
    audit_all(&cluster, &["alpha", "beta", "gamma"]).await;
    for process in [alpha, beta, gamma] {
        process.stop().await;
    }
}
