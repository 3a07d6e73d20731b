//! A node of its own: registers the workflow `order` and serves the API. What an order does is in `order.rs`.

mod order;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command line says.
struct Arguments {
    listen: SocketAddr,
    data_dir: PathBuf,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut listen = SocketAddr::from(([127, 0, 0, 1], 7400));
        let mut data_dir = PathBuf::from(".tidewheel");
        while let Some(flag) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--listen" => {
                    let text = value()?;
                    listen = text
                        .parse()
                        .map_err(|_| format!("`{text}` is not an address such as 127.0.0.1:7400"))?;
                }
                "--data-dir" => data_dir = PathBuf::from(value()?),
                _ => {
                    return Err(format!(
                        "unknown argument `{flag}`: use --listen <address> --data-dir <folder>"
                    ));
                }
            }
        }
        Ok(Self { listen, data_dir })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let node = tidewheel::Node::builder()
        .data_dir(arguments.data_dir)
        .listen(arguments.listen)
        .workflow("order", order::order);
    // Serves until SIGTERM or Ctrl-C, then stops without losing anything in flight.
    match node.serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
