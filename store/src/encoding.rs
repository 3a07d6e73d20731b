//! The bytes of keys and rows, shared by the memory and embedded backends. Where the bytes are kept is not said here.

pub(crate) mod key;
pub(crate) mod pack;
pub(crate) mod row;
