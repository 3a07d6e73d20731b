//! What was found, round by round: the closer look at as many buckets as may be held at a time, mending where that is
//! asked for, and at last the rows that stand for several runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidewheel_projector::views::{TABLES, index_days};
use tidewheel_schemas::{RecordHeaders, TopicPartition};
use tidewheel_store::{Row, RowKey, WriteSet};

use super::compare::{self, Found, describe_key};
use super::detail;
use super::digest::{self, Sums};
use super::ground::Ground;
use super::owner;
use super::scope::Chosen;
use super::shared::Shared;
use super::stored::Stored;
use super::survey::Surveyed;
use super::{Difference, Divergent, Job, Mended, Remedy, Report, VerifyError};
use crate::mend;

/// Closer looks after which the rest is not compared: where so much differs, the views are rebuilt.
const ROUNDS_MAX: usize = 32;

struct Noted {
    found: Found,
    /// The partition of its records.
    place: Option<TopicPartition>,
    is_mended: bool,
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Findings {
    noted: Vec<Noted>,
    count: u64,
    mendable: u64,
    mended_rows: u64,
    remaining: u64,
    not_compared: u64,
}

/// The name of a row.
type Name = (u16, RowKey);

impl Findings {
    /// Rows that belong to no partition.
    pub(super) fn strays(&mut self, found: Vec<Found>, count: u64) {
        self.count += count;
        self.remaining += count;
        self.noted.extend(found.into_iter().map(|found| Noted { found, place: None, is_mended: false }));
    }

    /// Looks closely at the buckets chosen; the rows there are, by table. `surveyed` takes what days of indexes are met.
    pub(super) async fn look(
        &mut self,
        job: &Arc<Job>,
        chosen: Vec<Chosen>,
        surveyed: Option<(&[Ground], &mut [Shared])>,
    ) -> Result<BTreeMap<&'static str, u64>, VerifyError> {
        let grounds = surveyed.as_ref().map(|(grounds, _)| *grounds);
        let (mut looked, rows_by_table) = detail::look(job, &job.scope, chosen.clone(), grounds).await?;
        if let Some((_, shared)) = surveyed {
            for looked in &mut looked {
                let days = looked.detail.take_days();
                let place = job.place_of(looked.detail.ground.partition);
                if let (Some(days), Some(shared)) = (days, place.and_then(|place| shared.get_mut(place))) {
                    shared.add_days(days);
                }
            }
        }
        let mut left: Option<BTreeSet<Name>> = None;
        if let Some(number) = job.mend {
            let mut is_written = false;
            for looked in &looked {
                for set in mend::writes(&looked.detail, &looked.found, number) {
                    is_written = true;
                    self.write(job, &set).await?;
                }
            }
            if is_written {
                let (again, _) = detail::look(job, &job.scope, chosen, None).await?;
                let found = again.into_iter().flat_map(|looked| looked.found);
                left = Some(found.map(|found| (found.table.number, found.key)).collect());
            }
        }
        for looked in looked {
            let place = looked.detail.ground.place.clone();
            for found in looked.found {
                let name = (found.table.number, found.key.clone());
                let is_mended = left.as_ref().is_some_and(|left| !left.contains(&name));
                self.note(job, found, place.clone(), is_mended);
            }
        }
        Ok(rows_by_table)
    }

    async fn write(&mut self, job: &Job, set: &WriteSet) -> Result<(), VerifyError> {
        job.meter.check()?;
        self.mended_rows += set.iter().count() as u64;
        Ok(job.views.store.write(job.views.generation, set).await?)
    }

    fn note(&mut self, job: &Job, found: Found, place: TopicPartition, is_mended: bool) {
        self.count += 1;
        self.mendable += u64::from(found.remedy == Remedy::InPlace);
        self.remaining += u64::from(!is_mended);
        self.noted.push(Noted { found, place: Some(place), is_mended });
        // Sorting now and then, so that a store without any right row is no reason to hold all of it.
        if self.noted.len() > job.differences_max.saturating_mul(2).max(1_000) {
            self.cut(job);
        }
    }

    fn cut(&mut self, job: &Job) {
        let place = |found: &Found| TABLES.iter().position(|table| table.number == found.table.number);
        self.noted.sort_by(|left, right| {
            let (left, right) = (&left.found, &right.found);
            place(left).cmp(&place(right)).then_with(|| left.key.cmp(&right.key))
        });
        self.noted.truncate(job.differences_max);
    }

