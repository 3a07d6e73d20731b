//! What W1 is held against: the same request parsed, the same record encoded and appended with the same settings, an
//! answer of the same size. Nothing follows the log, nothing is judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::post;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidewheel_cluster::nodes::{Cluster, PARTITIONS};
use tidewheel_log::SharedLog;
use tidewheel_log::suite::fresh_topic;
use tidewheel_schemas::codec::encode;
use tidewheel_schemas::event::RunStarted;
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Name, Payload, RunId, Topic, TopicPartition,
};

use crate::Failure;

#[derive(Deserialize)]
struct Start<'a> {
    workflow: String,
    #[serde(borrow)]
    input: &'a RawValue,
}

struct Shell {
    log: SharedLog,
    topic: Topic,
}

/// Serves in this process; returns the address.
pub(crate) async fn start(cluster: &Cluster) -> Result<String, Failure> {
    let (log, topic) = (cluster.log("alpha"), fresh_topic());
    log.create_topic(&topic, PARTITIONS).await?;
    let shell = Arc::new(Shell { log, topic });
    let router = Router::new().route("/v1/namespaces/default/runs", post(produce)).with_state(shell);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn produce(
    State(shell): State<Arc<Shell>>,
    body: Bytes,
) -> Result<(StatusCode, [(header::HeaderName, &'static str); 1], String), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let start: Start<'_> = serde_json::from_slice(&body).map_err(|error| said(&error))?;
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(|error| said(&error))?;
    let random = uuid::Uuid::new_v4().into_bytes();
    let unix_ms = u64::try_from(now.as_millis()).map_err(|error| said(&error))?;
    let run_id = RunId::fresh(1, unix_ms, std::array::from_fn(|index| random[index]));
    let event: Event = RunStarted {
        workflow: Name::new(&start.workflow).map_err(|error| said(&error))?,
        key: None,
        input: Payload::json(body.slice_ref(start.input.get().as_bytes())),
        tags: BTreeMap::new(),
    }
    .into();
    let envelope = Envelope {
        event_id: EventId::random(random),
        entity: Entity::Run(run_id),
        namespace: Some(Name::new("default").map_err(|error| said(&error))?),
        recorded_at_us: i64::try_from(now.as_micros()).map_err(|error| said(&error))?,
        cause: None,
        traceparent: None,
        author: Author::Ingest { principal: "shell".into() },
    };
    let record = encode(&envelope, &event).map_err(|error| said(&error))?;
    let partition = partition_for(&record.key, PARTITIONS);
    let to = TopicPartition::new(shell.topic.clone(), partition);
    let offset = shell.log.append(&to, vec![record]).await.map_err(|error| said(&error))?.first();
    let answer = format!(
        "{{\"run_id\":\"{run_id}\",\"workflow\":\"{}\",\"status\":\"running\",\"position\":\"1.{partition}.{offset}\"}}",
        start.workflow
    );
    Ok((StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], answer))
}
