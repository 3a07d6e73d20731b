//! Where the tests of this folder find their servers: those named in the environment, or ones started on loopback. And
//! processes of a cluster, load on them, and what must be true of them afterwards.

pub mod audit;
pub mod cql;
pub mod kafka;
pub mod load;
pub mod nodes;
pub mod raw;
