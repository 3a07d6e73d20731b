//! From the configuration to the way between datacenters: who the others are, and where namespaces have their home.

use std::sync::{Arc, OnceLock};

use tidewheel_engine::config::ConfigSnapshot;
use tidewheel_ingest::datacenters::{Datacenters, Elsewhere};
use tidewheel_ingest::forward::{ForwardLimits, Forwarder};
use tidewheel_schemas::Name;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::NodeError;
use crate::config::{Config, ConfigError};

/// The created namespaces, which tell their homes, once somebody follows the configuration.
pub(super) type Created = Arc<OnceLock<watch::Receiver<Arc<ConfigSnapshot>>>>;

/// The way to the datacenters of the configuration, and to `neighbours`, which a program names itself.
pub(super) fn forwarder(
    config: &Config,
    neighbours: Vec<Elsewhere>,
    created: Created,
    stopping: CancellationToken,
) -> Result<Forwarder, NodeError> {
    let mut others = neighbours;
    for (name, datacenter) in &config.datacenters {
        if *name == config.datacenter {
            continue;
        }
        // The configuration was checked: every other datacenter has one.
        let url = datacenter.url.clone().unwrap_or_default();
        others.push(Elsewhere { name: name.clone(), label: datacenter.label, url });
    }
    for (namespace, home) in &config.namespace_homes {
        if *home != config.datacenter && !others.iter().any(|other| other.name == *home) {
            return Err(NodeError::Config(ConfigError::Invalid {
                source_name: "configuration".to_owned(),
                key: format!("namespace_homes.{namespace}"),
                what: format!("`{home}` is none of the datacenters"),
            }));
        }
    }
    let limits = ForwardLimits::among(others.len());
    let homes = config.namespace_homes.clone();
    let datacenters = Datacenters {
        name: config.datacenter.clone(),
        label: config.label(),
        takes_any_label: !config.is_cluster(),
        others,
        homes: Arc::new(move |namespace: &Name| {
            let home_of_created = || {
                let snapshot = created.get()?.borrow();
                snapshot.namespaces.get(namespace).map(|namespace| namespace.home.clone())
            };
            home_of_created().or_else(|| homes.get(namespace).cloned())
        }),
    };
    Ok(Forwarder::new(datacenters, limits, stopping)?)
}
