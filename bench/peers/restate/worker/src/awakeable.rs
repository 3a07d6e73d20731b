//! The ids of awakeables, told over plain HTTP: `GET /<key>` answers once the workflow with that key waits. Restate
//! itself tells them to the workflow only. It costs next to nothing, and no part of it is within a measured latency.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Longest request.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

enum Slot {
    /// The workflow came first.
    Told(String),
    /// The load generator came first.
    Asked(oneshot::Sender<String>),
}

/// The ids that are known or asked for.
#[derive(Clone, Default)]
pub struct Awakeables(Arc<Mutex<HashMap<String, Slot>>>);

impl Awakeables {
    /// The workflow `key` waits for the awakeable `id`.
    pub fn tell(&self, key: String, id: String) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Slot::Asked(answer)) = slots.remove(&key) {
            // Whoever asked may be gone.
            let _ = answer.send(id);
        } else {
            slots.insert(key, Slot::Told(id));
        }
    }

    async fn ask(&self, key: &str) -> Option<String> {
        let waiting = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Slot::Told(id)) = slots.remove(key) {
                return Some(id);
            }
            let (answer, waiting) = oneshot::channel();
            slots.insert(key.to_owned(), Slot::Asked(answer));
            waiting
        };
        waiting.await.ok()
    }
}

/// Answers whoever asks.
pub async fn serve(listener: TcpListener, awakeables: Awakeables) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let awakeables = awakeables.clone();
        // A connection that breaks is the load generator's business.
        tokio::spawn(async move { answer(stream, &awakeables).await });
    }
}

async fn answer(mut stream: TcpStream, awakeables: &Awakeables) -> std::io::Result<()> {
    let mut received = Vec::new();
    loop {
        while !received.ends_with(b"\r\n\r\n") {
            if received.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
        let request = String::from_utf8_lossy(&received).into_owned();
        received.clear();
        let key = request.strip_prefix("GET /").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let Some(id) = awakeables.ask(key).await else { return Ok(()) };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{id}", id.len());
        stream.write_all(answer.as_bytes()).await?;
    }
}
