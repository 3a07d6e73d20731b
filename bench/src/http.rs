//! An HTTP/1.1 client that costs next to nothing: one persistent connection, one request at a time, requests that
//! are bytes already. What is asked and whether the answer is right is the workloads' business.

mod answer;

use std::fmt::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use self::answer::HEADERS_MAX;
use self::answer::{Chunks, Framing, Head};

/// Longer than the longest wait that a workload asks a server for.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Holds an answer of the workloads in one read.
const READ_BYTES: usize = 16 * 1024;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The address is not one of HTTP.
    #[error("{url} is no address of a server ({what}); give one such as http://127.0.0.1:7400")]
    Address {
        /// As given.
        url: String,
        /// Why.
        what: String,
    },
    /// Nobody listens there, or the connection broke.
    #[error("{address}: {what}")]
    Connection {
        /// The server.
        address: SocketAddr,
        /// What the system says.
        what: String,
    },
    /// No whole answer in time.
    #[error("{address} gave no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout {
        /// The server.
        address: SocketAddr,
    },
    /// The answer is not HTTP/1.1.
    #[error("{address} answered something that is not HTTP/1.1: {what}")]
    Malformed {
        /// The server.
        address: SocketAddr,
        /// What is wrong.
        what: String,
    },
}

/// Where requests go.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    authority: String,
    /// A header line with the access token, or nothing.
    authorization: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Server");
        shown.field("address", &self.address).field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Server {
    /// A server by its address, such as `http://127.0.0.1:7400`; a path behind it is left out. Looks up the name,
    /// does not connect.
    ///
    /// # Errors
    /// When it is not of this form or the name is not known.
    pub fn new(url: &str) -> Result<Self, HttpError> {
        let wrong = |what: &str| HttpError::Address { url: url.to_owned(), what: what.to_owned() };
        let rest = url.strip_prefix("http://").ok_or_else(|| wrong("it must begin with http://"))?;
        let authority = rest.split('/').next().unwrap_or_default().to_owned();
        let has_port = authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
        let named = if has_port { authority.clone() } else { format!("{authority}:80") };
        let mut found = named.to_socket_addrs().map_err(|error| wrong(&error.to_string()))?;
        let address = found.next().ok_or_else(|| wrong("the name has no address"))?;
        Ok(Self { address, authority, authorization: String::new() })
    }

    /// The same server, asked with an access token. Characters that no token has are left out.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        let token: String = token.chars().filter(char::is_ascii_graphic).collect();
        Self { authorization: format!("authorization: Bearer {token}\r\n"), ..self }
    }

    /// Its socket address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes of a `GET`.
    pub fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{}\r\n", self.authority, self.authorization).into_bytes()
    }

    /// The bytes of a `POST` of JSON.
    pub fn post(&self, path: &str, json: &str) -> Vec<u8> {
        self.post_as(path, "application/json", json)
    }

    /// The bytes of a `POST`.
    pub fn post_as(&self, path: &str, content_type: &str, body: &str) -> Vec<u8> {
        let mut text = String::with_capacity(256 + body.len());
        let _ = write!(
            text,
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n{}\r\n{body}",
            self.authority,
            body.len(),
            self.authorization,
        );
        text.into_bytes()
    }
}

/// A whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body, decoded.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// Whether the status is a 2xx.
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// Whether `text` stands in the body.
    pub fn contains(&self, text: &[u8]) -> bool {
        memchr::memmem::find(self.body, text).is_some()
    }

    /// The text between `before` and the next `"`, such as a member of JSON that holds no escapes.
    pub fn text_after(&self, before: &[u8]) -> Option<&str> {
        let start = memchr::memmem::find(self.body, before)? + before.len();
        let rest = self.body.get(start..)?;
        let end = memchr::memchr(b'"', rest)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }
}

/// One connection; made when it is first needed, and again after it broke.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    /// Whether a request was written whose answer was not read.
    is_owed: bool,
    received: Vec<u8>,
    chunks: Chunks,
}

