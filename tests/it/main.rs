//! Whole-system tests on the embedded backends: the built binary, its command line and its HTTP API.

mod access;
mod archive;
mod backfill;
mod bench;
mod commands;
mod documents;
mod drill;
mod examine;
mod node;
mod operating;
mod parked;
mod past;

mod replay;
mod restart;
mod wider;
