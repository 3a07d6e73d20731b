//! A server that answers every request with nothing: `tidewheel bench probe` against it shows what the load generator
//! costs and can do at most. `cargo run --release -p tidewheel-bench --example noop`

use std::convert::Infallible;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Response, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7401".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("noop is ready on http://{}, process {}", listener.local_addr()?, std::process::id());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
            // A connection that breaks is the client's business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
