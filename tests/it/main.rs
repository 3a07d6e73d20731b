//! Whole-system tests on the embedded backends: the built binary, its command line and its HTTP API.

mod access;
mod bench;
mod commands;
mod node;
mod operating;
mod readme;
mod replay;
mod restart;
