//! W6: a node that is killed at half of its load, again and again. How long until it is ready and until it completes
//! something, and whether anything that was acknowledged is lost or happened twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::http::Server;
use crate::load::{LoadError, Plan, Wrong};
use crate::node::Node;
use crate::payload::payload;
use crate::runs::{BenchError, Runs, for_each, text};
use crate::target::Target;
use crate::workload::Workload;

/// Connections that start runs, and that ask what became of them.
const CONNECTIONS: usize = 32;
/// Steps of a run.
const STEPS: u32 = 3;
/// How long the load lasts before a kill.
const LOAD: Duration = Duration::from_secs(3);
/// How long the maximum is measured for.
const MAXIMUM: Duration = Duration::from_secs(5);
/// Clients the maximum is measured with.
const CLIENTS: usize = 64;

/// How often, and what.
#[derive(Debug, Clone)]
pub struct Kill {
    /// The program of the node.
    pub program: PathBuf,
    /// More arguments of its `dev`.
    pub arguments: Vec<String>,
    /// Kills.
    pub rounds: u32,
    /// Size of a payload.
    pub payload_bytes: usize,
}

/// One kill.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// Runs whose start was acknowledged before the kill.
    pub acknowledged: u64,
    /// Starts that got no answer. They were sent again afterwards.
    pub unanswered: u64,
    /// From the start of the new process to its readiness.
    pub ready_ms: u64,
    /// From the start of the new process to the first result of a run that was started then.
    pub first_completion_ms: u64,
    /// From the start of the new process until every run of the round had ended.
    pub all_completed_ms: u64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct KillReport {
    /// The most runs per second the node does here.
    pub maximum: f64,
    /// Half of it: the load under which it was killed.
    pub rate: f64,
    /// The kills.
    pub rounds: Vec<Round>,
    /// Acknowledged runs that are not there, or did not complete.
    pub lost: Vec<String>,
    /// Runs with a second result, or a step with a second result.
    pub doubled: Vec<String>,
}

/// A run whose start was sent.
struct Sent {
    key: String,
    /// Its id, if the start was acknowledged.
    run_id: Option<String>,
}

/// Starts a node in a temporary folder, measures its maximum, and kills it `rounds` times.
///
/// # Errors
/// When the node cannot be started, or requests to a node that was not killed go wrong.
pub async fn run(kill: &Kill) -> Result<KillReport, BenchError> {
    let folder = tempfile::tempdir()?;
    let mut node = Node::start(&kill.program, folder.path(), &kill.arguments).await?;
    let target = Target::tidewheel(node.address()).map_err(Wrong::from)?;
    let plan = Plan {
        clients: CLIENTS,
        warm_up: Duration::from_secs(1),
        duration: MAXIMUM,
        rate: None,
        processes: Vec::new(),
    };
    let maximum = Workload::Steps { steps: STEPS }.run(&target, plan, kill.payload_bytes).await?.rate;
    let rate = (maximum / 2.0).max(1.0);
    let mut report = KillReport { maximum, rate, rounds: Vec::new(), lost: Vec::new(), doubled: Vec::new() };
    for number in 0..kill.rounds {
        let load = Load::start(node.address(), number, rate, kill.payload_bytes)?;
        // Not always at the same place between two group commits.
        tokio::time::sleep(LOAD + Duration::from_millis(u64::from(number) * 37 % 500)).await;
        load.killed.store(true, Ordering::SeqCst);
        node.kill().await?;
        let sent = load.end().await?;
        let begun = Instant::now();
        node = Node::start(&kill.program, folder.path(), &kill.arguments).await?;
        let ready = begun.elapsed();
        let server = Server::new(node.address()).map_err(Wrong::from)?;
        let mut runs = Runs::new(&server);
        let body = json!({"workflow": "steps", "input": {"steps": STEPS, "payload": "after"}});
        let run_id = runs.start(&body).await?;
        runs.result(&run_id).await?;
        let first = begun.elapsed();
        let acknowledged: Vec<_> =
            sent.iter().filter_map(|sent| Some((sent.key.clone(), sent.run_id.clone()?))).collect();
        let round = Round {
            acknowledged: acknowledged.len() as u64,
            unanswered: (sent.len() - acknowledged.len()) as u64,
            ready_ms: milliseconds(ready),
            first_completion_ms: milliseconds(first),
            all_completed_ms: 0,
        };
        let fates = for_each(&server, CONNECTIONS, acknowledged, |mut runs, (key, run_id)| async move {
            let fate = fate(&mut runs, &key, &run_id).await;
            (runs, Ok((run_id, fate)))
        })
        .await?;
        report.rounds.push(Round { all_completed_ms: milliseconds(begun.elapsed()), ..round });
        for (run_id, fate) in fates {
            match fate {
                Ok(Fate::Once) => {}
                Ok(Fate::Twice(what)) => report.doubled.push(format!("{run_id}: {what}")),
                Err(wrong) => report.lost.push(format!("{run_id}: {wrong}")),
            }
        }
        // What got no answer is sent again, as a client would: it must not become a second run.
        let again: Vec<_> =
            sent.into_iter().filter(|sent| sent.run_id.is_none()).map(|sent| sent.key).collect();
        let payload_bytes = kill.payload_bytes;
        let twice = for_each(&server, CONNECTIONS, again, move |mut runs, key| async move {
            let fate = start_again(&mut runs, &key, payload_bytes).await;
            (runs, fate)
        })
        .await?;
        report.doubled.extend(twice.into_iter().flatten());
    }
    node.stop().await?;
    Ok(report)
}

