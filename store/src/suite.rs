//! The conformance suite: what every backend promises, as functions over a fresh store. They panic on a broken
//! promise. Promises that need files or processes are tested beside the backend that has them.

mod intercepted;
mod lists;
mod order;
mod paging;
mod rows;
mod scans;
pub mod tables;
mod writers;

use std::sync::Arc;

pub use intercepted::Intercepted;
pub use lists::{fields_appended_to_lists_read_as_null, lists_are_read_back_and_replaced_as_wholes};
pub use order::{
    a_late_older_write_does_not_bring_a_row_back, a_source_that_goes_back_is_compared_with_what_is_stored,
    any_order_gives_the_same_rows, equal_timestamps_follow_the_tie_rule,
    one_set_may_write_a_row_more_than_once,
};
pub use paging::{
    cursors_of_other_places_are_refused, large_rows_end_a_page_early, paging_neither_loses_nor_repeats_rows,
};
pub use rows::{
    columns_appended_later_read_as_null, deletions_remove_rows, generations_do_not_see_each_other,
    unfit_rows_are_refused_and_nothing_is_written, unknown_tables_are_refused, written_rows_are_read_back,
};
pub use scans::{
    a_whole_table_lists_every_row_once, ranges_take_prefixes, rows_come_in_the_order_of_their_keys,
    static_rows_stand_apart,
};
pub use writers::concurrent_writers_leave_the_newest_rows;

use crate::{Generation, Row, Scan, SharedStore, StateStore, TableSchema, Value, Write, WriteSet};

/// The generation the suite writes to.
pub const GENERATION: Generation = Generation(1);

/// Runs the whole suite, each promise on a fresh store.
pub async fn all(fresh: impl Fn() -> SharedStore) {
    written_rows_are_read_back(&*fresh()).await;
    deletions_remove_rows(&*fresh()).await;
    unknown_tables_are_refused(&*fresh()).await;
    unfit_rows_are_refused_and_nothing_is_written(&*fresh()).await;
    columns_appended_later_read_as_null(&*fresh()).await;
    lists_are_read_back_and_replaced_as_wholes(&*fresh()).await;
    fields_appended_to_lists_read_as_null(&*fresh()).await;
    generations_do_not_see_each_other(&*fresh()).await;
    equal_timestamps_follow_the_tie_rule(&*fresh()).await;
    a_late_older_write_does_not_bring_a_row_back(&*fresh()).await;
    a_source_that_goes_back_is_compared_with_what_is_stored(&*fresh()).await;
    one_set_may_write_a_row_more_than_once(&*fresh()).await;
    for seed in 0..10 {
        any_order_gives_the_same_rows(&*fresh(), seed).await;
    }
    static_rows_stand_apart(&*fresh()).await;
    ranges_take_prefixes(&*fresh()).await;
    rows_come_in_the_order_of_their_keys(&*fresh()).await;
    a_whole_table_lists_every_row_once(&*fresh()).await;
    paging_neither_loses_nor_repeats_rows(&*fresh()).await;
    large_rows_end_a_page_early(&*fresh()).await;
    cursors_of_other_places_are_refused(&*fresh()).await;
    concurrent_writers_leave_the_newest_rows(Arc::clone(&fresh())).await;
}

/// Every row of a table, static rows included, in the store's order.
pub async fn dump(store: &dyn StateStore, generation: Generation, table: &'static TableSchema) -> Vec<Row> {
    let mut scan = everything(7);
    let mut rows = Vec::new();
    loop {
        let page = store.scan(generation, table, &scan).await.expect("a scan of the whole table");
        rows.extend(page.rows);
        match page.next {
            Some(next) => scan.after = Some(next),
            None => return rows,
        }
    }
}

/// A scan of a whole table.
pub(crate) fn everything(limit: usize) -> Scan {
    Scan { partition: None, from: None, to: None, after: None, reverse: false, limit }
}

/// A scan of a whole partition.
pub(crate) fn partition(key: Vec<Value>, limit: usize) -> Scan {
    Scan { partition: Some(key), ..everything(limit) }
}

/// A write set of entities alone.
pub(crate) fn set(entities: Vec<Write>) -> WriteSet {
    WriteSet { entities, ..WriteSet::default() }
}

/// Text.
pub(crate) fn text(value: &str) -> Value {
    Value::Text(value.into())
}

/// Repeatable numbers, so that a failure can be run again.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// The next number below a bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Shuffles in place.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}