    /// Looks closely wherever the sums differ, and compares the rows that stand for several runs.
    pub(super) async fn differing(
        &mut self,
        job: &Arc<Job>,
        grounds: &[Ground],
        sums: &[Sums],
        surveyed: Vec<Surveyed>,
        stored: Vec<Stored>,
    ) -> Result<(), VerifyError> {
        let mut suspects = Vec::new();
        let (mut shared, mut pending) = (Vec::new(), Vec::new());
        for ((place, surveyed), sums) in surveyed.into_iter().enumerate().zip(sums) {
            for (bucket, sum) in surveyed.sums.iter().enumerate() {
                if surveyed.again[bucket] || !sums.is(bucket, *sum) {
                    let cost = u64::from(surveyed.costs[bucket]) + u64::from(sums.cost(bucket));
                    suspects.push((place, bucket, digest::bytes_of(cost)));
                }
            }
            shared.push(surveyed.shared);
            pending.push(surveyed.pending);
        }
        let mut suspects = suspects.into_iter().peekable();
        let mut rounds = 0;
        while suspects.peek().is_some() && rounds < ROUNDS_MAX {
            rounds += 1;
            let mut chosen = vec![Chosen::default(); grounds.len()];
            let mut bytes = 0;
            while let Some((place, bucket, more)) =
                suspects.next_if(|(_, _, more)| bytes == 0 || bytes + more <= job.held_bytes_max)
            {
                bytes += more.max(1);
                chosen[place].extend([bucket]);
            }
            self.look(job, chosen, Some((grounds, &mut shared))).await?;
        }
        for (place, bucket, _) in suspects {
            self.not_compared += sums[place].rows(bucket);
        }
        if !job.scope.is_whole() {
            return Ok(());
        }
        let mut rows: Vec<BTreeMap<Name, Stored>> = grounds.iter().map(|_| BTreeMap::new()).collect();
        for (table, row) in stored {
            let owned = owner::of_row(table, &row.key, &row.columns, job.views.partitions);
            if let Some(place) = owned.and_then(|(partition, _)| job.place_of(partition)) {
                rows[place].insert((table.number, row.key.clone()), (table, row));
            }
        }
        let mut days_left_out = 0;
        for (((ground, shared), pending), rows) in grounds.iter().zip(shared).zip(pending).zip(rows) {
            days_left_out += self.shared(job, ground, shared, pending, rows).await?;
        }
        self.not_compared += days_left_out;
        Ok(())
    }

    /// Compares the rows of one partition that stand for several runs; how many could not be.
    async fn shared(
        &mut self,
        job: &Arc<Job>,
        ground: &Ground,
        shared: Shared,
        pending: Vec<tidewheel_schemas::OutboxName>,
        rows: BTreeMap<Name, Stored>,
    ) -> Result<u64, VerifyError> {
        let expected = shared.versions(pending.into_iter());
        let names: BTreeSet<&Name> = expected.keys().chain(rows.keys()).collect();
        let mut left_out = 0;
        for name in names {
            // What the last records of a day are is not known where some runs were not refolded to the end.
            if self.not_compared > 0 && name.0 == index_days::TABLE.number {
                left_out += u64::from(rows.contains_key(name));
                continue;
            }
            let (versions, stored) = (expected.get(name), rows.get(name));
            let Some(table) = versions.map(|(table, _)| *table).or(stored.map(|(table, _)| *table)) else {
                continue;
            };
            let versions = versions.map(|(_, versions)| versions);
            let found = |row: Option<&Row>| compare::row(table, &name.1, versions, row, ground);
            let Some(difference) = found(stored.map(|(_, row)| row)) else { continue };
            let mut is_mended = false;
            if let Some(number) = job.mend {
                for set in mend::write(ground, &difference, versions, number) {
                    self.write(job, &set).await?;
                    let now = job.views.store.get(job.views.generation, table, &name.1).await?;
                    // A live writer may have gone on meanwhile, which is right as well.
                    is_mended = found(now.as_ref()).is_none()
                        || now.is_some_and(|now| ground.is_later(now.timestamp_us));
                }
            }
            self.note(job, difference, ground.place.clone(), is_mended);
        }
        Ok(left_out)
    }

    /// Puts what was found into words.
    pub(super) async fn finish(mut self, job: &Job, report: &mut Report) -> Result<(), VerifyError> {
        self.cut(job);
        report.difference_count = self.count;
        report.mendable_count = self.mendable;
        report.not_compared = self.not_compared;
        report.mended =
            job.mend.map(|number| Mended { number, rows: self.mended_rows, remaining: self.remaining });
        for Noted { found, place, is_mended } in self.noted {
            let first_divergent = match place.zip(found.offset) {
                Some((place, offset)) => divergent(job, &place, offset).await?,
                None => None,
            };
            let is_left = job.mend.is_some() && !is_mended;
            report.differences.push(Difference {
                table: found.table.name,
                key: describe_key(found.table, &found.key),
                kind: found.kind,
                what: found.what,
                first_divergent,
                remedy: if is_left { Remedy::Rebuild } else { found.remedy },
                is_mended,
            });
        }
        Ok(())
    }
}

async fn divergent(job: &Job, place: &TopicPartition, offset: i64) -> Result<Option<Divergent>, VerifyError> {
    let bounds = job.views.log.bounds(place).await?;
    if !(bounds.start..bounds.end).contains(&offset) {
        return Ok(None);
    }
    let record = job.views.log.read(place, offset, 1).await?.into_iter().next();
    Ok(record.map(|record| {
        let headers = match &record.headers {
            RecordHeaders::Known(headers) => Some(headers),
            RecordHeaders::Foreign(_) => None,
        };
        Divergent {
            partition: place.partition,
            offset: record.offset,
            event_type: headers.map(|headers| headers.event_type.as_str()),
            event_id: headers.map(|headers| headers.event_id),
        }
    }))
}
