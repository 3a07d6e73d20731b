//! Real Kafka and Cassandra servers on loopback, from the jars of Maven's registry: for tests and for machines without
//! Docker. It speaks just enough of their protocols to know that they answer; clients live in `log` and `store`.
//!
//! Everything here blocks: start servers before a runtime, or on a thread that may wait. Servers listen on addresses
//! of 127.0.0.0/8 that are chosen per cluster, so clusters of parallel tests never meet and a server that is started
//! again finds its ports free. That all of 127.0.0.0/8 is this machine is so on Linux only.
//!
//! Servers end with the value that started them, and also when the process is killed or returns while the value is in
//! a `static`: a watchdog process then kills them and removes their folder. So tests of one binary may share a cluster
//! in a `OnceLock`.

mod address;
mod cassandra;
mod certificate;
mod classes;
mod error;
mod folder;
mod jars;
mod kafka;
mod program;
mod server;
mod toolchain;
mod watchdog;

pub use cassandra::{Cassandra, CassandraOptions, SUPERUSER, SUPERUSER_PASSWORD};
pub use error::NativeError;
pub use jars::{CACHE_VARIABLE, cache_folder};
pub use kafka::{Kafka, KafkaOptions};
pub use program::{Program, ProgramOptions};
pub use toolchain::{CLUSTER_VARIABLE, Missing, Toolchain, available, available_or_skip};
