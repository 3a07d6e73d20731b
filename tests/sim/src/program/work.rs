//! What a step does: it tells the world outside that it began, takes its time, fails as planned, and returns a result
//! that names it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidewheel_schemas::Entity;
use tidewheel_schemas::partition::partition_for;
use tidewheel_sdk::{StepCall, StepError, StepResult};

use super::Work;
use crate::fault::Fault;
use crate::ledger::Execution;
use crate::port::Port;

/// A step's result.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// Number of the execution in the ledger.
    pub execution: usize,
    /// As large as the program says.
    pub text: String,
}

pub(super) async fn run(port: Arc<Port>, work: Work, call: StepCall) -> StepResult<Done> {
    let world = Arc::clone(&port.world);
    let partition = partition_for(&Entity::Run(call.run_id).routing_key(), world.partitions);
    // The moment of the launch, before anything may delay it.
    let log_end = world.bounds(partition).await.end;
    let execution = world.ledger.begin(Execution {
        run_id: call.run_id,
        location: call.location.clone(),
        attempt: call.attempt,
        log_end,
        done: false,
    });
    world.trace.note(port.who, "step", &[i64::from(partition), i64::from(call.attempt), execution as i64]);
    port.access().await;
    let late = work.timeout_ms.is_some_and(|timeout_ms| timeout_ms <= work.work_ms);
    if late && call.attempt <= work.fails {
        world.faults.add(Fault::StepTimedOut);
    }
    if !late || call.attempt <= work.fails {
        tokio::time::sleep(Duration::from_millis(work.work_ms)).await;
    }
    port.access().await;
    if call.attempt <= work.fails {
        if work.panics {
            world.faults.add(Fault::StepPanicked);
            panic!("planned: a step panics");
        }
        world.faults.add(Fault::StepFailed);
        return Err(StepError::new("planned", "this attempt fails"));
    }
    world.ledger.done(execution);
    Ok(Done { execution, text: "r".repeat(work.bytes) })
}
