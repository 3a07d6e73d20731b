//! How to reach the database, and what is asked of it. Secrets show in no text made of these.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::StoreError;

/// The port of CQL.
const PORT: u16 = 9042;
/// Most characters of a keyspace's or a table's name.
pub(super) const NAME_CHARACTERS_MAX: usize = 48;

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

/// How connections are encrypted. Files are PEM and read when the store connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CqlTls {
    /// The certificates of the authorities that sign the servers' certificates.
    pub ca: PathBuf,
    /// This client's certificate and the chain behind it, for servers that ask for one.
    pub certificate: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
    /// Whether a server's certificate must name the address it is reached at. Without this any server whose
    /// certificate one of the authorities signed is believed to be the database.
    pub verify_server_name: bool,
}

/// Options of a [`CqlStore`](super::CqlStore).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CqlStoreOptions {
    /// Some nodes of the database, `host` or `host:port` (9042); the others are learned from them.
    pub contact_points: Vec<String>,
    /// The datacenter whose nodes are used, as the database calls it; no other is ever asked.
    pub datacenter: String,
    /// The keyspace of this datacenter's views: lower-case letters, digits and `_`.
    pub keyspace: String,
    /// How many nodes of the datacenter keep each row.
    pub replication_factor: u16,
    /// Whether a keyspace that is missing is created, rather than refused.
    pub create_keyspace: bool,
    /// The user; none for a database that asks for none.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Encryption; none for plain connections.
    pub tls: Option<CqlTls>,
    /// Most requests on their way at once.
    pub requests_max: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long one attempt of a request may take.
    pub request_timeout: Duration,
    /// How long a request is attempted again before the store is said to be unavailable.
    pub retry_for: Duration,
}

impl CqlStoreOptions {
    /// Options with everything else as usual: three replicas, 256 requests at once, attempts of 5 s for 10 s.
    pub fn new(
        contact_points: impl IntoIterator<Item = impl Into<String>>,
        datacenter: impl Into<String>,
        keyspace: impl Into<String>,
    ) -> Self {
        Self {
            contact_points: contact_points.into_iter().map(Into::into).collect(),
            datacenter: datacenter.into(),
            keyspace: keyspace.into(),
            replication_factor: 3,
            create_keyspace: true,
            user: None,
            password: None,
            tls: None,
            requests_max: 256,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(5),
            retry_for: Duration::from_secs(10),
        }
    }

    /// Whether the options can be used at all, without asking anybody.
    ///
    /// # Errors
    /// [`StoreError::Setting`] with the setting that cannot.
    pub fn check(&self) -> Result<(), StoreError> {
        let refuse = |setting, what: &str| Err(StoreError::Setting { setting, what: what.to_owned() });
        if self.contact_points.is_empty() || self.contact_points.iter().any(|point| point.trim().is_empty()) {
            return refuse(
                "contact_points",
                "at least one `host` or `host:port` is needed, and none is empty",
            );
        }
        if self.datacenter.is_empty() || self.datacenter.contains(['\'', '\n']) {
            return refuse("datacenter", "it is empty or has a quote in it");
        }
        if !is_name(&self.keyspace) {
            return refuse(
                "keyspace",
                "up to 48 lower-case letters, digits and `_` are allowed, a letter first",
            );
        }
        if self.replication_factor == 0 {
            return refuse("replication_factor", "at least 1 is needed");
        }
        if self.requests_max == 0 {
            return refuse("requests_max", "at least 1 is needed");
        }
        if self.user.is_some() != self.password.is_some() {
            return refuse("user", "user and password are given together or not at all");
        }
        if self.tls.as_ref().is_some_and(|tls| tls.certificate.is_some() != tls.key.is_some()) {
            return refuse("tls", "a client's certificate and its key are given together or not at all");
        }
        Ok(())
    }

    /// The contact points, each with a port.
    pub(super) fn nodes(&self) -> Vec<String> {
        let with_port = |point: &String| {
            let point = point.trim();
            // An IPv6 address without brackets has colons and no port.
            let has_port = point.rsplit_once(':').is_some_and(|(host, port)| {
                port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
            });
            if has_port {
                point.to_owned()
            } else if point.contains(':') && !point.starts_with('[') {
                format!("[{point}]:{PORT}")
            } else {
                format!("{point}:{PORT}")
            }
        };
        self.contact_points.iter().map(with_port).collect()
    }
}

/// Whether a text can be the name of a keyspace or table without quotes.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= NAME_CHARACTERS_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_show_nowhere() {
        let mut options = CqlStoreOptions::new(["localhost"], "dc1", "views");
        options.password = Some(Secret::new("hunter2"));
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(!format!("{:?}", options.check()).contains("hunter2"));
    }

    #[test]
    fn options_that_cannot_be_used_name_the_setting() {
        let good = CqlStoreOptions::new(["localhost"], "dc1", "views");
        assert!(good.check().is_ok());
        let none: [&str; 0] = [];
        let bad = [
            ("contact_points", CqlStoreOptions::new(none, "dc1", "views")),
            ("datacenter", CqlStoreOptions::new(["a"], "", "views")),
            ("datacenter", CqlStoreOptions::new(["a"], "d'c", "views")),
            ("keyspace", CqlStoreOptions::new(["a"], "dc1", "Views; DROP")),
            ("keyspace", CqlStoreOptions::new(["a"], "dc1", "v".repeat(49))),
            ("replication_factor", CqlStoreOptions { replication_factor: 0, ..good.clone() }),
            ("requests_max", CqlStoreOptions { requests_max: 0, ..good.clone() }),
            ("user", CqlStoreOptions { user: Some("u".into()), ..good }),
        ];
        for (expected, options) in bad {
            let refused = options.check();
            assert!(
                matches!(&refused, Err(StoreError::Setting { setting, .. }) if *setting == expected),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn contact_points_get_the_port_they_lack() {
        let options =
            CqlStoreOptions::new(["a", "a:1", "10.0.0.1", "::1", "[::1]:7", "[::1]"], "dc1", "views");
        assert_eq!(
            options.nodes(),
            ["a:9042", "a:1", "10.0.0.1:9042", "[::1]:9042", "[::1]:7", "[::1]:9042"]
        );
    }
}
