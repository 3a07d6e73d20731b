//! What the client library tells on its own: log lines, errors, statistics. Not what calls answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Kinds of trouble that are told apart.
const KINDS_MAX: usize = 256;
/// How long a trouble explains why something else timed out.
const TROUBLE_LASTS: Duration = Duration::from_secs(60);

/// The last thing that went wrong between this process and a cluster.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub text: String,
    pub is_distrust: bool,
    at: Instant,
}

/// What all clients of one cluster share.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    last: Mutex<Option<Trouble>>,
    told: Mutex<HashMap<String, Instant>>,
}

impl Troubles {
    /// The last trouble, unless it is long ago. Distrust is not hidden by what follows from it.
    pub fn recent(&self) -> Option<Trouble> {
        self.last.lock().clone().filter(|trouble| trouble.at.elapsed() < TROUBLE_LASTS)
    }

    fn remember(&self, code: RDKafkaErrorCode, text: &str) {
        let is_distrust = is_distrust(code);
        let mut last = self.last.lock();
        let stays = last
            .as_ref()
            .is_some_and(|last| last.is_distrust && !is_distrust && last.at.elapsed() < TROUBLE_LASTS / 4);
        if !stays {
            *last = Some(Trouble { text: text.to_owned(), is_distrust, at: Instant::now() });
        }
    }

    /// Whether this kind of trouble has not been told of for a while.
    pub fn tell(&self, kind: &str) -> bool {
        let mut told = self.told.lock();
        let now = Instant::now();
        if told.get(kind).is_some_and(|at| now.duration_since(*at) < TELL_EVERY) {
            return false;
        }
        if told.len() >= KINDS_MAX {
            told.clear();
        }
        told.insert(kind.to_owned(), now);
        true
    }
}

/// Whether an error says that one side does not accept the other.
pub(super) const fn is_distrust(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::IllegalSASLState
            | RDKafkaErrorCode::SSL
    )
}

/// How far a reader is behind, as statistics tell.
pub(super) type OnLag = Box<dyn Fn(&str, i32, i64) + Send + Sync>;

/// The context of every client.
pub(super) struct Context {
    pub troubles: Arc<Troubles>,
    pub on_lag: Option<OnLag>,
}

impl Context {
    pub fn new(troubles: &Arc<Troubles>) -> Self {
        Self { troubles: Arc::clone(troubles), on_lag: None }
    }
}

impl Troubles {
    /// A line of the library's own log.
    pub fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let is_grave = matches!(
            level,
            RDKafkaLogLevel::Emerg
                | RDKafkaLogLevel::Alert
                | RDKafkaLogLevel::Critical
                | RDKafkaLogLevel::Error
                | RDKafkaLogLevel::Warning
        );
        // Lost connections are told of as errors, too; and the library logs much at warning that heals by itself.
        if is_grave && self.tell(facility) {
            tracing::info!(target: "tidewheel_log::librdkafka", facility, "{text}");
        } else {
            tracing::debug!(target: "tidewheel_log::librdkafka", facility, "{text}");
        }
    }

    /// An error that belongs to no call.
    pub fn error(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        self.remember(code, reason);
        if self.tell(&format!("{code:?}")) {
            tracing::warn!(code = ?code, "kafka: {reason}");
        } else {
            tracing::debug!(code = ?code, "kafka: {reason}");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.troubles.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.troubles.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let Some(on_lag) = &self.on_lag else { return };
        for (name, topic) in &statistics.topics {
            for (number, partition) in &topic.partitions {
                let is_read = partition.fetch_state == "active";
                if is_read && partition.hi_offset >= 0 && partition.app_offset >= 0 {
                    on_lag(name, *number, (partition.hi_offset - partition.app_offset).max(0));
                }
            }
        }
    }
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_told_of_once() {
        let troubles = Troubles::default();
        assert!(troubles.tell("one"));
        assert!(!troubles.tell("one"));
        assert!(troubles.tell("another"));
    }

    #[test]
    fn a_refused_password_is_not_hidden_by_the_lost_connection_that_follows() {
        let troubles = Troubles::default();
        assert!(troubles.recent().is_none());
        troubles.error(&KafkaError::Global(RDKafkaErrorCode::Authentication), "wrong password");
        troubles.error(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        let trouble = troubles.recent().unwrap();
        assert!(trouble.is_distrust);
        assert_eq!(trouble.text, "wrong password");
    }
}
