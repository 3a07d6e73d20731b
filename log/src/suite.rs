//! The conformance suite: the promises of [`EventLog`](crate::EventLog) as functions every backend runs.
//!
//! [`log_suite!`](crate::log_suite) makes one test of each. Every function creates topics of its own, so all may
//! run against one log. They panic where a promise is broken: this module is for tests only.

mod promises;
mod records;

pub use promises::*;
pub use records::{foreign_record, fresh_topic, record, record_at, take, texts};

/// One `#[tokio::test]` for each promise, against the log that the future of `$make()` answers as
/// `(SharedLog, guard)`; the guard is dropped last. With `optional` before it, `$make` answers an `Option`, and `None`
/// skips the test.
#[macro_export]
macro_rules! log_suite {
    ($make:path) => { $crate::log_suite! { @all [::core::option::Option::Some] $make } };
    (optional $make:path) => { $crate::log_suite! { @all [::core::convert::identity] $make } };
    (@all [$($option:tt)+] $make:path) => {
        $crate::log_suite! { @each [$($option)+] $make;
            a_topic_keeps_its_partition_count
            an_unknown_topic_or_partition_is_refused
            batches_lie_at_consecutive_offsets_as_given
            batches_lie_in_the_order_submitted_without_awaiting
            concurrent_appenders_interleave_whole_batches
            a_dropped_append_is_still_appended
            reads_tails_and_bounds_agree
            a_tail_follows_the_partition_as_it_grows
            a_dropped_wait_of_a_tail_loses_nothing
            an_acknowledged_record_is_visible_at_once
            an_offset_beyond_the_end_is_refused
            a_record_over_the_limit_is_refused_with_its_batch
            the_first_record_at_or_after_a_time_is_found
            topics_and_partitions_are_independent
            every_header_and_byte_comes_back
            what_is_trimmed_is_gone_and_the_rest_lies_where_it_was
            a_tail_that_a_trim_overtakes_skips_nothing
            a_trim_of_what_does_not_exist_removes_nothing
        }
    };
    (@each $option:tt $make:path; $($promise:ident)+) => { $( $crate::log_suite! { @one $option $make; $promise } )+ };
    (@one [$($option:tt)+] $make:path; $promise:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let Some((log, guard)) = $($option)+($make().await) else { return };
            $crate::suite::$promise(&log).await;
            drop(log);
            drop(guard);
        }
    };
}
