//! Signals from run to run.

use std::collections::{BTreeMap, BTreeSet};

use tidewheel_engine::{OutboxChange, Verdict};
use tidewheel_schemas::{Author, OutboxName};

use super::Refold;
use crate::world::World;

/// Every signal a run sent reaches its target's run exactly once, as applied or as refused by that run, and those from
/// one partition to another arrive in the order in which they were sent.
pub(super) fn signals_arrive_once_and_in_order(world: &World, refold: &Refold) {
    let mut arrived: BTreeMap<(u32, OutboxName), u32> = BTreeMap::new();
    for (destination, transitions) in refold.transitions() {
        let mut last: BTreeMap<u32, OutboxName> = BTreeMap::new();
        for transition in transitions {
            let Some(headers) = &transition.headers else { continue };
            let Author::Outbox { partition, name, .. } = headers.author else { continue };
            if !matches!(transition.verdict, Verdict::Accepted | Verdict::Rejected(_)) {
                continue;
            }
            *arrived.entry((partition, name)).or_default() += 1;
            if last.insert(partition, name).is_some_and(|before| before >= name) {
                world.violate("signals_arrive_once_and_in_order", || {
                    format!("{name:?} from {partition} came to {destination} after a later one")
                });
            }
        }
    }
    let mut sent = BTreeSet::new();
    for (partition, transitions) in refold.transitions() {
        for change in transitions.iter().flat_map(|transition| &transition.outbox) {
            if let OutboxChange::Put(entry) = change {
                sent.insert((partition, entry.name));
            }
        }
    }
    for message in &sent {
        let times = arrived.remove(message).unwrap_or(0);
        if times != 1 {
            world.violate("signals_arrive_once_and_in_order", || {
                format!("{:?} of partition {} arrived {times} times", message.1, message.0)
            });
        }
    }
    if let Some(((partition, name), _)) = arrived.first_key_value() {
        world.violate("signals_arrive_once_and_in_order", || {
            format!("nobody sent {name:?} of partition {partition}")
        });
    }
}
