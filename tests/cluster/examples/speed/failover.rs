//! How long runs wait when the process that leads them is killed.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidewheel_cluster::nodes::{Cluster, PARTITIONS};

use crate::{Failure, ROUNDS};

/// Enough that each partition has some.
const RUNS: usize = 8 * PARTITIONS as usize;

/// Kills one of two processes, again and again, and prints how long it took until runs on every partition went on. The
/// settings are the default ones.
pub(crate) async fn measure(cluster: &Cluster, program: &Path) -> Result<(), Failure> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
    let stays = cluster.serve(program, "stays", "alpha", "").await;
    for round in 0..ROUNDS {
        let dies = cluster.serve(program, &format!("dies-{round}"), "alpha", "").await;
        // Until each of them leads some partitions.
        tokio::time::sleep(Duration::from_secs(20)).await;
        run_everywhere(&client, &stays.address).await?;
        let killed = Instant::now();
        dies.kill().await;
        let times = run_everywhere(&client, &stays.address).await?;
        let last = times.iter().max().copied().unwrap_or_default();
        let (waited, slowest) = (times.iter().filter(|time| **time > Duration::from_secs(1)).count(), last);
        println!(
            "failover: {waited} of {RUNS} runs waited; the last had its result {:.1} s after the kill ({:.1} s in all)",
            slowest.as_secs_f64(),
            killed.elapsed().as_secs_f64()
        );
    }
    stays.stop().await;
    Ok(())
}

/// Runs on all partitions at once; how long each took.
async fn run_everywhere(client: &reqwest::Client, address: &str) -> Result<Vec<Duration>, Failure> {
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..RUNS {
        let request = client
            .post(format!("{address}/v1/namespaces/default/runs?wait=60s"))
            .json(&json!({"workflow": "steps", "input": {"steps": 1, "payload": "tide"}}));
        running.spawn(async move {
            let answer: Value = request.send().await?.error_for_status()?.json().await?;
            if answer["status"] == "completed" {
                Ok::<_, Failure>(began.elapsed())
            } else {
                Err(format!("not completed: {answer}").into())
            }
        });
    }
    let mut times = Vec::with_capacity(RUNS);
    while let Some(done) = running.join_next().await {
        times.push(done??);
    }
    Ok(times)
}
