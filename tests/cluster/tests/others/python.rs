//! Python as witness: Kafka's own client with its Schema Registry client, `kcat`, and Cassandra's driver.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::{Value, json};
use tidewheel_cluster::load::result;
use tidewheel_cluster::nodes::{Cluster, PARTITIONS, Servers};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::testing::to_json;
use tidewheel_schemas::{Record, RecordHeaders, RunId, codec};
use tokio::process::Command;

use crate::{ALPHA, NODE, Place, fresh_run, records, rejected};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/others/others.py");
const IMPORTS: &str =
    "import cassandra.cluster, confluent_kafka.schema_registry.avro, confluent_kafka; import fastavro";

/// Whether a program runs and ends well; where it does not, and need not, one line says so.
async fn is_there(test: &str, program: &str, arguments: &[&str], advice: &str) -> bool {
    let asked =
        Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    let is_there = asked.is_ok_and(|status| status.success());
    if !is_there {
        let required = std::env::var("TIDEWHEEL_PYTHON").is_ok_and(|value| value == "require");
        assert!(!required, "TIDEWHEEL_PYTHON=require, but {advice}");
        eprintln!("skipped: {test}: {advice} (TIDEWHEEL_PYTHON=require makes this a failure)");
    }
    is_there
}

async fn has_python(test: &str) -> bool {
    let advice = "python3 lacks its clients: pip install 'confluent-kafka[avro]' cassandra-driver";
    is_there(test, "python3", &["-c", IMPORTS], advice).await
}

