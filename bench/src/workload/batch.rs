//! W1b: many starts with one request. Every line of the answer must say that its run was accepted.

use crate::http::{Connection, Server};
use crate::load::{Operation, Wrong};
use crate::payload::{Marked, mark, payload};
use crate::target;

const PATH: &str = "/v1/namespaces/default/runs:batch";

pub(super) struct Batch {
    connection: Connection,
    client: usize,
    number: u64,
    lines: usize,
    request: Marked,
}

impl Batch {
    pub(super) fn new(api: &Server, client: usize, lines: usize, payload_bytes: usize) -> Self {
        let payload = payload(payload_bytes, client as u64);
        let request = api.post_as(PATH, "application/x-ndjson", &target::batch(lines, &payload));
        Self {
            connection: Connection::new(api),
            request: Marked::new(request, &payload),
            client,
            number: 0,
            lines,
        }
    }
}

impl Operation for Batch {
    async fn perform(&mut self) -> Result<u64, Wrong> {
        self.number += 1;
        self.request.mark(&mark(self.client, self.number));
        let answer = self.connection.send(self.request.bytes()).await?;
        let accepted = memchr::memmem::find_iter(answer.body, b"\"outcome\":\"accepted\"").count();
        if answer.is_success() && accepted == self.lines {
            return Ok(accepted as u64);
        }
        if !answer.is_success() {
            return Err(Wrong::answer(&answer));
        }
        let wrong = answer.body.split(|byte| *byte == b'\n').find(|line| {
            !line.is_empty() && memchr::memmem::find(line, b"\"outcome\":\"accepted\"").is_none()
        });
        let shown = String::from_utf8_lossy(wrong.unwrap_or_default());
        Err(Wrong::Body(format!("{accepted} of {} lines were accepted; one was not: {shown}", self.lines)))
    }
}
