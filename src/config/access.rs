//! Whether access tokens are needed, and what follows for the address that is listened on.

use super::{Config, ConfigError};

impl Config {
    /// Whether every request needs an access token: as the setting says, else in a cluster.
    pub fn requires_tokens(&self) -> bool {
        self.tokens_required.unwrap_or_else(|| self.is_cluster())
    }

    /// Without tokens nobody but this machine may reach the API.
    pub(super) fn check_access(&self) -> Result<(), ConfigError> {
        if self.listen.ip().is_loopback() || self.requires_tokens() {
            Ok(())
        } else {
            Err(ConfigError::NotLoopback(self.listen))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_other_machines_reach_needs_tokens() {
        for listen in ["0.0.0.0:7400", "192.168.0.7:7400", "[::]:7400"] {
            let listen = listen.parse().expect(listen);
            let open = Config { listen, ..Config::default() };
            assert_eq!(open.check(), Err(ConfigError::NotLoopback(listen)));
            let waived = Config { tokens_required: Some(false), ..open.clone() };
            assert_eq!(waived.check(), Err(ConfigError::NotLoopback(listen)));
            assert_eq!(Config { tokens_required: Some(true), ..open }.check(), Ok(()));
        }
    }

    #[test]
    fn a_cluster_needs_tokens_unless_it_is_told_otherwise_and_one_machine_does_not() {
        let alone = Config::default();
        let name = tidewheel_schemas::Name::new("local").expect("a name");
        let datacenter = super::super::Datacenter {
            label: 0,
            brokers: "b:9092".to_owned(),
            database: vec!["d:9042".to_owned()],
            database_datacenter: None,
            keyspace: None,
            url: None,
        };
        let cluster = Config { datacenters: [(name, datacenter)].into(), ..Config::default() };
        assert!(!alone.requires_tokens() && cluster.requires_tokens());
        assert!(!Config { tokens_required: Some(false), ..cluster }.requires_tokens());
        assert!(Config { tokens_required: Some(true), ..alone }.requires_tokens());
    }
}
