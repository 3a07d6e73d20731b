//! A process of a cluster under test: `tidewheel serve` with the workflows of these tests.

use std::time::Duration;

use tidewheel::config::{Config, Layer, Sources};
use tidewheel::{Context, Node, StepResult, WorkflowResult};
use tidewheel_cluster::nodes::NEXT_FOLD;

/// Steps that take a while each: `[count, milliseconds]`. Returns one word a step.
async fn steps(context: Context, (count, step_ms): (u32, u64)) -> WorkflowResult<Vec<String>> {
    let mut words = Vec::new();
    for number in 0..count {
        let word = context
            .step("work", move || async move {
                tokio::time::sleep(Duration::from_millis(step_ms)).await;
                StepResult::Ok(format!("step {number}"))
            })
            .await?;
        words.push(word);
    }
    Ok(words)
}

/// Waits for one signal `go` and returns its payload.
async fn wait(context: Context, _input: ()) -> WorkflowResult<Option<String>> {
    context.signal::<String>("go").await.map(Some)
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(listen), more) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("usage: tidewheel-cluster-node FILE ADDRESS [{NEXT_FOLD}]");
        return std::process::ExitCode::from(2);
    };
    if more.is_some_and(|word| word == NEXT_FOLD) {
        tidewheel_schemas::testing::next_fold::know();
    }
    let flags = Layer::new("the command line").with("listen", Some(listen));
    let sources = Sources { file: Some(file.into()), flags, ..Sources::default() };
    let served = async {
        let config = Config::load(sources).map_err(|error| error.to_string())?;
        tidewheel::telemetry::start_logging(&config).map_err(|error| error.to_string())?;
        let node = Node::builder().config(config).workflow("steps", steps).workflow("wait", wait);
        node.serve().await.map_err(|error| error.to_string())
    };
    match served.await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
