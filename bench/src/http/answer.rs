//! What the bytes of an HTTP/1.1 answer mean: its head, how long its body is, and bodies that come in chunks.

/// Most headers of an answer.
pub const HEADERS_MAX: usize = 48;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// It has so many bytes.
    Length(usize),
    /// It comes in chunks.
    Chunked,
    /// It ends with the connection.
    UntilClosed,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub status: u16,
    /// Length of the head.
    pub bytes: usize,
    pub framing: Framing,
    /// Whether the server will close the connection.
    pub closes: bool,
}

/// Parses a head; `None` while it is not whole.
pub(super) fn head(received: &[u8]) -> Result<Option<Head>, String> {
    if received.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(bytes) = parsed.parse(received).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let status = parsed.code.ok_or("it has no status")?;
    let mut closes = parsed.version == Some(0);
    let mut framing =
        if status < 200 || status == 204 || status == 304 { Some(Framing::Length(0)) } else { None };
    for header in parsed.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            let length = length.ok_or_else(|| "its content-length is no number".to_owned())?;
            framing = framing.or(Some(Framing::Length(length)));
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("its transfer-encoding is not `chunked`".to_owned());
            }
            framing = framing.or(Some(Framing::Chunked));
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes |= value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some(Head { status, bytes, framing: framing.unwrap_or(Framing::UntilClosed), closes }))
}

/// A body that comes in chunks, put together as they arrive.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// What was received is taken up to here.
    at: usize,
    body: Vec<u8>,
}

impl Chunks {
    /// A new body; it begins at `at` of what is received.
    pub(super) fn begin(&mut self, at: usize) {
        self.at = at;
        self.body.clear();
    }

    /// Takes the whole chunks; whether the last one has arrived.
    pub(super) fn take(&mut self, received: &[u8]) -> Result<bool, String> {
        loop {
            let rest = received.get(self.at..).unwrap_or_default();
            let parsed =
                httparse::parse_chunk_size(rest).map_err(|_| "a chunk's size is no number".to_owned())?;
            let httparse::Status::Complete((start, size)) = parsed else { return Ok(false) };
            let Some(after) = rest.get(start..) else { return Ok(false) };
            if size == 0 {
                // Trailers end with an empty line, as does a body without any.
                return Ok(after.starts_with(b"\r\n") || memchr::memmem::find(after, b"\r\n\r\n").is_some());
            }
            let size = usize::try_from(size).map_err(|_| "a chunk is too large".to_owned())?;
            let Some(chunk) = after.get(..size) else { return Ok(false) };
            let Some(end) = after.get(size..size.saturating_add(2)) else { return Ok(false) };
            if end != b"\r\n" {
                return Err("a chunk does not end where it should".to_owned());
            }
            self.body.extend_from_slice(chunk);
            self.at += start + size + 2;
        }
    }

    /// What was put together.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}
