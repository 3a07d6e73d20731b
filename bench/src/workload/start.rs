//! W1: a start and its acknowledgement. The run is left waiting.

use crate::http::Connection;
use crate::load::{Operation, Wrong};
use crate::payload::{Marked, mark, payload};
use crate::target::Target;

pub(super) struct Start {
    target: Target,
    connection: Connection,
    client: usize,
    number: u64,
    request: Marked,
}

impl Start {
    pub(super) fn new(target: &Target, client: usize, payload_bytes: usize) -> Self {
        let payload = payload(payload_bytes, client as u64);
        Self {
            connection: Connection::new(target.server()),
            request: Marked::new(target.start(&payload), &payload),
            target: target.clone(),
            client,
            number: 0,
        }
    }
}

impl Operation for Start {
    async fn perform(&mut self) -> Result<u64, Wrong> {
        self.number += 1;
        self.request.mark(&mark(self.client, self.number));
        let answer = self.connection.send(self.request.bytes()).await?;
        self.target.check_started(&answer)?;
        Ok(1)
    }
}
