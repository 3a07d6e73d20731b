//! Records that another program writes straight to the topic while workflows run: they stop nothing and are listed.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use serde_json::json;
use tidewheel_cluster::audit::audit;
use tidewheel_cluster::load::{Load, all_completed, result};
use tidewheel_cluster::nodes::{Cluster, PARTITIONS, Servers};
use tidewheel_schemas::event::{LogCreated, PartitionClaimed, RunSignaled, RunStarted, StepCompleted};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Location, LogId, Name, NewRecord, Payload, RecordHeaders,
    RunId, codec,
};

use crate::{ALPHA, NODE, Place, fresh_run, rejections};

const FLUSH: Duration = Duration::from_secs(60);
/// How often each kind of record is written.
const ROUNDS: usize = 12;
/// A header that no sensible program writes, and that the topic's record limit still lets through.
const HUGE_BYTES: usize = 1_500_000;

/// Where each record came to lie, by the number that it was sent with.
#[derive(Default)]
struct Placed(std::sync::Mutex<BTreeMap<usize, Result<Place, KafkaError>>>);

impl ClientContext for Placed {}

impl ProducerContext for Placed {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, number: Box<usize>) {
        let place = match delivered {
            Ok(message) => Ok((message.partition().cast_unsigned(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().expect("nobody panics with it").insert(*number, place);
    }
}

/// A program that writes what it wants.
struct Stranger {
    producer: BaseProducer<Placed>,
    topic: String,
    /// What becomes of each record, in the order they were sent.
    expected: Vec<Fate>,
}

/// What the fold says of a stranger's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is a start like any other.
    Accepted,
    /// It changes nothing and nobody is told, as with records of owners that no longer lead.
    Stale,
    /// It is listed with this code.
    Listed(&'static str),
}

/// A record as a client library takes it.
#[derive(Default)]
struct Raw {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Raw {
    fn of(record: &NewRecord) -> Self {
        let RecordHeaders::Known(headers) = &record.headers else { panic!("headers of our own") };
        let headers =
            headers.to_pairs().into_iter().map(|(name, text)| (name.to_owned(), text.to_vec())).collect();
        Self { key: Some(record.key.to_vec()), value: Some(record.value.to_vec()), headers }
    }

    /// The same with another text for one header.
    fn with(mut self, name: &str, text: &[u8]) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), text.to_vec()));
        self
    }
}

impl Stranger {
    fn new(servers: &Servers, cluster: &Cluster) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", servers.kafka.bootstrap())
            .set("message.max.bytes", "4000000")
            .create_with_context(Placed::default())
            .expect("a producer");
        Self { producer, topic: cluster.topic(ALPHA).as_str().to_owned(), expected: Vec::new() }
    }

    fn send(&mut self, partition: u32, raw: &Raw, fate: Fate) {
        let mut headers = OwnedHeaders::new();
        for (name, text) in &raw.headers {
            headers = headers.insert(Header { key: name, value: Some(text) });
        }
        let number = Box::new(self.expected.len());
        let mut message: BaseRecord<'_, [u8], [u8], Box<usize>> =
            BaseRecord::with_opaque_to(&self.topic, number)
                .partition(partition.cast_signed())
                .headers(headers);
        if let Some(key) = &raw.key {
            message = message.key(key);
        }
        if let Some(value) = &raw.value {
            message = message.payload(value);
        }
        self.producer.send(message).map_err(|(error, _)| error).expect("a place in the queue");
        self.expected.push(fate);
    }

    /// The fate each record is to have, by where it lies.
    fn end(self) -> BTreeMap<Place, Fate> {
        self.producer.flush(FLUSH).expect("everything is delivered");
        let placed = self.producer.context().0.lock().expect("nobody panicked with it").clone();
        assert_eq!(placed.len(), self.expected.len());
        placed.into_iter().map(|(number, place)| (place.expect("delivered"), self.expected[number])).collect()
    }
}

