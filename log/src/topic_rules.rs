//! Which settings a topic must have so that facts can be kept in it. Pure: settings in, violations out; who asks the
//! servers for settings is `kafka`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use tidewheel_schemas::Topic;

/// The smallest record limit a topic may have: a record of 1 MiB with its headers, and room for other clients' framing.
pub const RECORD_LIMIT_BYTES_MIN: i64 = 2 * 1024 * 1024;
/// How many replicas must hold a record before it is acknowledged, where there are that many.
pub const IN_SYNC_REPLICAS_MIN: i64 = 2;

/// A rule that an operator gives up, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicOverride {
    /// A topic may have one replica, or acknowledge what a single one holds: losing a disk loses facts.
    AllowSingleReplica,
    /// A replica that lags may become leader: what the others had is lost.
    AllowUncleanElection,
    /// Older records of a key may be deleted.
    AllowCompaction,
    /// Records may be deleted by age or size.
    AllowFiniteRetention,
    /// Records of 1 MiB may be refused by the topic.
    AllowSmallRecords,
}

impl TopicOverride {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AllowSingleReplica,
        Self::AllowUncleanElection,
        Self::AllowCompaction,
        Self::AllowFiniteRetention,
        Self::AllowSmallRecords,
    ];

    /// Its name in configurations; never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllowSingleReplica => "allow-single-replica",
            Self::AllowUncleanElection => "allow-unclean-election",
            Self::AllowCompaction => "allow-compaction",
            Self::AllowFiniteRetention => "allow-finite-retention",
            Self::AllowSmallRecords => "allow-small-records",
        }
    }
}

impl fmt::Display for TopicOverride {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A text that names no override.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no override of a topic rule; there are allow-single-replica, allow-unclean-election, allow-compaction, allow-finite-retention and allow-small-records"
)]
pub struct UnknownTopicOverride(String);

impl FromStr for TopicOverride {
    type Err = UnknownTopicOverride;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| UnknownTopicOverride(text.chars().take(80).collect()))
    }
}

/// What the servers say about a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// Its partitions.
    pub partitions: u32,
    /// Replicas of the partition that has the fewest.
    pub replication_factor: u32,
    /// Its configuration, by Kafka's names, defaults included.
    pub values: BTreeMap<String, String>,
}

/// One setting that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "topic {topic} has {setting}={found}, wanted is {wanted}: {reason}; change it, or accept it with the override `{overridden_by}`"
)]
pub struct TopicViolation {
    /// Which topic.
    pub topic: Topic,
    /// Kafka's name of the setting, or `replication factor`.
    pub setting: &'static str,
    /// Its value; `unknown` where the servers did not tell.
    pub found: String,
    /// What it should be, in words.
    pub wanted: &'static str,
    /// What may happen otherwise.
    pub reason: &'static str,
    /// The override that accepts it.
    pub overridden_by: TopicOverride,
}

impl TopicViolation {
    /// The setting that would mend it, as `kafka-configs --add-config` takes it; `None` where only a reassignment of
    /// the topic's replicas does.
    pub fn mended_by(&self) -> Option<&'static str> {
        match self.setting {
            MIN_IN_SYNC => Some("min.insync.replicas=2"),
            UNCLEAN => Some("unclean.leader.election.enable=false"),
            CLEANUP => Some("cleanup.policy=delete"),
            RETENTION_MS => Some("retention.ms=-1"),
            RETENTION_BYTES => Some("retention.bytes=-1"),
            RECORD_LIMIT => Some("max.message.bytes=2097152"),
            _ => None,
        }
    }
}