impl Connection {
    /// A connection to be made.
    pub fn new(server: &Server) -> Self {
        let received = Vec::with_capacity(READ_BYTES);
        Self { address: server.address, stream: None, is_owed: false, received, chunks: Chunks::default() }
    }

    /// Sends one request and waits for its whole answer.
    ///
    /// # Errors
    /// When no whole answer arrives in time; the connection is closed then. A status other than 2xx is an answer.
    pub async fn send(&mut self, request: &[u8]) -> Result<Answer<'_>, HttpError> {
        self.write(request).await?;
        self.answer().await
    }

    /// Sends one request and leaves its answer to [`Connection::answer`]. An answer that is still owed to an earlier
    /// request is given up, with its connection.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn write(&mut self, request: &[u8]) -> Result<(), HttpError> {
        let address = self.address;
        let broken = |error: std::io::Error| HttpError::Connection { address, what: error.to_string() };
        // Taken, so that what is cancelled or fails never leaves half a request behind.
        let kept = self.stream.take();
        let mut stream = match kept {
            Some(stream) if !self.is_owed => stream,
            Some(_) | None => connect(address).await?,
        };
        let writing = timeout(REQUEST_TIMEOUT, stream.write_all(request));
        writing.await.map_err(|_| HttpError::Timeout { address })?.map_err(broken)?;
        self.stream = Some(stream);
        self.is_owed = true;
        Ok(())
    }

    /// Waits for the answer to the request that was written.
    ///
    /// # Errors
    /// When no whole answer arrives in time, or nothing was written; the connection is closed then.
    pub async fn answer(&mut self) -> Result<Answer<'_>, HttpError> {
        let address = self.address;
        let asked_nothing = || HttpError::Connection { address, what: "nothing was asked".to_owned() };
        let stream = self.stream.take().filter(|_| self.is_owed).ok_or_else(asked_nothing)?;
        self.is_owed = false;
        let receiving = receive(address, stream, &mut self.received, &mut self.chunks);
        let done =
            timeout(REQUEST_TIMEOUT, receiving).await.map_err(|_| HttpError::Timeout { address })??;
        self.stream = done.stream;
        let body = match done.body {
            Body::Received { start, end } => self.received.get(start..end).unwrap_or_default(),
            Body::Assembled => self.chunks.body(),
        };
        Ok(Answer { status: done.status, body })
    }
}

enum Body {
    Received { start: usize, end: usize },
    Assembled,
}

struct Done {
    status: u16,
    body: Body,
    stream: Option<TcpStream>,
}

async fn connect(address: SocketAddr) -> Result<TcpStream, HttpError> {
    let broken = |error: std::io::Error| HttpError::Connection { address, what: error.to_string() };
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| HttpError::Connection { address, what: "no connection in time".to_owned() })?
        .map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    Ok(stream)
}

async fn receive(
    address: SocketAddr,
    mut stream: TcpStream,
    received: &mut Vec<u8>,
    chunks: &mut Chunks,
) -> Result<Done, HttpError> {
    let malformed = |what: String| HttpError::Malformed { address, what };
    let closed = |what: &str| HttpError::Connection { address, what: what.to_owned() };
    let broken = |error: std::io::Error| closed(&error.to_string());
    received.clear();
    let head: Head = loop {
        if read(&mut stream, received).await.map_err(broken)? {
            return Err(closed("the server closed the connection before it answered"));
        }
        let found = loop {
            match answer::head(received).map_err(malformed)? {
                // An interim answer, such as 100: the real one follows.
                Some(head) if head.status < 200 => drop(received.drain(..head.bytes)),
                found => break found,
            }
        };
        if let Some(head) = found {
            break head;
        }
    };
    chunks.begin(head.bytes);
    let mut is_ended = false;
    let body = loop {
        match head.framing {
            Framing::Length(length) if received.len() - head.bytes >= length => {
                break Body::Received { start: head.bytes, end: head.bytes + length };
            }
            Framing::Chunked if chunks.take(received).map_err(malformed)? => break Body::Assembled,
            Framing::UntilClosed if is_ended => {
                break Body::Received { start: head.bytes, end: received.len() };
            }
            Framing::Length(_) | Framing::Chunked if is_ended => {
                return Err(closed("the server closed the connection within an answer"));
            }
            Framing::Length(_) | Framing::Chunked | Framing::UntilClosed => {
                is_ended = read(&mut stream, received).await.map_err(broken)?;
            }
        }
    };
    let stays = !head.closes && !is_ended;
    Ok(Done { status: head.status, body, stream: stays.then_some(stream) })
}

