//! A small world around one log: processes that read, claim, decide and append, one move at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidewheel_engine::partition::{Partition, StepLaunch, StepResult};
use tidewheel_engine::workflow::{
    Context, RetryPolicy, StepFailure, StepOptions, StepTask, Workflow, WorkflowError, WorkflowFuture,
    Workflows,
};
use tidewheel_engine::{Fold, Transition, Verdict};
use tidewheel_schemas::event::{LogCreated, RunStarted, RunUnparked, StepCompleted};
use tidewheel_schemas::{
    Author, Entity, Envelope, Event, EventId, Failure, LogId, Name, NewRecord, Payload, Record,
    RecordHeaders, RunId, codec,
};

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

/// Three steps, a signal with a timeout, a sleep, and a compensation when cancelled.
pub struct Order;

impl Workflow for Order {
    fn start(&self, context: Context, input: Payload) -> WorkflowFuture {
        let task: StepTask = Arc::new(|_| Box::pin(async { Ok(Payload::null()) }));
        let options = StepOptions {
            retry: RetryPolicy { attempts_max: Some(5), ..RetryPolicy::default() },
            timeout_ms: None,
        };
        Box::pin(async move {
            context.step(name("reserve"), options.clone(), Arc::clone(&task)).await?;
            let paid = context.signal(name("payment"), Some(50_000_000)).await;
            let charged = match paid {
                Ok(Some(_)) => {
                    context.step(name("charge"), options.clone(), Arc::clone(&task)).await.map(|_| true)
                }
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            match charged {
                Ok(true) => {}
                Ok(false) | Err(_) => {
                    context.step(name("release"), options.clone(), Arc::clone(&task)).await?;
                    return Err(WorkflowError::Cancelled);
                }
            }
            context.sleep_us(1_000).await?;
            context.step(name("ship"), options, task).await?;
            Ok(input)
        })
    }
}

/// Code that is broken from the start.
pub struct Panics;

impl Workflow for Panics {
    fn start(&self, _: Context, _: Payload) -> WorkflowFuture {
        Box::pin(async move { panic!("broken") })
    }
}

pub fn workflows() -> Arc<Workflows> {
    workflows_with(Arc::new(Order))
}

pub fn workflows_with(order: Arc<dyn Workflow>) -> Arc<Workflows> {
    let mut workflows = Workflows::new();
    workflows.insert(name("order"), order);
    Arc::new(workflows)
}

/// One log and the processes around it.
pub struct World {
    pub log: Vec<Record>,
    pub now_us: i64,
    pub processes: Vec<Process>,
    /// What processes spawned from here on run.
    pub workflows: Arc<Workflows>,
    pub ids: u128,
    /// Most machines a process spawned from here on has at once.
    pub active_max: usize,
    pub transitions_of_accepted_steps: BTreeMap<(RunId, String), usize>,
}

pub struct Process {
    pub partition: Partition,
    /// Appends decided but not yet in the log, oldest first.
    pub outgoing: Vec<NewRecord>,
    pub steps: Vec<StepLaunch>,
    pub read: usize,
    /// What its views hold: the log folded up to somewhere at or before what it has read.
    pub views: Fold,
}

impl Process {
    pub fn new(process: String, workflows: Arc<Workflows>, active_max: usize) -> Self {
        let mut partition = Partition::new(Fold::new(0), process.into(), workflows);
        partition.limit_active(active_max);
        Self { partition, outgoing: Vec::new(), steps: Vec::new(), read: 0, views: Fold::new(0) }
    }

