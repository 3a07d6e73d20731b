//! `tidewheel serve`: a process of a cluster, on Kafka and a database, with the sample workflows.

use tidewheel::config::{Config, ConfigError};
use tidewheel::{Node, telemetry};

use crate::args::ServeArguments;
use crate::failure::Failure;
use crate::sample;

/// Serves until SIGTERM or ctrl-c.
pub async fn run(arguments: ServeArguments) -> Result<(), Failure> {
    let config = Config::load(arguments.sources())?;
    if !config.is_cluster() {
        return Err(Failure::from(ConfigError::Invalid {
            source_name: "configuration".to_owned(),
            key: "datacenters".to_owned(),
            what: "none named; a cluster needs at least one, a single machine is served by `tidewheel dev`"
                .to_owned(),
        }));
    }
    telemetry::start_logging(&config)?;
    sample::register(Node::builder().config(config))
        .serve()
        .await
        .map_err(|error| Failure::Failed(error.to_string()))
}
