//! A fold version that no build has yet, so that an upgrade to it can be tested before there is one: everything of the
//! newest version but `run-terminated`. A process knows it only once it was told to.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::EventType;
use crate::registry;

static KNOWN: AtomicBool = AtomicBool::new(false);

/// Lets this process know the version from now on, as a build of the next release would.
pub fn know() {
    KNOWN.store(true, Ordering::SeqCst);
}

/// Whether this process knows it.
pub fn is_known() -> bool {
    KNOWN.load(Ordering::Relaxed)
}

/// Whether a record counts under it.
pub(crate) fn allowed(event_type: EventType, schema_id: u32) -> bool {
    is_known()
        && event_type != EventType::RunTerminated
        && registry::allowed(registry::NEXT_FOLD - 1, event_type, schema_id)
}
