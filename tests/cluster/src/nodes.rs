//! Processes of a cluster under test: their servers, their configuration, and what can be done to them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tidewheel::config::{Config, Sources};
use tidewheel::wire::{cql_options, kafka_options};
use tidewheel_log::{KafkaLog, SharedLog};
use tidewheel_native::{Cassandra, CassandraOptions, Kafka, KafkaOptions, available_or_skip};
use tidewheel_schemas::{Topic, TopicFamily};
use tidewheel_store::{CqlStore, SharedStore};
use tokio::process::{Child, Command};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// Partitions of every topic here.
pub const PARTITIONS: u32 = 4;

/// What a process is told that is to know the next fold version, as a build of the next release would.
pub const NEXT_FOLD: &str = "next-fold";

static SHARED: OnceLock<Option<Servers>> = OnceLock::new();

/// Kafka and a Cassandra with the datacenters `alpha` and `beta`.
pub struct Servers {
    /// The brokers.
    pub kafka: Kafka,
    /// The database.
    pub cassandra: Cassandra,
}

impl Servers {
    /// The servers that the tests of this binary share; none, after a line that says why, where there can be none.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn shared(test: &'static str) -> Option<&'static Self> {
        let cassandra = || CassandraOptions::datacenters(&["alpha", "beta"]);
        let start =
            move || SHARED.get_or_init(|| Self::start(test, &KafkaOptions::default(), cassandra())).as_ref();
        tokio::task::spawn_blocking(start).await.expect("the start of servers")
    }

    /// Servers of a test's own.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn own(test: &'static str, kafka: KafkaOptions) -> Option<Self> {
        Self::own_with(test, kafka, CassandraOptions::datacenters(&["alpha", "beta"])).await
    }

    /// One broker more, apart from the others.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn another_kafka(test: &'static str) -> Kafka {
        let start = move || {
            let toolchain = available_or_skip(test).expect("what the other servers needed");
            Kafka::start(&toolchain, &KafkaOptions::default()).expect("Kafka")
        };
        tokio::task::spawn_blocking(start).await.expect("the start of a broker")
    }

    /// Servers of a test's own, both as it wants them. The database has the datacenters `alpha` and `beta` at least.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn own_with(
        test: &'static str,
        kafka: KafkaOptions,
        cassandra: CassandraOptions,
    ) -> Option<Self> {
        let start = move || Self::start(test, &kafka, cassandra);
        tokio::task::spawn_blocking(start).await.expect("the start of servers")
    }

    fn start(test: &str, options: &KafkaOptions, cassandra: CassandraOptions) -> Option<Self> {
        let toolchain = available_or_skip(test)?;
        // As Cassandra does it by default, a killed node may forget what it acknowledged within the last ten seconds; other
        // replicas have it then. Here there is one.
        let cassandra = cassandra.setting("commitlog_disk_access_mode", "mmap");
        std::thread::scope(|scope| {
            let kafka = scope.spawn(|| Kafka::start(&toolchain, options).expect("Kafka"));
            let cassandra = Cassandra::start(&toolchain, &cassandra).expect("Cassandra");
            Some(Self { kafka: kafka.join().expect("Kafka"), cassandra })
        })
    }
}

/// One cluster of Tidewheel on some servers: its topics and keyspaces are its own.
pub struct Cluster {
    folder: TempDir,
    prefix: String,
    replicas: usize,
    datacenters: Vec<Datacenter>,
}

/// A datacenter of a cluster. Its place in the list is its label, from one on.
struct Datacenter {
    name: &'static str,
    /// Where its keyspace is, in the database's words.
    database: &'static str,
    contact_points: Vec<SocketAddr>,
    brokers: String,
    /// Where other datacenters reach it.
    port: u16,
}

