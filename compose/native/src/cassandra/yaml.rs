//! A node's settings and its Java's flags: small, on loopback, quick to start.

use std::net::Ipv4Addr;
use std::path::Path;

use super::{CQL_PORT, CassandraOptions, STORAGE_PORT};
use crate::certificate::{Certificate, PASSWORD};

pub(super) struct Settings<'a> {
    pub(super) options: &'a CassandraOptions,
    /// Of this node, from 0.
    pub(super) index: usize,
    /// Of every node.
    pub(super) addresses: &'a [Ipv4Addr],
    pub(super) home: &'a Path,
    pub(super) certificate: Option<&'a Certificate>,
}

impl Settings<'_> {
    /// Names and contents.
    pub(super) fn files(&self) -> [(&'static str, String); 3] {
        let datacenter = &self.options.nodes[self.index];
        [
            ("cassandra.yaml", self.yaml()),
            ("cassandra-rackdc.properties", format!("dc={datacenter}\nrack=rack1\n")),
            ("logback.xml", LOGBACK.to_owned()),
        ]
    }

    fn yaml(&self) -> String {
        let own = self.addresses[self.index];
        // Whoever is a seed does not wait for others to stream from, so that all nodes start at the same time.
        let seeds: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let data = self.home.join("data");
        let folder = |name: &str| quoted(&data.join(name).display().to_string());
        let mut lines: Vec<(String, String)> = Vec::new();
        let mut add = |key: &str, value: &str| {
            lines.retain(|(other, _)| other != key);
            lines.push((key.to_owned(), value.to_owned()));
        };
        add("cluster_name", "tidewheel");
        add("num_tokens", "1");
        add("initial_token", &quoted(&token(self.index, self.addresses.len()).to_string()));
        add("partitioner", "org.apache.cassandra.dht.Murmur3Partitioner");
        add("endpoint_snitch", "GossipingPropertyFileSnitch");
        add("dynamic_snitch", "false");
        add(
            "seed_provider",
            &format!(
                "[{{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{{seeds: {}}}]}}]",
                quoted(&seeds.join(","))
            ),
        );
        add("listen_address", &own.to_string());
        add("rpc_address", &own.to_string());
        add("storage_port", &STORAGE_PORT.to_string());
        add("native_transport_port", &CQL_PORT.to_string());
        add("data_file_directories", &format!("[{}]", folder("data")));
        for name in ["commitlog", "hints", "saved_caches", "cdc_raw"] {
            add(&format!("{name}_directory"), &folder(name));
        }
        for (key, value) in SMALL {
            add(key, value);
        }
        if self.options.authenticated {
            add("authenticator", "PasswordAuthenticator");
            add("authorizer", "CassandraAuthorizer");
            add("role_manager", "CassandraRoleManager");
            // Every node has every role, so that a login needs no other node.
            add("auth_read_consistency_level", "ONE");
        }
        if let Some(certificate) = self.certificate {
            let store = quoted(&certificate.key_store.display().to_string());
            add(
                "client_encryption_options",
                &format!(
                    "{{enabled: true, optional: true, store_type: PKCS12, keystore: {store}, \
                     keystore_password: {PASSWORD}}}"
                ),
            );
        }
        for (key, value) in &self.options.settings {
            add(key, value);
        }
        lines.into_iter().map(|(key, value)| format!("{key}: {value}\n")).collect()
    }
}

const SMALL: &[(&str, &str)] = &[
    ("commitlog_sync", "periodic"),
    ("commitlog_sync_period", "10000ms"),
    ("commitlog_segment_size", "16MiB"),
    ("commitlog_total_space", "256MiB"),
    ("memtable_heap_space", "96MiB"),
    ("memtable_offheap_space", "96MiB"),
    ("memtable_flush_writers", "1"),
    ("concurrent_compactors", "1"),
    ("concurrent_reads", "16"),
    ("concurrent_writes", "16"),
    ("key_cache_size", "8MiB"),
    ("counter_cache_size", "0MiB"),
    ("file_cache_size", "32MiB"),
    ("networking_cache_size", "16MiB"),
    ("auto_snapshot", "false"),
    ("cdc_enabled", "false"),
];

/// Nodes own equal parts of the ring.
fn token(index: usize, count: usize) -> i64 {
    let step = u64::MAX / count.max(1) as u64;
    i64::MIN.wrapping_add_unsigned(step.wrapping_mul(index as u64)).max(i64::MIN + 1)
}

/// A YAML string in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

const LOGBACK: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{yyyy-MM-dd HH:mm:ss.SSS} %-5level [%thread] %logger{0} - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"#;

/// Flags beyond those of every server. Cassandra opens Java's internals; the list is of its own start script.
pub(super) fn flags(home: &Path, nodes: u8) -> Vec<String> {
    let mut flags = vec![
        format!("-Dcassandra.config=file://{}", home.join("cassandra.yaml").display()),
        format!(
            "-Dcassandra-rackdc.properties=file://{}",
            home.join("cassandra-rackdc.properties").display()
        ),
        format!("-Dcassandra.storagedir={}", home.join("data").display()),
        format!("-Dlogback.configurationFile={}", home.join("logback.xml").display()),
        format!("-Dcassandra.system_auth.default_rf={nodes}"),
        "-XX:MaxDirectMemorySize=256M".to_owned(),
    ];
    flags.extend(FLAGS.iter().map(|flag| (*flag).to_owned()));
    flags.extend(
        EXPORTS.iter().flat_map(|module| ["--add-exports".to_owned(), format!("{module}=ALL-UNNAMED")]),
    );
    flags.extend(OPENS.iter().flat_map(|module| ["--add-opens".to_owned(), format!("{module}=ALL-UNNAMED")]));
    flags
}

const FLAGS: &[&str] = &[
    "-Dcassandra-foreground=yes",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=1000",
    "-Dcassandra.superuser_setup_delay_ms=0",
    // Measuring it takes three seconds; this is what was measured.
    "-Dcassandra.memtable.row_overhead_size=181",
    "-Djdk.attach.allowAttachSelf=true",
    "-Djna.nosys=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
];

const EXPORTS: &[&str] = &[
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
];

const OPENS: &[&str] = &[
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.ref",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_tokens_of_their_own_and_a_setting_replaces_the_one_that_is_there() {
        let tokens: Vec<_> = (0..3).map(|index| token(index, 3)).collect();
        assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
        let options =
            CassandraOptions::datacenters(&["alpha"]).node("beta").setting("key_cache_size", "1MiB");
        let addresses = [1, 2].map(|number| Ipv4Addr::new(127, 9, 9, number));
        let home = Path::new("/it's");
        let settings =
            Settings { options: &options, index: 1, addresses: &addresses, home, certificate: None };
        let [(_, yaml), (_, rack), _] = settings.files();
        assert_eq!(yaml.matches("key_cache_size: ").count(), 1);
        assert!(yaml.contains("key_cache_size: 1MiB\n") && yaml.contains("['/it''s/data/data']"), "{yaml}");
        assert_eq!(rack, "dc=beta\nrack=rack1\n");
    }
}
