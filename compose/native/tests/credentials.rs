//! Clusters with users, TLS and access rules, asked in the bytes of their protocols.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidewheel_native::{
    Cassandra, CassandraOptions, Kafka, KafkaOptions, SUPERUSER, SUPERUSER_PASSWORD, available_or_skip,
};

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// The beginning of a TLS 1.2 conversation in which the server shows its certificate unencrypted; true if it is this.
fn shows_certificate(address: SocketAddr, pem: &Path) -> bool {
    let text = std::fs::read_to_string(pem).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('-'));
    let certificate = STANDARD.decode(lines.collect::<String>()).unwrap();
    let mut hello = vec![1, 0, 0, 0, 3, 3];
    hello.extend([7; 32]);
    // No session, ECDHE-ECDSA with AES-128-GCM, no compression; P-256, its points uncompressed, ECDSA with SHA-256.
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 22]);
    hello.extend([0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3]);
    hello[3] = u8::try_from(hello.len() - 4).unwrap();
    let mut stream = connect(address);
    stream.write_all(&[&[22, 3, 1, 0, u8::try_from(hello.len()).unwrap()], &hello[..]].concat()).unwrap();
    let mut answer: Vec<u8> = Vec::new();
    let mut part = [0; 4096];
    // An alert or the end of the connection is a refusal.
    while !answer.windows(certificate.len()).any(|window| *window == certificate) {
        match stream.read(&mut part).unwrap() {
            0 => return false,
            read => answer.extend(&part[..read]),
        }
        if answer[0] != 22 {
            return false;
        }
    }
    true
}

/// One request of Kafka's protocol; what follows the number that correlates its answer.
fn ask_kafka(stream: &mut TcpStream, api: u8, version: u8, body: &[u8]) -> Vec<u8> {
    let request = [&[0, api, 0, version, 0, 0, 0, 1, 0xff, 0xff], body].concat();
    stream.write_all(&[&u32::try_from(request.len()).unwrap().to_be_bytes(), &request[..]].concat()).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer.split_off(4)
}

/// Kafka's error code, 0 for none.
fn log_in_to_kafka(address: SocketAddr, user: &str, password: &str) -> u8 {
    let mut stream = connect(address);
    assert_eq!(ask_kafka(&mut stream, 17, 1, b"\0\x05PLAIN")[..2], [0, 0]);
    let token = format!("\0{user}\0{password}");
    let body = [&u32::try_from(token.len()).unwrap().to_be_bytes(), token.as_bytes()].concat();
    ask_kafka(&mut stream, 36, 0, &body)[1]
}

#[test]
fn three_brokers_with_users_tls_and_rules_know_each_other_and_outlive_one() {
    const BAD_CREDENTIALS: u8 = 58;
    let Some(toolchain) = available_or_skip("three Kafka brokers with users and TLS") else { return };
    let options = KafkaOptions::default()
        .brokers(3)
        .user("ann", "pass\"word")
        .user("bob", "other")
        .tls()
        .access_rules()
        .property("min.insync.replicas", "2");
    let kafka = Kafka::start(&toolchain, &options).unwrap();
    assert_eq!(kafka.bootstrap().split(',').count(), 3);
    let sasl: Vec<SocketAddr> = kafka.sasl_bootstrap().split(',').map(|one| one.parse().unwrap()).collect();
    assert_eq!(log_in_to_kafka(sasl[0], "ann", "pass\"word"), 0);
    assert_eq!(log_in_to_kafka(sasl[2], "bob", "other"), 0);
    assert_eq!(log_in_to_kafka(sasl[1], "bob", "wrong"), BAD_CREDENTIALS);
    for address in kafka.tls_bootstrap().split(',') {
        assert!(shows_certificate(address.parse().unwrap(), kafka.certificate().unwrap()), "{address}");
    }
    assert!(!shows_certificate(kafka.address(0).unwrap(), kafka.certificate().unwrap()));

    kafka.kill(1).unwrap();
    kafka.stop(0).unwrap_or_else(|error| panic!("{error}"));
    // Two of three are gone; the quorum is back with the first that returns.
    kafka.start_again(1).unwrap();
    kafka.start_again(0).unwrap();
    assert_eq!(log_in_to_kafka(sasl[1], "ann", "pass\"word"), 0);
}

/// The kind of the answer to a CQL frame.
fn ask_cql(stream: &mut TcpStream, opcode: u8, body: &[u8]) -> u8 {
    let header = [&[4, 0, 0, 0, opcode], &u32::try_from(body.len()).unwrap().to_be_bytes()[..]].concat();
    stream.write_all(&[&header, body].concat()).unwrap();
    let mut header = [0; 9];
    stream.read_exact(&mut header).unwrap();
    let [_, _, _, _, kind, length @ ..] = header;
    stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize]).unwrap();
    kind
}

#[test]
fn nodes_with_authentication_and_tls_let_in_who_has_the_password() {
    const AUTHENTICATE: u8 = 3;
    const AUTH_SUCCESS: u8 = 16;
    const ERROR: u8 = 0;
    let Some(toolchain) = available_or_skip("Cassandra with authentication and TLS") else { return };
    let options = CassandraOptions::datacenters(&["alpha"]).authenticated().tls();
    let cassandra = Cassandra::start(&toolchain, &options).unwrap();
    let address = cassandra.address(0).unwrap();
    for (password, expected) in [(SUPERUSER_PASSWORD, AUTH_SUCCESS), ("wrong", ERROR)] {
        let mut stream = connect(address);
        assert_eq!(ask_cql(&mut stream, 1, b"\0\x01\0\x0bCQL_VERSION\0\x053.0.0"), AUTHENTICATE);
        let token = format!("\0{SUPERUSER}\0{password}");
        let body = [&u32::try_from(token.len()).unwrap().to_be_bytes(), token.as_bytes()].concat();
        assert_eq!(ask_cql(&mut stream, 15, &body), expected, "{password}");
    }
    assert!(shows_certificate(address, cassandra.certificate().unwrap()));
}