/// A process of a cluster. Killed when dropped.
pub struct Process {
    child: Child,
    id: u32,
    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub address: String,
    /// Its log lines.
    pub log: PathBuf,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Where a process is to listen. A port of its own is chosen beforehand: it listens before it is ready, and says where
/// only then.
fn listen_on(listen: &str) -> String {
    if listen.ends_with(":0") { format!("127.0.0.1:{}", free_port()) } else { listen.to_owned() }
}

impl Cluster {
    /// A cluster whose names begin with `prefix`, which no other test on these servers uses.
    ///
    /// # Panics
    /// When there is no temporary folder.
    pub fn new(servers: &Servers, prefix: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut cluster = Self {
            folder,
            prefix: prefix.to_owned(),
            replicas: servers.kafka.brokers().min(3),
            datacenters: Vec::new(),
        };
        cluster.add(servers, "alpha", "alpha");
        cluster.add(servers, "beta", "beta");
        cluster
    }

    /// Adds a datacenter to the configuration of every process that is started from now on. Its keyspace is its own,
    /// in the datacenter `database` of the database.
    pub fn add(&mut self, servers: &Servers, name: &'static str, database: &'static str) {
        let contact_points = servers.cassandra.contact_points(database);
        let brokers = servers.kafka.bootstrap().to_owned();
        self.datacenters.push(Datacenter { name, database, contact_points, brokers, port: free_port() });
    }

    /// The same cluster, with other brokers for a datacenter.
    #[must_use]
    pub fn with_brokers(mut self, datacenter: &str, brokers: &str) -> Self {
        for known in &mut self.datacenters {
            if known.name == datacenter {
                brokers.clone_into(&mut known.brokers);
            }
        }
        self
    }

    /// Writes the configuration of a process and returns its file. `more` is put before the tables. Nobody is asked for a
    /// token unless it says otherwise.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn configure(&self, name: &str, datacenter: &str, more: &str) -> PathBuf {
        let tokens = if more.contains("tokens_required") { "" } else { "tokens_required = false" };
        let mut text = format!(
            "{tokens}\nprefix = '{}'\ndatacenter = '{datacenter}'\nconfig_datacenter = 'alpha'\npartitions = {PARTITIONS}\n\
             log_filter = 'warn,tidewheel=info'\n{more}\n\
             [kafka]\nreplication_factor = {}\n{}\n[database]\nreplication_factor = 1\n",
            self.prefix,
            self.replicas,
            if self.replicas < 3 { "allow = ['allow-single-replica']" } else { "" },
        );
        for (label, place) in (1..).zip(&self.datacenters) {
            let Datacenter { name, database, contact_points, brokers, port } = place;
            let addresses: Vec<_> = contact_points.iter().map(|address| format!("'{address}'")).collect();
            text.push_str(&format!(
                "[datacenters.{name}]\nlabel = {label}\nbrokers = '{brokers}'\ndatabase = [{}]\n\
                 database_datacenter = '{database}'\nurl = 'http://127.0.0.1:{port}'\n",
                addresses.join(", "),
            ));
        }
        let file = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, text).expect("a configuration file");
        file
    }

    /// The address that other datacenters know for one.
    ///
    /// # Panics
    /// When there is no such datacenter.
    pub fn address_of(&self, datacenter: &str) -> String {
        let found = self.datacenters.iter().find(|found| found.name == datacenter);
        format!("127.0.0.1:{}", found.expect("a datacenter").port)
    }

    /// Starts a process and waits until it takes requests.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start(&self, program: &str, name: &str, datacenter: &str, more: &str) -> Process {
        let process = self.launch(program, name, datacenter, more, "127.0.0.1:0");
        process.until_ready().await;
        process
    }

    /// Starts a process on an address, without waiting for anything but that it listens there.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn launch(&self, program: &str, name: &str, datacenter: &str, more: &str, listen: &str) -> Process {
        Process::launch(program, &self.configure(name, datacenter, more), listen, &[])
    }

    /// As [`Self::launch`], a process that knows the next fold version.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn launch_next(
        &self,
        program: &str,
        name: &str,
        datacenter: &str,
        more: &str,
        listen: &str,
    ) -> Process {
        Process::launch(program, &self.configure(name, datacenter, more), listen, &[NEXT_FOLD])
    }

    /// Starts `tidewheel serve` of a built `program` and waits until it takes requests.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn serve(&self, program: &Path, name: &str, datacenter: &str, more: &str) -> Process {
        let file = self.configure(name, datacenter, &format!("node = '{name}'\n{more}"));
        let listen = listen_on("127.0.0.1:0");
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&file).args(["--listen", &listen]);
        let process = Process::spawn(command, &file, &listen);
        process.until_ready().await;
        process
    }

    /// The configuration of a datacenter's processes.
    ///
    /// # Panics
    /// When it is none.
    pub fn config(&self, datacenter: &str) -> Config {
        let file = self.configure(&format!("test-{datacenter}"), datacenter, "");
        Config::load(Sources { file: Some(file), ..Sources::default() }).expect("a configuration")
    }

    /// The keyspace of a datacenter's views.
    ///
    /// # Panics
    /// When the configuration is refused.
    pub fn keyspace(&self, datacenter: &str) -> String {
        cql_options(&self.config(datacenter)).expect("options").keyspace
    }

    /// The topic of a datacenter's workflow events.
    pub fn topic(&self, datacenter: &str) -> Topic {
        let config = self.config(datacenter);
        TopicFamily::WorkflowEvents.topic(&config.prefix, &config.datacenter)
    }

    /// The log of a datacenter, as one more process has it.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn log(&self, datacenter: &str) -> SharedLog {
        Arc::new(KafkaLog::open(kafka_options(&self.config(datacenter)).expect("options")).expect("a log"))
    }

    /// The store of a datacenter, as one more process has it.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn store(&self, datacenter: &str) -> SharedStore {
        let options = cql_options(&self.config(datacenter)).expect("options");
        Arc::new(CqlStore::connect(options).await.expect("a store"))
    }
}

