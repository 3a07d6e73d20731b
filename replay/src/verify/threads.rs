//! Doing several things at once, on threads of their own: a verification must not hold up those who serve requests.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::VerifyError;
use crate::thread;

/// One thing to do.
pub(super) type Work<T> = BoxFuture<'static, Result<T, VerifyError>>;

/// Does all of it, on up to so many threads; one after the other where the caller is, for one or none. What comes out is
/// in the order of what was given.
pub(super) async fn each<T: Send + 'static>(
    threads: usize,
    work: Vec<Work<T>>,
) -> Result<Vec<T>, VerifyError> {
    if threads <= 1 {
        let mut done = Vec::with_capacity(work.len());
        for work in work {
            done.push(work.await?);
        }
        return Ok(done);
    }
    let count = work.len();
    let mut done = Vec::new();
    done.resize_with(count, || None);
    let (sender, mut ended) = mpsc::channel(count.max(1));
    let waiting = Arc::new(Mutex::new(work.into_iter().enumerate().collect::<VecDeque<_>>()));
    for _ in 0..threads.min(count) {
        let (waiting, sender) = (Arc::clone(&waiting), sender.clone());
        let failed = |error: std::io::Error| VerifyError::Thread(error.to_string());
        let run = async move {
            loop {
                let next = waiting.lock().pop_front();
                let Some((place, work)) = next else { return };
                // Nobody waits for the rest once one of them failed.
                if sender.send((place, work.await)).await.is_err() {
                    return;
                }
            }
        };
        thread::spawn("verify", run).map_err(failed)?;
    }
    drop(sender);
    while let Some((place, outcome)) = ended.recv().await {
        done[place] = Some(outcome?);
    }
    done.into_iter().collect::<Option<_>>().ok_or_else(|| VerifyError::Thread("one of them ended".to_owned()))
}
