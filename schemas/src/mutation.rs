//! Mutations: rules that tests switch off, one at a time, to see that somebody notices. Test-only.
//!
//! Without the feature `mutation` every switch is a constant `false` and nothing of this is in a build. What catches
//! which one is told in docs/reliability.md; tests/sim and .ci/mutations check that it does.

macro_rules! mutations {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A rule that is switched off. Each says which rule of the design it breaks, and the execution that the
        /// rule prevents.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutation {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Mutation {
            /// Every mutation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name on command lines and in documents.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

mutations! {
    /// §4: dedup decides on all that was folded before. A start is delivered again after its run has left memory; taken
    /// for new without looking, it runs a second time.
    EvictedTakenForNew = "evicted_taken_for_new",
    /// §5: engine records count only under the claim in force. A paused owner wakes up and appends what it had
    /// decided; its step results stand beside those of the new owner.
    ClaimUnchecked = "claim_unchecked",
    /// §5: a claim counts only if it replaces the one in force. Two candidates claim at once; the slower one, decided
    /// on an older state of the log, ends the reign of the faster one.
    ClaimReplacesAny = "claim_replaces_any",
    /// §5: nothing counts after a gap in the sequence. One append of three is lost; the last one, decided on all of
    /// them, changes a run that never saw the middle one.
    SequenceUnchecked = "sequence_unchecked",
    /// §5: an owner that reads back a dropped record of its own stops leading. It goes on proposing records that
    /// nobody accepts, and its runs stand still for ever.
    DroppedRecordIgnored = "dropped_record_ignored",
    /// §4: what an entity makes of a record never changes Control. A reader of fewer entities than another computes
    /// another sequence, and drops what the other accepts.
    OutcomeChangesControl = "outcome_changes_control",
    /// §4: a type is written by its authors only. Any producer completes a step of somebody's run.
    AuthorUnchecked = "author_unchecked",
    /// §3: the first `LogCreated` counts. Two processes create the log at once; readers that began before and after
    /// the second record use different log ids and timestamps.
    SecondLogCreatedCounts = "second_log_created_counts",
    /// §4: a fold version this build does not know stops the partition. During an upgrade an old and a new process
    /// fold the same record differently.
    FoldRaisedIgnored = "fold_raised_ignored",
    /// §3: a record lies in the partition its key hashes to. A producer with another partitioner starts a run that
    /// exists in two partitions.
    PartitionUnchecked = "partition_unchecked",
    /// §4: a record changes runs of its own namespace only. Who knows a run's id cancels it from outside.
    NamespaceUnchecked = "namespace_unchecked",
    /// §4: dedup precedes every other rule. A signal is acknowledged, its retry arrives after the run's end, and the
    /// producer is told that the signal was refused.
    DedupAfterFinished = "dedup_after_finished",
    /// §4: an event id is forgotten only after 1,000 newer ones and 15 minutes. A producer's retry after a pause is
    /// taken for a second signal.
    DedupForgetsEarly = "dedup_forgets_early",
    /// §3: starting twice is a duplicate. A retried start of a key becomes a second external record of the run.
    SecondStartCounts = "second_start_counts",
    /// §4: what a run's end leaves unread becomes rejections. A signal that was acknowledged is neither applied nor
    /// listed.
    UnreadForgotten = "unread_forgotten",
    /// §4, §7: a location has at most one result. A second result of a step, or one that arrives after a timeout,
    /// replaces what the workflow has acted on.
    SecondResultCounts = "second_result_counts",
    /// §4: nothing that was decided after the record that parked an entity is applied, and below fold version 2 nothing
    /// at all. Records that depend on the unread one change the run as if it were not there.
    ParkedGoesOn = "parked_goes_on",
    /// §7: rows that are further than the fold are rewound to it (docs/adr/0004-rows-ahead-are-rewound.md). After a crash
    /// between rows and checkpoint the records in between are skipped, and the messages they sent are sent by nobody.
    RowsAheadSkipped = "rows_ahead_skipped",
    /// §7: no record is applied to an entity that holds it already. After a crash between rows and checkpoint the
    /// records in between are applied a second time.
    AppliedOffsetIgnored = "applied_offset_ignored",
    /// §5: effects happen once their cause is read back. A step runs whose run was ended, or whose owner was deposed,
    /// before the decision for it counted.
    EffectsBeforeAccepted = "effects_before_accepted",
    /// §5: replay reveals external records as they were seen. A signal that raced a timeout is shown too early; the
    /// run takes another turn than before and diverges.
    SeenIgnored = "seen_ignored",
    /// §6: code that does not match its history parks its run. An edited workflow goes on under decisions that it
    /// never made.
    DivergenceIgnored = "divergence_ignored",
    /// §3: after a failed or ambiguous append the owner stops leading. It waits for the read-back of a record that is
    /// not in the log, and its run stands still.
    LeadsAfterFailedAppend = "leads_after_failed_append",
    /// §5: an entity leaves memory only when the views hold its last record. It is loaded as it was before, and what
    /// came in between is lost to whoever decides on it.
    EvictsTooEarly = "evicts_too_early",
    /// §5: an entity with work under way stays in memory. A step's result finds nobody and its run stands still.
    EvictsBusy = "evicts_busy",
    /// §4: an entity to which nothing is applied any more is not evicted. The mark is reader state; a run loaded without
    /// it goes on past the record that parked it.
    EvictsParked = "evicts_parked",
    /// §5: timers of evicted runs stay known up to the horizon. A sleep ends minutes late, or never.
    EvictedTimersForgotten = "evicted_timers_forgotten",
    /// §5: a takeover looks through `open_work`. Runs that waited when the owner died are loaded by nobody.
    OpenWorkIgnored = "open_work_ignored",
    /// §3: resuming verifies that the log holds the checkpoint's event. Views of a log that was restored from an older
    /// copy go on with the records of another history.
    CheckpointUnverified = "checkpoint_unverified",
    /// §5: a message counts only after its predecessor. A signal overtakes another one that was lost on the way, which
    /// then never counts.
    OutboxAcceptsGaps = "outbox_accepts_gaps",
    /// §5: an older message is a duplicate. A sender that took over sends again; what follows then names a predecessor
    /// that is not the last one accepted, and is dropped for good.
    OutboxAcceptsOlder = "outbox_accepts_older",
    /// §5: a new sender first asks what each destination accepted. Its first message names no predecessor and is
    /// dropped for good.
    OutboxNotAsked = "outbox_not_asked",
    /// §5: entries are trimmed once they were delivered. An append to the destination fails, and the signal exists
    /// nowhere any more.
    OutboxTrimmedEarly = "outbox_trimmed_early",
    /// §7: the checkpoint is written after every row before it. A crash in between leaves a checkpoint past rows that
    /// nobody writes again.
    CheckpointBeforeRows = "checkpoint_before_rows",
    /// §7: new index rows are written before their entity. A reader between the two writes finds a run that no list
    /// shows.
    IndexAfterEntity = "index_after_entity",
    /// §7: old index rows are deleted after their entity was written. A reader between the two writes finds a run in
    /// no list of its status at all.
    OldIndexFirst = "old_index_first",
    /// §7: keys that an intermediate version put are deleted too. After a crash other chunk boundaries leave a row
    /// that no record accounts for.
    IntermediateKeysKept = "intermediate_keys_kept",
    /// §7: write timestamps follow the offset. A zombie projector's older row replaces a newer one.
    TimestampUnordered = "timestamp_unordered",
    /// §7: a load that does not reproduce the header's digest is repeated. A run is loaded while it is written, and
    /// goes on without a timer or a signal.
    TornLoadAccepted = "torn_load_accepted",
    /// §7: of two writes to a row the newer one wins, deletions included. A late older write brings back a row.
    OlderWriteWins = "older_write_wins",
    /// §3: an append is acknowledged, and visible, once it is synced. The power fails, and what a producer was
    /// promised or an owner acted on is gone.
    AcknowledgedBeforeSync = "acknowledged_before_sync",
    /// §3: the last group is synced again on open before it is believed. It was read from the page cache only; the
    /// power fails after somebody has acted on it.
    LastGroupBelieved = "last_group_believed",
    /// §3: a bad group followed by a valid one is damage. It is taken for a torn end, and records that were
    /// acknowledged are cut off in silence.
    DamageTruncated = "damage_truncated",
    /// §3: a torn last group is overwritten. Its leftovers stand behind a shorter group later on and are taken for
    /// damage, or for records.
    TornGroupKept = "torn_group_kept",
    /// §7: reads move to another generation only once it holds what the one before held. A client that was shown the end
    /// of its run asks again, and it runs.
    ReadsMoveBehind = "reads_move_behind",
    /// §7: a rebuild reads a run back that has left its memory. Without that the next record of the run is taken for one
    /// of a run that never was.
    RebuildForgetsEvicted = "rebuild_forgets_evicted",
}

impl Mutation {
    /// The mutation with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mutation| mutation.name() == name)
    }
}

