//! Two datacenters, each a node on an embedded log in this process: requests are answered by the one they are about,
//! whichever is asked.

mod batches;
mod faults;
mod relay;
mod routes;
mod starts;
mod world;
