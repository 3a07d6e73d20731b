//! Threads for what takes a processor for long: those who serve requests keep theirs.

use std::io;

/// Carries `work` out on a thread of its own with this name.
///
/// # Errors
/// When the system has no thread to give.
pub fn spawn(name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(work))?;
    Ok(())
}
