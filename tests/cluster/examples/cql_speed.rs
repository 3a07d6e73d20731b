//! Measures the CQL store on the rows of a made-up log: plain inserts of the same rows with the same statements, the
//! store's writes, a projector that catches up, a rebuild from the log, and a comparison of what it wrote with the log.
//!
//! `cargo run --release -p tidewheel-cluster --example cql_speed -- [records] [requests at once]`

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, MaybeUnset};
use tidewheel_bench::history::History;
use tidewheel_cluster::cql::Server;
use tidewheel_engine::{Control, Fold, Transition};
use tidewheel_log::{EventLog, MemoryLog};
use tidewheel_native::CassandraOptions;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::views::TABLES;
use tidewheel_projector::{Projector, ProjectorOptions};
use tidewheel_replay::{RebuildOptions, Rebuilding, VerifyOptions, Views, verify_with};
use tidewheel_schemas::{Topic, TopicPartition};
use tidewheel_store::{
    Column, ColumnType, CqlStore, Generation, StateStore, TableSchema, Value, Write, WriteSet,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PARTITIONS: u32 = 4;
const PAYLOAD_BYTES: usize = 256;
/// When the log begins, microseconds since 1970.
const START_US: i64 = 1_700_000_000_000_000;
const BATCH_RECORDS: usize = 2_000;

/// What a partition's records led to, a chunk of the projector at a time.
struct Folded {
    chunks: Vec<(Vec<Transition>, Control)>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let records = arguments.next().transpose()?.unwrap_or(40_000);
    let requests = arguments.next().transpose()?.unwrap_or(256);
    let server = match std::env::var(tidewheel_cluster::cql::VARIABLE) {
        Ok(_) => Server::shared("cql_speed").await,
        Err(_) => {
            let options = CassandraOptions::datacenters(&["dc1"]).authenticated().compiled();
            Server::start("cql_speed", options).await.map(Arc::new)
        }
    };
    let server = server.ok_or("no server: install Java 17 and Maven")?;
    let mut options = server.fresh_options();
    options.requests_max = requests;
    let keyspace = options.keyspace.clone();
    let store = Arc::new(CqlStore::connect(options).await?);
    let (log, topic) = log(records).await?;
    let folded = fold(&log, &topic).await?;
    println!("{records} records of {PARTITIONS} partitions, {requests} requests at once");
    for generation in 1..=12 {
        store.create_tables(Generation(generation), TABLES).await?;
    }
    let session = session(&server).await?;
    // Alternating, the first round to warm up: what is measured first finds a server whose code is not compiled yet.
    for round in 0..3_u32 {
        let of = |part: u32| Generation(1 + 4 * round + part);
        let sets = sets(&folded);
        let rows: Vec<&Write> =
            sets.iter().flat_map(WriteSet::iter).filter(|row| row.columns.is_some()).collect();
        let count: usize = sets.iter().map(|set| set.iter().count()).sum();
        let began = Instant::now();
        raw(&session, &keyspace, of(0), &rows, requests).await?;
        let plain = report(round, "plain inserts", "rows", rows.len(), began.elapsed());
        let began = Instant::now();
        for set in &sets {
            store.write(of(1), set).await?;
        }
        let written = report(round, "the store's writes", "rows", count, began.elapsed());
        let shared: Arc<dyn StateStore> = store.clone();
        let began = Instant::now();
        project(Arc::clone(&shared), of(2), &folded).await?;
        let projected = report(round, "a projector catching up", "rows", count, began.elapsed());
        let views = Views {
            log: Arc::clone(&log) as Arc<dyn EventLog>,
            topic: topic.clone(),
            partitions: PARTITIONS,
            store: shared,
            generation: of(3),
        };
        let began = Instant::now();
        let (folded_records, rebuilt_rows) = rebuild(&views).await?;
        let took = began.elapsed();
        let rebuilt = report(round, "a rebuild", "rows", rebuilt_rows, took);
        report(round, "a rebuild", "records", folded_records, took);
        let began = Instant::now();
        let verified =
            verify_with(&views, &VerifyOptions { threads: 2, records_at_once: 1_024, ..Default::default() })
                .await?;
        report(round, "a comparison", "records", folded_records, began.elapsed());
        if verified.difference_count > 0 {
            return Err(format!("the rebuilt views differ from the log: {:?}", verified.differences).into());
        }
        println!(
            "{round}: of plain inserts, per row: store {:.0} %, projector {:.0} %, rebuild {:.0} %; {:.2} rows a record",
            100.0 * written / plain,
            100.0 * projected / plain,
            100.0 * rebuilt / plain,
            rebuilt_rows as f64 / folded_records as f64,
        );
    }
    Ok(())
}

fn report(round: u32, what: &str, unit: &str, count: usize, took: Duration) -> f64 {
    let rate = count as f64 / took.as_secs_f64();
    println!("{round}: {what}: {count} {unit} in {:.2} s, {rate:.0} {unit}/s", took.as_secs_f64());
    rate
}

/// A log as a node would have written it, in memory.
async fn log(records: usize) -> Result<(Arc<MemoryLog>, Topic), Failure> {
    let log = Arc::new(MemoryLog::new());
    let topic = Topic::new("speed.dc1.workflow.events");
    log.create_topic(&topic, PARTITIONS).await?;
    for partition in 0..PARTITIONS {
        let place = TopicPartition::new(topic.clone(), partition);
        let mut history = History::new(partition, PARTITIONS, PAYLOAD_BYTES, START_US)?;
        let (each, mut made) = (records / PARTITIONS as usize, 0);
        while made < each {
            let count = BATCH_RECORDS.min(each - made);
            let records = history.next(count, made + count >= each)?;
            made += records.len();
            log.append(&place, records).await?;
        }
    }
    Ok((log, topic))
}

async fn fold(log: &Arc<MemoryLog>, topic: &Topic) -> Result<Vec<Folded>, Failure> {
    let chunk_records = RebuildOptions::default().chunk_records;
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let place = TopicPartition::new(topic.clone(), partition);
        let (mut fold, mut chunks) = (Fold::new(partition), Vec::new());
        loop {
            let records = log.read(&place, fold.control().next_offset, chunk_records).await?;
            if records.is_empty() {
                break;
            }
            let mut transitions = Vec::with_capacity(records.len());
            for record in &records {
                transitions.push(fold.apply(record)?);
            }
            chunks.push((transitions, fold.control().clone()));
        }
        all.push(Folded { chunks });
    }
    Ok(all)
}