fn envelope(entity: Entity, author: Author) -> Envelope {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    Envelope {
        event_id: EventId::random(*uuid::Uuid::new_v4().as_bytes()),
        namespace: matches!(entity, Entity::Run(_)).then(|| Name::new("default").expect("a name")),
        entity,
        recorded_at_us: i64::try_from(now.as_micros()).expect("a year that fits"),
        cause: None,
        traceparent: None,
        author,
    }
}

fn ours(entity: Entity, author: Author, event: Event) -> Raw {
    Raw::of(&codec::encode(&envelope(entity, author), &event).expect("a record"))
}

fn stranger() -> Author {
    Author::Ingest { principal: "stranger".into() }
}

fn start(run_id: RunId) -> Raw {
    let event = RunStarted {
        workflow: Name::new("steps").expect("a name"),
        key: None,
        input: Payload::json("[2, 1]"),
        tags: BTreeMap::new(),
    };
    ours(Entity::Run(run_id), stranger(), event.into())
}

fn step(run_id: RunId, author: Author) -> Raw {
    let event = StepCompleted {
        location: Location::top(1),
        name: Name::new("work").expect("a name"),
        attempt: 1,
        output: Payload::json("\"forged\""),
    };
    ours(Entity::Run(run_id), author, event.into())
}

fn home(run_id: RunId) -> u32 {
    partition_for(run_id.to_string().as_bytes(), PARTITIONS)
}

