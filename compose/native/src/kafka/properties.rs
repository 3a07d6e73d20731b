//! A broker's `server.properties`: small, on loopback, with the defaults of a real cluster wherever size is no matter.

use std::path::Path;

use super::{KafkaOptions, Listeners};
use crate::certificate::{Certificate, PASSWORD};

pub(super) struct Properties<'a> {
    pub(super) options: &'a KafkaOptions,
    /// Of this broker, from 0.
    pub(super) index: usize,
    /// Of every broker.
    pub(super) listeners: &'a [Listeners],
    pub(super) data: &'a Path,
    pub(super) certificate: Option<&'a Certificate>,
}

impl Properties<'_> {
    pub(super) fn text(&self) -> String {
        let own = self.listeners[self.index];
        let mut addresses = vec![("PLAINTEXT", own.plain)];
        if !self.options.users.is_empty() {
            addresses.push(("SASL", own.sasl));
        }
        if self.certificate.is_some() {
            addresses.push(("TLS", own.tls));
        }
        let advertised = listener_list(&addresses);
        addresses.push(("CONTROLLER", own.controller));
        let voters = self.listeners.iter().enumerate();
        let voters: Vec<_> =
            voters.map(|(index, other)| format!("{}@{}", index + 1, other.controller)).collect();
        let replicas = self.listeners.len().min(3);
        let mut lines = Lines::default();
        lines.add("process.roles", "broker,controller");
        lines.add("node.id", &(self.index + 1).to_string());
        lines.add("controller.quorum.voters", &voters.join(","));
        lines.add("listeners", &listener_list(&addresses));
        lines.add("advertised.listeners", &advertised);
        lines.add(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL",
        );
        lines.add("controller.listener.names", "CONTROLLER");
        lines.add("inter.broker.listener.name", "PLAINTEXT");
        lines.add("log.dirs", &self.data.display().to_string());
        lines.add("auto.create.topics.enable", "false");
        lines.add("group.initial.rebalance.delay.ms", "0");
        for internal in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
            lines.add(&format!("{internal}.replication.factor"), &replicas.to_string());
            lines.add(&format!("{internal}.num.partitions"), "4");
        }
        for internal in ["transaction.state.log", "share.coordinator.state.topic"] {
            lines.add(&format!("{internal}.min.isr"), &(replicas / 2 + 1).to_string());
        }
        lines.add("num.io.threads", "4");
        lines.add("num.network.threads", "2");
        lines.add("log.cleaner.dedupe.buffer.size", "16777216");
        self.add_users(&mut lines);
        if let Some(certificate) = self.certificate {
            lines.add("listener.name.tls.ssl.keystore.type", "PKCS12");
            lines
                .add("listener.name.tls.ssl.keystore.location", &certificate.key_store.display().to_string());
            lines.add("listener.name.tls.ssl.keystore.password", PASSWORD);
        }
        if self.options.rules {
            lines.add("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");
            lines.add("super.users", "User:ANONYMOUS");
        }
        for (key, value) in &self.options.properties {
            lines.add(key, value);
        }
        lines.0
    }

    fn add_users(&self, lines: &mut Lines) {
        if self.options.users.is_empty() {
            return;
        }
        let users = self.options.users.iter();
        let users: String = users
            .map(|(name, password)| format!(" \"user_{}\"=\"{}\"", quoted(name), quoted(password)))
            .collect();
        lines.add("listener.name.sasl.sasl.enabled.mechanisms", "PLAIN");
        lines.add(
            "listener.name.sasl.plain.sasl.jaas.config",
            &format!("org.apache.kafka.common.security.plain.PlainLoginModule required{users};"),
        );
    }
}

/// What the tool that formats a folder wants to know; it keeps none of it but the features of its version.
pub(super) fn for_formatting(data: &Path) -> String {
    let mut lines = Lines::default();
    for (key, value) in [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.voters", "1@127.0.0.1:9093"),
        ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", &data.display().to_string()),
    ] {
        lines.add(key, value);
    }
    lines.0
}

/// Lines of a Java properties file, where the last one of a key wins.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, key: &str, value: &str) {
        let value = value.replace('\\', "\\\\").replace('\n', "\\n");
        self.0 += &format!("{key}={value}\n");
    }
}

fn listener_list(addresses: &[(&str, std::net::SocketAddr)]) -> String {
    addresses.iter().map(|(name, address)| format!("{name}://{address}")).collect::<Vec<_>>().join(",")
}

/// For a quoted string of a login module's configuration.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Network;
    use crate::folder::Folder;

    #[test]
    fn listeners_exist_as_asked_for_and_extra_lines_come_last() {
        let folder = Folder::open(None).unwrap();
        let network = Network::of_folder(&folder, "network", &[]).unwrap();
        let listeners: Vec<_> = (0..3).map(|broker| Listeners::of(network, broker)).collect();
        let options = KafkaOptions::default().brokers(3).property("num.io.threads", "9");
        let text = |options: &KafkaOptions| {
            Properties { options, index: 1, listeners: &listeners, data: Path::new("/d"), certificate: None }
                .text()
        };
        let plain = text(&options);
        assert!(plain.contains("node.id=2\n") && plain.ends_with("num.io.threads=9\n"), "{plain}");
        assert!(
            !plain.contains("SASL://") && plain.contains("offsets.topic.replication.factor=3"),
            "{plain}"
        );
        let users = text(&options.user("ann", "p\"w\\"));
        assert!(users.contains("SASL://") && users.contains(r#""user_ann"="p\\"w\\\\";"#), "{users}");
    }
}
