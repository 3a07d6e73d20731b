//! Verification and mending, held against views with planted differences.

mod backfill;
mod bounded;
mod divergent;
mod found;
mod live;
mod mend;
mod selection;
mod share;
mod world;
