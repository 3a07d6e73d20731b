//! Connecting: a session that asks this datacenter's nodes alone, and errors that say what to correct.

use std::collections::BTreeSet;
use std::sync::Arc;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::host_filter::DcHostFilter;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::DefaultRetryPolicy;
use scylla::statement::Consistency;

use super::failure::Judge;
use super::options::CqlStoreOptions;
use super::tls;
use crate::StoreError;

/// A session whose requests go to the datacenter's nodes and are answered by a quorum of its replicas.
pub(super) async fn session(options: &CqlStoreOptions, judge: &Judge) -> Result<Session, StoreError> {
    let balancing = DefaultPolicy::builder()
        .prefer_datacenter(options.datacenter.clone())
        .permit_dc_failover(false)
        .token_aware(true)
        .build();
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(options.request_timeout))
        .load_balancing_policy(balancing)
        .retry_policy(Arc::new(DefaultRetryPolicy::new()))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(options.nodes())
        .default_execution_profile_handle(profile.into_handle())
        .host_filter(Arc::new(DcHostFilter::new(options.datacenter.clone())))
        .keyspaces_to_fetch([options.keyspace.clone()])
        .fetch_full_schema_metadata(false)
        .connection_timeout(options.connect_timeout)
        .schema_agreement_timeout(options.connect_timeout * 6)
        // Once after several changes is enough; whoever makes them asks for it.
        .refresh_metadata_on_auto_schema_agreement(false);
    if let (Some(user), Some(password)) = (&options.user, &options.password) {
        builder = builder.user(user, password.expose());
    }
    if let Some(tls) = &options.tls {
        builder = builder.tls_context(Some(tls::configuration(tls)?));
    }
    let connected = tokio::time::timeout(options.connect_timeout, builder.build()).await;
    let session = match connected {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return Err(judge.connecting(&error, options)),
        Err(_) => {
            return Err(StoreError::Unavailable(format!(
                "none of {} answers within {} ms",
                options.nodes().join(", "),
                options.connect_timeout.as_millis()
            )));
        }
    };
    check_datacenter(&session, options)?;
    Ok(session)
}

fn check_datacenter(session: &Session, options: &CqlStoreOptions) -> Result<(), StoreError> {
    let state = session.get_cluster_state();
    let found: BTreeSet<&str> =
        state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    if found.contains(options.datacenter.as_str()) {
        return Ok(());
    }
    Err(StoreError::UnknownDatacenter {
        datacenter: options.datacenter.clone(),
        found: found.into_iter().collect::<Vec<_>>().join(", "),
    })
}
