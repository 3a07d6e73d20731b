//! Producers that start runs and insist: each start is repeated with its key until somebody acknowledges it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::nodes::PATIENCE;

/// Steps of each run.
pub const STEPS: u32 = 3;

/// Producers at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    refused: Arc<AtomicUsize>,
    producers: Vec<JoinHandle<()>>,
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(15)).build().expect("a client")
}

impl Load {
    /// Begins with `producers` of them against these addresses, each going on to the next one when one fails.
    pub fn begin(addresses: &[&str], producers: usize) -> Self {
        let (stop, acknowledged, refused) = (Arc::default(), Arc::default(), Arc::default());
        let addresses: Vec<String> = addresses.iter().map(|address| (*address).to_owned()).collect();
        let producers = (0..producers)
            .map(|producer| {
                let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
                let (refused, addresses) = (Arc::clone(&refused), addresses.clone());
                tokio::spawn(produce(producer, addresses, stop, acknowledged, refused))
            })
            .collect();
        Self { stop, acknowledged, refused, producers }
    }

    /// How many starts were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// Waits until that many more starts were acknowledged.
    ///
    /// # Panics
    /// When they never are.
    pub async fn more(&self, count: usize) {
        let (goal, began) = (self.acknowledged() + count, std::time::Instant::now());
        while self.acknowledged() < goal {
            assert!(began.elapsed() < PATIENCE, "no more starts are acknowledged");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the producers and returns the runs that were acknowledged.
    ///
    /// # Panics
    /// When a producer did.
    pub async fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::SeqCst);
        for producer in self.producers {
            producer.await.expect("a producer");
        }
        eprintln!(
            "{} starts acknowledged, {} attempts refused or lost",
            self.acknowledged.lock().len(),
            self.refused.load(Ordering::SeqCst)
        );
        std::mem::take(&mut *self.acknowledged.lock())
    }
}

async fn produce(
    producer: usize,
    addresses: Vec<String>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    refused: Arc<AtomicUsize>,
) {
    let client = client();
    let mut turn = producer;
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let key = format!("{producer}-{number}");
        let body = json!({ "workflow": "steps", "input": [STEPS, 5] });
        let began = std::time::Instant::now();
        loop {
            let address = &addresses[turn % addresses.len()];
            let sent = client
                .post(format!("{address}/v1/namespaces/default/runs"))
                .header("idempotency-key", &key)
                .json(&body)
                .send()
                .await;
            if let Ok(answer) = sent
                && answer.status().is_success()
                && let Ok(answer) = answer.json::<Value>().await
                && let Some(run_id) = answer["run_id"].as_str()
            {
                acknowledged.lock().insert(run_id.to_owned());
                break;
            }
            refused.fetch_add(1, Ordering::SeqCst);
            turn += 1;
            assert!(began.elapsed() < PATIENCE, "nobody takes the start {key}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Waits for the result of a run.
///
/// # Panics
/// When it has none in time, or ended otherwise than by completing.
pub async fn result(address: &str, run_id: &str) -> Value {
    let (client, began) = (client(), std::time::Instant::now());
    let mut last = String::new();
    while began.elapsed() < PATIENCE {
        let url = format!("{address}/v1/namespaces/default/runs/{run_id}/result?timeout=10s");
        match client.get(url).send().await {
            Ok(answer) if answer.status() == 200 => {
                let answer = answer.json::<Value>().await.unwrap_or_default();
                last = answer.to_string();
                if answer["status"] == "completed" {
                    return answer["output"].clone();
                }
                assert!(answer["status"] == "running", "run {run_id}: {answer}");
            }
            Ok(answer) => last = format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("run {run_id} has no result: {last}");
}

/// Checks that each of these runs completed with the words of its steps.
///
/// # Panics
/// When one did not.
pub async fn all_completed(address: &str, runs: &BTreeSet<String>) {
    let expected = json!((0..STEPS).map(|number| format!("step {number}")).collect::<Vec<_>>());
    for run_id in runs {
        assert_eq!(result(address, run_id).await, expected, "run {run_id}");
    }
}
