//! What must be true of a cluster's log and views whatever happened to its processes.

use std::collections::BTreeSet;
use std::time::Duration;

use tidewheel::node::GENERATION;
use tidewheel_engine::{Fold, Verdict};
use tidewheel_schemas::{Entity, Event, RunId, TopicPartition};
use tidewheel_store::Generation;

use crate::nodes::{Cluster, PARTITIONS, PATIENCE};

/// What the log of a datacenter holds.
#[derive(Debug, Default)]
pub struct Audit {
    /// Records.
    pub records: u64,
    /// Records of owners that no longer led, and changed nothing.
    pub stale: u64,
    /// Records that were refused, their reasons by code.
    pub rejected: Vec<String>,
    /// Runs that were started.
    pub runs: BTreeSet<RunId>,
}

/// Refolds the log of a datacenter: no step has two results; and compares every row of the views with it once they
/// have caught up.
///
/// # Panics
/// When something is not as promised.
pub async fn audit(cluster: &Cluster, datacenter: &str) -> Audit {
    audit_of(cluster, datacenter, GENERATION).await
}

/// As [`audit`], of another generation of the views.
///
/// # Panics
/// When something is not as promised.
pub async fn audit_of(cluster: &Cluster, datacenter: &str, generation: Generation) -> Audit {
    let (log, topic) = (cluster.log(datacenter), cluster.topic(datacenter));
    let mut audit = Audit::default();
    let mut results = BTreeSet::new();
    for partition in 0..PARTITIONS {
        let place = TopicPartition::new(topic.clone(), partition);
        let end = log.bounds(&place).await.expect("bounds").end;
        let mut fold = Fold::new(partition);
        while fold.control().next_offset < end {
            let records = log.read(&place, fold.control().next_offset, 1_000).await.expect("records");
            if records.is_empty() {
                break;
            }
            for record in &records {
                assert_eq!(record.offset, fold.control().next_offset, "nobody here writes in transactions");
                let transition = fold.apply(record).expect("folding is total");
                audit.records += 1;
                match transition.verdict {
                    Verdict::Stale => audit.stale += 1,
                    Verdict::Rejected(rejection) => audit.rejected.push(rejection.code().to_owned()),
                    _ => {}
                }
                let Some(change) = &transition.run else { continue };
                let (Verdict::Accepted, Some(entry)) = (transition.verdict, &change.entry) else { continue };
                let run_id = change.after.run_id;
                match &*entry.event {
                    Event::RunStarted(_) => assert!(audit.runs.insert(run_id), "{run_id} was started twice"),
                    Event::StepCompleted(step) => assert!(
                        results.insert((run_id, step.location.clone())),
                        "a step of {run_id} has two results"
                    ),
                    _ => {}
                }
                assert!(
                    transition.headers.as_ref().is_some_and(|headers| headers.entity == Entity::Run(run_id)),
                    "a record changed a run it is not about"
                );
            }
        }
    }
    let views = tidewheel_replay::Views {
        log,
        topic,
        partitions: PARTITIONS,
        store: cluster.store(datacenter).await,
        generation,
    };
    let began = std::time::Instant::now();
    loop {
        let before = ends(&views).await;
        let report = tidewheel_replay::verify(&views, 5).await.expect("a verification");
        // Appends that nobody waited for may land late. What came in while it was compared is compared again.
        let is_still = before == ends(&views).await;
        if report.behind == 0 && is_still {
            eprintln!(
                "{datacenter}: {} runs, {} records folded, {} verified, ends {before:?}",
                audit.runs.len(),
                audit.records,
                report.records
            );
            assert_eq!(report.difference_count, 0, "{:#?}", report.differences);
            return audit;
        }
        assert!(began.elapsed() < PATIENCE, "the views stay behind the log: {report:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn ends(views: &tidewheel_replay::Views) -> Vec<i64> {
    let mut ends = Vec::new();
    for partition in 0..views.partitions {
        let place = TopicPartition::new(views.topic.clone(), partition);
        ends.push(views.log.bounds(&place).await.expect("bounds").end);
    }
    ends
}
