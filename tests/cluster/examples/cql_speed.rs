//! Measures the CQL store on the rows of a made-up log: plain inserts of the same rows with the same statements, the
//! store's writes, and a projector that catches up.
//!
//! `cargo run --release -p tidewheel-cluster --example cql_speed -- [runs] [requests at once]`

#[allow(dead_code)]
#[path = "../../../projector/tests/views/world.rs"]
mod world;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, MaybeUnset};
use tidewheel_cluster::cql::Server;
use tidewheel_engine::Control;
use tidewheel_native::CassandraOptions;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_projector::views::TABLES;
use tidewheel_projector::{Projector, ProjectorOptions, Views};
use tidewheel_schemas::event::{RunCompleted, StepCompleted};
use tidewheel_schemas::{Location, Payload, RunId};
use tidewheel_store::{Column, CqlStore, Generation, StateStore, TableSchema, Value, Write, WriteSet};

use crate::world::{World, name};

type Failure = Box<dyn std::error::Error>;

const RECORDS_OF_RUN: usize = 5;
const CHUNK_RECORDS: usize = 4_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let runs = arguments.next().transpose()?.unwrap_or(4_000);
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
    let log = log(runs);
    println!("{} records of {runs} runs, {requests} requests at once", log.transitions.len());
    for generation in 1..=9 {
        store.create_tables(Generation(generation), TABLES).await?;
    }
    let session = session(&server).await?;
    // Alternating, the first round to warm up: what is measured first finds a server whose code is not compiled yet.
    for round in 0..3_u32 {
        let of = |part: u32| Generation(1 + 3 * round + part);
        let sets = sets(&log);
        let rows: Vec<&Write> =
            sets.iter().flat_map(WriteSet::iter).filter(|row| row.columns.is_some()).collect();
        let began = Instant::now();
        raw(&session, &keyspace, of(0), &rows, requests).await?;
        let plain = report(round, "plain inserts", rows.len(), began.elapsed());
        let began = Instant::now();
        let count: usize = sets.iter().map(|set| set.iter().count()).sum();
        for set in &sets {
            store.write(of(1), set).await?;
        }
        let written = report(round, "the store's writes", count, began.elapsed());
        let began = Instant::now();
        let shared: Arc<dyn StateStore> = store.clone();
        project(shared, of(2), &log).await?;
        let projected = report(round, "a projector catching up", count, began.elapsed());
        println!(
            "{round}: of plain inserts, per row: store {:.0} %, projector {:.0} %; {:.2} rows a record; {:.0} records/s",
            100.0 * written / plain,
            100.0 * projected / plain,
            count as f64 / log.transitions.len() as f64,
            projected * log.transitions.len() as f64 / count as f64,
        );
    }
    Ok(())
}

fn report(round: u32, what: &str, rows: usize, took: Duration) -> f64 {
    let rate = rows as f64 / took.as_secs_f64();
    println!("{round}: {what}: {rows} rows in {:.2} s, {rate:.0} rows/s", took.as_secs_f64());
    rate
}

/// Runs of three steps, interleaved as those of many clients are.
fn log(runs: usize) -> World {
    let mut world = World::new();
    for first in (0..runs).step_by(64) {
        let ids: Vec<RunId> = (first..runs.min(first + 64))
            .map(|number| RunId::fresh(1, number as u64, (number as u64).to_be_bytes()))
            .collect();
        for (place, id) in ids.iter().enumerate() {
            world.start(*id, "order", &[], 1_000_000 * (first + place) as i64);
        }
        for step in 1..=3 {
            for id in &ids {
                let event = StepCompleted {
                    location: Location::top(step),
                    name: name("charge"),
                    attempt: 1,
                    output: Payload::json("{\"charged\":4200,\"currency\":\"EUR\"}"),
                };
                world.engine(*id, 1, true, event.into());
            }
        }
        for id in &ids {
            world.engine(*id, 1, true, RunCompleted { output: Payload::json("{\"ok\":true}") }.into());
        }
    }
    debug_assert_eq!(world.transitions.len(), 2 + runs * RECORDS_OF_RUN);
    world
}

fn sets(log: &World) -> Vec<WriteSet> {
    let (mut live, mut control, mut sets) = (Live::default(), Control::new(0), Vec::new());
    for (place, transitions) in log.transitions.chunks(CHUNK_RECORDS).enumerate() {
        let mut chunk = Chunk::new(control);
        chunk.add(transitions, &log.controls[place * CHUNK_RECORDS + transitions.len() - 1], &live);
        let finished = chunk.finish(&mut live, false);
        control = finished.checkpoint.control.clone();
        sets.push(finished.writes);
    }
    sets
}

async fn project(store: Arc<dyn StateStore>, generation: Generation, log: &World) -> Result<(), Failure> {
    let options =
        ProjectorOptions { atomic: false, records_max: CHUNK_RECORDS, ..ProjectorOptions::default() };
    let projector = Projector::start(Views::new(store, generation), 1, options).await?;
    for (place, transitions) in log.transitions.chunks(500).enumerate() {
        let last = place * 500 + transitions.len() - 1;
        projector.submit(0, transitions.to_vec(), &log.controls[last]).await?;
    }
    projector.close().await;
    Ok(())
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
        let mut values: Vec<_> = key.chain(write.columns.iter().flatten()).map(value).collect();
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

fn value(value: &Value) -> MaybeUnset<CqlValue> {
    MaybeUnset::Set(match value {
        Value::Null => return MaybeUnset::Unset,
        Value::Bool(value) => CqlValue::Boolean(*value),
        Value::Int(value) => CqlValue::BigInt(*value),
        Value::Text(value) => CqlValue::Text(value.to_string()),
        Value::Blob(value) => CqlValue::Blob(value.to_vec()),
        Value::Uuid(value) => CqlValue::Uuid(uuid::Uuid::from_bytes(*value)),
        Value::List(_) => panic!("the tables measured here have no lists"),
    })
}
