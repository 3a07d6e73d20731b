//! The memory log: the suite, and its switches.

use std::future::{Ready, ready};
use std::sync::Arc;

use tidewheel_log::suite::{fresh_topic, record};
use tidewheel_log::{EventLog, LogError, MemoryLog, SharedLog};
use tidewheel_schemas::TopicPartition;

fn make() -> Ready<(SharedLog, ())> {
    ready((Arc::new(MemoryLog::new()), ()))
}

tidewheel_log::log_suite!(make);

async fn with_partition() -> (MemoryLog, TopicPartition) {
    let (log, topic) = (MemoryLog::new(), fresh_topic());
    log.create_topic(&topic, 1).await.unwrap();
    (log, TopicPartition::new(topic, 0))
}

#[tokio::test]
async fn held_batches_are_invisible_until_released() {
    let (log, to) = with_partition().await;
    log.hold();
    let first = log.append(&to, vec![record("first")]);
    let second = log.append(&to, vec![record("second")]);
    assert_eq!((log.held(), log.bounds(&to).await.unwrap().end), (2, 0));
    log.release(1);
    assert_eq!(first.await.unwrap().first(), 0);
    assert_eq!(log.bounds(&to).await.unwrap().end, 1);
    log.resume();
    assert_eq!(second.await.unwrap().first(), 1);
    assert_eq!(log.append(&to, vec![record("third")]).await.unwrap().first(), 2);
}

#[tokio::test]
async fn a_failed_log_keeps_what_it_kept_and_tells_nobody() {
    let (log, to) = with_partition().await;
    log.hold();
    let appends = [log.append(&to, vec![record("kept")]), log.append(&to, vec![record("lost")])];
    let mut tail = log.tail(&to, 0).await.unwrap();
    log.fail("the simulator said so", 1);
    for append in appends {
        assert!(matches!(append.await, Err(LogError::Failed(_))));
    }
    assert!(matches!(log.append(&to, vec![record("later")]).await, Err(LogError::Failed(_))));
    assert_eq!(tail.next(10).await.unwrap().len(), 1);
    assert!(matches!(tail.next(10).await, Err(LogError::Failed(_))));
    log.revive();
    assert_eq!(log.append(&to, vec![record("revived")]).await.unwrap().first(), 1);
}

#[tokio::test]
async fn an_overloaded_log_appends_nothing() {
    let (log, to) = with_partition().await;
    log.overload(true);
    assert!(matches!(log.append(&to, vec![record("no")]).await, Err(LogError::Overloaded)));
    log.overload(false);
    assert_eq!(log.append(&to, vec![record("yes")]).await.unwrap().first(), 0);
}