fn sets(folded: &[Folded]) -> Vec<WriteSet> {
    let mut sets = Vec::new();
    for (partition, folded) in (0..).zip(folded) {
        let (mut live, mut before) = (Live::default(), Control::new(partition));
        for (transitions, control) in &folded.chunks {
            let mut chunk = Chunk::new(before);
            chunk.add(transitions, control, &live);
            let finished = chunk.finish(&mut live, false);
            before = finished.checkpoint.control.clone();
            sets.push(finished.writes);
        }
    }
    sets
}

async fn project(
    store: Arc<dyn StateStore>,
    generation: Generation,
    folded: &[Folded],
) -> Result<(), Failure> {
    let records_max = RebuildOptions::default().chunk_records;
    let options = ProjectorOptions { atomic: false, records_max, ..ProjectorOptions::default() };
    let views = tidewheel_projector::Views::new(store, generation);
    let projector = Projector::start(views, PARTITIONS, options).await?;
    for (partition, folded) in (0..).zip(folded) {
        for (transitions, control) in &folded.chunks {
            projector.submit(partition, transitions.clone(), control).await?;
        }
    }
    projector.close().await;
    Ok(())
}

/// All partitions at once, as a process that rebuilds does; the records and the rows.
async fn rebuild(views: &Views) -> Result<(usize, usize), Failure> {
    let partitions = (0..PARTITIONS).map(|partition| {
        let views = views.clone();
        tokio::spawn(async move {
            let options = RebuildOptions::default();
            let mut rebuilding = Rebuilding::open(views.clone(), partition, options, false).await?;
            let end = views.log.bounds(rebuilding.place()).await?.end;
            while rebuilding.next_offset() < end {
                rebuilding.chunk(end, options.chunk_records).await?;
            }
            Ok::<_, Failure>(rebuilding.rebuilt())
        })
    });
    let (mut records, mut rows) = (0, 0);
    for partition in partitions.collect::<Vec<_>>() {
        let rebuilt = partition.await??;
        records += rebuilt.records as usize;
        rows += rebuilt.rows as usize;
    }
    Ok((records, rows))
}