/// All violations, a line each.
pub fn report(violations: &[TopicViolation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const REPLICATION: &str = "replication factor";
const MIN_IN_SYNC: &str = "min.insync.replicas";
const UNCLEAN: &str = "unclean.leader.election.enable";
const CLEANUP: &str = "cleanup.policy";
const RETENTION_MS: &str = "retention.ms";
const RETENTION_BYTES: &str = "retention.bytes";
const RECORD_LIMIT: &str = "max.message.bytes";

/// What a topic is created with, by Kafka's names.
pub fn settings_of_a_new_topic(replication_factor: u32) -> Vec<(&'static str, String)> {
    let in_sync = IN_SYNC_REPLICAS_MIN.min(i64::from(replication_factor.max(1)));
    let most = i64::MAX.to_string();
    vec![
        (CLEANUP, "delete".to_owned()),
        (RETENTION_MS, "-1".to_owned()),
        (RETENTION_BYTES, "-1".to_owned()),
        (MIN_IN_SYNC, in_sync.to_string()),
        (UNCLEAN, "false".to_owned()),
        (RECORD_LIMIT, RECORD_LIMIT_BYTES_MIN.to_string()),
        ("message.timestamp.type", "CreateTime".to_owned()),
        // A process whose clock is wrong must still be able to append; time orders nothing.
        ("message.timestamp.before.max.ms", most.clone()),
        ("message.timestamp.after.max.ms", most),
    ]
}

/// Every setting that breaks a rule which is not overridden. A setting that the servers did not tell breaks its rule.
pub fn violations(
    topic: &Topic,
    settings: &TopicSettings,
    overrides: &BTreeSet<TopicOverride>,
) -> Vec<TopicViolation> {
    let mut found = Vec::new();
    let mut check = |setting, value: Option<&str>, is_good: bool, wanted, reason, overridden_by| {
        if !is_good && !overrides.contains(&overridden_by) {
            let value = value.unwrap_or("unknown").to_owned();
            found.push(TopicViolation {
                topic: topic.clone(),
                setting,
                found: value,
                wanted,
                reason,
                overridden_by,
            });
        }
    };
    let value = |name: &str| settings.values.get(name).map(String::as_str);
    let number = |name: &str| value(name).and_then(|text| text.parse::<i64>().ok());

    let replicas = settings.replication_factor.to_string();
    check(
        REPLICATION,
        Some(&replicas),
        settings.replication_factor >= 2,
        "at least 2, better 3",
        "one lost disk would lose facts",
        TopicOverride::AllowSingleReplica,
    );
    check(
        MIN_IN_SYNC,
        value(MIN_IN_SYNC),
        number(MIN_IN_SYNC).is_some_and(|count| count >= IN_SYNC_REPLICAS_MIN),
        "2 or more",
        "a record would be acknowledged that a single disk holds",
        TopicOverride::AllowSingleReplica,
    );
    check(
        UNCLEAN,
        value(UNCLEAN),
        value(UNCLEAN) == Some("false"),
        "false",
        "a replica that lacks acknowledged records could become leader",
        TopicOverride::AllowUncleanElection,
    );
    check(
        CLEANUP,
        value(CLEANUP),
        value(CLEANUP).is_some_and(|policy| !policy.split(',').any(|word| word.trim() == "compact")),
        "delete",
        "compaction deletes the history of a key",
        TopicOverride::AllowCompaction,
    );
    let infinite = |name| number(name).is_some_and(|limit| limit < 0);
    check(
        RETENTION_MS,
        value(RETENTION_MS),
        infinite(RETENTION_MS),
        "-1, without limit",
        "the history would be deleted by age, and with it what the views are rebuilt from",
        TopicOverride::AllowFiniteRetention,
    );
    check(
        RETENTION_BYTES,
        value(RETENTION_BYTES),
        infinite(RETENTION_BYTES),
        "-1, without limit",
        "the history would be deleted by size, and with it what the views are rebuilt from",
        TopicOverride::AllowFiniteRetention,
    );
    check(
        RECORD_LIMIT,
        value(RECORD_LIMIT),
        number(RECORD_LIMIT).is_some_and(|limit| limit >= RECORD_LIMIT_BYTES_MIN),
        "2097152 or more",
        "a record of the largest size that was promised would be refused",
        TopicOverride::AllowSmallRecords,
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> TopicSettings {
        let values = settings_of_a_new_topic(3).into_iter().map(|(name, value)| (name.to_owned(), value));
        TopicSettings { partitions: 4, replication_factor: 3, values: values.collect() }
    }

    fn found(settings: &TopicSettings, overrides: &[TopicOverride]) -> Vec<(&'static str, TopicOverride)> {
        violations(&Topic::new("t"), settings, &overrides.iter().copied().collect())
            .into_iter()
            .map(|violation| (violation.setting, violation.overridden_by))
            .collect()
    }

    #[test]
    fn what_a_topic_is_created_with_breaks_no_rule() {
        assert_eq!(found(&good(), &[]), []);
    }

    #[test]
    fn each_wrong_setting_is_one_violation_that_its_own_override_accepts() {
        let cases = [
            (MIN_IN_SYNC, "1", TopicOverride::AllowSingleReplica),
            (UNCLEAN, "true", TopicOverride::AllowUncleanElection),
            (CLEANUP, "compact", TopicOverride::AllowCompaction),
            (CLEANUP, "delete, compact", TopicOverride::AllowCompaction),
            (RETENTION_MS, "604800000", TopicOverride::AllowFiniteRetention),
            (RETENTION_BYTES, "1073741824", TopicOverride::AllowFiniteRetention),
            (RECORD_LIMIT, "1048588", TopicOverride::AllowSmallRecords),
        ];
        for (setting, value, accepted_by) in cases {
            let mut settings = good();
            settings.values.insert(setting.to_owned(), value.to_owned());
            assert_eq!(found(&settings, &[]), [(setting, accepted_by)]);
            assert_eq!(found(&settings, &[accepted_by]), []);
            let others: Vec<_> =
                TopicOverride::ALL.into_iter().filter(|other| *other != accepted_by).collect();
            assert_eq!(found(&settings, &others).len(), 1, "{setting} is accepted by another override");
            settings.values.remove(setting);
            assert_eq!(found(&settings, &[]), [(setting, accepted_by)], "a setting that is not told");
        }
        let single = TopicSettings { replication_factor: 1, ..good() };
        assert_eq!(found(&single, &[]), [(REPLICATION, TopicOverride::AllowSingleReplica)]);
    }

    #[test]
    fn a_violation_names_topic_value_wish_and_override() {
        let mut settings = good();
        settings.values.insert(RETENTION_MS.to_owned(), "604800000".to_owned());
        let found = violations(&Topic::new("tidewheel.dc1.workflow.events"), &settings, &BTreeSet::new());
        let text = report(&found);
        for part in
            ["tidewheel.dc1.workflow.events", "retention.ms=604800000", "-1", "allow-finite-retention"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(found[0].mended_by(), Some("retention.ms=-1"));
    }

    #[test]
    fn the_names_of_overrides_never_change() {
        let names = TopicOverride::ALL.map(TopicOverride::as_str);
        assert_eq!(
            names,
            [
                "allow-single-replica",
                "allow-unclean-election",
                "allow-compaction",
                "allow-finite-retention",
                "allow-small-records"
            ]
        );
        for name in names {
            assert_eq!(name.parse::<TopicOverride>().map(TopicOverride::as_str), Ok(name));
        }
        assert!("allow-everything".parse::<TopicOverride>().is_err());
    }
}
