//! `tidewheel health`: whether a server is ready, as an exit code.

use crate::args::ServerArguments;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::print;

/// Asks once.
pub async fn run(arguments: &ServerArguments) -> Result<(), Failure> {
    let answer = Client::at(arguments)?.get("/health/ready", &[]).await?;
    if arguments.json {
        print(&answer.text)?;
    } else {
        print(&format!("{} is ready", arguments.server))?;
    }
    Ok(())
}
