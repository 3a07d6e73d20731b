//! The workflow machine from outside: random programs in a random world, and single promises one by one.

mod cases;
mod edits;
mod properties;
mod script;
mod world;
