//! What the database of a configuration is like, and what it lets this process do.

use tidewheel_projector::views::TABLES;
use tidewheel_store::StoreError;
use tidewheel_store::cql::{CqlStore, CqlStoreOptions, Inspection, Permissions, TableState};

use super::super::cluster::cql_options;
use super::script;
use crate::check::{self, Finding};
use crate::config::Config;
use crate::node::GENERATION;

/// What a process does with rows.
const USES: [&str; 2] = ["SELECT", "MODIFY"];
/// What it does with tables that are missing or lack columns.
const MAKES: [&str; 2] = ["CREATE", "ALTER"];

/// Looks at it.
pub(super) async fn inspect(config: &Config) -> Vec<Finding> {
    let options = match cql_options(config) {
        Ok(options) => options,
        Err(error) => return vec![Finding::error("configuration", error)],
    };
    let subject = format!("database {}", options.contact_points.join(", "));
    match CqlStore::inspect(options.clone(), GENERATION, TABLES).await {
        Ok(inspection) => findings(&options, subject, inspection),
        Err(error) => vec![Finding::error(subject, error)],
    }
}

fn findings(options: &CqlStoreOptions, subject: String, inspection: Inspection) -> Vec<Finding> {
    let (known, connected) = inspection.nodes;
    let nodes = format!("{connected} of {known} nodes of datacenter {} are connected", options.datacenter);
    let mut findings = vec![
        if connected < known { Finding::warning(subject, nodes) } else { Finding::ok(subject, nodes) },
        check::clock("clock of the database", inspection.clock_ahead_us, inspection.clock_error_us),
    ];
    let missing: Vec<&str> = inspection
        .tables
        .iter()
        .filter(|(_, state)| matches!(state, TableState::Missing))
        .map(|(name, _)| name.as_str())
        .collect();
    let is_ready = |(_, state): &(String, TableState)| matches!(state, TableState::Ready);
    let needs_more = inspection.keyspace.is_err() || !inspection.tables.iter().all(is_ready);
    let makes = inspection.permissions.lacking(&MAKES);

    let keyspace = format!("keyspace {}", options.keyspace);
    match inspection.keyspace {
        Ok(()) => findings.push(replicas(options, keyspace, inspection.replicas.as_deref())),
        Err(StoreError::NoKeyspace { create, .. }) if makes.is_empty() => {
            let what = "not there yet; the first process creates it, if its user may";
            findings.push(Finding::warning(keyspace, what).run(create));
        }
        Err(error) => findings.push(Finding::error(keyspace, error)),
    }
    if !missing.is_empty() {
        let subject = format!("tables of generation {}", GENERATION.0);
        let what = format!("not there: {}", missing.join(", "));
        findings.push(if makes.is_empty() {
            Finding::warning(subject, format!("{what}; the first process creates them"))
        } else {
            let what = format!("{what}; this user may not create them (it lacks {})", makes.join(", "));
            Finding::error(subject, what).run("tidewheel check --print, which gives the statements")
        });
    }
    if inspection.tables.iter().all(is_ready) {
        let what = format!("all {} are there with the right columns and can be read", TABLES.len());
        findings.push(Finding::ok(format!("tables of generation {}", GENERATION.0), what));
    }
    for (name, state) in inspection.tables {
        let subject = format!("table {name}");
        match state {
            TableState::Ready | TableState::Missing => {}
            TableState::Wrong(error) => findings.push(Finding::error(subject, error)),
            TableState::Lacks(columns) if makes.contains(&"ALTER") => {
                let what = "it lacks the columns";
                let what = format!(
                    "{what} {}, and this user may not append them (it lacks ALTER)",
                    columns.join(", ")
                );
                findings.push(Finding::error(subject, what).run(script::grants(options).join(" ")));
            }
            TableState::Lacks(columns) => {
                let what =
                    format!("it lacks the columns {}; the first process appends them", columns.join(", "));
                findings.push(Finding::warning(subject, what));
            }
        }
    }
    findings.push(permissions(options, &inspection.permissions, needs_more));
    findings
}

fn replicas(options: &CqlStoreOptions, subject: String, found: Option<&str>) -> Finding {
    let wanted = options.replication_factor.to_string();
    match found {
        Some(found) if found == wanted => {
            Finding::ok(subject, format!("{found} replicas, in {} alone", options.datacenter))
        }
        found => {
            let found = found.unwrap_or("no");
            let what = format!("{found} replicas in {}, configured are {wanted}", options.datacenter);
            Finding::warning(subject, what).run(options.alter_keyspace())
        }
    }
}

fn permissions(options: &CqlStoreOptions, held: &Permissions, needs_more: bool) -> Finding {
    let user = options.user.as_deref().unwrap_or("(none)");
    let subject = format!("permissions of user {user} on keyspace {}", options.keyspace);
    let lacking = held.lacking(&USES);
    if !lacking.is_empty() {
        let grants = script::grants(options);
        return Finding::error(subject, format!("it lacks {}", lacking.join(", "))).run(grants.join(" "));
    }
    let makes = held.lacking(&MAKES);
    match held {
        Permissions::Unknown(why) => Finding::warning(subject, format!("the database does not tell: {why}")),
        Permissions::All => Finding::ok(subject, "everything"),
        Permissions::Only(_) if needs_more && !makes.is_empty() => {
            Finding::warning(subject, format!("rows yes, tables no: it lacks {}", makes.join(", ")))
        }
        Permissions::Only(held) => {
            Finding::ok(subject, held.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        }
    }
}
