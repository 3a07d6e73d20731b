//! `tidewheel dev`: a node with the sample workflows on this machine.

use tidewheel::Node;
use tidewheel::config::{Config, ConfigError};
use tidewheel::telemetry;

use crate::args::ConfigArguments;
use crate::failure::Failure;
use crate::sample;

/// Serves until SIGTERM or ctrl-c.
pub async fn run(arguments: ConfigArguments) -> Result<(), Failure> {
    let config = Config::load(arguments.sources())?;
    telemetry::start_logging(&config)?;
    if config.is_cluster() {
        return Err(Failure::from(ConfigError::Invalid {
            source_name: "configuration".to_owned(),
            key: "datacenters".to_owned(),
            what: "this configuration is of a cluster; `tidewheel serve` serves it".to_owned(),
        }));
    }
    sample::register(Node::builder().config(config))
        .serve()
        .await
        .map_err(|error| Failure::Failed(error.to_string()))
}
