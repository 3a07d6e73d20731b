//! Measures Tidewheel and its peers from outside: a load generator that is cheap enough to share a machine with what
//! it measures, the workloads, and where the figures come from. No rule of Tidewheel is here.

pub mod histogram;
pub mod history;
pub mod hot_run;
pub mod http;
pub mod kill;
pub mod load;
pub mod node;
pub mod payload;
pub mod process;
pub mod rebuild;
pub mod report;
pub mod runs;
pub mod scale;
pub mod target;
pub mod timers;
pub mod workload;
