//! Limits on what comes from outside (DESIGN §10). Bytes unless the name says otherwise.

/// Largest input, signal payload, step output or result.
pub const PAYLOAD_BYTES_MAX: usize = 512 * 1024;
/// Largest encoded record; checked before deciding, so that no proposal can fail to append.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Most tags on one run.
pub const TAGS_MAX: usize = 16;
/// Longest tag key.
pub const TAG_KEY_BYTES_MAX: usize = 64;
/// Longest tag value.
pub const TAG_VALUE_BYTES_MAX: usize = 256;
/// Largest page of a list, in items.
pub const PAGE_ITEMS_MAX: usize = 1_000;
/// Most signals waiting unread in one run.
pub const SIGNALS_WAITING_MAX: usize = 10_000;
/// Longest run key and idempotency key.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest failure message kept; longer ones are cut.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Longest name of a principal or process.
pub const PRINCIPAL_BYTES_MAX: usize = 256;
