//! Serves a face over TCP within limits: connections, idle and stalled peers, a bounded stop. Not which routes there are.

mod guard;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use self::guard::Guarded;

/// Limits of a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most connections at a time; a further one is told so and closed.
    pub connections_max: usize,
    /// How long a connection may be without a whole request head: idle, or sending one slowly.
    pub idle_timeout: Duration,
    /// How long a peer may take no byte of an answer that waits for it.
    pub write_stall_timeout: Duration,
    /// Size of a connection's read and write buffers in bytes; also the largest request head. At least 8192.
    pub buffer_bytes: usize,
    /// How long requests in flight may take to finish once the server stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 12_000,
            idle_timeout: Duration::from_secs(75),
            write_stall_timeout: Duration::from_secs(30),
            buffer_bytes: 64 * 1024,
            drain_timeout: Duration::from_secs(15),
        }
    }
}

/// What a connection over the limit is told. It is closed at once, which also says where the answer ends.
const FULL: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n",
    "retry-after: 1\r\nconnection: close\r\n\r\n",
    r#"{"type":"urn:tidewheel:problem:not_ready","title":"The node is not ready","status":503,"#,
    r#""detail":"the server has as many connections as it takes; try again later","#,
    r#""code":"not_ready","retry_after_ms":1000}"#,
);

/// Serves until `stopping` is cancelled; then takes no more connections, finishes the requests in flight within
/// the limits' drain time, and returns.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stopping: CancellationToken,
    limits: Limits,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let tasks = TaskTracker::new();
    let aborted = CancellationToken::new();
    let connection = Connection {
        router,
        http: builder(&limits),
        limits: limits.clone(),
        stopping: stopping.clone(),
        open: metrics::gauge!("tidewheel_http_connections"),
    };
    let result = loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    // A token of its own each: who waits for a shared one takes its lock at every wake-up.
                    let (stopping, aborted) = (stopping.child_token(), aborted.child_token());
                    let connection = Connection { stopping, ..connection.clone() };
                    tasks.spawn(async move {
                        tokio::select! {
                            biased;
                            () = connection.serve(stream, place) => {}
                            () = aborted.cancelled() => {}
                        }
                    });
                }
                Err(_) => {
                    // The peer may be gone; it is closed either way. Its socket does not block, and is empty.
                    let _ = stream.into_std().and_then(|mut stream| stream.write_all(FULL.as_bytes()));
                }
            },
            Err(error) if is_of_one_connection(&error) => {
                debug!(%error, "a connection broke before it was accepted")
            }
            Err(error) if is_out_of_files(&error) => {
                warn!(%error, "no connection can be accepted for now; raise the limit of open files");
                sleep(Duration::from_millis(50)).await;
            }
            Err(error) => break Err(error),
        }
    };
    drop(listener);
    tasks.close();
    if timeout(limits.drain_timeout, tasks.wait()).await.is_err() {
        warn!(connections = tasks.len(), "requests did not finish in time and are cut off");
        aborted.cancel();
        tasks.wait().await;
    }
    result
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.buffer_bytes.max(8192));
    builder
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset | Interrupted)
}

fn is_out_of_files(error: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS and ENOMEM pass; they must not end the server.
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}

#[derive(Clone)]
struct Connection {
    router: Router,
    http: http1::Builder,
    limits: Limits,
    stopping: CancellationToken,
    open: Gauge,
}

impl Connection {
    async fn serve(self, stream: TcpStream, place: OwnedSemaphorePermit) {
        self.open.increment(1.0);
        let open = self.open.clone();
        if let Err(error) = self.talk(stream).await {
            debug!(%error, "a connection ended early");
        }
        open.decrement(1.0);
        drop(place);
    }

    async fn talk(self, stream: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        stream.set_nodelay(true)?;
        // Buffers are made when the first byte is there, so that connections which say nothing cost next to none.
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Ok(()),
            readable = timeout(self.limits.idle_timeout, stream.readable()) => readable??,
        }
        let stream = TokioIo::new(Guarded::new(stream, self.limits.write_stall_timeout));
        let connection = self.http.serve_connection(stream, TowerToHyperService::new(self.router));
        let mut connection = Box::pin(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => return Ok(ended?),
            () = self.stopping.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }
}
