//! `GET` of a path of any HTTP server: what the generator costs, and the most it can do.

use crate::http::{Connection, Server};
use crate::load::{Operation, Wrong};

pub(super) struct Probe {
    connection: Connection,
    request: Vec<u8>,
}

impl Probe {
    pub(super) fn new(server: &Server, path: &str) -> Self {
        Self { connection: Connection::new(server), request: server.get(path) }
    }
}

impl Operation for Probe {
    async fn perform(&mut self) -> Result<u64, Wrong> {
        let answer = self.connection.send(&self.request).await?;
        if answer.is_success() { Ok(1) } else { Err(Wrong::answer(&answer)) }
    }
}
