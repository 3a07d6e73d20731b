//! Requests about single runs, for the workloads that look at what became of each, and the errors of those workloads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Answer, Connection, Server};
use crate::load::{LoadError, Wrong};
use crate::node::NodeError;

const RUNS: &str = "/v1/namespaces/default/runs";
/// Runs started with one request.
const BATCH_LINES: usize = 1_000;
/// Rest before something is asked again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a result is waited for with one request.
const WAIT: &str = "30s";

/// A workload that could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A request went wrong.
    #[error("a request failed: {0}")]
    Request(#[from] Wrong),
    /// The load could not be made.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The node did not do as it was told.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A folder or a thread.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// Something did not happen in time.
    #[error("{0}")]
    Late(String),
}

/// A connection that asks about runs.
pub struct Runs {
    server: Server,
    connection: Connection,
}

impl Runs {
    /// Asks `server`.
    pub fn new(server: &Server) -> Self {
        Self { server: server.clone(), connection: Connection::new(server) }
    }

    async fn json(&mut self, request: &[u8]) -> Result<Value, Wrong> {
        let answer = self.connection.send(request).await.map_err(Wrong::from)?;
        if !answer.is_success() {
            return Err(Wrong::answer(&answer));
        }
        parse(&answer)
    }

    /// `GET` of a path that answers JSON.
    ///
    /// # Errors
    /// When there is no answer, or none with a status 2xx.
    pub async fn get(&mut self, path: &str) -> Result<Value, Wrong> {
        let request = self.server.get(path);
        self.json(&request).await
    }

    /// Starts one run; its id.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub async fn start(&mut self, body: &Value) -> Result<String, Wrong> {
        let request = self.server.post(RUNS, &body.to_string());
        let answer = self.json(&request).await?;
        text(&answer, "run_id")
    }

    /// Starts a run for each input with as few requests as possible; their ids in the same order.
    ///
    /// # Errors
    /// When one of them is not accepted.
    pub async fn start_all(&mut self, workflow: &str, inputs: &[Value]) -> Result<Vec<String>, Wrong> {
        let mut run_ids = Vec::with_capacity(inputs.len());
        for part in inputs.chunks(BATCH_LINES) {
            let lines: Vec<_> =
                part.iter().map(|input| json!({"workflow": workflow, "input": input}).to_string()).collect();
            let request =
                self.server.post_as(&format!("{RUNS}:batch"), "application/x-ndjson", &lines.join("\n"));
            let answer = self.connection.send(&request).await.map_err(Wrong::from)?;
            if !answer.is_success() {
                return Err(Wrong::answer(&answer));
            }
            for line in answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line: Value =
                    serde_json::from_slice(line).map_err(|error| Wrong::Body(error.to_string()))?;
                if line.get("outcome").and_then(Value::as_str) != Some("accepted") {
                    return Err(Wrong::Body(line.to_string()));
                }
                run_ids.push(text(&line, "run_id")?);
            }
        }
        Ok(run_ids)
    }

    /// The run once it has ended, with its output.
    ///
    /// # Errors
    /// When it does not end within half a minute, or has not completed.
    pub async fn result(&mut self, run_id: &str) -> Result<Value, Wrong> {
        self.get(&format!("{RUNS}/{run_id}/result?timeout={WAIT}")).await
    }

    /// The entries of a run's history, as far as one page holds them and no older than `position`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn history(&mut self, run_id: &str, position: &str) -> Result<Vec<Value>, Wrong> {
        let path = format!("{RUNS}/{run_id}/history?limit=1000&timeout={WAIT}&at_least={position}");
        let mut page = self.get(&path).await?;
        match page.get_mut("entries").map(Value::take) {
            Some(Value::Array(entries)) => Ok(entries),
            _ => Err(Wrong::Body(page.to_string())),
        }
    }

    /// Waits until no run is under way.
    ///
    /// # Errors
    /// When some still are when time is up.
    pub async fn settled(&mut self, patience: Duration) -> Result<(), BenchError> {
        let end = Instant::now() + patience;
        loop {
            let page = self.get(&format!("{RUNS}?status=running&limit=1")).await?;
            if page.get("runs").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                return Ok(());
            }
            if Instant::now() >= end {
                let seconds = patience.as_secs();
                return Err(BenchError::Late(format!("after {seconds} s there are still runs under way")));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Asks for something about each item with several connections; what was answered, in any order.
///
/// # Errors
/// The first error.
pub async fn for_each<I, T, F, Fut>(
    server: &Server,
    connections: usize,
    items: Vec<I>,
    ask: F,
) -> Result<Vec<T>, BenchError>
where
    I: Send + 'static,
    T: Send + 'static,
    F: Fn(Runs, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = (Runs, Result<T, Wrong>)> + Send + 'static,
{
    let (items, ask) = (Arc::new(Mutex::new(VecDeque::from(items))), Arc::new(ask));
    let tasks: Vec<_> = (0..connections.max(1))
        .map(|_| {
            let (items, ask, mut runs) = (Arc::clone(&items), Arc::clone(&ask), Runs::new(server));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let item = items.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(item) = item else { return Ok(answers) };
                    let (again, answer) = ask(runs, item).await;
                    runs = again;
                    answers.push(answer?);
                }
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        let part: Result<Vec<T>, Wrong> = task.await.map_err(|_| LoadError::Ended)?;
        answers.extend(part?);
    }
    Ok(answers)
}

fn parse(answer: &Answer<'_>) -> Result<Value, Wrong> {
    serde_json::from_slice(answer.body).map_err(|_| Wrong::answer(answer))
}

/// A member of JSON that is a text.
///
/// # Errors
/// When it is not there.
pub fn text(value: &Value, member: &str) -> Result<String, Wrong> {
    let found = value.get(member).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| Wrong::Body(format!("there is no {member} in {value}")))
}
