//! `tidewheel token bootstrap`: makes the first admin token and prints it. How it is made is said in the library.

use tidewheel::bootstrap::{BootstrapError, bootstrap};
use tidewheel::config::Config;
use tidewheel::telemetry;

use crate::args::BootstrapArguments;
use crate::failure::Failure;
use crate::output::print;

/// Creates the token and prints it; the secret stands alone on the last line, so that a script can take it.
pub async fn run(arguments: BootstrapArguments) -> Result<(), Failure> {
    let config = Config::load(arguments.sources())?;
    // What keeps the log from answering is said on standard error.
    telemetry::start_logging(&config)?;
    let secret = bootstrap(&config, &arguments.name).await.map_err(|error| match error {
        BootstrapError::Ephemeral => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.to_string()),
    })?;
    print(&format!(
        "token_id  {}\nroles     admin\n\nThe token, shown this once:\n{}",
        secret.token_id(),
        secret.text()
    ))?;
    Ok(())
}