    /// Brings a run into memory as the views hold it.
    fn load(&mut self, run_id: RunId) {
        if let Some(run) = self.views.run(run_id) {
            self.partition.insert(run.clone());
        }
    }
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            log: Vec::new(),
            now_us: 1_000_000,
            processes: Vec::new(),
            workflows: workflows(),
            ids: 0,
            active_max: usize::MAX,
            transitions_of_accepted_steps: BTreeMap::new(),
        };
        let created = LogCreated { log_id: LogId::random([7; 16]), epoch_us: 1, partitions: 1, fold: 2 };
        let record = world.record(
            Entity::Partition(0),
            None,
            Author::Candidate { process: "first".into() },
            created.into(),
        );
        world.append(vec![record]);
        world.spawn();
        world
    }

    pub fn id(&mut self) -> EventId {
        self.ids += 1;
        EventId::random(self.ids.to_be_bytes())
    }

    pub fn record(
        &mut self,
        entity: Entity,
        namespace: Option<Name>,
        author: Author,
        event: Event,
    ) -> NewRecord {
        let event_id = self.id();
        let envelope = Envelope {
            event_id,
            entity,
            namespace,
            recorded_at_us: self.now_us,
            cause: None,
            traceparent: None,
            author,
        };
        codec::encode(&envelope, &event).expect("a small event encodes")
    }

    pub fn external(&mut self, run_id: RunId, event: Event) {
        let author = Author::Ingest { principal: "anonymous".into() };
        let record = self.record(Entity::Run(run_id), Some(name("default")), author, event);
        self.append(vec![record]);
    }

    pub fn start(&mut self, number: u8) -> RunId {
        let run_id = RunId::keyed("default", 1, "order", &number.to_string());
        let event = RunStarted {
            workflow: name("order"),
            key: Some(number.to_string()),
            input: Payload::json(number.to_string()),
            tags: BTreeMap::new(),
        };
        self.external(run_id, event.into());
        run_id
    }

    pub fn append(&mut self, records: Vec<NewRecord>) {
        for NewRecord { key, headers, value } in records {
            let offset = i64::try_from(self.log.len()).expect("a short log");
            self.log.push(Record { offset, key, headers, value });
        }
    }

    pub fn spawn(&mut self) {
        let process = format!("process-{}", self.processes.len());
        self.processes.push(Process::new(process, Arc::clone(&self.workflows), self.active_max));
    }

    /// Lets process `index` read up to `records` records.
    pub fn read(&mut self, index: usize, records: usize) -> Vec<Transition> {
        let process = &mut self.processes[index];
        let end = self.log.len().min(process.read.saturating_add(records));
        for run_id in process.partition.wanted(&self.log[process.read..end]) {
            process.load(run_id);
        }
        let transitions = process
            .partition
            .records(&self.log[process.read..end], self.now_us)
            .expect("a fold never fails on its own records");
        process.read = end;
        self.settle(index);
        transitions
    }

    pub fn settle(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let effects = process.partition.take_effects();
        if effects.deposed {
            process.steps.clear();
        }
        process.outgoing.extend(effects.appends);
        for (run_id, location) in effects.aborts {
            process.steps.retain(|step| step.run_id != run_id || step.launch.call.location != location);
        }
        process.steps.extend(effects.launches);
    }

    pub fn claim(&mut self, index: usize) {
        let event_id = self.id();
        let now_us = self.now_us;
        let claim = self.processes[index].partition.claim(event_id, now_us);
        self.processes[index].outgoing.extend(claim);
    }

    /// Writes the first `records` outgoing records of a process into the log.
    pub fn flush(&mut self, index: usize, records: usize) {
        let outgoing = &mut self.processes[index].outgoing;
        let batch: Vec<_> = outgoing.drain(..records.min(outgoing.len())).collect();
        self.append(batch);
    }

    /// Makes the `which`-th record about a run that a process has on its way one that nobody can read.
    pub fn spoil(&mut self, index: usize, which: usize) {
        let is_about_run = |record: &&mut NewRecord| match &record.headers {
            RecordHeaders::Known(headers) => headers.entity.run_id().is_some(),
            RecordHeaders::Foreign(_) => false,
        };
        if let Some(record) = self.processes[index].outgoing.iter_mut().filter(is_about_run).nth(which) {
            record.value = record.value.slice(..record.value.len() - 1);
        }
    }

    /// Lets a run go on without the record that parked it; without effect for one that is not parked.
    pub fn unpark(&mut self, run_id: RunId) {
        let fold = self.refold();
        let parked_at = fold.run(run_id).and_then(|run| run.header.parked_at).unwrap_or(1);
        self.external(run_id, RunUnparked { offset: parked_at, reason: "it is cut off".to_owned() }.into());
    }

    pub fn finish_step(&mut self, index: usize, which: usize, succeed: bool) {
        let now_us = self.now_us;
        let process = &mut self.processes[index];
        if process.steps.is_empty() {
            return;
        }
        let step = process.steps.remove(which % process.steps.len());
        let result = if succeed {
            Ok(Payload::null())
        } else {
            Err(StepFailure { failure: Failure::new("flaky", "try again"), retryable: true })
        };
        let result = StepResult {
            run_id: step.run_id,
            location: step.launch.call.location,
            attempt: step.launch.call.attempt,
            result,
            jitter: 0,
        };
        process.partition.step_finished(result, now_us);
        self.settle(index);
    }

    pub fn tick(&mut self, index: usize, pass_us: i64) {
        self.now_us += pass_us;
        let process = &mut self.processes[index];
        if process.partition.is_leader() {
            for (run_id, run) in process.views.clone().runs() {
                match run.header.work_due_us() {
                    Some(due_us) if due_us > self.now_us => process.partition.expect(*run_id, due_us),
                    Some(_) => process.partition.defer(*run_id),
                    None => {}
                }
            }
            for run_id in process.partition.take_turns(usize::MAX) {
                process.load(run_id);
            }
            for run_id in process.partition.due_elsewhere(self.now_us) {
                process.load(run_id);
            }
        }
        process.partition.tick(self.now_us);
        self.settle(index);
    }

    /// The views of process `index` catch up to `lag` records behind what it has read; what they hold leaves memory.
    pub fn project(&mut self, index: usize, lag: usize) {
        let process = &mut self.processes[index];
        let from = usize::try_from(process.views.control().next_offset).expect("an offset");
        let to = process.read.saturating_sub(lag);
        for record in self.log.get(from..to).unwrap_or_default() {
            process.views.apply(record).expect("folding is total");
        }
        let applied = process.views.control().next_offset - 1;
        process.partition.evict(applied, self.now_us);
    }

    /// Without further faults, one new process brings every run to its end.
    pub fn recover(&mut self) -> Fold {
        self.spawn();
        let index = self.processes.len() - 1;
        for _ in 0..2_000 {
            self.read(index, usize::MAX);
            if !self.processes[index].partition.is_leader() {
                self.claim(index);
            }
            self.flush(index, usize::MAX);
            while !self.processes[index].steps.is_empty() {
                self.finish_step(index, 0, true);
            }
            self.project(index, 0);
            self.tick(index, 10_000_000);
            let views = &self.processes[index].views;
            let is_parked = |run: &tidewheel_engine::Run| {
                run.header.parked_at.is_some() && !run.header.status.is_finished()
            };
            let parked: Vec<_> =
                views.runs().values().filter(|run| is_parked(run)).map(|run| run.header.run_id).collect();
            for run_id in parked {
                self.unpark(run_id);
            }
            let views = &self.processes[index].views;
            let quiet =
                self.processes[index].outgoing.is_empty() && self.processes[index].read == self.log.len();
            if quiet && views.runs().values().all(|run| run.header.status.is_finished()) {
                break;
            }
        }
        self.project(index, 0);
        for run_id in self.processes[index].views.clone().runs().keys() {
            self.processes[index].load(*run_id);
        }
        self.processes[index].partition.fold().clone()
    }

    /// Refolds the log from zero, counting accepted results per location.
    pub fn refold(&mut self) -> Fold {
        let mut fold = Fold::new(0);
        self.transitions_of_accepted_steps.clear();
        for record in &self.log {
            let transition = fold.apply(record).expect("folding is total");
            let entry = transition.run.and_then(|change| change.entry);
            if let (Verdict::Accepted, Some(entry)) = (transition.verdict, entry)
                && let Event::StepCompleted(StepCompleted { location, .. }) = &*entry.event
                && let RecordHeaders::Known(headers) = &record.headers
                && let Some(run_id) = headers.entity.run_id()
            {
                *self.transitions_of_accepted_steps.entry((run_id, location.to_string())).or_default() += 1;
            }
        }
        fold
    }
}
