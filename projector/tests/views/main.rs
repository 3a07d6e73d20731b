//! What the projector promises, held against the real fold and real stores.

mod codecs;
mod generations;
mod http;
mod load;
mod order;
mod rows;
mod segments;
mod world;
mod writer;
