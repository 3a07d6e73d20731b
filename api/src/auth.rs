//! Who may do what: access tokens, roles, and the guard in front of every route. How a token looks is said in `token`.

pub mod access;
mod guard;
mod identity;
mod role;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidewheel_engine::config::{ConfigSnapshot, TokenState};
use tidewheel_schemas::{TokenHash, TokenId};
use tokio::sync::watch;

pub use self::access::{Need, need};
pub use self::guard::guard;
pub use self::identity::Identity;
pub use self::role::Role;
use crate::token::{Secret, is_same};

/// Tells the time, microseconds since 1970.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What the guard knows: the tokens there are, and whether one is needed. Cloning shares it.
#[derive(Clone)]
pub struct Auth(Arc<Shared>);

struct Shared {
    is_required: bool,
    snapshots: watch::Receiver<Arc<ConfigSnapshot>>,
    now: Now,
}

/// A token that was shown with its right secret.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) token: Arc<TokenState>,
    hash: TokenHash,
}

/// How long a secret is valid as far as is known.
enum Validity {
    Open,
    Until(i64),
    Over,
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Auth").field("is_required", &self.0.is_required).finish_non_exhaustive()
    }
}

impl Auth {
    /// Checks tokens against `snapshots`. Where none is required, a request without one may do everything, and one
    /// with a token is checked all the same.
    pub fn new(is_required: bool, snapshots: watch::Receiver<Arc<ConfigSnapshot>>, now: Now) -> Self {
        Self(Arc::new(Shared { is_required, snapshots, now }))
    }

    fn is_complete(&self) -> bool {
        self.0.snapshots.borrow().is_complete
    }

    /// The token of this secret, if it is valid now. One look-up by id, one hash.
    fn check(&self, secret: &Secret) -> Option<Shown> {
        let token = self.token(secret.token_id())?;
        let shown = Shown { token, hash: secret.hash() };
        match shown.validity(&shown.token, (self.0.now)()) {
            Validity::Open | Validity::Until(_) => Some(shown),
            Validity::Over => None,
        }
    }

    fn token(&self, token_id: TokenId) -> Option<Arc<TokenState>> {
        self.0.snapshots.borrow().tokens.get(&token_id).cloned()
    }

    /// Resolves once a token that was shown is valid no more: revoked, or rotated and its time is over.
    async fn over(self, shown: Shown) {
        let mut snapshots = self.0.snapshots.clone();
        loop {
            let token = snapshots.borrow_and_update().tokens.get(&shown.token.token_id).cloned();
            let now_us = (self.0.now)();
            let validity = token.map_or(Validity::Over, |token| shown.validity(&token, now_us));
            let is_alive = match validity {
                Validity::Over => return,
                Validity::Open => snapshots.changed().await.is_ok(),
                Validity::Until(until_us) => {
                    let wait_us = u64::try_from(until_us.saturating_sub(now_us)).unwrap_or(0);
                    tokio::select! {
                        changed = snapshots.changed() => changed.is_ok(),
                        // Clocks are not timers: looked at again, once more too early if need be.
                        () = tokio::time::sleep(Duration::from_micros(wait_us).max(Duration::from_millis(1))) => true,
                    }
                }
            };
            if !is_alive {
                // The node stops, which ends requests in its own way.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Shown {
    fn validity(&self, token: &TokenState, now_us: i64) -> Validity {
        let is_current = is_same(&token.hash, &self.hash);
        let previous = token.previous.filter(|previous| is_same(&previous.hash, &self.hash));
        match (token.is_revoked(), is_current, previous) {
            (true, _, _) | (false, false, None) => Validity::Over,
            (false, true, _) => Validity::Open,
            (false, false, Some(previous)) if previous.until_us > now_us => {
                Validity::Until(previous.until_us)
            }
            (false, false, Some(_)) => Validity::Over,
        }
    }
}