impl std::fmt::Display for Mutation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Whether this build can break its rules at all. No program that is not a test may be one that can.
pub const ENABLED: bool = cfg!(feature = "mutation");

/// Whether a rule is switched off. Without the feature `mutation` none is.
#[cfg(not(feature = "mutation"))]
#[inline(always)]
pub const fn is(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutation")]
pub use switch::{is, with};

#[cfg(feature = "mutation")]
mod switch {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static SWITCHED_OFF: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Whether a rule is switched off: by [`with`] in this thread, or in a debug build by the environment variable
    /// `MUTATION` for the whole process.
    ///
    /// # Panics
    /// When the variable names no mutation: a test meant to fail would pass.
    pub fn is(mutation: Mutation) -> bool {
        SWITCHED_OFF.get() == Some(mutation) || by_environment() == Some(mutation)
    }

    /// Runs `body` with a rule switched off in this thread.
    pub fn with<T>(mutation: Mutation, body: impl FnOnce() -> T) -> T {
        struct Restore(Option<Mutation>);
        impl Drop for Restore {
            fn drop(&mut self) {
                SWITCHED_OFF.set(self.0);
            }
        }
        let _restore = Restore(SWITCHED_OFF.replace(Some(mutation)));
        body()
    }

    /// Release builds do not read it: in one that has the feature by unification no user can switch anything off.
    #[cfg(not(debug_assertions))]
    const fn by_environment() -> Option<Mutation> {
        None
    }

    #[cfg(debug_assertions)]
    fn by_environment() -> Option<Mutation> {
        static NAMED: std::sync::OnceLock<Option<Mutation>> = std::sync::OnceLock::new();
        *NAMED.get_or_init(|| {
            let name = std::env::var("MUTATION").ok().filter(|name| !name.is_empty())?;
            Some(Mutation::from_name(&name).unwrap_or_else(|| panic!("no mutation has the name `{name}`")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_has_a_name_of_its_own() {
        for mutation in Mutation::ALL {
            assert_eq!(Mutation::from_name(mutation.name()), Some(*mutation));
        }
        assert_eq!(Mutation::from_name("none"), None);
    }

    #[cfg(feature = "mutation")]
    #[test]
    fn a_switch_is_off_again_after_a_panic() {
        let panicked = std::panic::catch_unwind(|| {
            with(Mutation::SeenIgnored, || {
                assert!(is(Mutation::SeenIgnored) && !is(Mutation::EvictsBusy));
                panic!("in the middle");
            })
        });
        assert!(panicked.is_err());
        assert!(!is(Mutation::SeenIgnored));
    }
}
