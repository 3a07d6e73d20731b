//! Measures Tidewheel and its peers from outside: a load generator that is cheap enough to share a machine with what
//! it measures, the workloads, and where the figures come from. No rule of Tidewheel is here.

pub mod histogram;
pub mod http;
pub mod load;
pub mod node;
pub mod payload;
pub mod process;
pub mod report;
pub mod target;
pub mod workload;
