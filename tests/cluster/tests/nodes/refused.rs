//! Servers that refuse: one line says which of them, and what to correct, and the process ends.

use std::path::{Path, PathBuf};

use scylla::client::session_builder::SessionBuilder;
use tidewheel_cluster::nodes::{PATIENCE, Process, Servers};
use tidewheel_native::{CassandraOptions, KafkaOptions, SUPERUSER, SUPERUSER_PASSWORD};

use crate::NODE;

/// What a process is told, right unless a test changes it.
#[derive(Clone)]
struct Told<'a> {
    brokers: &'a str,
    kafka_user: &'a str,
    kafka_password: &'a str,
    mechanism: &'a str,
    database: &'a str,
    datacenter: &'a str,
    keyspace: &'a str,
    user: &'a str,
    password: &'a str,
}

impl Told<'_> {
    fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let secret = |what: &str, text: &str| {
            let file = folder.join(format!("{name}.{what}"));
            std::fs::write(&file, text).expect("a secret's file");
            file.display().to_string()
        };
        let Self { brokers, kafka_user, mechanism, database, datacenter, keyspace, user, .. } = self;
        let kafka_password = secret("kafka", self.kafka_password);
        let password = secret("database", self.password);
        let text = format!(
            "tokens_required = false\nprefix = 'refused'\ndatacenter = 'alpha'\npartitions = 1\nlog_filter = 'warn,tidewheel=info'\n\
             [kafka]\nreplication_factor = 1\nallow = ['allow-single-replica']\nuser = '{kafka_user}'\n\
             password = 'file:{kafka_password}'\nmechanism = '{mechanism}'\n\
             [database]\nreplication_factor = 1\nuser = '{user}'\npassword = 'file:{password}'\n\
             [datacenters.alpha]\nlabel = 1\nbrokers = '{brokers}'\ndatabase = ['{database}']\n\
             database_datacenter = '{datacenter}'\nkeyspace = '{keyspace}'\n"
        );
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, text).expect("a configuration file");
        file
    }

    /// Starts a process that must end by itself, with one line that holds each of these words.
    async fn refused(&self, folder: &Path, name: &str, words: &[&str]) {
        let file = self.write(folder, name);
        let ended = tokio::process::Command::new(NODE)
            .args([file.as_os_str(), "127.0.0.1:0".as_ref()])
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").expect("its output");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{name}: {said}");
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(said.ends_with(&format!("{}\n", errors.join("\n"))), "{name}: more after the error: {said}");
        let [error] = errors[..] else { panic!("{name}: not one line: {said}") };
        eprintln!("{name}: {error}");
        for word in words {
            assert!(error.contains(word), "{name}: `{word}` is not in: {error}");
        }
        assert!(!said.contains("wrong-word"), "{name}: a secret is told: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_ends_the_process_with_one_line_that_says_which_and_why() {
    let test = "a_server_that_refuses_ends_the_process_with_one_line_that_says_which_and_why";
    let kafka = KafkaOptions::default()
        .user("tide", "right-word")
        .user("stranger", "right-word")
        .access_rules()
        .property("super.users", "User:ANONYMOUS;User:tide");
    let cassandra = CassandraOptions::datacenters(&["alpha"]).authenticated();
    let Some(servers) = Servers::own_with(test, kafka, cassandra).await else { return };
    let database = servers.cassandra.contact_points("alpha")[0].to_string();
    let brokers = servers.kafka.sasl_bootstrap();
    let right = Told {
        brokers: &brokers,
        kafka_user: "tide",
        kafka_password: "right-word",
        mechanism: "plain",
        database: &database,
        datacenter: "alpha",
        keyspace: "refused",
        user: SUPERUSER,
        password: SUPERUSER_PASSWORD,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    // What is changed below is the only thing that is wrong.
    let process = Process::launch(NODE, &right.write(folder, "right"), "127.0.0.1:0", &[]);
    process.until_ready().await;
    process.stop().await;

    let told = Told { kafka_password: "wrong-word", ..right.clone() };
    told.refused(folder, "kafka-password", &["Kafka", &brokers, "password"]).await;
    let told = Told { mechanism: "scram-sha-512", ..right.clone() };
    told.refused(folder, "kafka-mechanism", &["Kafka", &brokers, "mechanism"]).await;
    let told = Told { kafka_user: "stranger", ..right.clone() };
    told.refused(folder, "kafka-permissions", &["Kafka", "permission"]).await;
    let told = Told { password: "wrong-word", ..right.clone() };
    told.refused(folder, "database-password", &["database", SUPERUSER, "password"]).await;
    let told = Told { datacenter: "gamma", ..right.clone() };
    told.refused(folder, "database-datacenter", &["database", "gamma", "alpha"]).await;

    let session = SessionBuilder::new().known_node(&database).user(SUPERUSER, SUPERUSER_PASSWORD);
    let session = session.build().await.expect("a session");
    let role = "CREATE ROLE stranger WITH PASSWORD = 'right-word' AND LOGIN = true";
    session.query_unpaged(role, ()).await.expect("a role");
    let stranger = Told { user: "stranger", password: "right-word", ..right.clone() };
    stranger.refused(folder, "database-permissions", &["GRANT", "stranger"]).await;
    let told = Told { keyspace: "not_there", ..stranger };
    told.refused(folder, "database-keyspace", &["CREATE KEYSPACE", "not_there"]).await;
}
