//! The seeded simulator: whole worlds of processes, faults and workflows in one thread, with the real owners, the real
//! projector and the real fold between a simulated log, store, network and clock.
//!
//! One seed is one world, and the same one every time. [`run_seed`] lives it and says which invariants did not hold.

pub mod client;
pub mod clock;
pub mod driver;
pub mod fault;
pub mod invariant;
pub mod ledger;
pub mod outcome;
pub mod port;
pub mod process;
pub mod program;
pub mod random;
pub mod reader;
pub mod trace;
pub mod world;

pub use driver::{Settings, run_seed};
pub use fault::Fault;
pub use outcome::Outcome;
pub use world::Violation;
