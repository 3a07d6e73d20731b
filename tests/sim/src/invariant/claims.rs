//! Claims and sequences, judged from the records themselves: what must count counts, and nothing else.

use tidewheel_engine::{Rejection, Verdict};
use tidewheel_schemas::{Author, Event, EventType, Record, RecordHeaders, codec};

use super::Refold;
use crate::world::World;

/// A claim counts exactly when it replaces the one in force; an engine record that is next in sequence under the claim
/// in force is never dropped, whatever its run makes of it.
pub(super) async fn what_is_in_force_counts(world: &World, refold: &Refold) {
    for partition in 0..world.partitions {
        let (mut claim, mut next_seq) = (None, 0);
        for record in world.records(partition).await {
            let RecordHeaders::Known(headers) = &record.headers else { continue };
            let Some(transition) = refold.transition(partition, record.offset) else { continue };
            if let Some(replaces) = replaced(&record) {
                let counts = transition.verdict == Verdict::Accepted;
                if counts != (replaces == claim) {
                    world.violate("a_claim_replaces_the_one_in_force", || {
                        format!(
                            "partition {partition} offset {}: the claim that replaces {replaces:?} is {:?}, in \
                             force is {claim:?}",
                            record.offset, transition.verdict
                        )
                    });
                }
                if counts {
                    (claim, next_seq) = (Some(record.offset), 0);
                }
            }
            let Author::Engine { claim: by, seq, .. } = headers.author else { continue };
            // What may not lie here at all is refused before it is looked at under whose claim it was written.
            let is_misplaced = matches!(
                transition.verdict,
                Verdict::Rejected(
                    Rejection::WrongPartition
                        | Rejection::NotInFold
                        | Rejection::WrongAuthor
                        | Rejection::Void
                )
            );
            if is_misplaced {
                world.trace.say(|| format!("misplaced: {transition:?}"));
            }
            if claim == Some(by) && seq == next_seq && !is_misplaced {
                next_seq += 1;
                if transition.verdict == Verdict::Stale {
                    world.violate("what_is_in_force_counts", || {
                        format!(
                            "partition {partition} offset {}: seq {seq} of claim {by} is dropped",
                            record.offset
                        )
                    });
                }
            }
        }
    }
}

/// What a claim says it replaces; none if the record is no claim.
fn replaced(record: &Record) -> Option<Option<i64>> {
    let RecordHeaders::Known(headers) = &record.headers else { return None };
    if headers.event_type != EventType::PartitionClaimed {
        return None;
    }
    match codec::decode(headers, &record.value) {
        Ok((_, Event::PartitionClaimed(claimed))) => Some(claimed.replaces),
        Ok(_) | Err(_) => None,
    }
}
