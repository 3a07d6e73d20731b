//! Loading runs from the views into an owner's memory.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tidewheel_engine::Run;
use tidewheel_schemas::RunId;

use super::{OwnerError, OwnerOptions, Reign};

/// Runs asked for at once: a store beyond a network answers many questions in the time of one.
const AT_ONCE: usize = 64;
const WAIT: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_secs(2);

impl Reign {
    /// Brings runs into memory, those of them that a view knows.
    pub(super) async fn load(
        &mut self,
        runs: impl IntoIterator<Item = RunId, IntoIter: Send>,
    ) -> Result<(), OwnerError> {
        let options = &self.options;
        let mut loaded = stream::iter(runs).map(|run_id| load(options, run_id)).buffered(AT_ONCE);
        while let Some(run) = loaded.try_next().await? {
            if let Some(run) = run {
                self.partition.insert(run);
            }
        }
        Ok(())
    }
}

/// Nothing can be folded without a run that a record is about, so the partition waits for a store that is away; its
/// records stay in the log.
async fn load(options: &OwnerOptions, run_id: RunId) -> Result<Option<Run>, OwnerError> {
    let mut wait = WAIT;
    loop {
        match options.views.load_run(run_id).await {
            Ok(run) => return Ok(run),
            Err(error) if error.transient && !options.shutdown.is_cancelled() => {
                tracing::warn!(%run_id, %error, "a run cannot be loaded, trying again");
                // An error means that it is to stop: it tries once more, for the sake of what is in flight.
                let _ = tokio::time::timeout(wait, options.shutdown.cancelled()).await;
                wait = (wait * 2).min(WAIT_MAX);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
