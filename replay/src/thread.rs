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

/// Threads beside those that serve requests, for work that takes a processor for long and is awaited. Dropping it abandons
/// what still runs.
#[derive(Debug)]
pub struct Background(Option<tokio::runtime::Runtime>);

impl Background {
    /// So many threads.
    ///
    /// # Errors
    /// When the system has no threads to give.
    pub fn new(name: &str, threads: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name(name)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Carries `work` out there. Dropping what this answers ends the work where it waits next.
    ///
    /// # Errors
    /// When the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        let Some(runtime) = &self.0 else { return Ok(work.await) };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn_on(work, runtime.handle());
        match tasks.join_next().await {
            Some(ended) => ended.map_err(io::Error::other),
            None => Err(io::Error::other("the work was not begun")),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
