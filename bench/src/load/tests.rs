//! Tests of the load, against operations that take a known time.

use std::time::Duration;

use super::*;

struct Sleeps {
    for_: Duration,
    every: u64,
    number: u64,
}

impl Operation for Sleeps {
    async fn perform(&mut self) -> Result<u64, Wrong> {
        tokio::time::sleep(self.for_).await;
        self.number += 1;
        if self.every > 0 && self.number.is_multiple_of(self.every) {
            return Err(Wrong::Status { status: 503, body: format!("number {}", self.number) });
        }
        Ok(3)
    }
}

fn plan(clients: usize, rate: Option<f64>) -> Plan {
    Plan {
        clients,
        warm_up: Duration::from_millis(50),
        duration: Duration::from_millis(400),
        rate,
        processes: vec![std::process::id()],
    }
}

#[tokio::test]
async fn a_closed_loop_counts_operations_units_and_failures() {
    let client = |_| Sleeps { for_: Duration::from_millis(10), every: 4, number: 0 };
    let measured = measure(plan(3, None), client).await.unwrap();
    assert!(measured.operations > 0);
    assert_eq!(measured.units, measured.operations * 3);
    assert!(measured.latencies.quantile_us(0.0) >= 9_900, "{:?}", measured.latencies.quantiles());
    assert_eq!(measured.failed.len(), 1);
    assert_eq!(measured.failed["503"].first, "status 503: number 4");
    assert!(measured.failed_count() >= 3);
    assert!(measured.corrected().unwrap().count() >= measured.latencies.count());
    assert!(measured.open_loop.is_none());
}

#[tokio::test]
async fn an_open_loop_sends_as_many_as_intended() {
    let client = |_| Sleeps { for_: Duration::from_millis(1), every: 0, number: 0 };
    let measured = measure(plan(8, Some(200.0)), client).await.unwrap();
    let open_loop = measured.open_loop.as_ref().unwrap();
    assert_eq!((open_loop.intended, open_loop.unsent), (80, 0));
    assert_eq!(measured.latencies.count(), 80);
    assert!(measured.corrected().is_none(), "an open loop needs no correction");
}

#[tokio::test]
async fn an_open_loop_counts_the_time_an_operation_waits_for_a_client() {
    let client = |_| Sleeps { for_: Duration::from_millis(20), every: 0, number: 0 };
    // Asked for 100 a second, one client does at most 50: the last one waits for half of the time.
    let measured = measure(plan(1, Some(100.0)), client).await.unwrap();
    assert!(measured.latencies.quantiles().max_us > 150_000, "{:?}", measured.latencies.quantiles());
    assert_eq!(measured.latencies.count(), 40);
}

#[tokio::test]
async fn a_queue_that_is_full_is_said_and_not_waited_for() {
    // 5 s of the rate fit into the queue, and nobody takes anything out of it.
    let start = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
    let (schedule, pacer) = Schedule::new(1_000.0, start, start, start + Duration::from_secs(6));
    let outcome = pacer.run();
    assert_eq!((outcome.intended, outcome.unsent), (6_000, 1_000));
    assert!(outcome.lateness.quantile_us(0.5) > 3_000_000, "it was handed out too late, and that is said");
    assert_eq!(schedule.next().await, Some(start));
}

#[tokio::test]
async fn a_plan_that_makes_no_sense_is_refused() {
    let client = |_| Sleeps { for_: Duration::ZERO, every: 0, number: 0 };
    for wrong in [
        Plan { clients: 0, ..plan(1, None) },
        Plan { duration: Duration::ZERO, ..plan(1, None) },
        plan(1, Some(0.0)),
        plan(1, Some(f64::NAN)),
    ] {
        assert!(matches!(measure(wrong, client).await, Err(LoadError::Plan(_))));
    }
}

#[test]
fn errors_are_counted_by_status() {
    let kind = |status, body: &'static [u8]| Wrong::answer(&Answer { status, body }).kind();
    assert_eq!(
        (kind(503, b""), kind(404, b""), kind(200, b"{}")),
        ("503".into(), "404".into(), "wrong answer".into())
    );
}
