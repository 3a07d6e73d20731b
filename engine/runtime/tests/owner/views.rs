//! Views in memory: what the projector would hold, by refolding the log as far as it was handed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidewheel_engine::{Control, Fold, Run, Transition};
use tidewheel_log::EventLog;
use tidewheel_runtime::{OpenWork, Resume, Views, ViewsError};
use tidewheel_schemas::{RunId, Topic, TopicPartition};

use super::log::FaultyLog;

/// Few, so that takeovers page.
const PAGE: usize = 2;

/// The views as one process sees them; what they hold outlives it. Cloning shares both.
#[derive(Clone)]
pub struct MemoryViews {
    log: FaultyLog,
    topic: Topic,
    folds: Arc<Vec<Mutex<Fold>>>,
    /// By partition, whether this process writes them.
    writes: Arc<Vec<AtomicBool>>,
    /// Every run that was loaded.
    pub loads: Arc<Mutex<Vec<RunId>>>,
}

impl MemoryViews {
    pub fn new(log: FaultyLog, topic: Topic, partitions: u32) -> Self {
        let folds = (0..partitions).map(|partition| Mutex::new(Fold::new(partition))).collect();
        let writes = (0..partitions).map(|_| AtomicBool::new(false)).collect();
        Self { log, topic, folds: Arc::new(folds), writes: Arc::new(writes), loads: Arc::default() }
    }

    /// The same views as another process sees them.
    pub fn of_another_process(&self) -> Self {
        let writes = self.writes.iter().map(|_| AtomicBool::new(false)).collect();
        Self { writes: Arc::new(writes), ..self.clone() }
    }

    pub fn run(&self, run_id: RunId) -> Option<Run> {
        self.folds.iter().find_map(|fold| fold.lock().run(run_id).cloned())
    }

    pub fn outbox(&self, partition: u32) -> usize {
        self.folds[partition as usize].lock().outbox().len()
    }
}

#[async_trait]
impl Views for MemoryViews {
    async fn begin(&self, partition: u32, writes: bool) -> Result<(), ViewsError> {
        self.writes[partition as usize].store(writes, Ordering::SeqCst);
        Ok(())
    }

    async fn resume(&self, partition: u32) -> Result<Option<Resume>, ViewsError> {
        let fold = self.folds[partition as usize].lock();
        let resume =
            Resume { control: fold.control().clone(), outbox: fold.outbox().values().cloned().collect() };
        Ok((resume.control.next_offset > 0).then_some(resume))
    }

    async fn load_run(&self, run_id: RunId) -> Result<Option<Run>, ViewsError> {
        self.loads.lock().push(run_id);
        Ok(self.run(run_id))
    }

    async fn open_work(
        &self,
        partition: u32,
        until_us: i64,
        page: Option<Vec<u8>>,
    ) -> Result<(Vec<OpenWork>, Option<Vec<u8>>), ViewsError> {
        let fold = self.folds[partition as usize].lock();
        let mut work: Vec<_> = (fold.runs().values())
            .filter_map(|run| Some(OpenWork { run_id: run.header.run_id, due_us: run.header.work_due_us()? }))
            .filter(|work| work.due_us <= until_us)
            .collect();
        work.sort_by_key(|work| (work.due_us, work.run_id));
        if let Some(page) = page {
            let (due_us, run_id) = page.split_at(8);
            let due_us = i64::from_be_bytes(due_us.try_into().expect("a time"));
            let run_id = RunId::from_bytes(run_id.try_into().expect("a run id"));
            work.retain(|work| (work.due_us, work.run_id) > (due_us, run_id));
        }
        let is_last = work.len() <= PAGE;
        work.truncate(PAGE);
        let last = work.last().filter(|_| !is_last);
        let next = last.map(|last| [&last.due_us.to_be_bytes()[..], last.run_id.as_bytes()].concat());
        Ok((work, next))
    }

    fn publish(&self, _transitions: &[Transition]) {}

    async fn project(
        &self,
        partition: u32,
        transitions: Vec<Transition>,
        control: &Control,
    ) -> Result<(), ViewsError> {
        if !self.writes[partition as usize].load(Ordering::SeqCst) {
            return Ok(());
        }
        let from = self.folds[partition as usize].lock().control().next_offset;
        let place = TopicPartition::new(self.topic.clone(), partition);
        let count = usize::try_from(control.next_offset - from).expect("views are never ahead");
        let records = self.log.read(&place, from, count).await.expect("what was folded can be read");
        let mut fold = self.folds[partition as usize].lock();
        let refolded: Vec<_> =
            records.iter().map(|record| fold.apply(record).expect("folding is total")).collect();
        assert_eq!(refolded, transitions, "the owner folds as everybody does");
        assert_eq!(fold.control(), control);
        Ok(())
    }

    fn applied_offset(&self, partition: u32) -> i64 {
        self.folds[partition as usize].lock().control().next_offset - 1
    }
}
