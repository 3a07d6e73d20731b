//! Keyspace, tables, permissions and clock of the database.

use std::time::Duration;

use scylla::client::session_builder::SessionBuilder;
use tidewheel::check::{Finding, Level};
use tidewheel::config::Config;
use tidewheel::node::GENERATION;
use tidewheel_cluster::kafka;
use tidewheel_engine::Verdict;
use tidewheel_native::{Cassandra, CassandraOptions, SUPERUSER, SUPERUSER_PASSWORD, available_or_skip};
use tidewheel_projector::views::TABLES;
use tidewheel_runtime::{ConfigOptions, Configuration, SharedClock, SystemClock};
use tidewheel_schemas::event::{ReplayScope, ReplayStarted};
use tidewheel_schemas::{Author, Entity, Envelope, EventId, TopicFamily};
use tidewheel_store::cql::{CqlStore, CqlStoreOptions, Secret};
use tidewheel_store::{StateStore as _, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{all, config, look, says};

const TABLES_SUBJECT: &str = "tables of generation 1";
const PERMISSIONS: &str = "permissions of user";

async fn start(test: &'static str) -> Option<Cassandra> {
    let start = move || {
        let toolchain = available_or_skip(test)?;
        let options = CassandraOptions::datacenters(&["dc1"]).authenticated();
        Some(Cassandra::start(&toolchain, &options).expect("a Cassandra that starts"))
    };
    tokio::task::spawn_blocking(start).await.expect("the start of a server")
}

async fn run(point: &str, statements: &[&str]) {
    let builder = SessionBuilder::new().known_node(point).user(SUPERUSER, SUPERUSER_PASSWORD);
    let session = builder.build().await.expect("a session");
    for statement in statements {
        session.query_unpaged(*statement, &[]).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// Has the configuration's log say that another generation of the views is filled.
async fn another_generation(config: &Config) {
    let opening = config.clone();
    let opened = tokio::task::spawn_blocking(move || tidewheel::wire::open_log(&opening));
    let (shutdown, clock) = (CancellationToken::new(), SystemClock::shared());
    let configuration = Configuration::start(ConfigOptions {
        log: opened.await.expect("an attempt").expect("a log").log,
        topic: TopicFamily::ConfigChanges.topic(&config.prefix, &config.datacenter),
        process: "operator".into(),
        clock: SharedClock::clone(&clock),
        shutdown: shutdown.clone(),
    });
    configuration.complete().await;
    let started = ReplayStarted {
        replay: 1,
        kind: "rebuild".to_owned(),
        generation: 2,
        scope: ReplayScope::default(),
        ends: vec![0; 3],
        records_per_second: None,
        activates: false,
    };
    let envelope = Envelope {
        event_id: EventId::random(clock.random_16()),
        entity: Entity::Views(config.datacenter.clone()),
        namespace: None,
        recorded_at_us: clock.now_us(),
        cause: None,
        traceparent: None,
        author: Author::Ingest { principal: "operator".into() },
    };
    let changed = configuration.change(envelope, started.into(), Duration::from_secs(30)).await;
    let judged = changed.expect("an append").judged.expect("a verdict");
    assert_eq!(judged.verdict, Verdict::Accepted);
    shutdown.cancel();
}

/// What was found on the database.
async fn found(config: &Config) -> Vec<Finding> {
    let mut findings = look(config).await;
    findings.retain(|finding| {
        !["brokers", "topic", "group"].iter().any(|word| finding.subject.starts_with(word))
    });
    findings
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_lacks_is_told_and_nothing_is_made() {
    // Brokers that answer at once; they are not the subject here.
    let Some(brokers) = kafka::shared("brokers beside a database").await else { return };
    let Some(cassandra) = start("what the database lacks").await else { return };
    let point = cassandra.contact_points("dc1")[0].to_string();
    let folder = tempfile::tempdir().unwrap();
    let with_user = |user: &str, password: &str| {
        let file = folder.path().join(user);
        std::fs::write(&file, password).unwrap();
        let mut config = config("database", brokers.bootstrap(), vec![point.clone()], "dc1");
        config.database.user = Some(user.to_owned());
        config.database.password = Some(format!("file:{}", file.display()));
        config
    };
    let superuser = with_user(SUPERUSER, SUPERUSER_PASSWORD);

    let findings = found(&superuser).await;
    says(
        &findings,
        "keyspace database_alpha",
        Level::Warning,
        &["not there yet", "CREATE KEYSPACE", "'dc1': 1"],
    );
    says(&findings, TABLES_SUBJECT, Level::Warning, &["runs_g1", "the first process creates them"]);
    says(&findings, PERMISSIONS, Level::Ok, &["everything"]);
    says(&findings, "clock of the database", Level::Ok, &[]);
    let mut options = CqlStoreOptions::new([point.clone()], "dc1", "database_alpha");
    options.replication_factor = 1;
    (options.user, options.password) = (Some(SUPERUSER.into()), Some(Secret::new(SUPERUSER_PASSWORD)));
    options.create_keyspace = false;
    let made = CqlStore::connect(options.clone()).await;
    assert!(matches!(made, Err(StoreError::NoKeyspace { .. })), "the keyspace was created");

    options.create_keyspace = true;
    let store = CqlStore::connect(options).await.expect("a store");
    store.create_tables(GENERATION, TABLES).await.expect("tables");
    let findings = found(&superuser).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{}", all(&findings));
    assert!(findings.len() >= 5, "{}", all(&findings));

    run(
        &point,
        &[
            "CREATE ROLE reader WITH PASSWORD = 'read' AND LOGIN = true",
            "GRANT SELECT ON KEYSPACE database_alpha TO reader",
            "CREATE ROLE stranger WITH PASSWORD = 'nothing' AND LOGIN = true",
        ],
    )
    .await;
    let reader = with_user("reader", "read");
    let findings = found(&reader).await;
    says(
        &findings,
        PERMISSIONS,
        Level::Error,
        &["lacks MODIFY", "GRANT MODIFY ON KEYSPACE database_alpha TO \"reader\";"],
    );
    says(&findings, TABLES_SUBJECT, Level::Ok, &[]);
    let findings = found(&with_user("stranger", "nothing")).await;
    says(&findings, PERMISSIONS, Level::Error, &["lacks SELECT, MODIFY"]);
    says(&findings, "table runs_g1", Level::Error, &["permit"]);

    run(&point, &["GRANT MODIFY ON KEYSPACE database_alpha TO reader"]).await;
    says(&found(&reader).await, PERMISSIONS, Level::Ok, &["MODIFY, SELECT"]);
    let first = TABLES.iter().find(|table| table.name == "parked").expect("a table").columns[0].name;
    run(
        &point,
        &[
            "DROP TABLE database_alpha.outbox_g1",
            &format!("ALTER TABLE database_alpha.parked_g1 DROP \"{first}\""),
        ],
    )
    .await;
    let findings = found(&reader).await;
    says(&findings, TABLES_SUBJECT, Level::Error, &["outbox_g1", "may not create them", "CREATE"]);
    says(&findings, "table parked_g1", Level::Error, &[first, "ALTER"]);
    says(
        &found(&superuser).await,
        "table parked_g1",
        Level::Warning,
        &[first, "the first process appends them"],
    );

    another_generation(&superuser).await;
    let findings = found(&superuser).await;
    says(&findings, "tables of generation 2", Level::Warning, &["runs_g2", "the first process creates them"]);

    let mut elsewhere = superuser.clone();
    elsewhere.datacenters.values_mut().for_each(|own| own.keyspace = Some("elsewhere".into()));
    run(
        &point,
        &["CREATE KEYSPACE elsewhere WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"],
    )
    .await;
    says(&found(&elsewhere).await, "keyspace elsewhere", Level::Error, &["ALTER KEYSPACE", "'dc1': 1"]);
    let mut wider = superuser.clone();
    wider.database.replication_factor = 3;
    says(
        &found(&wider).await,
        "keyspace database_alpha",
        Level::Warning,
        &["configured are 3", "ALTER KEYSPACE"],
    );

    let mut misnamed = superuser.clone();
    misnamed.datacenters.values_mut().for_each(|own| own.database_datacenter = Some("dc9".into()));
    says(&found(&misnamed).await, "database", Level::Error, &["dc9", "dc1"]);
    let findings = found(&with_user(SUPERUSER, "wrong-word")).await;
    says(&findings, "database", Level::Error, &["refuses user"]);
    assert!(!all(&findings).contains("wrong-word"));
}
