//! The reader of the configuration: what it publishes, what a change is told, what happens while its log is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use tidewheel_engine::config::{ConfigEntity, ConfigFoldError};
use tidewheel_engine::{Rejection, Verdict};
use tidewheel_log::{Appending, Bounds, EventLog, LogError, MemoryLog, SharedLog, SystemClock, Tail};
use tidewheel_runtime::config::{ChangeError, Changed, ConfigStopped};
use tidewheel_runtime::{ConfigOptions, Configuration};
use tidewheel_schemas::event::{FoldRaised, NamespaceCreated, TokenCreated};
use tidewheel_schemas::{
    Author, ConfigEvent, Entity, Envelope, EventId, Name, NewRecord, Record, TokenHash, TokenId, Topic,
    TopicFamily, TopicPartition, encode_config,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

/// A log in memory that can go away.
#[derive(Default)]
struct Fragile {
    log: MemoryLog,
    is_away: AtomicBool,
    is_made_anew: AtomicBool,
}

impl Fragile {
    fn check(&self) -> Result<(), LogError> {
        if self.is_away.load(Ordering::SeqCst) {
            let (what, cause) = ("asking".to_owned(), "connection refused".to_owned());
            Err(LogError::Unreachable { what, brokers: "kafka:9092".to_owned(), cause })
        } else {
            Ok(())
        }
    }
}

struct Shared(Arc<Fragile>);

struct FragileTail {
    shared: Arc<Fragile>,
    tail: Box<dyn Tail>,
}

#[async_trait]
impl Tail for FragileTail {
    async fn next(&mut self, records_max: usize) -> Result<Vec<Record>, LogError> {
        loop {
            self.shared.check()?;
            if self.shared.is_made_anew.load(Ordering::SeqCst) {
                let partition = TopicPartition::new(topic(), 0);
                return Err(LogError::Rewritten { partition, asked: 1 });
            }
            let waiting = self.tail.next(records_max);
            if let Ok(records) = tokio::time::timeout(Duration::from_millis(5), waiting).await {
                return records;
            }
        }
    }
}

#[async_trait]
impl EventLog for Shared {
    async fn create_topic(&self, topic: &Topic, partitions: u32) -> Result<(), LogError> {
        self.0.check()?;
        self.0.log.create_topic(topic, partitions).await
    }

    async fn partitions(&self, topic: &Topic) -> Result<Option<u32>, LogError> {
        self.0.check()?;
        self.0.log.partitions(topic).await
    }

    fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Appending {
        match self.0.check() {
            Ok(()) => self.0.log.append(to, records),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn tail(&self, from: &TopicPartition, offset: i64) -> Result<Box<dyn Tail>, LogError> {
        self.0.check()?;
        let tail = self.0.log.tail(from, offset).await?;
        Ok(Box::new(FragileTail { shared: Arc::clone(&self.0), tail }))
    }

    async fn read(
        &self,
        from: &TopicPartition,
        offset: i64,
        records_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.0.check()?;
        self.0.log.read(from, offset, records_max).await
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        self.0.check()?;
        self.0.log.bounds(of).await
    }

    async fn offset_for_time(&self, of: &TopicPartition, time_us: i64) -> Result<i64, LogError> {
        self.0.check()?;
        self.0.log.offset_for_time(of, time_us).await
    }
}

struct World {
    fragile: Arc<Fragile>,
    shutdown: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn topic() -> Topic {
    TopicFamily::ConfigChanges.topic(&name("test"), &name("dc1"))
}

impl World {
    fn new() -> Self {
        Self { fragile: Arc::default(), shutdown: CancellationToken::new() }
    }

    fn set_away(&self, is_away: bool) {
        self.fragile.is_away.store(is_away, Ordering::SeqCst);
    }

    /// A process of its own that reads the log.
    fn reader(&self) -> Configuration {
        let log: SharedLog = Arc::new(Shared(Arc::clone(&self.fragile)));
        Configuration::start(ConfigOptions {
            log,
            topic: topic(),
            process: "test".into(),
            clock: SystemClock::shared(),
            shutdown: self.shutdown.clone(),
        })
    }
}

fn envelope(id: u8, entity: Entity) -> Envelope {
    Envelope {
        event_id: EventId::random([id; 16]),
        entity,
        namespace: None,
        recorded_at_us: 1,
        cause: None,
        traceparent: None,
        author: Author::Ingest { principal: "test".into() },
    }
}

async fn create(configuration: &Configuration, id: u8, namespace: &str) -> Result<Changed, ChangeError> {
    let event: ConfigEvent = NamespaceCreated { home: name("local") }.into();
    configuration.change(envelope(id, Entity::Namespace(name(namespace))), event, PATIENCE).await
}

fn verdict(changed: &Changed) -> Verdict {
    changed.judged.as_ref().expect("a verdict").verdict
}

#[tokio::test]
async fn a_change_is_told_its_verdict_and_stands_in_the_snapshot_by_then() {
    let world = World::new();
    let configuration = world.reader();
    configuration.complete().await;
    let first = create(&configuration, 1, "billing").await.unwrap();
    assert_eq!(verdict(&first), Verdict::Accepted);
    assert!(configuration.snapshot().namespaces.contains_key("billing"));
    let repeated = create(&configuration, 1, "billing").await.unwrap();
    assert_eq!(verdict(&repeated), Verdict::Duplicate(Ok(())));
    let other = create(&configuration, 2, "billing").await.unwrap();
    assert_eq!(verdict(&other), Verdict::Rejected(Rejection::NamespaceExists));
    assert!(matches!(other.judged.unwrap().after, Some(ConfigEntity::Namespace(_))));
    assert!(first.position.offset < repeated.position.offset);
}

#[tokio::test]
async fn another_process_reads_the_same_and_is_complete_only_then() {
    let world = World::new();
    let writer = world.reader();
    writer.complete().await;
    for id in 1..=9 {
        create(&writer, id, &format!("n{id}")).await.unwrap();
    }
    let reader = world.reader();
    reader.complete().await;
    assert_eq!(reader.snapshot().namespaces.len(), 9);
    assert_eq!(*reader.snapshot(), *writer.snapshot());
    let late = create(&writer, 10, "late").await.unwrap();
    assert!(reader.reach(late.position, PATIENCE).await);
    assert!(reader.snapshot().namespaces.contains_key("late"));
    let mut foreign = late.position;
    foreign.log_id = tidewheel_schemas::LogId::random([9; 16]);
    assert!(!reader.reach(foreign, PATIENCE).await);
}

#[tokio::test]
async fn while_the_log_is_away_changes_fail_and_the_last_snapshot_stays() {
    let world = World::new();
    let configuration = world.reader();
    configuration.complete().await;
    create(&configuration, 1, "billing").await.unwrap();
    world.set_away(true);
    let failed = create(&configuration, 2, "more").await;
    assert!(matches!(failed, Err(ChangeError::Away)), "{failed:?}");
    let snapshot = configuration.snapshot();
    assert!(snapshot.is_complete && snapshot.namespaces.contains_key("billing"));
    world.set_away(false);
    let after = create(&configuration, 3, "more").await.unwrap();
    assert_eq!(verdict(&after), Verdict::Accepted);
    assert_eq!(configuration.snapshot().namespaces.len(), 2);
}

#[tokio::test]
async fn a_process_that_begins_without_the_log_knows_nothing_until_it_is_there() {
    let world = World::new();
    world.set_away(true);
    let configuration = world.reader();
    let early = create(&configuration, 1, "billing").await;
    assert!(matches!(early, Err(ChangeError::Away)), "{early:?}");
    assert!(!configuration.snapshot().is_complete);
    world.set_away(false);
    configuration.complete().await;
    assert_eq!(verdict(&create(&configuration, 1, "billing").await.unwrap()), Verdict::Accepted);
}

#[tokio::test]
async fn a_log_that_was_made_anew_stops_the_reader_and_one_that_is_away_does_not() {
    let world = World::new();
    let configuration = world.reader();
    configuration.complete().await;
    world.set_away(true);
    let stopped = tokio::time::timeout(Duration::from_millis(700), configuration.stopped()).await;
    assert!(stopped.is_err(), "{stopped:?}");
    world.set_away(false);
    world.fragile.is_made_anew.store(true, Ordering::SeqCst);
    let stopped = configuration.stopped().await;
    assert!(matches!(stopped, ConfigStopped::Log(LogError::Rewritten { .. })), "{stopped}");
}

#[tokio::test]
async fn the_topic_may_have_more_partitions_and_all_of_them_are_read() {
    let world = World::new();
    world.fragile.log.create_topic(&topic(), 3).await.unwrap();
    let configuration = world.reader();
    configuration.complete().await;
    let mut partitions = std::collections::BTreeSet::new();
    for number in 1..=30 {
        let token_id = TokenId::random([number; 16]);
        let event = TokenCreated {
            name: name("t"),
            hash: TokenHash::from_bytes([number; 32]),
            roles: vec![],
            namespaces: None,
        };
        let changed = configuration
            .change(envelope(number, Entity::Token(token_id)), event.into(), PATIENCE)
            .await
            .unwrap();
        assert_eq!(verdict(&changed), Verdict::Accepted);
        partitions.insert(changed.position.partition);
    }
    assert_eq!(partitions.len(), 3);
    let reader = world.reader();
    reader.complete().await;
    assert_eq!(reader.snapshot().tokens.len(), 30);
}

#[tokio::test]
async fn records_of_others_change_nothing_and_a_newer_fold_stops_the_reader() {
    let world = World::new();
    let configuration = world.reader();
    configuration.complete().await;
    let place = TopicPartition::new(topic(), 0);
    let mut forged = envelope(1, Entity::Namespace(name("forged")));
    forged.author = Author::Engine { claim: 0, seq: 0, seen: 0, idle: false };
    let forged = encode_config(&forged, &NamespaceCreated { home: name("local") }.into()).unwrap();
    let garbage = NewRecord {
        key: bytes::Bytes::new(),
        headers: tidewheel_schemas::RecordHeaders::Foreign("garbage".to_owned()),
        value: bytes::Bytes::from_static(b"garbage"),
    };
    world.fragile.log.append(&place, vec![forged, garbage]).await.unwrap();
    create(&configuration, 2, "billing").await.unwrap();
    assert_eq!(configuration.snapshot().namespaces.len(), 1);
    let raised = encode_config(&envelope(3, Entity::Partition(0)), &FoldRaised { fold: 2 }.into()).unwrap();
    let next = encode_config(
        &envelope(4, Entity::Namespace(name("of-a-later-version"))),
        &NamespaceCreated { home: name("local") }.into(),
    );
    world.fragile.log.append(&place, vec![raised, next.unwrap()]).await.unwrap();
    let stopped = configuration.stopped().await;
    assert!(matches!(stopped, ConfigStopped::Fold(ConfigFoldError::Newer { fold: 2, .. })), "{stopped}");
    assert_eq!(configuration.snapshot().namespaces.len(), 1);
}
