//! engine/runtime