enum Fate {
    Once,
    Twice(String),
}

/// What became of an acknowledged run. An error means that it is lost.
async fn fate(runs: &mut Runs, key: &str, run_id: &str) -> Result<Fate, Wrong> {
    let ended = runs.result(run_id).await?;
    if ended.get("status").and_then(Value::as_str) != Some("completed") {
        return Err(Wrong::Body(ended.to_string()));
    }
    if !text(&ended, "output")?.starts_with(&format!("{key}-")) {
        return Err(Wrong::Body(format!("it returned another run's payload: {ended}")));
    }
    let entries = runs.history(run_id, &text(&ended, "position")?).await?;
    let mut seen = BTreeSet::new();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for entry in &entries {
        let event_type = text(entry, "type")?;
        let location = entry.get("location").and_then(Value::as_str).unwrap_or_default().to_owned();
        if event_type == "step-completed" && !seen.insert(location.clone()) {
            return Ok(Fate::Twice(format!("the step at {location} has two results")));
        }
        *counts.entry(event_type).or_default() += 1;
    }
    let count = |event_type: &str| counts.get(event_type).copied().unwrap_or(0);
    let whole = (count("run-started"), count("step-completed"), count("run-completed"));
    match whole {
        (1, STEPS, 1) => Ok(Fate::Once),
        (started, _, completed) if started > 1 || completed > 1 => {
            Ok(Fate::Twice(format!("{started} starts and {completed} results")))
        }
        _ => Err(Wrong::Body(format!("its history is not whole: {counts:?}"))),
    }
}

/// Sends a start again, twice; says if that made more than one run, or one that did not run once.
async fn start_again(runs: &mut Runs, key: &str, payload_bytes: usize) -> Result<Option<String>, Wrong> {
    let body = start_body(key, payload_bytes);
    let (first, second) = (runs.start(&body).await?, runs.start(&body).await?);
    if first != second {
        return Ok(Some(format!("{key} became {first} and {second}")));
    }
    match fate(runs, key, &first).await? {
        Fate::Once => Ok(None),
        Fate::Twice(what) => Ok(Some(format!("{first}: {what}"))),
    }
}

fn start_body(key: &str, payload_bytes: usize) -> Value {
    let text = format!("{key}-{}", payload(payload_bytes.saturating_sub(key.len() + 1), 1));
    json!({"workflow": "steps", "key": key, "input": {"steps": STEPS, "payload": text}})
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Clients that start runs at a rate until the node is killed.
struct Load {
    killed: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Sent>>>,
    tasks: Vec<tokio::task::JoinHandle<Result<(), Wrong>>>,
}

impl Load {
    fn start(address: &str, round: u32, rate: f64, payload_bytes: usize) -> Result<Self, BenchError> {
        let server = Server::new(address).map_err(Wrong::from)?;
        let (killed, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let number = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let tasks = (0..CONNECTIONS)
            .map(|_| {
                let (killed, sent) = (Arc::clone(&killed), Arc::clone(&sent));
                let (number, mut runs) = (Arc::clone(&number), Runs::new(&server));
                tokio::spawn(async move {
                    while !killed.load(Ordering::SeqCst) {
                        let number = number.fetch_add(1, Ordering::SeqCst);
                        #[expect(clippy::cast_precision_loss, reason = "a count of seconds' requests fits")]
                        let due = begun + Duration::from_secs_f64(number as f64 / rate);
                        tokio::time::sleep_until(due.into()).await;
                        let key = format!("kill-{round}-{number}");
                        let started = runs.start(&start_body(&key, payload_bytes)).await;
                        let run_id = match started {
                            Ok(run_id) => Some(run_id),
                            Err(Wrong::NoAnswer(_)) => None,
                            // A node that is alive must take them.
                            Err(wrong) if !killed.load(Ordering::SeqCst) => return Err(wrong),
                            Err(_) => None,
                        };
                        sent.lock().unwrap_or_else(PoisonError::into_inner).push(Sent { key, run_id });
                    }
                    Ok(())
                })
            })
            .collect();
        Ok(Self { killed, sent, tasks })
    }

    /// What was sent.
    async fn end(self) -> Result<Vec<Sent>, BenchError> {
        for task in self.tasks {
            task.await.map_err(|_| LoadError::Ended)??;
        }
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *sent))
    }
}

impl fmt::Display for KillReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "workload    W6 kill -9 at half load: {:.0} of at most {:.0} runs/s of {STEPS} steps",
            self.rate, self.maximum
        )?;
        for (number, round) in (1..).zip(&self.rounds) {
            writeln!(
                out,
                "round {number:<5} ready after {} ms, first completion after {} ms, all {} acknowledged runs checked \
                 after {} ms; {} starts got no answer and were sent again",
                round.ready_ms,
                round.first_completion_ms,
                round.acknowledged,
                round.all_completed_ms,
                round.unanswered
            )?;
        }
        writeln!(out, "lost        {}", self.lost.len())?;
        writeln!(out, "doubled     {}", self.doubled.len())?;
        for what in self.lost.iter().chain(&self.doubled).take(10) {
            writeln!(out, "            {what}")?;
        }
        Ok(())
    }
}
