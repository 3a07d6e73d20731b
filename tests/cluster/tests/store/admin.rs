//! What an administrator would type.

use scylla::client::session_builder::SessionBuilder;
use tidewheel_cluster::cql::Server;

/// Runs statements as the user who may do all.
pub async fn run(server: &Server, statements: &[&str]) {
    let mut builder = SessionBuilder::new().known_nodes(server.contact_points());
    if let Some((user, password)) = server.superuser() {
        builder = builder.user(user, password);
    }
    let session = builder.build().await.expect("a session");
    for statement in statements {
        session.query_unpaged(*statement, &[]).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}
