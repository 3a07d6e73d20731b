//! The workflows a process knows, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_schemas::Name;

use super::Workflow;

/// Workflows by name. Cloning shares the code.
#[derive(Clone, Default)]
pub struct Workflows(BTreeMap<Name, Arc<dyn Workflow>>);

impl Workflows {
    /// No workflows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a workflow; one that had this name before is replaced and returned.
    pub fn insert(&mut self, name: Name, workflow: Arc<dyn Workflow>) -> Option<Arc<dyn Workflow>> {
        self.0.insert(name, workflow)
    }

    /// The workflow of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Workflow>> {
        self.0.get(name)
    }

    /// Every name, in order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.keys()
    }
}

impl std::fmt::Debug for Workflows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
