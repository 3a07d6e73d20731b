//! The conformance suite.

use std::sync::Arc;

use tidewheel_cluster::cql::Server;
use tidewheel_store::suite;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cql_store_keeps_every_promise() {
    let Some(server) = Server::shared("the_cql_store_keeps_every_promise").await else { return };
    suite::all(|| Arc::new(block_in_place(|| Handle::current().block_on(server.store())))).await;
}
