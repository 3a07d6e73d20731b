//! The commands, one file each.

mod bench;
mod check;
mod demo;
mod dev;
mod fold;
mod health;
mod namespace;
mod replay;
mod run;
mod schemas;
mod serve;
mod status;
mod token;

use crate::args::{Command, FoldCommand};
use crate::failure::Failure;

/// Does what the command line asks.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Demo(arguments) => demo::run(&arguments).await,
        Command::Run(command) => run::run(command).await,
        Command::Check(arguments) => check::run(&arguments).await,
        Command::Token(command) => token::run(command).await,
        Command::Namespace(command) => namespace::run(command).await,
        Command::Status(arguments) => status::run(&arguments).await,
        Command::Health(arguments) => health::run(&arguments).await,
        Command::Fold(FoldCommand::Raise(arguments)) => fold::raise(&arguments).await,
        Command::Replay(command) => replay::run(command).await,
        Command::Schemas(command) => schemas::run(&command),
        Command::Bench(command) => bench::run(command).await,
    }
}
