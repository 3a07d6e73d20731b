//! Steps: user code with a recorded result. Options, retry policy and the closure; running it is the shell's work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tidewheel_schemas::{Failure, Location, Name, Payload, RunId};

/// One attempt of a step under way.
pub type StepFuture = Pin<Box<dyn Future<Output = Result<Payload, StepFailure>> + Send>>;

/// The code of a step; called once per attempt.
pub type StepTask = Arc<dyn Fn(StepCall) -> StepFuture + Send + Sync>;

/// What one attempt of a step is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepCall {
    /// The run it belongs to.
    pub run_id: RunId,
    /// Where in the workflow.
    pub location: Location,
    /// The step's name.
    pub name: Name,
    /// Which attempt, from 1.
    pub attempt: u32,
}

impl StepCall {
    /// The same text for every attempt of this step and for no other step: what to hand to services that
    /// deduplicate requests.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}", self.run_id, self.location)
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    /// What happened.
    pub failure: Failure,
    /// Whether another attempt may succeed.
    pub retryable: bool,
}

/// How a step is run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepOptions {
    /// When it is tried again.
    pub retry: RetryPolicy,
    /// Longest time one attempt may take, milliseconds; then it counts as failed with the code `timeout`.
    pub timeout_ms: Option<u64>,
}

/// When a failed step is tried again. The default never gives up: 100 ms, doubling, at most 60 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts, the first included; unlimited if there is none. 0 means 1.
    pub attempts_max: Option<u32>,
    /// Wait after the first failed attempt, milliseconds.
    pub backoff_initial_ms: u64,
    /// How the wait grows from attempt to attempt, percent: 200 doubles it, 100 and below keep it.
    pub backoff_factor_percent: u32,
    /// Longest wait, milliseconds.
    pub backoff_max_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: None,
            backoff_initial_ms: 100,
            backoff_factor_percent: 200,
            backoff_max_ms: 60_000,
        }
    }
}

impl RetryPolicy {
    /// One attempt only.
    pub fn never() -> Self {
        Self { attempts_max: Some(1), ..Self::default() }
    }

    /// The wait after the failed `attempt` (from 1), microseconds; `None` if it was the last one. `jitter` shortens
    /// the wait by up to a fifth, so that steps that failed together are not retried together.
    pub fn backoff_us(&self, attempt: u32, jitter: u32) -> Option<u64> {
        if self.attempts_max.is_some_and(|attempts_max| attempt >= attempts_max) {
            return None;
        }
        let mut backoff_ms = self.backoff_initial_ms.min(self.backoff_max_ms);
        let grows = self.backoff_factor_percent > 100 && backoff_ms > 0;
        for _ in 1..attempt {
            if !grows || backoff_ms >= self.backoff_max_ms {
                break;
            }
            let grown = u128::from(backoff_ms) * u128::from(self.backoff_factor_percent) / 100;
            // A small wait times a small factor rounds down to itself; it must still grow.
            let grown = grown.max(u128::from(backoff_ms) + 1);
            backoff_ms = u64::try_from(grown).unwrap_or(u64::MAX).min(self.backoff_max_ms);
        }
        let backoff_us = u128::from(backoff_ms) * 1000;
        let saved = backoff_us * u128::from(jitter) / u128::from(u32::MAX) / 5;
        Some(u64::try_from(backoff_us - saved).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_doubles_from_100_ms_to_60_s_for_ever() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..=4).map(|attempt| policy.backoff_us(attempt, 0)).collect();
        assert_eq!(waits, [Some(100_000), Some(200_000), Some(400_000), Some(800_000)]);
        assert_eq!(policy.backoff_us(u32::MAX, 0), Some(60_000_000));
        assert_eq!(policy.backoff_us(1, u32::MAX), Some(80_000));
    }

    #[test]
    fn the_last_attempt_is_not_retried() {
        let policy = RetryPolicy { attempts_max: Some(2), ..RetryPolicy::default() };
        assert!(policy.backoff_us(1, 7).is_some());
        assert_eq!(policy.backoff_us(2, 7), None);
        assert_eq!(RetryPolicy::never().backoff_us(1, 0), None);
    }

    #[test]
    fn extreme_policies_do_not_overflow() {
        let policy = RetryPolicy {
            attempts_max: None,
            backoff_initial_ms: u64::MAX,
            backoff_factor_percent: u32::MAX,
            backoff_max_ms: u64::MAX,
        };
        assert_eq!(policy.backoff_us(u32::MAX, 0), Some(u64::MAX));
        let slow =
            RetryPolicy { backoff_initial_ms: 1, backoff_factor_percent: 101, ..RetryPolicy::default() };
        assert_eq!(slow.backoff_us(u32::MAX, 0), Some(60_000_000));
    }
}