/// Whether the server has closed its side.
async fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> std::io::Result<bool> {
    received.reserve(READ_BYTES / 2);
    Ok(stream.read_buf(received).await? == 0)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each request with the next of `answers`, in pieces of `piece` bytes, then closes.
    async fn serve(answers: Vec<&'static [u8]>, piece: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(&format!("http://{}/some/path", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut asked = [0; 1024];
                if stream.read(&mut asked).await.unwrap() == 0 {
                    return;
                }
                for piece in answer.chunks(piece) {
                    stream.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        server
    }

    #[tokio::test]
    async fn answers_of_every_framing_are_read_whole_on_one_connection() {
        for piece in [1, 7, 1024] {
            let server = serve(
                vec![
                    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
                    b"HTTP/1.1 204 No Content\r\n\r\n",
                    b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end",
                ],
                piece,
            )
            .await;
            let mut connection = Connection::new(&server);
            let request = server.get("/");
            let wanted: [(u16, &[u8]); 4] =
                [(200, b"hello"), (503, b"abcde"), (204, b""), (200, b"to the end")];
            for (status, body) in wanted {
                assert_eq!(connection.send(&request).await.unwrap(), Answer { status, body });
            }
            assert!(connection.stream.is_none(), "a closed connection is not used again");
        }
    }

    #[tokio::test]
    async fn half_an_answer_is_an_error_and_not_the_next_answer() {
        let server = serve(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf"], 1024).await;
        let mut connection = Connection::new(&server);
        let error = connection.send(&server.get("/")).await.unwrap_err();
        assert!(matches!(error, HttpError::Connection { .. }), "{error}");
        assert!(connection.stream.is_none());
    }

    #[tokio::test]
    async fn an_answer_that_was_given_up_is_not_taken_for_the_next_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            for number in 1.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut asked = [0; 1024];
                    while stream.read(&mut asked).await.unwrap() > 0 {
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let mut connection = Connection::new(&server);
        connection.write(&server.get("/given-up")).await.unwrap();
        assert_eq!(connection.send(&server.get("/")).await.unwrap().body, b"2");
        assert_eq!(connection.send(&server.get("/")).await.unwrap().body, b"2", "a good connection is kept");
        assert!(connection.answer().await.is_err(), "nothing was asked");
    }

    #[tokio::test]
    async fn what_is_not_http_is_an_error() {
        let server = serve(vec![b"SSH-2.0-OpenSSH\r\n\r\n"], 1024).await;
        let error = Connection::new(&server).send(&server.get("/")).await.unwrap_err();
        assert!(matches!(error, HttpError::Malformed { .. }), "{error}");
    }

    #[test]
    fn a_token_goes_along_and_is_in_no_debug_output() {
        let server = Server::new("http://127.0.0.1:1").unwrap().with_token("twk_secret\r\nx: y");
        assert!(!format!("{server:?}").contains("twk_secret"));
        for request in [server.get("/"), server.post("/", "{}")] {
            let text = String::from_utf8(request).unwrap();
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.lines().any(|line| line == "authorization: Bearer twk_secretx:y"), "{head}");
        }
    }

    #[test]
    fn an_address_that_is_none_of_http_is_refused() {
        for url in ["127.0.0.1:80", "https://127.0.0.1", "http://", "http://127.0.0.1:99999"] {
            assert!(matches!(Server::new(url), Err(HttpError::Address { .. })), "{url}");
        }
        assert_eq!(Server::new("http://127.0.0.1").unwrap().address().port(), 80);
    }
}
