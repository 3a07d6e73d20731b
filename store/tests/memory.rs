//! The memory backend keeps the suite's promises.

use std::sync::Arc;

use tidewheel_store::{MemoryStore, suite};

#[tokio::test]
async fn the_memory_store_keeps_every_promise() {
    suite::all(|| Arc::new(MemoryStore::new())).await;
}