impl Process {
    /// Starts a process with a configuration file, in that file's folder, where its log lines go too. Waits for nothing.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn launch(program: &str, file: &Path, listen: &str, more: &[&str]) -> Self {
        let listen = listen_on(listen);
        let mut command = Command::new(program);
        command.args([file.as_os_str(), listen.as_ref()]).args(more);
        Self::spawn(command, file, &listen)
    }

    fn spawn(mut command: Command, file: &Path, listen: &str) -> Self {
        let log = file.with_extension("log");
        let stderr = std::fs::File::options().create(true).append(true).open(&log).expect("a log file");
        let child = command
            .current_dir(file.parent().expect("a folder"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let id = child.id().expect("a process that runs");
        Self { child, id, address: format!("http://{listen}"), log }
    }

    /// Waits until it takes requests.
    ///
    /// # Panics
    /// When it ends or does not get there.
    pub async fn until_ready(&self) {
        let url = format!("{}/health/ready", self.address);
        let began = std::time::Instant::now();
        loop {
            if let Ok(answer) = reqwest::get(&url).await
                && answer.status().is_success()
            {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "not ready: {}", self.last_lines());
            assert!(Path::new(&format!("/proc/{}", self.id)).exists(), "it ended: {}", self.last_lines());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its process id.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Memory it has in use, bytes.
    ///
    /// # Panics
    /// When it is gone.
    pub fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id)).expect("a process that runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("memory in use");
        let kibibytes = line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number");
        kibibytes * 1_024
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.id).expect("a process id")).expect("a process id");
        kill_process(pid, signal).expect("a process that runs");
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub async fn kill(mut self) {
        self.child.start_kill().expect("a process that runs");
        self.child.wait().await.expect("its end");
    }

    /// SIGTERM; it must end by itself and without an error.
    ///
    /// # Panics
    /// When it does not.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        let ended = self.end().await;
        assert!(ended.success(), "{ended}: {}", self.last_lines());
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// When it does not.
    pub async fn end(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("its end")
    }
}
