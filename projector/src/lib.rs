//! Log -> fold -> rows -> store, and the query API over the rows.
//!
//! What a record does is said in `engine`; how rows are kept, in `store`. Here is what the rows mean.

mod columns;
pub mod load;
pub mod views;
