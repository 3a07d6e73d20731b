//! W2: a workflow of steps that do nothing, from its start to its result.

use crate::http::Connection;
use crate::load::{Operation, Wrong};
use crate::payload::{Marked, mark, payload};
use crate::target::Target;

pub(super) struct Steps {
    target: Target,
    connection: Connection,
    client: usize,
    number: u64,
    request: Marked,
    returned: Marked,
}

impl Steps {
    pub(super) fn new(target: &Target, client: usize, steps: u32, payload_bytes: usize) -> Self {
        let payload = payload(payload_bytes, client as u64);
        Self {
            connection: Connection::new(target.server()),
            request: Marked::new(target.steps(steps, &payload), &payload),
            returned: Marked::new(target.returned(&payload), &payload),
            target: target.clone(),
            client,
            number: 0,
        }
    }
}

impl Operation for Steps {
    async fn perform(&mut self) -> Result<u64, Wrong> {
        self.number += 1;
        let digits = mark(self.client, self.number);
        self.request.mark(&digits);
        self.returned.mark(&digits);
        let answer = self.connection.send(self.request.bytes()).await?;
        self.target.check_returned(&answer, self.returned.bytes())?;
        Ok(1)
    }
}
