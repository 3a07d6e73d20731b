//! The program `tidewheel`. What each command does is in `commands`.

mod allocator;
mod args;
mod client;
mod commands;
mod failure;
mod output;
mod sample;

use std::process::ExitCode;

use clap::Parser as _;

// A program that breaks its rules on purpose is for tests alone.
const _: () = assert!(!tidewheel_schemas::mutation::ENABLED);

fn main() -> ExitCode {
    allocator::keep_free_memory();
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; nothing can be done about a closed standard error.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(arguments.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}
