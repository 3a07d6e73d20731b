//! W3: from the signal to the result, at a client that waits for it already. Before the time that counts, the run is
//! started, its id learnt and the wait begun; what the signal's own request is answered is checked after it.

use serde_json::json;

use crate::http::{Connection, Server};
use crate::load::{Operation, Wrong};
use crate::payload::{Marked, mark, payload};
use crate::target::{self, Target};

/// What both sides have in common.
struct Round {
    target: Target,
    /// Waits for the result.
    waiting: Connection,
    /// Sends the signal.
    signalling: Connection,
    /// Whether a signal's answer is still to be read.
    is_signalled: bool,
    request: Vec<u8>,
    payload: String,
    returned: Marked,
    client: usize,
    number: u64,
}

impl Round {
    fn new(target: Target, client: usize, payload_bytes: usize) -> Self {
        let payload = payload(payload_bytes, client as u64);
        Self {
            waiting: Connection::new(target.server()),
            signalling: Connection::new(target.server()),
            is_signalled: false,
            request: Vec::new(),
            returned: Marked::new(target.returned(&payload), &payload),
            target,
            payload,
            client,
            number: 0,
        }
    }

    /// The payload of the next signal.
    fn next_payload(&mut self) -> String {
        self.number += 1;
        let digits = mark(self.client, self.number);
        self.returned.mark(&digits);
        let mut payload = self.payload.clone();
        let text = std::str::from_utf8(&digits).unwrap_or_default();
        payload.replace_range(..text.len(), text);
        payload
    }

    /// Reads what the last signal was answered.
    async fn settle(&mut self) -> Result<(), Wrong> {
        if std::mem::take(&mut self.is_signalled) {
            let answer = self.signalling.answer().await?;
            if !answer.is_success() {
                return Err(Wrong::answer(&answer));
            }
        }
        Ok(())
    }

    async fn signal(&mut self) -> Result<u64, Wrong> {
        self.signalling.write(&self.request).await?;
        self.is_signalled = true;
        let answer = self.waiting.answer().await?;
        self.target.check_returned(&answer, self.returned.bytes())?;
        Ok(1)
    }
}

/// Against Tidewheel: `POST …/runs`, `GET …/result`, then `POST …/signals`.
pub(super) struct Signal {
    api: Server,
    round: Round,
    start: Vec<u8>,
}

impl Signal {
    pub(super) fn new(api: &Server, client: usize, payload_bytes: usize) -> Self {
        let target = Target::Tidewheel { api: api.clone() };
        let start = target.start(&payload(payload_bytes, client as u64));
        Self { api: api.clone(), round: Round::new(target, client, payload_bytes), start }
    }
}

impl Operation for Signal {
    async fn prepare(&mut self) -> Result<(), Wrong> {
        self.round.settle().await?;
        let answer = self.round.waiting.send(&self.start).await?;
        self.round.target.check_started(&answer)?;
        let run_id = answer.text_after(b"\"run_id\":\"").ok_or_else(|| Wrong::answer(&answer))?.to_owned();
        self.round.waiting.write(&target::result(&self.api, &run_id)).await?;
        let payload = self.round.next_payload();
        self.round.request = target::signal(&self.api, &run_id, &payload);
        Ok(())
    }

    async fn perform(&mut self) -> Result<u64, Wrong> {
        self.round.signal().await
    }
}

/// Against Restate: a call that waits for an awakeable, the awakeable's id from the worker, then its resolution.
pub(super) struct Awakeable {
    ingress: Server,
    awakeables: Server,
    asking: Connection,
    round: Round,
    input: Marked,
}

impl Awakeable {
    pub(super) fn new(ingress: &Server, awakeables: &Server, client: usize, payload_bytes: usize) -> Self {
        let target = Target::Restate { ingress: ingress.clone(), awakeables: awakeables.clone() };
        let text = payload(payload_bytes, client as u64);
        // The key is the mark, and of the same length as a payload's beginning.
        let (key, rest) = text.split_at(crate::payload::MARK_BYTES);
        let input = format!("{key} {}", rest.get(1..).unwrap_or_default());
        let request = ingress.post("/Bench/wait", &json!(input).to_string());
        Self {
            ingress: ingress.clone(),
            awakeables: awakeables.clone(),
            asking: Connection::new(awakeables),
            round: Round::new(target, client, payload_bytes),
            input: Marked::new(request, &input),
        }
    }
}

impl Operation for Awakeable {
    async fn prepare(&mut self) -> Result<(), Wrong> {
        self.round.settle().await?;
        let payload = self.round.next_payload();
        let digits = mark(self.round.client, self.round.number);
        self.input.mark(&digits);
        self.round.waiting.write(self.input.bytes()).await?;
        let key = std::str::from_utf8(&digits).unwrap_or_default();
        let answer = self.asking.send(&self.awakeables.get(&format!("/{key}"))).await?;
        if answer.status != 200 {
            return Err(Wrong::answer(&answer));
        }
        let id = String::from_utf8_lossy(answer.body).into_owned();
        let path = format!("/restate/awakeables/{id}/resolve");
        self.round.request = self.ingress.post(&path, &json!(payload).to_string());
        Ok(())
    }

    async fn perform(&mut self) -> Result<u64, Wrong> {
        self.round.signal().await
    }
}