/// One record of every kind. `victim` is a run that somebody else started; returns the runs that are started well.
fn everything(from: &mut Stranger, round: u32, victim: RunId) -> Vec<RunId> {
    let any = round % PARTITIONS;
    let undecodable = Fate::Listed("undecodable");
    let noise: Vec<u8> = (0..4_000_u32).map(|byte| (byte * 31 + round) as u8).collect();
    from.send(any, &Raw { value: Some(noise.clone()), ..Raw::default() }, undecodable);
    from.send(any, &Raw::default(), undecodable);
    from.send(any, &Raw { key: Some(b"a key".to_vec()), ..Raw::default() }, undecodable);
    // Of a newer version, or misspelt.
    from.send(home(victim), &step(victim, stranger()).with("type", b"run-teleported"), undecodable);
    from.send(home(victim), &start(victim).with("schema-id", b"4000000"), Fate::Listed("not_in_fold"));
    let huge = vec![b'x'; HUGE_BYTES];
    from.send(any, &start(fresh_run()).with("type", &huge), undecodable);
    // Headers are right and the value is not.
    let mut torn = start(victim);
    torn.value = torn.value.map(|value| value[..value.len() / 2].to_vec());
    from.send(home(victim), &torn, undecodable);
    let empty = Raw { value: None, ..start(fresh_run()) };
    let run_id = fresh_run();
    let empty = Raw { key: Some(run_id.to_string().into()), ..empty }
        .with("entity", format!("run/{run_id}").as_bytes());
    from.send(home(run_id), &empty, undecodable);
    let disagreeing = Raw { value: Some([&[0, 0, 0, 0, 1][..], &noise].concat()), ..start(victim) };
    from.send(home(victim), &disagreeing, undecodable);
    // Another partitioner.
    let run_id = fresh_run();
    from.send((home(run_id) + 1) % PARTITIONS, &start(run_id), Fate::Listed("wrong_partition"));
    let other_key = Raw { key: Some(b"a key".to_vec()), ..start(run_id) };
    from.send(home(run_id), &other_key, Fate::Listed("wrong_partition"));
    // What only the owner of a partition may write, said openly and in disguise.
    from.send(home(victim), &step(victim, stranger()), Fate::Listed("wrong_author"));
    let zombie = Author::Engine { claim: 0, seq: 0, seen: 1, idle: false };
    from.send(home(victim), &step(victim, zombie), Fate::Stale);
    let candidate = || Author::Candidate { process: "stranger".into() };
    let claim = PartitionClaimed { replaces: Some(0) };
    from.send(any, &ours(Entity::Partition(any), candidate(), claim.into()), Fate::Stale);
    let created = LogCreated { log_id: LogId::random([7; 16]), epoch_us: 1, partitions: 9, fold: 1 };
    from.send(any, &ours(Entity::Partition(any), candidate(), created.into()), Fate::Listed("void"));
    let signal = RunSignaled { name: Name::new("go").expect("a name"), payload: Payload::json("1") };
    let nobody = fresh_run();
    let signal = ours(Entity::Run(nobody), stranger(), signal.into());
    from.send(home(nobody), &signal, Fate::Listed("run_not_found"));
    // Nothing is wrong with these, however much there is beside what we read.
    let (plain, laden) = (fresh_run(), fresh_run());
    from.send(home(plain), &start(plain), Fate::Accepted);
    from.send(home(laden), &start(laden).with("x-noise", &huge), Fate::Accepted);
    vec![plain, laden]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_written_straight_to_the_topic_stop_no_workflow_and_are_listed() {
    let test = "records_written_straight_to_the_topic_stop_no_workflow_and_are_listed";
    let Some(servers) = Servers::shared(test).await else { return };
    let cluster = Cluster::new(servers, "straight");
    let first = cluster.start(NODE, "first", ALPHA, "").await;
    let second = cluster.start(NODE, "second", ALPHA, "").await;
    let load = Load::begin(&[&first.address, &second.address], 8);
    load.more(40).await;
    let waiting = reqwest::Client::new()
        .post(format!("{}/v1/namespaces/default/runs", first.address))
        .json(&json!({ "workflow": "wait", "input": null }))
        .send()
        .await
        .expect("an answer");
    let waiting: serde_json::Value = waiting.json().await.expect("JSON");
    let victim: RunId = waiting["run_id"].as_str().and_then(|id| id.parse().ok()).expect("a run id");
    let mut stranger = Stranger::new(servers, &cluster);
    let mut started = Vec::new();
    for round in 0..ROUNDS {
        started.extend(everything(&mut stranger, u32::try_from(round).expect("few"), victim));
        load.more(5).await;
    }
    let fates = tokio::task::spawn_blocking(|| stranger.end()).await.expect("a thread");
    load.more(40).await;
    let acknowledged = load.end().await;
    all_completed(&second.address, &acknowledged).await;
    for run_id in &started {
        assert_eq!(result(&second.address, &run_id.to_string()).await, json!(["step 0", "step 1"]));
    }
    // The run that everybody forged is as it was.
    let go = reqwest::Client::new()
        .post(format!("{}/v1/namespaces/default/runs/{victim}/signals", first.address))
        .json(&json!({ "name": "go", "payload": "intact" }))
        .send()
        .await
        .expect("an answer");
    assert_eq!(go.status(), 200);
    assert_eq!(result(&first.address, &victim.to_string()).await, json!("intact"));

    let audit = audit(&cluster, ALPHA).await;
    assert!(audit.runs.len() > acknowledged.len() + started.len());
    let stale = fates.values().filter(|fate| **fate == Fate::Stale).count();
    assert!(audit.stale >= stale as u64, "{audit:?}");
    let listed: BTreeMap<Place, String> = rejections(&second.address)
        .await
        .into_iter()
        .map(|(place, rejection)| (place, rejection["code"].as_str().expect("a code").to_owned()))
        .collect();
    let expected: BTreeMap<Place, String> = fates
        .iter()
        .filter_map(|(place, fate)| match fate {
            Fate::Listed(code) => Some((*place, (*code).to_owned())),
            Fate::Accepted | Fate::Stale => None,
        })
        .collect();
    assert_eq!(listed, expected);
    assert_eq!(audit.rejected.len(), expected.len());
    first.stop().await;
    second.stop().await;
}
