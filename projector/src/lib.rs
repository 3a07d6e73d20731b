//! Log -> fold -> rows -> store, and the query API over the rows.
//!
//! What a record does is said in `engine`; how rows are kept, in `store`. Here is what the rows mean.

pub mod chunk;
mod columns;
pub mod generations;
pub mod load;
pub mod query;
pub mod views;
pub mod writer;

pub use generations::Generations;
pub use load::Views;
pub use writer::{Projector, ProjectorError, ProjectorOptions};
