//! A cluster that asks for access tokens: they hold in every datacenter, and what they do carries their name.

use rustix::process::Signal;
use serde_json::{Value, json};
use tidewheel::bootstrap::bootstrap;
use tidewheel_cluster::nodes::{Cluster, PARTITIONS, PATIENCE, Process, Servers};
use tidewheel_schemas::{Author, EventType, Name, RecordHeaders, TopicPartition};

use crate::NODE;

const REQUIRED: &str = "tokens_required = true";
const RUNS: &str = "/v1/namespaces/default/runs";

struct Answer {
    status: u16,
    retry_after: bool,
    body: Value,
}

impl Answer {
    fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field}: {}", self.body)).to_owned()
    }
}

/// Asks a process; with a body it is a `POST`.
async fn ask(process: &Process, token: &str, path: &str, body: Option<&Value>) -> Answer {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
    let url = format!("{}{path}", process.address);
    let request = match body {
        Some(body) => client.post(url).json(body),
        None => client.get(url),
    };
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    let answer = request.send().await.expect("an answer");
    Answer {
        status: answer.status().as_u16(),
        retry_after: answer.headers().contains_key("retry-after"),
        body: answer.json().await.unwrap_or_default(),
    }
}

/// Starts a run and waits for its result.
async fn run(process: &Process, token: &str) -> Answer {
    ask(process, token, &format!("{RUNS}?wait=60s"), Some(&json!({ "workflow": "steps", "input": [1, 1] })))
        .await
}

async fn create(process: &Process, root: &str, name: &str) -> Answer {
    let body = json!({ "name": name, "roles": ["producer"], "namespaces": ["default"] });
    ask(process, root, "/v1/tokens", Some(&body)).await
}

/// Who started the runs in the log of a datacenter.
async fn starters(cluster: &Cluster, datacenter: &str) -> Vec<String> {
    let (log, topic) = (cluster.log(datacenter), cluster.topic(datacenter));
    let mut starters = Vec::new();
    for partition in 0..PARTITIONS {
        let place = TopicPartition::new(topic.clone(), partition);
        let (mut next, end) = (0, log.bounds(&place).await.expect("bounds").end);
        while next < end {
            for record in log.read(&place, next, 1_000).await.expect("records") {
                next = record.offset + 1;
                if let RecordHeaders::Known(headers) = record.headers
                    && headers.event_type == EventType::RunStarted
                    && let Author::Ingest { principal } = headers.author
                {
                    starters.push(principal.to_string());
                }
            }
        }
    }
    starters
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_hold_in_every_datacenter_also_while_the_home_of_the_configuration_is_away() {
    let test = "tokens_hold_in_every_datacenter_also_while_the_home_of_the_configuration_is_away";
    let Some(servers) = Servers::shared(test).await else { return };
    // The configuration has its home in alpha.
    let home = Servers::another_kafka(test).await;
    let cluster = Cluster::new(servers, "tokens").with_brokers("alpha", home.bootstrap());
    let name = Name::new("root").expect("a name");
    // Of whichever datacenter, before any process was there.
    let root = bootstrap(&cluster.config("beta"), &name).await.expect("the first token");
    let root = root.text();
    let alpha = cluster.start(NODE, "alpha", "alpha", REQUIRED).await;
    let beta = cluster.start(NODE, "beta", "beta", REQUIRED).await;
    for process in [&alpha, &beta] {
        assert_eq!(run(process, "").await.code(), (401, "token_missing"));
    }

    // Made in one datacenter, it holds in the other, and is in the record of what it does.
    let created = create(&alpha, &root, "billing").await;
    assert_eq!(created.status, 201, "{}", created.body);
    let (token, token_id) = (created.text("token"), created.text("token_id"));
    let known = format!("/v1/tokens/{token_id}?at_least={}", created.text("position"));
    assert_eq!(ask(&beta, &root, &known, None).await.status, 200);
    let ran = run(&beta, &token).await;
    assert_eq!((ran.status, ran.text("status").as_str()), (200, "completed"), "{}", ran.body);
    assert_eq!(ask(&beta, &token, RUNS, None).await.code(), (403, "forbidden"));
    assert_eq!(starters(&cluster, "beta").await, [format!("token:billing/{token_id}")]);

    // Revoked in one, it is refused in the other.
    let revoked = ask(&beta, &root, &format!("/v1/tokens/{token_id}/revoke"), Some(&json!({}))).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    let known = format!("/v1/tokens/{token_id}?at_least={}", revoked.text("position"));
    assert_eq!(ask(&alpha, &root, &known, None).await.status, 200);
    assert_eq!(run(&alpha, &token).await.code(), (401, "token_refused"));

    // The home is away: nothing can be changed, and all else goes on.
    let created = create(&alpha, &root, "shipping").await;
    let known = format!("/v1/tokens/{}?at_least={}", created.text("token_id"), created.text("position"));
    assert_eq!(ask(&beta, &root, &known, None).await.status, 200);
    home.kill(0).expect("a broker ends");
    let refused = create(&beta, &root, "more").await;
    assert_eq!(
        (refused.code(), refused.retry_after),
        ((503, "config_unavailable"), true),
        "{}",
        refused.body
    );
    let ran = run(&beta, &created.text("token")).await;
    assert_eq!((ran.status, ran.text("status").as_str()), (200, "completed"), "{}", ran.body);
    assert_eq!(ask(&beta, &root, "/v1/tokens", None).await.status, 200);
    assert_eq!(run(&beta, &token).await.code(), (401, "token_refused"));

    home.start_again(0).expect("a broker starts again");
    let began = std::time::Instant::now();
    let more = loop {
        let more = create(&beta, &root, "more").await;
        if more.status == 201 {
            break more;
        }
        assert_eq!(more.status, 503, "{}", more.body);
        assert!(began.elapsed() < PATIENCE, "the configuration is not back: {}", more.body);
    };
    assert_eq!(run(&beta, &more.text("token")).await.status, 200);
    assert!(!beta.last_lines().contains(&root), "no secret is in log lines");
    alpha.signal(Signal::KILL);
    beta.stop().await;
}
