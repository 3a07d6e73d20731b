//! A node for tests: a log in memory, the real fold, an engine that completes runs of `echo` and parks runs of
//! `diverge`, a server on a free port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tidewheel_api::{Namespaces, Waiting};
use tidewheel_engine::fold::Fold;
use tidewheel_ingest::fold::{Members, Raising, Stored};
use tidewheel_ingest::forward::ForwardLimits;
use tidewheel_ingest::http::{finish, fold_router, forwarding, router};
use tidewheel_ingest::server::{Limits, serve};
use tidewheel_ingest::{Datacenters, Forwarder, Ingest, LogProducer, Settings};
use tidewheel_log::EventLog;
use tidewheel_log::memory::MemoryLog;
use tidewheel_schemas::codec::encode;
use tidewheel_schemas::event::{LogCreated, PartitionClaimed, RunCompleted, RunDiverged};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Location, LogId, Name, RunId, Topic, TopicFamily,
    TopicPartition,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const PARTITIONS: u32 = 4;
const CLAIM: i64 = 1;

pub struct Node {
    pub address: SocketAddr,
    pub log: Arc<MemoryLog>,
    pub producer: Arc<LogProducer>,
    pub waiting: Waiting,
    pub stopping: CancellationToken,
    pub router: axum::Router,
    pub server: JoinHandle<std::io::Result<()>>,
    /// The fold version that partition 0 is said to have.
    pub fold: Arc<AtomicU32>,
    folds: Vec<JoinHandle<()>>,
}

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn code(&self) -> String {
        let json = self.json();
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(json["status"], self.status);
        json["code"].as_str().expect("a code").to_owned()
    }

    pub fn text(&self, field: &str) -> String {
        self.json()[field].as_str().unwrap_or_default().to_owned()
    }
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn envelope(event_id: u8, entity: Entity, namespace: Option<Name>, author: Author) -> Envelope {
    Envelope {
        event_id: EventId::random([event_id; 16]),
        entity,
        namespace,
        recorded_at_us: 1_700_000_000_000_000,
        cause: None,
        traceparent: None,
        author,
    }
}

impl Node {
    pub async fn start() -> Self {
        Self::with(Limits::default(), Duration::from_secs(5)).await
    }

    pub async fn with(limits: Limits, verdict_timeout: Duration) -> Self {
        let datacenters = Datacenters::alone(name("dc1"), 7);
        Self::among(datacenters, ForwardLimits::default(), limits, verdict_timeout).await
    }

    /// A node that forwards to other datacenters.
    pub async fn among(
        datacenters: Datacenters,
        forward_limits: ForwardLimits,
        limits: Limits,
        verdict_timeout: Duration,
    ) -> Self {
        let log = Arc::new(MemoryLog::new());
        let topic = TopicFamily::WorkflowEvents.topic(&name("test"), &name("dc1"));
        log.create_topic(&topic, PARTITIONS).await.expect("a topic");
        let producer = Arc::new(LogProducer::new(log.clone(), &topic, PARTITIONS));
        let waiting = Waiting::new(PARTITIONS);
        let mut folds = Vec::new();
        for partition in 0..PARTITIONS {
            let log_id = LogId::random([partition as u8 + 1; 16]);
            begin(&log, &topic, partition, log_id).await;
            producer.set_log_id(partition, log_id);
            folds.push(tokio::spawn(fold(log.clone(), topic.clone(), partition, waiting.clone())));
        }
        producer.set_ready(true);
        let stopping = CancellationToken::new();
        let forwarder = Forwarder::new(datacenters, forward_limits, stopping.clone());
        let forwarder = forwarder.expect("datacenters that can be forwarded to");
        let fold = Arc::new(AtomicU32::new(2));
        let in_force: Arc<dyn Fn(u32) -> u32 + Send + Sync> = {
            let fold = Arc::clone(&fold);
            Arc::new(move |partition| if partition == 0 { fold.load(Ordering::Relaxed) } else { 2 })
        };
        let stored = stored(log.clone(), topic.clone());
        let settings = Settings {
            namespaces: Namespaces::new([name("default")]),
            workflows: Some(["diverge", "echo", "wait"].into_iter().map(name).collect()),
            forwarder: forwarder.clone(),
            topics: vec![(TopicFamily::WorkflowEvents, topic)],
            in_force: Arc::clone(&in_force),
            verdict_timeout,
            metrics: None,
            stopping: stopping.clone(),
        };
        let ingest = Ingest::new(producer.clone(), waiting.clone(), settings);
        let members: Members = Arc::new(|| Box::pin(std::future::ready(Ok(Vec::new()))));
        let raising = Raising { ingest: ingest.clone(), members, in_force, stored };
        let mut router = router(ingest).merge(fold_router(raising));
        // Of the routes that read there is no more here than that they exist.
        for what in ["", "/result", "/history", "/events"] {
            let path = format!("/v1/namespaces/{{ns}}/runs/{{run_id}}{what}");
            router = router.route(&path, axum::routing::get(|| std::future::ready("read here")));
        }
        let router = finish(forwarding(router, forwarder));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(serve(listener, router.clone(), stopping.clone(), limits));
        Self { address, log, producer, waiting, stopping, router, server, fold, folds }
    }

