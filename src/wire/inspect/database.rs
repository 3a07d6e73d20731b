//! What the database of a configuration is like, and what it lets this process do.

use std::time::Duration;

use tidewheel_engine::config::views::FIRST_GENERATION;
use tidewheel_projector::views::TABLES;
use tidewheel_schemas::TopicFamily;
use tidewheel_store::cql::{CqlStore, CqlStoreOptions, Inspection, Permissions, TableState};
use tidewheel_store::{Generation, StoreError};

use super::super::cluster::cql_options;
use super::script;
use crate::check::{self, Finding};
use crate::config::Config;
use crate::wire;

/// What a process does with rows.
const USES: [&str; 2] = ["SELECT", "MODIFY"];
/// What it does with tables that are missing or lack columns.
const MAKES: [&str; 2] = ["CREATE", "ALTER"];

/// How long the configuration's log may take to say which generations there are.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at it.
pub(super) async fn inspect(config: &Config) -> Vec<Finding> {
    let options = match cql_options(config) {
        Ok(options) => options,
        Err(error) => return vec![Finding::error("configuration", error)],
    };
    let subject = format!("database {}", options.contact_points.join(", "));
    let mut findings: Vec<Finding> = Vec::new();
    for generation in generations(config).await {
        let found = match CqlStore::inspect(options.clone(), generation, TABLES).await {
            Ok(inspection) => self::findings(&options, subject.clone(), generation, inspection),
            Err(error) => vec![Finding::error(subject.clone(), error)],
        };
        for finding in found {
            // What is not about tables is found with each generation.
            if !findings.iter().any(|known| known.subject == finding.subject) {
                findings.push(finding);
            }
        }
    }
    findings
}

/// The generations of the views that the configuration's log names; the first one if it does not say.
async fn generations(config: &Config) -> Vec<Generation> {
    let first = vec![Generation(FIRST_GENERATION)];
    let opening = config.clone();
    let Ok(Ok(opened)) = tokio::task::spawn_blocking(move || wire::open_log(&opening)).await else {
        return first;
    };
    let topic = TopicFamily::ConfigChanges.topic(&config.prefix, &config.datacenter);
    let read = tokio::time::timeout(PATIENCE, tidewheel_runtime::config::read(&opened.log, &topic)).await;
    let Ok(Ok(snapshot)) = read else { return first };
    snapshot.views(&config.datacenter).generations.keys().copied().map(Generation).collect()
}

fn findings(
    options: &CqlStoreOptions,
    subject: String,
    generation: Generation,
    inspection: Inspection,
) -> Vec<Finding> {
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
        let subject = format!("tables of generation {}", generation.0);
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
        findings.push(Finding::ok(format!("tables of generation {}", generation.0), what));
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
