//! Verification and mending, held against views with planted differences.

mod bounded;
mod divergent;
mod found;
mod live;
mod mend;
mod share;
mod world;
