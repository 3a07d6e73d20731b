//! A few frames of the CQL protocol, version 4, to know whether a node lets clients in and which nodes it agrees with.
//! Source: <https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v4.spec>.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
/// More than the answers about nine nodes need.
const ANSWER_BYTES_MAX: u32 = 1024 * 1024;

const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const OPTIONS: u8 = 0x05;
const SUPPORTED: u8 = 0x06;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const AUTH_RESPONSE: u8 = 0x0f;
const AUTH_SUCCESS: u8 = 0x10;

/// What a node knows of the others.
pub(super) struct Peers {
    /// Those whose schema is the node's own.
    pub(super) same_schema: Vec<IpAddr>,
}

/// Asks for options, logs in and reads what the node knows of the others.
pub(super) fn peers(address: SocketAddr, credentials: Option<(&str, &str)>) -> io::Result<Peers> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    expect(SUPPORTED, ask(&mut stream, OPTIONS, &[])?)?;
    let mut startup = 1_u16.to_be_bytes().to_vec();
    for text in ["CQL_VERSION", "3.0.0"] {
        startup.extend(u16::try_from(text.len()).map_err(io::Error::other)?.to_be_bytes());
        startup.extend(text.as_bytes());
    }
    match (ask(&mut stream, STARTUP, &startup)?, credentials) {
        ((AUTHENTICATE, _), Some((user, password))) => {
            let token = format!("\0{user}\0{password}");
            let response = [&length(token.len())?, token.as_bytes()].concat();
            expect(AUTH_SUCCESS, ask(&mut stream, AUTH_RESPONSE, &response)?)?;
        }
        ((AUTHENTICATE, _), None) => return Err(unexpected("it wants credentials")),
        (answer, _) => drop(expect(READY, answer)?),
    }
    let own = query(&mut stream, "SELECT schema_version FROM system.local")?;
    let own = own.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
    let others = query(&mut stream, "SELECT rpc_address, schema_version FROM system.peers")?;
    let same = others.into_iter().filter_map(|row| match <[_; 2]>::try_from(row) {
        Ok([Some(address), version]) if version.is_some() && version == own => ip(&address),
        _ => None,
    });
    Ok(Peers { same_schema: same.collect() })
}

type Row = Vec<Option<Vec<u8>>>;

fn query(stream: &mut TcpStream, text: &str) -> io::Result<Vec<Row>> {
    const CONSISTENCY_ONE: [u8; 2] = [0, 1];
    const NO_FLAGS: u8 = 0;
    let body = [&length(text.len())?, text.as_bytes(), &CONSISTENCY_ONE, &[NO_FLAGS]].concat();
    let answer = expect(RESULT, ask(stream, QUERY, &body)?)?;
    parse_rows(&answer).ok_or_else(|| unexpected("rows that are not understood"))
}

/// Opcode and body of the answer.
fn ask(stream: &mut TcpStream, opcode: u8, body: &[u8]) -> io::Result<(u8, Vec<u8>)> {
    const REQUEST: u8 = 0x04;
    const RESPONSE: u8 = 0x84;
    let header = [REQUEST, 0, 0, 0, opcode];
    stream.write_all(&[&header[..], &length(body.len())?, body].concat())?;
    let mut header = [0; 9];
    stream.read_exact(&mut header)?;
    let [version, _, _, _, opcode, length @ ..] = header;
    let length = u32::from_be_bytes(length);
    if version != RESPONSE || length > ANSWER_BYTES_MAX {
        return Err(unexpected("something else than CQL"));
    }
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer)?;
    Ok((opcode, answer))
}

fn expect(opcode: u8, (answered, body): (u8, Vec<u8>)) -> io::Result<Vec<u8>> {
    match answered {
        _ if answered == opcode => Ok(body),
        ERROR => Err(unexpected(&String::from_utf8_lossy(body.get(6..).unwrap_or_default()))),
        _ => Err(unexpected(&format!("an answer of kind {answered}"))),
    }
}

fn parse_rows(mut body: &[u8]) -> Option<Vec<Row>> {
    const ROWS: i32 = 2;
    const GLOBAL_TABLE: i32 = 1;
    const MORE_PAGES: i32 = 2;
    let body = &mut body;
    if take_number(body)? != ROWS {
        return None;
    }
    let flags = take_number(body)?;
    let columns = take_number(body)?;
    if flags & MORE_PAGES != 0 {
        take_bytes(body)?;
    }
    if flags & GLOBAL_TABLE != 0 {
        take_string(body)?;
        take_string(body)?;
    }
    for _ in 0..columns {
        if flags & GLOBAL_TABLE == 0 {
            take_string(body)?;
            take_string(body)?;
        }
        take_string(body)?;
        // Only types without parameters are asked for.
        let _type: [u8; 2] = take(body)?;
    }
    let rows = take_number(body)?;
    (0..rows).map(|_| (0..columns).map(|_| take_bytes(body)).collect()).collect()
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*first)
}

fn take_number(body: &mut &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(take(body)?))
}

fn take_string(body: &mut &[u8]) -> Option<()> {
    let length = u16::from_be_bytes(take(body)?);
    *body = body.get(usize::from(length)..)?;
    Some(())
}

/// `Some(None)` is CQL's null.
fn take_bytes(body: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let Ok(length) = usize::try_from(take_number(body)?) else { return Some(None) };
    let (bytes, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some(Some(bytes.to_vec()))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}

fn length(bytes: usize) -> io::Result<[u8; 4]> {
    Ok(u32::try_from(bytes).map_err(io::Error::other)?.to_be_bytes())
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_torn_ones_are_refused() {
        let text = |text: &str| [&[0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let number = |number: i32| number.to_be_bytes().to_vec();
        let head = [number(2), number(1), number(2), text("system"), text("peers")].concat();
        let columns = [text("rpc_address"), vec![0, 0x10], text("schema_version"), vec![0, 0x0c]].concat();
        let rows = [number(1), number(4), vec![127, 0, 0, 1], number(-1)].concat();
        let body = [head, columns, rows].concat();
        assert_eq!(parse_rows(&body), Some(vec![vec![Some(vec![127, 0, 0, 1]), None]]));
        for length in 0..body.len() {
            assert_eq!(parse_rows(&body[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_refusal_shows_what_the_node_says() {
        let body = [&[0, 0, 1, 0, 0, 3][..], b"bad"].concat();
        assert_eq!(expect(READY, (ERROR, body)).unwrap_err().to_string(), "bad");
    }
}
