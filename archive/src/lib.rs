//! Where old facts live: sealed ranges of the log as files that anybody can read, and log and archive as one.
//!
//! What a fact is is said in `schemas`, what a log promises in `log`. Object stores are named in here only.

mod catalog;
mod columns;
pub mod container;
mod coverage;
mod cut;
mod error;
mod export;
mod history;
mod identity;
mod import;
mod joined;
mod location;
mod manifest;
mod trim;
mod verify;
mod wider;

pub use catalog::{Catalog, Chain};
pub use columns::{COLUMNS_FORMAT, ColumnsManifest, Converted, write_columns};
pub use coverage::{Coverage, Offsets, coverage};
pub use error::ArchiveError;
pub use export::{ExportOptions, Exported, Progress, export};
pub use import::{AsOf, CloneIdentity, ImportPlan, Imported, import};
pub use joined::JoinedLog;
pub use location::Archive;
pub use manifest::{FORMAT, Manifest};
pub use trim::{Trimmed, trim};
pub use verify::{Finding, Report, verify};