async fn session(server: &Server) -> Result<Session, Failure> {
    let mut builder = SessionBuilder::new().known_nodes(server.contact_points());
    if let Some((user, password)) = server.superuser() {
        builder = builder.user(user, password);
    }
    Ok(builder.build().await?)
}

/// Inserts rows one by one, whatever their order.
async fn raw(
    session: &Session,
    keyspace: &str,
    generation: Generation,
    rows: &[&Write],
    requests: usize,
) -> Result<(), Failure> {
    let mut statements: HashMap<(&str, bool), PreparedStatement> = HashMap::new();
    let mut bound = Vec::with_capacity(rows.len());
    for write in rows {
        let is_static = write.key.clustering.is_none();
        let statement = match statements.get(&(write.table.name, is_static)) {
            Some(statement) => statement.clone(),
            None => {
                let mut statement =
                    session.prepare(insert(keyspace, generation, write.table, is_static)).await?;
                statement.set_is_idempotent(true);
                statement.set_consistency(Consistency::LocalQuorum);
                statements.insert((write.table.name, is_static), statement.clone());
                statement
            }
        };
        let key = write.key.partition.iter().chain(write.key.clustering.iter().flatten());
        let mut values = key
            .map(|key| value(keyspace, generation, write.table, None, key))
            .collect::<Result<Vec<_>, _>>()?;
        let declared = if is_static { write.table.static_columns } else { write.table.columns };
        for (column, found) in declared.iter().zip(write.columns.iter().flatten()) {
            values.push(value(keyspace, generation, write.table, Some(column), found)?);
        }
        values.push(MaybeUnset::Set(CqlValue::BigInt(write.timestamp_us)));
        bound.push((statement, values));
    }
    let mut sent = futures::stream::iter(&bound)
        .map(|(statement, values)| session.execute_unpaged(statement, values))
        .buffer_unordered(requests);
    while let Some(sent) = sent.next().await {
        sent?;
    }
    Ok(())
}

fn insert(keyspace: &str, generation: Generation, table: &TableSchema, is_static: bool) -> String {
    let quoted = |column: &Column| format!("\"{}\"", column.name);
    let mut names: Vec<String> = table.partition_key.iter().map(quoted).collect();
    if is_static {
        names.extend(table.static_columns.iter().map(quoted));
    } else {
        names.extend(table.clustering_key.iter().chain(table.columns).map(quoted));
    }
    let marks = vec!["?"; names.len()].join(", ");
    let written = if is_static { "static_written" } else { "row_written" };
    format!(
        "INSERT INTO {keyspace}.{}_g{} ({}, {written}) VALUES ({marks}, true) USING TIMESTAMP ?",
        table.name,
        generation.0,
        names.join(", ")
    )
}

fn value(
    keyspace: &str,
    generation: Generation,
    table: &TableSchema,
    column: Option<&Column>,
    value: &Value,
) -> Result<MaybeUnset<CqlValue>, Failure> {
    if let (Value::List(items), Some(Column { name, kind: ColumnType::List(fields), .. })) = (value, column) {
        let mut list = Vec::with_capacity(items.len());
        for item in items.iter() {
            let values = item.values(fields)?;
            let named =
                fields.iter().zip(&values).map(|(field, value)| (field.name.to_owned(), plain(value)));
            list.push(CqlValue::UserDefinedType {
                keyspace: keyspace.to_owned(),
                name: format!("{}_g{}_{name}", table.name, generation.0),
                fields: named.collect(),
            });
        }
        return Ok(MaybeUnset::Set(CqlValue::List(list)));
    }
    Ok(plain(value).map_or(MaybeUnset::Unset, MaybeUnset::Set))
}

fn plain(value: &Value) -> Option<CqlValue> {
    Some(match value {
        Value::Null | Value::List(_) => return None,
        Value::Bool(value) => CqlValue::Boolean(*value),
        Value::Int(value) => CqlValue::BigInt(*value),
        Value::Text(value) => CqlValue::Text(value.to_string()),
        Value::Blob(value) => CqlValue::Blob(value.to_vec()),
        Value::Uuid(value) => CqlValue::Uuid(uuid::Uuid::from_bytes(*value)),
    })
}
