//! The promises of the launcher, on the real servers.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidewheel_native::{Cassandra, CassandraOptions, Kafka, KafkaOptions, available_or_skip};

/// Sends bytes and reads as many as an answer's beginning has.
fn exchange<const N: usize>(address: SocketAddr, request: &[u8]) -> [u8; N] {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = [0; N];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// Kafka's question for the versions it speaks, and the beginning of its answer.
fn answers_api_versions(address: SocketAddr) {
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let [_, _, _, _, correlation @ .., error_high, error_low] = exchange::<10>(address, &request);
    assert_eq!((correlation, error_high, error_low), ([0, 0, 0, 7], 0, 0));
}

/// CQL's question for options, and the beginning of its answer.
fn answers_options(address: SocketAddr) {
    let [version, _, _, stream, opcode] = exchange::<5>(address, &[4, 0, 0, 5, 5, 0, 0, 0, 0]);
    assert_eq!((version, stream, opcode), (0x84, 5, 6));
}

/// Whether there is such a process, dead ones that nobody waited for aside.
fn runs(process: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn modified(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn a_broker_answers_is_paused_killed_and_started_again_with_its_data_and_leaves_nothing() {
    let Some(toolchain) = available_or_skip("a Kafka broker") else { return };
    let kafka = Kafka::start(&toolchain, &KafkaOptions::default()).unwrap();
    let address = kafka.address(0).unwrap();
    assert_eq!(kafka.bootstrap(), address.to_string());
    answers_api_versions(address);

    kafka.pause(0).unwrap();
    let mut waiting = TcpStream::connect(address).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    waiting.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "a paused broker answers");
    kafka.resume(0).unwrap();
    waiting.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(waiting.read(&mut [0]).unwrap(), 1);

    let identity = kafka.folder().join("broker-1/data/meta.properties");
    let (before, identity_before) = (kafka.process_id(0).unwrap(), fs::read_to_string(&identity).unwrap());
    kafka.kill(0).unwrap();
    assert!(!runs(before) && kafka.process_id(0).is_none());
    assert!(TcpStream::connect(address).is_err());
    kafka.start_again(0).unwrap();
    answers_api_versions(address);
    assert_eq!(fs::read_to_string(&identity).unwrap(), identity_before);
    kafka.stop(0).unwrap();
    kafka.start_again(0).unwrap();
    assert!(kafka.kill(1).is_err(), "there is one broker");

    let (process, folder) = (kafka.process_id(0).unwrap(), kafka.folder().to_owned());
    drop(kafka);
    assert!(!runs(process) && !folder.exists());
}

#[test]
fn nodes_of_two_datacenters_answer_and_one_is_killed_and_started_again_with_its_data() {
    let Some(toolchain) = available_or_skip("two datacenters of Cassandra") else { return };
    let cassandra = Cassandra::start(&toolchain, &CassandraOptions::datacenters(&["alpha", "beta"])).unwrap();
    assert_eq!(cassandra.nodes_of("beta"), [1]);
    let [alpha, beta] = ["alpha", "beta"].map(|name| cassandra.contact_points(name)[0]);
    answers_options(alpha);
    answers_options(beta);

    let data = cassandra.folder().join("node-2-beta/data/data/system");
    let before = modified(&data);
    cassandra.kill(1).unwrap();
    assert!(TcpStream::connect(beta).is_err());
    answers_options(alpha);
    cassandra.start_again(1).unwrap();
    answers_options(beta);
    assert_eq!(modified(&data), before, "system tables were created anew");

    let processes = [0, 1].map(|node| cassandra.process_id(node).unwrap());
    let folder = cassandra.folder().to_owned();
    drop(cassandra);
    assert!(!processes.into_iter().any(runs) && !folder.exists());
}

#[test]
fn a_failed_start_keeps_its_log_and_leaves_no_process() {
    let Some(toolchain) = available_or_skip("a Kafka broker with a wrong setting") else { return };
    let options = KafkaOptions::default().property("num.io.threads", "many");
    let error = Kafka::start(&toolchain, &options).map(drop).unwrap_err();
    let tidewheel_native::NativeError::Ended { log, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains("num.io.threads"), "{error}");
    let logs = log.parent().unwrap();
    assert!(log.exists() && !logs.parent().unwrap().join("broker-1").exists());
    fs::remove_dir_all(logs.parent().unwrap()).unwrap();
}

#[test]
fn the_program_prints_addresses_and_its_servers_die_with_it() {
    if available_or_skip("tidewheel-native up").is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("cluster");
    let mut program = Command::new(env!("CARGO_BIN_EXE_tidewheel-native"))
        .args(["up", "--dc", "alpha", "--folder"])
        .arg(&folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    answers_api_versions(ready["kafka"]["bootstrap"].as_str().unwrap().parse().unwrap());
    answers_options(ready["cassandra"][0]["address"].as_str().unwrap().parse().unwrap());
    let processes = [&ready["kafka"]["process_ids"][0], &ready["cassandra"][0]["process_id"]]
        .map(|id| u32::try_from(id.as_u64().unwrap()).unwrap());
    assert!(processes.into_iter().all(runs));
    program.kill().unwrap();
    program.wait().unwrap();
    eventually("its servers are gone", || !processes.into_iter().any(runs));
    assert!(folder.join("kafka/broker-1/data/meta.properties").exists(), "a named folder is kept");
}