    pub fn stop_folding(&self) {
        for fold in &self.folds {
            fold.abort();
        }
    }

    pub async fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        let request =
            format!("{head}\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(request.as_bytes()).await.expect("a request sent");
        // The server may answer and close before it has read all of a body it refuses.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        parse(&bytes)
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(&format!("POST {path} HTTP/1.1\r\ncontent-type: application/json"), body.as_bytes()).await
    }

    pub async fn post_with_key(&self, path: &str, key: &str, body: &str) -> Answer {
        let head =
            format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\nidempotency-key: {key}");
        self.send(&head, body.as_bytes()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1"), b"").await
    }

    pub async fn records(&self) -> usize {
        let topic = TopicFamily::WorkflowEvents.topic(&name("test"), &name("dc1"));
        let mut count = 0;
        for partition in 0..PARTITIONS {
            let bounds =
                self.log.bounds(&TopicPartition::new(topic.clone(), partition)).await.expect("bounds");
            count += bounds.end as usize;
        }
        count - 2 * PARTITIONS as usize
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
        self.stop_folding();
    }
}

pub fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no whole answer: {text}"));
    let head = std::str::from_utf8(&bytes[..end]).expect("a head of text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = bytes[end + 4..].to_vec();
    if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        body = unchunk(&body);
    }
    Answer { status: status.parse().expect("a status"), headers, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
        let size =
            std::str::from_utf8(&rest[..at]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.expect("a chunk's size");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + 4 + size..];
    }
    body
}

async fn begin(log: &MemoryLog, topic: &Topic, partition: u32, log_id: LogId) {
    let candidate = Author::Candidate { process: "test".into() };
    let created = LogCreated { log_id, epoch_us: 0, partitions: PARTITIONS as i32, fold: 1 };
    let created = envelope_of(partition, 1, candidate.clone(), created.into());
    let claimed = envelope_of(partition, 2, candidate, PartitionClaimed { replaces: None }.into());
    log.append(&TopicPartition::new(topic.clone(), partition), vec![created, claimed])
        .await
        .expect("the log begun");
}

fn envelope_of(partition: u32, id: u8, author: Author, event: Event) -> tidewheel_schemas::NewRecord {
    encode(&envelope(id, Entity::Partition(partition), None, author), &event).expect("a control record")
}

/// Folds one partition, tells the waiters, completes runs of `echo` with their input and parks runs of `diverge`.
async fn fold(log: Arc<MemoryLog>, topic: Topic, partition: u32, waiting: Waiting) {
    let place = TopicPartition::new(topic, partition);
    let mut tail = log.tail(&place, 0).await.expect("a tail");
    let mut fold = Fold::new(partition);
    let mut seq = 0;
    loop {
        let Ok(records) = tail.next(1000).await else {
            // The log failed: read on from the same place once it is back, as a restarted reader would.
            tokio::time::sleep(Duration::from_millis(5)).await;
            tail = log.tail(&place, fold.control().next_offset).await.expect("a tail");
            continue;
        };
        for record in records {
            let transition = fold.apply(&record).expect("a fold");
            waiting.publish(std::slice::from_ref(&transition));
            let Some(entry) = transition.run.and_then(|change| change.entry) else { continue };
            if let Event::RunStarted(started) = &*entry.event
                && let Some(run_id) = run_of(&record)
            {
                let answer: Event = match started.workflow.as_str() {
                    "echo" => RunCompleted { output: started.input.clone() }.into(),
                    "diverge" => RunDiverged {
                        location: Location::top(1),
                        expected: "a timer".to_owned(),
                        found: "a step".to_owned(),
                    }
                    .into(),
                    _ => continue,
                };
                let author = Author::Engine { claim: CLAIM, seq, seen: 0, idle: false };
                seq += 1;
                let mut envelope = envelope(0, Entity::Run(run_id), Some(name("default")), author);
                envelope.event_id = EventId::random(*run_id.as_bytes());
                let record = encode(&envelope, &answer).expect("a record");
                let _ = log.append(&place, vec![record]).await;
            }
        }
    }
}

/// A run as a view of everything that lies in the log would hold it.
fn stored(log: Arc<MemoryLog>, topic: Topic) -> Stored {
    Arc::new(move |run_id| {
        let partition = partition_for(&Entity::Run(run_id).routing_key(), PARTITIONS);
        let (log, place) = (Arc::clone(&log), TopicPartition::new(topic.clone(), partition));
        Box::pin(async move {
            let mut fold = Fold::new(partition);
            for record in log.read(&place, 0, 1_000).await.map_err(|error| error.to_string())? {
                fold.apply(&record).map_err(|error| error.to_string())?;
            }
            Ok(fold.run(run_id).cloned())
        })
    })
}

fn run_of(record: &tidewheel_schemas::Record) -> Option<RunId> {
    match &record.headers {
        tidewheel_schemas::RecordHeaders::Known(headers) => headers.entity.run_id(),
        tidewheel_schemas::RecordHeaders::Foreign(_) => None,
    }
}
