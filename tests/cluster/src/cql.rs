//! The CQL server of a test: the one `TIDEWHEEL_CQL` names (`host:port` or `user:password@host:port`), or a Cassandra
//! started on loopback and shared by the tests that run at the same time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tidewheel_native::{Cassandra, CassandraOptions, SUPERUSER, SUPERUSER_PASSWORD, available_or_skip};
use tidewheel_store::{CqlStore, CqlStoreOptions, Secret, StoreError};
use tokio::sync::Mutex;

/// Names the server to use.
pub const VARIABLE: &str = "TIDEWHEEL_CQL";

/// A server to keep rows in.
pub struct Server {
    contact_points: Vec<String>,
    datacenter: String,
    credentials: Option<(String, String)>,
    /// Held until the last test is done with it.
    started: Option<Cassandra>,
}

static KEYSPACES: AtomicU32 = AtomicU32::new(0);
static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());

impl Server {
    /// The server named in the environment, or one that tests share; none, after a line that says why, where neither
    /// is possible.
    ///
    /// # Panics
    /// When the server does not start, or must and cannot.
    pub async fn shared(test: &str) -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let named = std::env::var(VARIABLE).ok().filter(|named| !named.is_empty());
        let server = match named {
            Some(named) => Self::named(&named).await,
            None => Self::start(test, CassandraOptions::datacenters(&["dc1"]).authenticated()).await?,
        };
        let server = Arc::new(server);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// A server of one's own with authentication, to be treated badly; none, after a line that says why, where none
    /// can be started. The store knows its first datacenter.
    ///
    /// # Panics
    /// When the server does not start, or must and cannot.
    pub async fn start(test: &str, options: CassandraOptions) -> Option<Self> {
        let toolchain = available_or_skip(test)?;
        let started = tokio::task::spawn_blocking(move || Cassandra::start(&toolchain, &options)).await;
        let started = started.expect("a thread").expect("a Cassandra that starts");
        let datacenter = started.datacenter(0).expect("a first node").to_owned();
        let points = started.contact_points(&datacenter);
        Some(Self {
            contact_points: points.iter().map(ToString::to_string).collect(),
            datacenter,
            credentials: Some((SUPERUSER.to_owned(), SUPERUSER_PASSWORD.to_owned())),
            started: Some(started),
        })
    }

    /// The servers behind it, where they were started for it.
    pub const fn cassandra(&self) -> Option<&Cassandra> {
        self.started.as_ref()
    }

    async fn named(named: &str) -> Self {
        let (credentials, address) = match named.rsplit_once('@') {
            Some((credentials, address)) => {
                let (user, password) = credentials.split_once(':').expect("user:password@host:port");
                (Some((user.to_owned(), password.to_owned())), address)
            }
            None => (None, named),
        };
        let contact_points = vec![address.to_owned()];
        let datacenter = "(unknown)".to_owned();
        let mut server = Self { contact_points, datacenter, credentials, started: None };
        // The error names the datacenters there are.
        match CqlStore::connect(server.options("unused")).await {
            Err(StoreError::UnknownDatacenter { found, .. }) => {
                server.datacenter = found.split(", ").next().unwrap_or_default().to_owned();
            }
            other => panic!("{named} did not tell its datacenter: {other:?}"),
        }
        server
    }

    /// Where it is reached.
    pub fn contact_points(&self) -> &[String] {
        &self.contact_points
    }

    /// The user who may do all, and the password; none where nobody is asked for one.
    pub fn superuser(&self) -> Option<(&str, &str)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// Options for a keyspace of this server, with one replica.
    pub fn options(&self, keyspace: &str) -> CqlStoreOptions {
        let mut options =
            CqlStoreOptions::new(self.contact_points.clone(), self.datacenter.clone(), keyspace);
        options.replication_factor = 1;
        // Machines that test are busy; what is promised is the outcome, not the time.
        options.retry_for = Duration::from_secs(60);
        if let Some((user, password)) = &self.credentials {
            options.user = Some(user.clone());
            options.password = Some(Secret::new(password.clone()));
        }
        options
    }

    /// Options for a keyspace that no other test uses.
    pub fn fresh_options(&self) -> CqlStoreOptions {
        let number = KEYSPACES.fetch_add(1, Ordering::Relaxed);
        self.options(&format!("test_{}_{number}", std::process::id()))
    }

    /// A store in a keyspace of its own.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn store(&self) -> CqlStore {
        CqlStore::connect(self.fresh_options()).await.expect("a store")
    }
}
