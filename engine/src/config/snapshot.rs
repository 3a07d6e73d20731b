//! The configuration as readers see it: every partition's entities together. Pure data; who publishes it is said in
//! `engine/runtime`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_schemas::{LogId, Name, TokenId};

use super::{ConfigEntity, NamespaceState, TokenState, ViewsState};

/// How far one partition is in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The partition's log.
    pub log_id: LogId,
    /// The last offset that is in.
    pub offset: i64,
}

/// The configuration at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigSnapshot {
    /// The namespaces that were created.
    pub namespaces: BTreeMap<Name, Arc<NamespaceState>>,
    /// The tokens that were created, revoked ones among them.
    pub tokens: BTreeMap<TokenId, Arc<TokenState>>,
    /// The views of the datacenters of which a record speaks; see [`Self::views`].
    pub views: BTreeMap<Name, Arc<ViewsState>>,
    /// How far each partition is.
    pub applied: BTreeMap<u32, Applied>,
    /// Whether everything was read that the log held when the process began: before, nothing is known for sure.
    pub is_complete: bool,
}

impl ConfigSnapshot {
    /// The views of a datacenter, also if no record speaks of them.
    pub fn views(&self, datacenter: &Name) -> Arc<ViewsState> {
        let known = self.views.get(datacenter).cloned();
        known.unwrap_or_else(|| Arc::new(ViewsState::initial(datacenter.clone())))
    }

    /// Takes over what a record left.
    pub fn put(&mut self, entity: ConfigEntity) {
        match entity {
            ConfigEntity::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace);
            }
            ConfigEntity::Token(token) => {
                self.tokens.insert(token.token_id, token);
            }
            ConfigEntity::Views(views) => {
                self.views.insert(views.datacenter.clone(), views);
            }
        }
    }
}
