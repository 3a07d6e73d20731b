//! `tidewheel check`: looks at everything a configuration needs, says how it is and creates nothing. What there is to
//! find is in `tidewheel::wire` for a cluster, in `folder` for one machine, in `peers` for other processes.

mod folder;
mod peers;

use serde_json::json;
use tidewheel::check::{Finding, Level};
use tidewheel::config::Config;
use tidewheel::wire;

use crate::args::CheckArguments;
use crate::failure::Failure;
use crate::output::print;

/// Looks, or prints what an administrator runs.
pub async fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let config = Config::load(arguments.sources())?;
    if arguments.print {
        let commands = if config.is_cluster() {
            wire::commands(&config).map_err(|error| Failure::Failed(error.to_string()))?
        } else {
            "# A node on one machine makes its own folders; there is nothing to run.".to_owned()
        };
        return Ok(print(&commands)?);
    }
    let findings = look(&config).await;
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    if arguments.json {
        let report = json!({ "findings": findings, "errors": errors, "warnings": warnings });
        print(&report.to_string())?;
    } else {
        for finding in &findings {
            print(&finding.to_string())?;
        }
    }
    if errors > 0 {
        return Err(Failure::Failed(format!("{errors} of {} findings are errors", findings.len())));
    }
    Ok(())
}

async fn look(config: &Config) -> Vec<Finding> {
    if !config.is_cluster() {
        return folder::inspect(config);
    }
    let (mut findings, peers) = futures::future::join(wire::inspect(config), peers::inspect(config)).await;
    findings.extend(peers);
    findings
}
