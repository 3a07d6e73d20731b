//! `tidewheel dev`: a node with the sample workflows on this machine.

use tidewheel::Node;
use tidewheel::config::Config;
use tidewheel::telemetry;

use crate::args::ConfigArguments;
use crate::failure::Failure;
use crate::sample;

/// Serves until SIGTERM or ctrl-c.
pub async fn run(arguments: ConfigArguments) -> Result<(), Failure> {
    let config = Config::load(arguments.sources())?;
    telemetry::start_logging(&config)?;
    Node::builder()
        .config(config)
        .workflow("order", sample::order)
        .workflow("steps", sample::steps)
        .workflow("wait", sample::wait)
        .workflow("sleep", sample::sleep)
        .workflow("count", sample::count)
        .serve()
        .await
        .map_err(|error| Failure::Failed(error.to_string()))
}
