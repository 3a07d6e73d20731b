//! The rules of the fold, one promise a test: what Control lets through, and what an entity makes of it.

mod control;
mod entity;
mod parked;
mod world;
