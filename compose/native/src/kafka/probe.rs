//! Two requests of Kafka's protocol, to know whether a broker answers and which brokers it knows.
//! Source: <https://kafka.apache.org/protocol>.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
/// More than nine brokers' names need; a longer answer is not from Kafka.
const ANSWER_BYTES_MAX: u32 = 64 * 1024;

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;

/// The addresses of the brokers that one broker takes for alive.
pub(super) fn brokers(address: SocketAddr) -> io::Result<Vec<SocketAddr>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let versions = ask(&mut stream, API_VERSIONS, 0, &[])?;
    match versions.first_chunk() {
        Some(&[0, 0]) => {}
        other => return Err(unexpected(&format!("an error instead of versions: {other:?}"))),
    }
    // Of no topic.
    parse_brokers(&ask(&mut stream, METADATA, 1, &[0; 4])?)
        .ok_or_else(|| unexpected("metadata that end too early"))
}

/// The body of the answer.
fn ask(stream: &mut TcpStream, api: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
    const NO_CLIENT: i16 = -1;
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(i32::from(api).to_be_bytes());
    request.extend(NO_CLIENT.to_be_bytes());
    request.extend(body);
    let length = u32::try_from(request.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), &request[..]].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if !(4..=ANSWER_BYTES_MAX).contains(&length) {
        return Err(unexpected("a length that no answer has"));
    }
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer)?;
    if answer[..4] != i32::from(api).to_be_bytes() {
        return Err(unexpected("an answer to another request"));
    }
    Ok(answer.split_off(4))
}

fn parse_brokers(mut body: &[u8]) -> Option<Vec<SocketAddr>> {
    let count = i32::from_be_bytes(take(&mut body)?);
    let mut found = Vec::new();
    for _ in 0..count {
        let _node: [u8; 4] = take(&mut body)?;
        let host = take_string(&mut body)??;
        let port = i32::from_be_bytes(take(&mut body)?);
        let _rack = take_string(&mut body)?;
        found.push(SocketAddr::new(host.parse().ok()?, u16::try_from(port).ok()?));
    }
    Some(found)
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*first)
}

/// `Some(None)` is Kafka's null.
fn take_string<'a>(body: &mut &'a [u8]) -> Option<Option<&'a str>> {
    let Ok(length) = usize::try_from(i16::from_be_bytes(take(body)?)) else { return Some(None) };
    let (text, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some(Some(std::str::from_utf8(text).ok()?))
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_read_from_metadata_and_torn_ones_are_refused() {
        let mut body = 2_i32.to_be_bytes().to_vec();
        for (node, rack) in [(1_i32, None), (2, Some("a"))] {
            body.extend(node.to_be_bytes());
            body.extend([0, 9]);
            body.extend(format!("127.0.0.{node}").as_bytes());
            body.extend(9092_i32.to_be_bytes());
            match rack {
                None => body.extend((-1_i16).to_be_bytes()),
                Some(rack) => body.extend([&[0, 1], str::as_bytes(rack)].concat()),
            }
        }
        let expected = ["127.0.0.1:9092", "127.0.0.2:9092"].map(|address| address.parse().unwrap());
        assert_eq!(parse_brokers(&body), Some(expected.to_vec()));
        for length in 0..body.len() {
            assert_eq!(parse_brokers(&body[..length]), None, "{length}");
        }
    }
}
