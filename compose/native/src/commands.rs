//! What the program `tidewheel-native` can be told, a file each.

pub mod cluster;
pub mod fetch;
pub mod up;

use tokio::signal::unix::{SignalKind, signal};

/// Whatever ends a command, shown as one line or with the end of a log.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Returns at SIGTERM or ctrl-c.
fn wait_for_the_end() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// The result of a thread of a scope; its panic is ours.
fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
