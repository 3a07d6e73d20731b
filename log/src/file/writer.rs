//! The one thread that writes: everything queued becomes one group, one sync, one wake-up per partition.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::{NewRecord, Record, RecordHeaders, Topic};
use tokio::sync::oneshot;

use super::disk::Disk;
use super::frame::{Place, put_record, put_topic};
use super::group::{GROUP_HEADER_BYTES, begin_group, finish_group};
use super::index::{Entry, Index};
use super::options::{Durability, FailureHook};
use super::partition::{Partition, resident_bytes};
use super::prepare::{Preparing, prepare_now, prepared_path};
use super::queue::Item;
use super::scan::io as io_error;
use super::segment::{Progress, Segment, SegmentHeader, segment_name, segment_path, sync_directory};
use super::shared::{Shared, Topics};
use crate::LogError;

/// A group is closed when it has grown to this size; a larger batch still stays whole.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// What the writer is told once.
pub(crate) struct Settings {
    pub durability: Durability,
    pub segment_bytes: u64,
    pub recent_bytes_max: usize,
    pub disk: Arc<dyn Disk>,
    pub on_failure: Option<FailureHook>,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    settings: Settings,
    topics: Arc<Topics>,
    segment: Arc<Segment>,
    file: File,
    /// Where the next group goes.
    end: u64,
    next_group: u64,
    /// By slot: up to the last durable group.
    slots: Vec<Progress>,
    preparing: Option<Preparing>,
    staged: Staged,
    /// Records in memory in the order they became durable: slot, count, bytes.
    recent: VecDeque<(usize, usize, usize)>,
    recent_bytes: usize,
}

/// The group being put together.
#[derive(Default)]
struct Staged {
    buffer: Vec<u8>,
    /// By slot; empty for untouched ones.
    records: Vec<Vec<Record>>,
    touched: Vec<usize>,
    answers: Vec<(oneshot::Sender<Result<i64, LogError>>, i64)>,
    weight: (usize, usize),
}

