//! The way to a node's API, in which a test can stand: it passes bytes on, keeps answers to itself, falls silent, or
//! breaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    /// Nothing in particular.
    Open,
    /// Requests arrive and are answered; once an answer is whole, the connection is closed instead of passing it on.
    LosesAnswers,
    /// Requests do not arrive, and nobody says so.
    Silent,
}

struct Shared {
    target: Mutex<Option<SocketAddr>>,
    way: AtomicU8,
    connections: AtomicUsize,
    cut: Mutex<CancellationToken>,
}

/// A relay; closed when dropped.
pub struct Relay {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Relay {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            target: Mutex::new(None),
            way: AtomicU8::new(Way::Open as u8),
            connections: AtomicUsize::new(0),
            cut: Mutex::new(CancellationToken::new()),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock() = Some(target);
    }

    pub fn set(&self, way: Way) {
        self.shared.way.store(way as u8, Ordering::SeqCst);
    }

    /// Breaks every connection there is.
    pub fn cut(&self) {
        std::mem::take(&mut *self.shared.cut.lock()).cancel();
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let cut = shared.cut.lock().clone();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                _ = pass(stream, &shared) => {}
            }
        });
    }
}

async fn pass(client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let target = *shared.target.lock();
    let Some(target) = target else { return Ok(()) };
    let server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is = |way: Way| shared.way.load(Ordering::SeqCst) == way as u8;
    let requests = async {
        let mut part = vec![0; 16 * 1024];
        loop {
            let length = from_client.read(&mut part).await?;
            if is(Way::Silent) {
                std::future::pending::<()>().await;
            }
            if length == 0 {
                return to_server.shutdown().await;
            }
            to_server.write_all(&part[..length]).await?;
        }
    };
    let answers = async {
        let mut part = vec![0; 16 * 1024];
        let mut lost = Vec::new();
        loop {
            let length = from_server.read(&mut part).await?;
            if length == 0 {
                return std::io::Result::Ok(());
            }
            if !is(Way::LosesAnswers) {
                to_client.write_all(&part[..length]).await?;
                continue;
            }
            lost.extend_from_slice(&part[..length]);
            if is_whole(&lost) {
                return Ok(());
            }
        }
    };
    // An answer ends the connection; the end of the requests alone does not.
    tokio::select! {
        ended = answers => ended,
        ended = async { requests.await?; std::future::pending().await } => ended,
    }
}

/// Whether an answer is as long as it says. The head of an answer in chunks is sent before the request is carried out:
/// whoever closed the connection there would stop what the request asks for.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    !head.contains("transfer-encoding: chunked") || text.ends_with("\r\n0\r\n\r\n")
}
