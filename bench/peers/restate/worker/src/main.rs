//! Restate's side of the comparison: workflows of 0, 1, 3 and 9 steps that do nothing and return their input, and one
//! that waits for an awakeable. `awakeable` tells the load generator the awakeables' ids.

mod awakeable;

use std::net::SocketAddr;
use std::process::ExitCode;

use restate_sdk::prelude::*;
use tokio::net::TcpListener;

use crate::awakeable::Awakeables;

async fn steps(context: &Context<'_>, count: u32) -> Result<(), HandlerError> {
    for number in 0..count {
        let _: u32 = context.run(move || async move { Ok(number) }).name("nothing").await?;
    }
    Ok(())
}

struct Bench {
    awakeables: Awakeables,
}

#[service]
impl Bench {
    #[handler]
    async fn steps0(&self, _context: Context<'_>, payload: String) -> Result<String, HandlerError> {
        Ok(payload)
    }

    #[handler]
    async fn steps1(&self, context: Context<'_>, payload: String) -> Result<String, HandlerError> {
        steps(&context, 1).await?;
        Ok(payload)
    }

    #[handler]
    async fn steps3(&self, context: Context<'_>, payload: String) -> Result<String, HandlerError> {
        steps(&context, 3).await?;
        Ok(payload)
    }

    #[handler]
    async fn steps9(&self, context: Context<'_>, payload: String) -> Result<String, HandlerError> {
        steps(&context, 9).await?;
        Ok(payload)
    }

    /// Its input is `<key> <anything>`: the awakeable's id is to be had under the key.
    #[handler]
    async fn wait(&self, context: Context<'_>, input: String) -> Result<String, HandlerError> {
        let key = input.split(' ').next().unwrap_or_default().to_owned();
        let (id, resolved) = context.awakeable::<String>();
        self.awakeables.tell(key, id);
        Ok(resolved.await?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut addresses = std::env::args().skip(1).map(|text| text.parse::<SocketAddr>());
    let (Some(Ok(service)), Some(Ok(ids))) = (addresses.next(), addresses.next()) else {
        eprintln!("usage: restate-worker <address of the service> <address that tells awakeables' ids>");
        return ExitCode::from(2);
    };
    let listener = match TcpListener::bind(ids).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("error: cannot listen on {ids}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let awakeables = Awakeables::default();
    tokio::spawn(awakeable::serve(listener, awakeables.clone()));
    HttpServer::new(Endpoint::builder().bind(Bench { awakeables }).build()).listen_and_serve(service).await;
    ExitCode::SUCCESS
}
