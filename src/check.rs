//! Findings about a configuration and what it needs: what was looked at, how it is, what to run. Pure; who looks is in
//! `wire` and in the command.

use std::fmt;

use serde::Serialize;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A process would work, but somebody should know.
    Warning,
    /// A process would refuse to start, or lose what it promises.
    Error,
}

impl Level {
    /// The word that is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at, such as `topic tidewheel.alpha.workflow.events`.
    pub subject: String,
    /// How it is in words, on one line.
    pub what: String,
    /// The command or statement that mends it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl Finding {
    fn new(level: Level, subject: impl Into<String>, what: impl fmt::Display) -> Self {
        let what = what.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { level, subject: subject.into(), what, run: None }
    }

    /// Something is as it should be.
    pub fn ok(subject: impl Into<String>, what: impl fmt::Display) -> Self {
        Self::new(Level::Ok, subject, what)
    }

    /// Somebody should know of it.
    pub fn warning(subject: impl Into<String>, what: impl fmt::Display) -> Self {
        Self::new(Level::Warning, subject, what)
    }

    /// It must be mended.
    pub fn error(subject: impl Into<String>, what: impl fmt::Display) -> Self {
        Self::new(Level::Error, subject, what)
    }

    /// Says what mends it.
    #[must_use]
    pub fn run(mut self, command: impl Into<String>) -> Self {
        self.run = Some(command.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<7}  {}: {}", self.level.as_str(), self.subject, self.what)?;
        match &self.run {
            Some(command) => write!(formatter, "; run: {command}"),
            None => Ok(()),
        }
    }
}

/// A difference of clocks from which on somebody should know, microseconds.
pub const CLOCK_DIFFERENCE_US_MAX: i64 = 1_000_000;

/// The finding about a clock that is `ahead_us` ahead of this machine's, give or take `error_us`.
pub fn clock(subject: impl Into<String>, ahead_us: i64, error_us: i64) -> Finding {
    let seconds = |us: i64| us.unsigned_abs() as f64 / 1e6;
    let direction = if ahead_us >= 0 { "ahead of" } else { "behind" };
    let what = format!("{:.3} s {direction} this machine's", seconds(ahead_us));
    if ahead_us.saturating_abs().saturating_sub(error_us) > CLOCK_DIFFERENCE_US_MAX {
        let why = "timers and what people read as times follow the machines' clocks; synchronize them";
        Finding::warning(subject, format!("{what}, over {} s: {why}", seconds(CLOCK_DIFFERENCE_US_MAX)))
    } else {
        Finding::ok(subject, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_what_mends_it() {
        let finding = Finding::error("topic t", "it has\n  two lines").run("kafka-topics.sh --create");
        assert_eq!(finding.to_string(), "error    topic t: it has two lines; run: kafka-topics.sh --create");
        assert_eq!(Finding::ok("a", "b").to_string(), "ok       a: b");
    }

    #[test]
    fn a_clock_is_wrong_only_beyond_what_the_question_can_tell() {
        let level = |ahead, error| clock("clock", ahead, error).level;
        assert_eq!(level(900_000, 0), Level::Ok);
        assert_eq!(level(1_100_000, 0), Level::Warning);
        assert_eq!(level(-1_100_000, 0), Level::Warning);
        assert_eq!(level(1_400_000, 500_000), Level::Ok);
        assert!(clock("clock", -2_500_000, 0).what.starts_with("2.500 s behind"));
    }
}
