//! What cannot work says so in one line that names what to correct, at once.

use std::time::{Duration, Instant};

use tidewheel_cluster::cql::Server;
use tidewheel_native::CassandraOptions;
use tidewheel_store::suite::GENERATION;
use tidewheel_store::suite::tables::{ENTITY, part};
use tidewheel_store::{CqlStore, CqlStoreOptions, CqlTls, Secret, StateStore, StoreError, WriteSet};

use crate::admin;

/// The error of connecting, which must be one line and come before any patience could end.
async fn refusal(options: CqlStoreOptions) -> StoreError {
    let began = Instant::now();
    let error = CqlStore::connect(options).await.expect_err("a refusal");
    assert!(began.elapsed() < Duration::from_secs(60), "{error}");
    let line = error.to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(!line.contains("wrong-password"), "{line}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_told_from_what_may_pass() {
    let test = "what_cannot_work_is_told_from_what_may_pass";
    let cassandra = CassandraOptions::datacenters(&["dc1"]).authenticated().tls();
    let Some(server) = Server::start(test, cassandra).await else { return };
    let good = server.fresh_options();
    let with = |change: fn(&mut CqlStoreOptions)| {
        let mut options = good.clone();
        change(&mut options);
        options
    };

    let error = refusal(with(|options| options.password = Some(Secret::new("wrong-password")))).await;
    assert!(matches!(&error, StoreError::Credentials { user, .. } if user == "cassandra"), "{error:?}");
    let error = refusal(with(|options| (options.user, options.password) = (None, None))).await;
    assert!(matches!(&error, StoreError::Credentials { .. }), "{error:?}");
    let error = refusal(with(|options| options.datacenter = "dc9".into())).await;
    assert!(error.to_string().contains("dc9") && error.to_string().contains("dc1"), "{error}");
    assert!(matches!(error, StoreError::UnknownDatacenter { .. }), "{error:?}");
    let error = refusal(with(|options| options.create_keyspace = false)).await;
    assert!(
        matches!(&error, StoreError::NoKeyspace { create, .. } if create.contains("'dc1': 1")),
        "{error:?}"
    );
    let error = refusal(with(|options| options.contact_points = vec!["127.0.0.1:1".into()])).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let error = refusal(with(|options| options.contact_points = vec!["no.such.host.invalid".into()])).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");

    // A keyspace that other datacenters keep as well.
    let elsewhere =
        "CREATE KEYSPACE elsewhere WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}";
    admin::run(&server, &[elsewhere]).await;
    let error = refusal(with(|options| options.keyspace = "elsewhere".into())).await;
    assert!(matches!(&error, StoreError::Keyspace { alter, .. } if alter.contains("'dc1': 1")), "{error:?}");

    permissions(&server, &good).await;
    encryption(&server, &good).await;
}

/// A user who may not, until he may.
async fn permissions(server: &Server, good: &CqlStoreOptions) {
    let store = CqlStore::connect(good.clone()).await.expect("a store");
    let make = "CREATE ROLE reader WITH PASSWORD = 'read' AND LOGIN = true";
    let select = format!("GRANT SELECT ON KEYSPACE {} TO reader", good.keyspace);
    admin::run(server, &[make, &select]).await;
    let mut options = good.clone();
    (options.user, options.password) = (Some("reader".into()), Some(Secret::new("read")));
    let mut fresh = options.clone();
    fresh.keyspace = "not_made".into();
    let error = refusal(fresh).await;
    assert!(matches!(error, StoreError::NoKeyspace { .. }), "{error:?}");
    let reader = CqlStore::connect(options).await.expect("a store");
    let forbidden = |result: Result<(), StoreError>| match result {
        Err(StoreError::Forbidden { reason, grant }) => {
            assert!(grant.contains("\"reader\"") && !reason.is_empty(), "{reason} {grant}");
            assert_eq!(reason.lines().count(), 1);
        }
        other => panic!("{other:?}"),
    };
    forbidden(reader.create_tables(GENERATION, &[&ENTITY]).await);
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    let set = WriteSet { entities: vec![part(1, 0, 8, Some("a"))], ..WriteSet::default() };
    forbidden(reader.write(GENERATION, &set).await);
    assert!(reader.get(GENERATION, &ENTITY, &part(1, 0, 0, None).key).await.expect("get").is_none());
    let modify = format!("GRANT MODIFY ON KEYSPACE {} TO reader", good.keyspace);
    admin::run(server, &[&modify]).await;
    // Servers remember what they refused for some seconds.
    for _ in 0..60 {
        match reader.write(GENERATION, &set).await {
            Ok(()) => return,
            Err(StoreError::Forbidden { .. }) => tokio::time::sleep(Duration::from_millis(500)).await,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("what was granted is not permitted");
}

/// Connections that are encrypted, with and without the names of the servers being verified.
async fn encryption(server: &Server, good: &CqlStoreOptions) {
    let ca =
        server.cassandra().and_then(|cassandra| cassandra.certificate()).expect("a certificate").to_owned();
    for verify_server_name in [true, false] {
        let mut options = good.clone();
        options.tls = Some(CqlTls { ca: ca.clone(), certificate: None, key: None, verify_server_name });
        let store = CqlStore::connect(options).await.expect("an encrypted connection");
        assert!(store.get(GENERATION, &ENTITY, &part(1, 0, 0, None).key).await.expect("get").is_some());
    }
    let mut options = good.clone();
    let stranger = ca.with_file_name("stranger.pem");
    std::fs::write(&stranger, STRANGER).expect("a file");
    options.tls = Some(CqlTls { ca: stranger, certificate: None, key: None, verify_server_name: false });
    let error = refusal(options).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// A certificate of somebody else.
const STRANGER: &str = include_str!("stranger.pem");
