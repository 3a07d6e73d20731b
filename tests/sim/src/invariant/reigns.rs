//! Fencing, judged from headers alone and without the fold's help.

use tidewheel_engine::{Transition, Verdict};
use tidewheel_schemas::{Author, EventType};

use super::Refold;
use crate::world::World;

/// Engine records count only under the claim in force and in dense sequence; a claim counts only if nothing counted
/// since the claim it replaces was replaced.
pub(super) fn one_reign_at_a_time(world: &World, refold: &Refold) {
    for (partition, transitions) in refold.transitions() {
        let (mut claim, mut next_seq) = (None, 0);
        for Transition { offset, headers, verdict, .. } in transitions {
            let Some(headers) = headers else { continue };
            if headers.event_type == EventType::PartitionClaimed && *verdict == Verdict::Accepted {
                claim = Some(*offset);
                next_seq = 0;
            }
            let Author::Engine { claim: by, seq, .. } = headers.author else { continue };
            let in_force = claim == Some(by) && next_seq == seq;
            if in_force {
                next_seq += 1;
            } else if *verdict != Verdict::Stale && !is_refused_anyway(*verdict) {
                world.violate("one_reign_at_a_time", || {
                    format!(
                        "partition {partition} offset {offset}: claim {by} seq {seq} is {verdict:?}, in force are \
                         {claim:?} and {next_seq}"
                    )
                });
            }
        }
    }
}

const fn is_refused_anyway(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Rejected(_))
}
