//! What the process is to do for each partition, from what the groups it is a member of suggest.

use std::collections::{BTreeMap, BTreeSet};

use tidewheel_runtime::{Duty, DutySender};
use tokio::sync::watch;

use crate::wire::Memberships;

/// Carries suggestions over into duties until the process ends.
pub(super) async fn follow(memberships: Memberships, duties: DutySender) {
    let (mut leads, mut projects) = (memberships.leads(), memberships.projects());
    let mut current = BTreeMap::new();
    loop {
        let next = duties_of(leads.as_mut(), projects.as_mut());
        if current != next {
            tracing::info!(duties = ?next, "duties");
            duties.replace(next.clone());
            current = next;
        }
        tokio::select! {
            () = changed(leads.as_mut()) => {}
            () = changed(projects.as_mut()) => {}
        }
    }
}

type Suggested<'a> = Option<&'a mut watch::Receiver<BTreeSet<u32>>>;

fn duties_of(leads: Suggested<'_>, projects: Suggested<'_>) -> BTreeMap<u32, Duty> {
    let mut duties = BTreeMap::<u32, Duty>::new();
    for partition in leads.iter().flat_map(|leads| leads.borrow().clone()) {
        duties.entry(partition).or_default().leads = true;
    }
    for partition in projects.iter().flat_map(|projects| projects.borrow().clone()) {
        duties.entry(partition).or_default().projects = true;
    }
    duties
}

async fn changed(suggested: Suggested<'_>) {
    let is_over = match suggested {
        Some(suggested) => suggested.changed().await.is_err(),
        None => true,
    };
    if is_over {
        std::future::pending::<()>().await;
    }
}
