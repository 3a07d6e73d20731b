//! The node's configuration as the routes of namespaces and tokens see it. Who follows its log is `engine/runtime`.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tidewheel_engine::config::ConfigSnapshot;
use tidewheel_ingest::administration::{self, ChangeError, Changed};
use tidewheel_log::SharedClock;
use tidewheel_runtime::Configuration;
use tidewheel_runtime::config::{self, Judged};
use tidewheel_schemas::{ConfigEvent, Envelope, Position};

/// A configuration that is followed, and the clock of its node.
pub(super) struct Followed {
    pub(super) configuration: Configuration,
    pub(super) clock: SharedClock,
}

impl administration::Configuration for Followed {
    fn snapshot(&self) -> Arc<ConfigSnapshot> {
        self.configuration.snapshot()
    }

    fn change(
        &self,
        envelope: Envelope,
        event: ConfigEvent,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Changed, ChangeError>> {
        let configuration = self.configuration.clone();
        async move {
            let changed = configuration.change(envelope, event, patience).await.map_err(failed)?;
            let judged = changed.judged.map(|Judged { verdict, after }| (verdict, after));
            Ok(Changed { position: changed.position, judged })
        }
        .boxed()
    }

    fn reach(&self, position: Position, patience: Duration) -> BoxFuture<'static, bool> {
        let configuration = self.configuration.clone();
        async move { configuration.reach(position, patience).await }.boxed()
    }

    fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    fn random(&self) -> [u8; 16] {
        self.clock.random_16()
    }
}

/// Tells whoever starts a node that asks for tokens how to get one, if there is none.
pub(super) async fn say_how_to_begin(configuration: Configuration) {
    configuration.complete().await;
    if configuration.snapshot().tokens.values().all(|token| token.is_revoked()) {
        tracing::warn!(
            "access tokens are required and nobody has one: make the first with `tidewheel token bootstrap`, with the \
             configuration file of this process"
        );
    }
}

fn failed(error: config::ChangeError) -> ChangeError {
    match error {
        config::ChangeError::Encode(error) => ChangeError::Encode(error),
        config::ChangeError::Log(error) => ChangeError::Log(error),
        error @ config::ChangeError::Away => ChangeError::Away(error.to_string()),
        error @ config::ChangeError::Unanswered(_) => ChangeError::Unanswered(error.to_string()),
    }
}
