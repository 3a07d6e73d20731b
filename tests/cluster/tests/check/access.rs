//! Permissions given to a user of the brokers, as an administrator's tool asks for it: Kafka's `CreateAcls`, version 1.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const CREATE_ACLS: i16 = 30;
const VERSION: i16 = 1;
const LITERAL: u8 = 3;
const ALLOW: u8 = 3;

/// What a permission is about.
#[derive(Clone, Copy)]
pub enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
}

/// What it permits.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Describe = 8,
    DescribeConfigs = 10,
}

/// Permits `user` to do this.
pub fn allow(broker: &str, user: &str, resource: Resource<'_>, operation: Operation) {
    let (kind, name) = match resource {
        Resource::Topic(name) => (2, name),
        Resource::Group(name) => (3, name),
    };
    let mut request = Vec::new();
    request.extend(CREATE_ACLS.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    text(&mut request, "test");
    request.extend(1_i32.to_be_bytes());
    request.push(kind);
    text(&mut request, name);
    request.push(LITERAL);
    text(&mut request, &format!("User:{user}"));
    text(&mut request, "*");
    request.push(operation as u8);
    request.push(ALLOW);

    let mut stream = TcpStream::connect(broker).expect("a connection");
    let length = u32::try_from(request.len()).expect("a length");
    stream.write_all(&length.to_be_bytes()).expect("a request");
    stream.write_all(&request).expect("a request");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("an answer");
    // Correlation, throttling and a count of one come first, 4 bytes each.
    let code = answer.get(12..14).expect("a code");
    assert_eq!(code, [0, 0], "the broker refused the permission: {answer:?}");
}

fn text(request: &mut Vec<u8>, text: &str) {
    request.extend(i16::try_from(text.len()).expect("a length").to_be_bytes());
    request.extend(text.as_bytes());
}