/// What the script prints, document by document.
async fn others(verb: &str, asked: &Value) -> Vec<Value> {
    let output = Command::new("python3")
        .args([SCRIPT, verb, &asked.to_string()])
        .kill_on_drop(true)
        .output()
        .await
        .expect("python3 runs");
    assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

async fn post(address: &str, path: &str, body: &Value) -> Value {
    let url = format!("{address}/v1/namespaces/default/{path}");
    let answer = reqwest::Client::new().post(url).json(body).send().await.expect("an answer");
    let (status, text) = (answer.status(), answer.text().await.expect("a body"));
    assert!(status.is_success(), "{path}: {status}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// Runs that together leave every kind of record which these workflows write; the first one took three steps.
async fn some_runs(address: &str) -> Vec<String> {
    let start = json!({ "workflow": "steps", "input": [3, 1], "key": "näme", "tags": { "shop": "berlin" } });
    let mut runs = Vec::new();
    for body in
        [start, json!({ "workflow": "wait", "input": null }), json!({ "workflow": "wait", "input": null })]
    {
        runs.push(post(address, "runs", &body).await["run_id"].as_str().expect("a run id").to_owned());
    }
    post(address, &format!("runs/{}/signals", runs[1]), &json!({ "name": "go", "payload": "tide" })).await;
    post(address, &format!("runs/{}/terminate", runs[2]), &json!({ "reason": "enough" })).await;
    let words = json!(["step 0", "step 1", "step 2"]);
    assert_eq!(result(address, &runs[0]).await, words);
    assert_eq!(result(address, &runs[1]).await, json!("tide"));
    runs
}

fn headers_of(record: &Record) -> Vec<(String, String)> {
    let RecordHeaders::Known(headers) = &record.headers else { panic!("{record:?}") };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    headers.to_pairs().iter().map(|(name, bytes)| ((*name).to_owned(), text(bytes))).collect()
}

/// A record as the script is to show it.
fn shown((partition, offset): Place, record: &Record) -> Value {
    let RecordHeaders::Known(headers) = &record.headers else { panic!("{record:?}") };
    let (envelope, event) = codec::decode(headers, &record.value).expect("an event");
    json!({
        "partition": partition,
        "offset": offset,
        "key": std::str::from_utf8(&record.key).expect("text"),
        "headers": headers_of(record),
        "event": to_json(&envelope, &event),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_decodes_every_record_and_finds_the_run_in_the_views() {
    let test = "python_decodes_every_record_and_finds_the_run_in_the_views";
    if !has_python(test).await {
        return;
    }
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "decoded");
    let node = cluster.start(NODE, "node", ALPHA, "").await;
    let runs = some_runs(&node.address).await;
    let (records, ends) = records(&cluster).await;
    let asked = json!({
        "brokers": servers.kafka.bootstrap(),
        "topic": cluster.topic(ALPHA).as_str(),
        "registry": format!("{}/schemas", node.address),
        "ends": ends,
    });
    let read = others("read", &asked).await;
    assert_eq!(read.len(), records.len());
    for document in &read {
        let place = (document["partition"].as_u64(), document["offset"].as_i64());
        let (Some(partition), Some(offset)) = place else { panic!("{document}") };
        let place = (u32::try_from(partition).expect("a partition"), offset);
        assert_eq!(document, &shown(place, &records[&place]));
    }
    let types = |run_id: &str| -> Vec<&str> {
        let of_run = read.iter().filter(|document| document["event"]["entity_id"] == run_id);
        of_run
            .filter_map(|document| Some(document["event"]["body"].as_object()?.keys().next()?.as_str()))
            .collect()
    };
    let expected = ["RunStarted", "StepCompleted", "StepCompleted", "StepCompleted", "RunCompleted"];
    assert_eq!(types(&runs[0]), expected);
    assert_eq!(
        types(&runs[1]),
        ["RunStarted", "SignalAwaited", "RunSignaled", "SignalReceived", "RunCompleted"]
    );

    tidewheel_cluster::audit::audit(&cluster, ALPHA).await;
    let database = servers.cassandra.contact_points(ALPHA)[0];
    let asked = json!({
        "host": database.ip().to_string(),
        "port": database.port(),
        "keyspace": cluster.keyspace(ALPHA),
        "run_id": runs[0],
    });
    let [found] = &others("views", &asked).await[..] else { panic!("one document") };
    assert_eq!((&found["run_id"], &found["namespace"]), (&json!(runs[0]), &json!("default")));
    assert_eq!((&found["workflow"], &found["status"]), (&json!("steps"), &json!("completed")));
    assert_eq!(found["version"], 5);
    let history: Vec<_> =
        found["history"].as_array().expect("rows").iter().filter_map(|row| row[1].as_str()).collect();
    let expected = ["run-started", "step-completed", "step-completed", "step-completed", "run-completed"];
    assert_eq!(history, expected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_shows_keys_and_headers() {
    let test = "kcat_shows_keys_and_headers";
    if !is_there(test, "kcat", &["-V"], "kcat is missing: install the package kcat").await {
        return;
    }
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "kcat");
    let node = cluster.start(NODE, "node", ALPHA, "").await;
    some_runs(&node.address).await;
    node.stop().await;
    let (records, _) = records(&cluster).await;
    let output = Command::new("kcat")
        .args(["-C", "-q", "-e", "-o", "beginning", "-b", servers.kafka.bootstrap()])
        .args(["-t", cluster.topic(ALPHA).as_str(), "-f", "%p\t%o\t%k\t%h\n"])
        .kill_on_drop(true)
        .output()
        .await
        .expect("kcat runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).expect("text");
    let shown: BTreeMap<Place, (String, String)> = output
        .lines()
        .map(|line| {
            let [partition, offset, key, headers] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let place = (partition.parse().expect("a partition"), offset.parse().expect("an offset"));
            (place, (key.to_owned(), headers.to_owned()))
        })
        .collect();
    let text = |record: &Record| {
        let headers: Vec<_> =
            headers_of(record).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        (String::from_utf8(record.key.to_vec()).expect("text"), headers.join(","))
    };
    let expected: BTreeMap<_, _> = records.iter().map(|(place, record)| (*place, text(record))).collect();
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_python_produced_counts_where_its_key_belongs_and_is_listed_elsewhere() {
    let test = "a_start_that_python_produced_counts_where_its_key_belongs_and_is_listed_elsewhere";
    if !has_python(test).await {
        return;
    }
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "produced");
    let node = cluster.start(NODE, "node", ALPHA, "").await;
    // Enough for the default partitioner to miss for one of them, and to hit by chance for another.
    for (partitioner, count) in [(Some("murmur2_random"), 8), (None, 32)] {
        let runs: Vec<String> = (0..count).map(|_| fresh_run().to_string()).collect();
        let asked = json!({
            "brokers": servers.kafka.bootstrap(),
            "topic": cluster.topic(ALPHA).as_str(),
            "registry": format!("{}/schemas", node.address),
            "partitioner": partitioner,
            "runs": runs,
            "workflow": "steps",
            "input": [2, 1],
        });
        let produced = others("produce", &asked).await;
        assert_eq!(produced.len(), count);
        let mut misplaced = 0;
        for document in &produced {
            let run_id = document["run_id"].as_str().expect("a run");
            let partition =
                u32::try_from(document["partition"].as_u64().expect("a partition")).expect("small");
            let place = (partition, document["offset"].as_i64().expect("an offset"));
            if partition == partition_for(run_id.as_bytes(), PARTITIONS) {
                assert_eq!(result(&node.address, run_id).await, json!(["step 0", "step 1"]));
                continue;
            }
            misplaced += 1;
            let rejection = rejected(&node.address, place).await;
            assert_eq!(
                (&rejection["code"], &rejection["run_id"]),
                (&json!("wrong_partition"), &json!(run_id))
            );
            let run_id: RunId = run_id.parse().expect("a run id");
            let url = format!("{}/v1/namespaces/default/runs/{run_id}", node.address);
            assert_eq!(reqwest::get(url).await.expect("an answer").status(), 404);
        }
        assert_eq!(misplaced == 0, partitioner.is_some(), "{misplaced} of {count} in the wrong partition");
    }
    node.stop().await;
}
