//! The closer look: for some buckets of owners every row that the log leads to is held, with all it becomes while the
//! stored rows are read, and each stored row must be one of these.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_engine::{Control, Fold, Transition};
use tidewheel_projector::views::{index_days, open_work, outbox, partition_control, run_history};
use tidewheel_schemas::Record;
use tidewheel_store::{RowKey, TableSchema, Value, Write};

use super::compare::history::{self, Expected, History};
use super::compare::{self, Found, Version, Versions};
use super::ground::Ground;
use super::owner::{self, Owner};
use super::refold::{Refold, Sink};
use super::scope::{Chosen, Scope};
use super::shared::Shared;
use super::stored::{self, Rows};
use super::threads::{self, Work};
use super::{Job, VerifyError};

/// What the log says of the buckets chosen of one partition.
pub(crate) struct Detail {
    pub(crate) ground: Ground,
    pub(crate) rows: BTreeMap<(u16, RowKey), (&'static TableSchema, Versions)>,
    pub(crate) history: History,
    scope: Scope,
    chosen: Chosen,
    partitions: u32,
    /// The days met, over the ground of the survey.
    days: Option<Shared>,
}

/// What a closer look leads to, for one partition.
pub(crate) struct Looked {
    pub(crate) detail: Detail,
    pub(crate) found: Vec<Found>,
}

/// Looks closely at the buckets chosen, one set for each ground. `surveyed` are the grounds of the survey.
pub(super) async fn look(
    job: &Arc<Job>,
    scope: &Scope,
    chosen: Vec<Chosen>,
    surveyed: Option<&[Ground]>,
) -> Result<(Vec<Looked>, BTreeMap<&'static str, u64>), VerifyError> {
    let mut grounds = Vec::new();
    for partition in &job.partitions {
        grounds.push(Ground::of(&job.views, *partition, job.held.as_ref()).await?);
    }
    job.meter.begin("rows-again", None);
    let chosen = Arc::new(chosen);
    let (rows, rows_by_table) = stored::chosen(job, &chosen, scope).await?;
    for ground in &mut grounds {
        ground.close(&job.views).await?;
    }
    let is_chosen = |place: usize| !chosen[place].is_empty();
    let records: i64 =
        grounds.iter().enumerate().filter(|(place, _)| is_chosen(*place)).map(|(_, ground)| ground.end).sum();
    job.meter.begin("records-again", Some(records.unsigned_abs()));
    let work = grounds.into_iter().zip(rows).enumerate().filter(|(place, _)| is_chosen(*place));
    let work = work.map(|(place, (ground, rows))| -> Work<Looked> {
        let job = Arc::clone(job);
        let detail = Detail {
            days: surveyed
                .and_then(|grounds| grounds.get(place))
                .map(|ground| Shared::new(ground.clone(), -1)),
            ground,
            rows: BTreeMap::new(),
            history: History::new(),
            scope: scope.clone(),
            chosen: chosen[place].clone(),
            partitions: job.views.partitions,
        };
        Box::pin(async move { detail.run(&job, &rows).await })
    });
    let work = work.collect();
    Ok((threads::each(job.threads, work).await?, rows_by_table))
}

impl Detail {
    async fn run(mut self, job: &Job, stored: &Rows) -> Result<Looked, VerifyError> {
        let mut refold = Refold::new(&job.views, self.ground.partition);
        let (until, end) = (self.ground.until, self.ground.end);
        refold.run(&job.views, until, 1, false, &job.meter, &mut self).await?;
        refold.run(&job.views, end, 1, true, &job.meter, &mut self).await?;
        let found = self.compare(stored);
        Ok(Looked { detail: self, found })
    }

    /// The days met, if they were asked for.
    pub(super) fn take_days(&mut self) -> Option<Shared> {
        self.days.take()
    }

    fn compare(&mut self, stored: &Rows) -> Vec<Found> {
        let ground = &self.ground;
        let mut found = Vec::new();
        for ((number, key), (table, versions)) in &self.rows {
            let row = stored.rows.get(&(*number, key.clone())).map(|(_, row)| row);
            found.extend(compare::row(table, key, Some(versions), row, ground));
        }
        for (name, (table, row)) in &stored.rows {
            if !self.rows.contains_key(name) {
                found.extend(compare::row(table, &row.key, None, Some(row), ground));
            }
        }
        found.extend(history::all(&mut self.history, &stored.history, ground));
        found
    }

    fn is_chosen(&self, owner: Owner) -> bool {
        self.chosen.contains(self.scope.bucket(owner))
    }
}

impl Sink for Detail {
    fn wants(&mut self, owner: Owner, _offset: i64, _fold: &Fold) -> bool {
        self.is_chosen(owner)
    }

    fn folded(&mut self, _owner: Owner, _record: &Record, _transition: &Transition) {}

    fn take(&mut self, owner: Option<Owner>, offset: i64, write: Write) {
        let is = |number: u16| write.table.number == number;
        if is(partition_control::TABLE.number) || is(open_work::BUCKETS.number) {
            return;
        }
        if is(index_days::TABLE.number) {
            if let Some(days) = &mut self.days {
                days.day(write, offset);
            }
            return;
        }
        let is_later = offset >= self.ground.until;
        let Write { table, key, timestamp_us, columns } = write;
        let name = (table.number, key);
        // Deliveries delete by name, whoever sent what is delivered.
        let is_delivered = columns.is_none() && table.number == outbox::TABLE.number;
        let owner = match &columns {
            Some(columns) => owner::in_partition(table, &name.1, columns, self.partitions),
            None => owner,
        };
        let is_here = if is_delivered {
            self.rows.contains_key(&name)
        } else {
            owner.is_some_and(|owner| self.is_chosen(owner))
        };
        if !is_here {
            return;
        }
        if table.number == run_history::TABLE.number {
            let first = match name.1.clustering.as_ref().and_then(|key| key.first()) {
                Some(Value::Int(first)) => first.cast_unsigned(),
                _ => return,
            };
            let entries = match columns.and_then(|columns| columns.into_iter().next()) {
                Some(Value::List(entries)) => entries,
                _ => return,
            };
            for (number, entry) in (first..).zip(entries.iter()) {
                let expected = Expected { entry: entry.encoded().to_vec(), offset, is_found: false };
                self.history.insert((name.1.partition.clone(), number), expected);
            }
            return;
        }
        let version = columns.map(|columns| Version { timestamp_us, columns });
        let (_, versions) = self.rows.entry(name).or_insert_with(|| (table, Versions::default()));
        versions.note(offset, is_later, version);
    }

    fn taken(&mut self, _fold: &mut Fold) {}

    fn passed(&mut self, _control: &Control) {}
}
