//! The suite against every backend, and what is particular to each.

#[path = "it/common.rs"]
mod common;
#[path = "it/damage.rs"]
mod damage;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/file.rs"]
mod file;
#[path = "it/kill.rs"]
mod kill;
#[path = "it/memory.rs"]
mod memory;
#[path = "it/trim.rs"]
mod trim;
