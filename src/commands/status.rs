//! `tidewheel status`: who leads each partition and how far the views are behind, as one process or all of a cluster
//! tell it. What follows from several answers is in `merge`.

mod merge;

use futures::future::join_all;
use tidewheel::config::{Config, Sources};

use self::merge::{Answer, Status};
use crate::args::{AccessArguments, StatusArguments};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::print;

const SERVER: &str = "http://127.0.0.1:7400";

/// Asks everybody once and prints what they say together.
pub async fn run(arguments: &StatusArguments) -> Result<(), Failure> {
    let servers = servers(arguments)?;
    let asked = join_all(servers.iter().map(|server| ask(server, &arguments.access))).await;
    // Alone, a server that does not answer is the outcome; among others, it is one of the things to show.
    let asked = match <[_; 1]>::try_from(asked) {
        Ok([only]) => vec![Ok(only?)],
        Err(several) => several,
    };
    let answers = servers.into_iter().zip(asked).map(|(server, outcome)| Answer {
        server,
        outcome: outcome.map_err(|failure: Failure| failure.to_string()),
    });
    let status = Status::of(answers.collect());
    if arguments.json {
        print(&serde_json::to_string(&status).map_err(|error| Failure::Failed(error.to_string()))?)?;
    } else {
        print(&status.text())?;
    }
    if arguments.check && !status.marks.is_empty() {
        return Err(Failure::Failed(format!("{} marked: {}", status.marks.len(), status.marks.join("; "))));
    }
    Ok(())
}

async fn ask(server: &str, access: &AccessArguments) -> Result<merge::Said, Failure> {
    let answer = Client::of(server, access)?.get("/v1/status", &[]).await?;
    serde_json::from_str(&answer.text)
        .map_err(|error| Failure::Failed(format!("{server} answers with no status: {error}")))
}

/// Whom to ask: those named and those of a configuration, or the one that there probably is.
fn servers(arguments: &StatusArguments) -> Result<Vec<String>, Failure> {
    let mut servers = arguments.servers.clone();
    if let Some(file) = &arguments.config {
        let config = Config::load(Sources { file: Some(file.clone()), ..Sources::of_process() })?;
        for server in of_config(&config) {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
    }
    Ok(if servers.is_empty() { vec![SERVER.to_owned()] } else { servers })
}

fn of_config(config: &Config) -> Vec<String> {
    let own = format!("http://{}", config.listen);
    if config.datacenters.is_empty() {
        return vec![own];
    }
    config
        .datacenters
        .values()
        // Only one's own datacenter may lack a URL.
        .map(|datacenter| datacenter.url.clone().unwrap_or_else(|| own.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use tidewheel::config::Datacenter;

    use super::*;

    #[test]
    fn a_configuration_tells_whom_to_ask() {
        let mut config = Config::default();
        assert_eq!(of_config(&config), ["http://127.0.0.1:7400"]);
        let datacenter = |url: Option<&str>| Datacenter {
            label: 1,
            brokers: "one:9092".into(),
            database: vec!["one".into()],
            database_datacenter: None,
            keyspace: None,
            url: url.map(str::to_owned),
        };
        let name = |text| tidewheel_schemas::Name::new(text).unwrap();
        config.datacenters.insert(name("alpha"), datacenter(None));
        config.datacenters.insert(name("beta"), datacenter(Some("http://beta:7400")));
        assert_eq!(of_config(&config), ["http://127.0.0.1:7400", "http://beta:7400"]);
    }
}
