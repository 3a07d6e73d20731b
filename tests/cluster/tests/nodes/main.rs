//! Processes of a cluster on real servers: what is acknowledged is done once, whatever happens to whom.

mod away;
mod backfill;
mod datacenters;
mod failover;
mod refused;
mod replay;
mod restart;
mod tokens;
mod upgrade;

use std::time::Duration;

/// The program under test.
const NODE: &str = env!("CARGO_BIN_EXE_tidewheel-cluster-node");

/// Says how long something took, for who reads the test's output; no test depends on it.
fn took(what: &str, began: std::time::Instant) {
    eprintln!("{what}: {:.1} s", began.elapsed().as_secs_f64());
}

/// Longer than the shortest session a group allows.
const PAST_SESSION: Duration = Duration::from_secs(9);
