//! What an archive promises, on stores in memory and in folders.

#[path = "it/clone.rs"]
mod clone;
#[path = "it/columns.rs"]
mod columns;
#[path = "it/common.rs"]
mod common;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/damage.rs"]
mod damage;
#[path = "it/frozen.rs"]
mod frozen;
#[path = "it/joined.rs"]
mod joined;
#[path = "it/s3.rs"]
mod s3;
#[path = "it/trim.rs"]
mod trim;
#[path = "it/wider.rs"]
mod wider;