/// Why a group did not become durable.
enum GroupError {
    /// Nothing of it is in the log, and the log goes on.
    Refused(LogError),
    /// Nothing is known about it, and the log ends.
    Fatal(LogError),
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        settings: Settings,
        file: File,
        end: u64,
        next_group: u64,
        slots: Vec<Progress>,
    ) -> Result<Self, LogError> {
        let segment = shared.segments.read().last().map(Arc::clone).ok_or(LogError::Closed)?;
        let topics = Arc::clone(&shared.topics.read());
        let staged = Staged::default();
        let (recent, recent_bytes, preparing) = (VecDeque::new(), 0, None);
        Ok(Self {
            shared,
            settings,
            topics,
            segment,
            file,
            end,
            next_group,
            slots,
            preparing,
            staged,
            recent,
            recent_bytes,
        })
    }

    /// Writes until the log is closed or fails.
    pub fn run(mut self) {
        // Also when this thread panics, nobody may wait for it for ever.
        let guard = EndGuard(Arc::clone(&self.shared));
        let mut items = Vec::new();
        while self.shared.queue.take_all(&mut items) {
            if let Err(error) = self.process(&mut items) {
                self.fail(&error, items);
                return;
            }
        }
        if let Some(preparing) = self.preparing.take() {
            let _ = preparing.finish();
            let _ = fs::remove_file(prepared_path(&self.shared.directory, self.segment.number + 1));
        }
        self.shared.queue.closed();
        drop(guard);
    }

    /// Makes everything in `items` durable, group after group.
    fn process(&mut self, items: &mut Vec<Item>) -> Result<(), LogError> {
        for item in items.drain(..) {
            let weight = item.weight();
            match item {
                Item::Append { slot, records, done, .. } => {
                    self.stage(slot, records, done);
                    self.staged.weight.0 += weight.0;
                    self.staged.weight.1 += weight.1;
                    if self.staged.buffer.len() >= GROUP_BYTES_MAX {
                        self.commit()?;
                    }
                }
                Item::CreateTopic { topic, partitions, done } => {
                    self.commit()?;
                    let outcome = self.create_topic(&topic, partitions);
                    self.shared.queue.finished(weight.0, weight.1);
                    match outcome {
                        Ok(()) => drop(done.send(Ok(()))),
                        Err(GroupError::Refused(error)) => drop(done.send(Err(error))),
                        Err(GroupError::Fatal(error)) => {
                            drop(done.send(Err(LogError::Failed(error.to_string()))));
                            return Err(error);
                        }
                    }
                }
            }
        }
        self.commit()
    }

    fn stage(&mut self, slot: usize, records: Vec<NewRecord>, done: oneshot::Sender<Result<i64, LogError>>) {
        let staged = &mut self.staged;
        if staged.buffer.is_empty() {
            begin_group(&mut staged.buffer);
        }
        if staged.records.len() < self.slots.len() {
            staged.records.resize_with(self.slots.len(), Vec::new);
        }
        let partition = &self.topics.slots[slot];
        let own = &mut staged.records[slot];
        let first = self.slots[slot].next_offset + offset_of(own.len());
        if own.is_empty() && !records.is_empty() {
            staged.touched.push(slot);
        }
        own.reserve(records.len());
        for (record, offset) in records.into_iter().zip(first..) {
            let place = Place { topic: partition.topic, partition: partition.partition, offset };
            put_record(&mut staged.buffer, place, &record);
            own.push(Record { offset, key: record.key, headers: record.headers, value: record.value });
        }
        staged.answers.push((done, first));
    }

    /// Makes the staged group durable, then visible, then answers its appenders.
    fn commit(&mut self) -> Result<(), LogError> {
        let mut staged = std::mem::take(&mut self.staged);
        if staged.answers.is_empty() {
            self.staged = staged;
            return Ok(());
        }
        let outcome =
            if staged.touched.is_empty() { Ok(self.end) } else { self.write_group(&mut staged.buffer) };
        match outcome {
            Ok(byte) => {
                self.publish(byte, &mut staged);
                self.shared.queue.finished(staged.weight.0, staged.weight.1);
                for (done, first) in staged.answers.drain(..) {
                    // The submitter may have dropped its future; the batch stays appended.
                    let _ = done.send(Ok(first));
                }
            }
            Err(GroupError::Refused(error)) => {
                tracing::warn!(%error, "a group was refused; the log goes on");
                self.shared.queue.finished(staged.weight.0, staged.weight.1);
                staged.records.iter_mut().for_each(Vec::clear);
                staged.answers.drain(..).for_each(|(done, _)| drop(done.send(Err(error.clone()))));
            }
            Err(GroupError::Fatal(error)) => {
                // The answers wait in `staged` until the failure hook had its say.
                self.staged = staged;
                return Err(error);
            }
        }
        staged.touched.clear();
        staged.buffer.clear();
        staged.weight = (0, 0);
        self.staged = staged;
        self.prepare_ahead();
        Ok(())
    }

    /// Writes and syncs a group; answers where it begins.
    fn write_group(&mut self, buffer: &mut [u8]) -> Result<u64, GroupError> {
        let length = buffer.len() as u64;
        if self.end > self.segment.body_at && self.end + length > self.settings.segment_bytes {
            self.roll()?;
        }
        finish_group(buffer, self.shared.log_id, self.segment.number, self.next_group);
        let byte = self.end;
        if let Err(error) = self.settings.disk.write_group(&self.file, buffer, byte) {
            return Err(self.take_back(error));
        }
        self.sync(|writer| writer.settings.disk.sync_group(&writer.file))?;
        self.end += length;
        self.next_group += 1;
        Ok(byte)
    }

    fn sync(&self, sync: impl Fn(&Self) -> io::Result<()>) -> Result<(), GroupError> {
        if self.settings.durability == Durability::Os || mutation::is(Mutation::AcknowledgedBeforeSync) {
            return Ok(());
        }
        let what = || format!("syncing {}", segment_name(self.segment.number));
        sync(self).map_err(|error| GroupError::Fatal(io_error(what(), error)))
    }

    /// After a failed write: the group never was, if the file can be cut back and that made durable.
    fn take_back(&self, error: io::Error) -> GroupError {
        let name = segment_name(self.segment.number);
        let cut = self.file.set_len(self.end).and_then(|()| self.settings.disk.sync_group(&self.file));
        match cut {
            Ok(()) => GroupError::Refused(refused(format!("writing {name}"), error)),
            Err(_) => GroupError::Fatal(io_error(format!("writing {name}"), error)),
        }
    }

    /// Goes over to the next segment. Until its name is durable, failing changes nothing.
    fn roll(&mut self) -> Result<(), GroupError> {
        let number = self.segment.number + 1;
        let what = format!("beginning {}", segment_name(number));
        let refused = |error| GroupError::Refused(refused(what.clone(), error));
        let directory = &self.shared.directory;
        let file = match self.preparing.take().map(Preparing::finish) {
            Some(Ok(file)) => file,
            // What was scarce in the background may be there again.
            Some(Err(_)) | None => {
                prepare_now(directory, number, self.settings.segment_bytes, &*self.settings.disk)
                    .map_err(refused)?
            }
        };
        let header = self.header(number);
        let bytes = header.to_bytes();
        file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).map_err(refused)?;
        // From the rename on the new name may or may not survive a crash: an error leaves no way back.
        fs::rename(prepared_path(directory, number), segment_path(directory, number))
            .and_then(|()| sync_directory(directory))
            .map_err(|error| GroupError::Fatal(io_error(what, error)))?;
        // Gives unused room back; the file is complete without it.
        let _ = self.file.set_len(self.end);
        let fresh =
            Arc::new(Segment::new(&header, bytes.len() as u64, bytes.len() as u64, Some(Index::default())));
        let sealed = std::mem::replace(&mut self.segment, Arc::clone(&fresh));
        self.file = file;
        self.end = fresh.body_at;
        self.shared.segments.write().push(fresh);
        self.shared.seal_index(&sealed);
        Ok(())
    }

    fn header(&self, segment: u64) -> SegmentHeader {
        let topics = self.topics.iter().map(|(topic, partitions)| {
            (topic.clone(), partitions.iter().map(|partition| self.slots[partition.slot]).collect())
        });
        SegmentHeader {
            log_id: self.shared.log_id,
            segment,
            first_group: self.next_group,
            previous_bytes: self.end,
            topics: topics.collect(),
        }
    }

    /// Shows the durable group that begins at `byte` to readers.
    fn publish(&mut self, byte: u64, staged: &mut Staged) {
        self.segment.set_durable(self.end);
        {
            let mut index = self.segment.index.lock();
            for &slot in &staged.touched {
                let progress = &mut self.slots[slot];
                let Some(first) = staged.records[slot].first() else { continue };
                if let Some(index) = &mut *index {
                    let (offset, group) = (first.offset, self.next_group - 1);
                    index.note(slot, Entry { offset, byte, group, time_before_us: progress.time_max_us });
                }
                for record in &staged.records[slot] {
                    progress.next_offset = record.offset + 1;
                    if let RecordHeaders::Known(headers) = &record.headers {
                        progress.time_max_us = progress.time_max_us.max(headers.recorded_at_us);
                    }
                }
            }
        }
        for &slot in &staged.touched {
            let records = &mut staged.records[slot];
            let bytes = records.iter().map(resident_bytes).sum();
            self.recent.push_back((slot, records.len(), bytes));
            self.recent_bytes += bytes;
            let partition: &Partition = &self.topics.slots[slot];
            partition.publish(records.drain(..));
            partition.grown.notify_waiters();
        }
        while self.recent_bytes > self.settings.recent_bytes_max
            && let Some((slot, count, bytes)) = self.recent.pop_front()
        {
            self.topics.slots[slot].forget(count);
            self.recent_bytes -= bytes;
        }
    }

    fn create_topic(&mut self, topic: &Topic, partitions: u32) -> Result<(), GroupError> {
        if let Some(found) = self.topics.partitions(topic) {
            let found = u32::try_from(found.len()).unwrap_or(u32::MAX);
            if found == partitions {
                return Ok(());
            }
            let topic = topic.clone();
            return Err(GroupError::Refused(LogError::PartitionCount { topic, found, expected: partitions }));
        }
        let mut buffer = Vec::with_capacity(GROUP_HEADER_BYTES + 64);
        begin_group(&mut buffer);
        put_topic(&mut buffer, self.topics.next_number(), partitions, topic.as_str());
        self.write_group(&mut buffer)?;
        self.segment.set_durable(self.end);
        let mut topics = Topics::clone(&self.topics);
        topics.add(topic, (0..partitions).map(|_| 0));
        self.slots.resize(topics.slots.len(), Progress::START);
        self.topics = Arc::new(topics);
        *self.shared.topics.write() = Arc::clone(&self.topics);
        Ok(())
    }

    /// Has the next segment prepared once the current one is half full.
    fn prepare_ahead(&mut self) {
        if self.preparing.is_some() || self.end < self.settings.segment_bytes / 2 {
            return;
        }
        let (directory, next) = (&self.shared.directory, self.segment.number + 1);
        let (bytes, disk) = (self.settings.segment_bytes, &self.settings.disk);
        match Preparing::start(directory, next, bytes, disk) {
            Ok(preparing) => self.preparing = Some(preparing),
            // It is prepared on the spot when it is needed.
            Err(error) => tracing::debug!(%error, "preparing a segment in the background failed"),
        }
    }

    /// The log ends here: nothing later is taken, and nobody on the way learns more than that.
    fn fail(&mut self, error: &LogError, items: Vec<Item>) {
        let reason = error.to_string();
        let waiting = self.shared.queue.fail(&reason);
        tracing::error!(reason, "the log has failed and takes no more appends");
        if let Some(hook) = &self.settings.on_failure {
            hook(error);
        }
        for (done, _) in self.staged.answers.drain(..) {
            let _ = done.send(Err(LogError::Failed(reason.clone())));
        }
        items.into_iter().chain(waiting).for_each(|item| item.refuse(LogError::Failed(reason.clone())));
    }
}

fn offset_of(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Lets nobody wait for a writer that has ended.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        if self.0.queue.ended().is_none() {
            let reason = "its writer stopped unexpectedly";
            let waiting = self.0.queue.fail(reason);
            waiting.into_iter().for_each(|item| item.refuse(LogError::Failed(reason.to_owned())));
        }
        self.0.wake_all();
    }
}

/// An append that the disk would not take and that left no trace.
fn refused(what: String, error: io::Error) -> LogError {
    LogError::Refused { what, source: Arc::new(error) }
}
