//! The debugger: the records of one run, and the run as it stands after some of them. Reads and prints nothing itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidewheel_api::Time;
use tidewheel_engine::{Fold, FoldError, Rejection, Verdict};
use tidewheel_projector::query::history::EventAnswer;
use tidewheel_schemas::{Author, EventType, Headers, Record, RecordHeaders, RunId, codec};

use super::command::{Breakpoint, Command, HELP};
use super::recording::{Recorded, RecordingError};
use crate::inspect::changes;
use crate::inspect::state::RunState;

/// Folds that are kept, so that going back need not begin at the first record.
const SAVED_MAX: usize = 16;
/// Fewest records between two of them.
const SAVED_EVERY: usize = 256;

/// A session that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A record cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The log is ahead of this build.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// There is nothing to step through.
    #[error("there are no records of a run")]
    Empty,
    /// Records of several runs.
    #[error("the records are of several runs; name one of {0}")]
    SeveralRuns(String),
    /// A command that cannot be done.
    #[error("{0}")]
    Refused(String),
}

/// What a command says.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// For people.
    pub text: String,
    /// For programs: one object.
    pub json: Value,
}

/// A record, and what the fold made of it.
struct Frame {
    record: Record,
    recorded: Recorded,
    headers: Headers,
    verdict: Verdict,
}

/// A run and the records it is stepped through.
pub struct Session {
    run_id: RunId,
    frames: Vec<Frame>,
    /// Folds after so many records.
    saved: BTreeMap<usize, Fold>,
    fold: Fold,
    /// How many records are folded.
    at: usize,
    breakpoints: Vec<Breakpoint>,
}

impl Session {
    /// At the beginning of a run. `run_id` may be left out where all records are of one.
    ///
    /// # Errors
    /// When there are no records of it, or they cannot be read.
    pub fn new(recorded: Vec<Recorded>, run_id: Option<RunId>) -> Result<Self, StepError> {
        let mut records = Vec::new();
        for recorded in recorded {
            let record = recorded.record()?;
            let RecordHeaders::Known(headers) = &record.headers else { continue };
            let Some(of) = headers.entity.run_id() else { continue };
            let headers = headers.clone();
            records.push((of, recorded, record, headers));
        }
        let run_id = match run_id {
            Some(run_id) => run_id,
            None => {
                let mut runs: Vec<_> = records.iter().map(|(of, ..)| *of).collect();
                runs.sort_unstable();
                runs.dedup();
                match runs.as_slice() {
                    [] => return Err(StepError::Empty),
                    [only] => *only,
                    several => {
                        let names: Vec<_> = several.iter().take(20).map(RunId::to_string).collect();
                        return Err(StepError::SeveralRuns(names.join(", ")));
                    }
                }
            }
        };
        records.retain(|(of, ..)| *of == run_id);
        records.sort_by_key(|(_, recorded, ..)| recorded.offset);
        let Some((_, first, ..)) = records.first() else { return Err(StepError::Empty) };
        let begin = Fold::new(first.control.partition);
        let every = (records.len() / SAVED_MAX).max(SAVED_EVERY);
        let (mut frames, mut saved) = (Vec::new(), BTreeMap::from([(0, begin.clone())]));
        let mut fold = begin.clone();
        for (_, recorded, record, headers) in records {
            let verdict = fold_one(&mut fold, &recorded, &record)?;
            frames.push(Frame { record, recorded, headers, verdict });
            if frames.len().is_multiple_of(every) {
                saved.insert(frames.len(), fold.clone());
            }
        }
        Ok(Self { run_id, frames, saved, fold: begin, at: 0, breakpoints: Vec::new() })
    }

    /// The run.
    pub const fn run_id(&self) -> RunId {
        self.run_id
    }

    /// Records of the run.
    pub const fn records(&self) -> usize {
        self.frames.len()
    }

    /// Does what is asked; none to end.
    ///
    /// # Errors
    /// When it cannot be done; the session stands where it stood.
    pub fn execute(&mut self, command: &Command) -> Result<Option<Reply>, StepError> {
        let reply = match command {
            Command::Next(count) => self.moved(self.at.saturating_add(*count))?,
            Command::Back(count) => self.moved(self.at.saturating_sub(*count))?,
            Command::Goto(to) => self.moved(*to)?,
            Command::GotoOffset(offset) => {
                let to = self.frames.partition_point(|frame| frame.record.offset <= *offset);
                self.moved(to)?
            }
            Command::Run => self.run()?,
            Command::Reverse => self.reverse()?,
            Command::Break(breakpoint) => {
                self.breakpoints.push(breakpoint.clone());
                self.breaks()
            }
            Command::Breaks => self.breaks(),
            Command::Delete(number) => {
                if *number == 0 || *number > self.breakpoints.len() {
                    return Err(StepError::Refused(format!("there is no breakpoint {number}")));
                }
                self.breakpoints.remove(number - 1);
                self.breaks()
            }
            Command::Show(path) => self.show(path.as_deref())?,
            Command::Diff => self.diff()?,
            Command::Record => self.record()?,
            Command::Proposed => self.proposed(),
            Command::List => self.list(),
            Command::Help => Reply { text: HELP.to_owned(), json: json!({ "help": HELP }) },
            Command::Quit => return Ok(None),
        };
        Ok(Some(reply))
    }

    fn state(&self) -> Value {
        let run = self.fold.run(self.run_id);
        run.map_or(Value::Null, |run| serde_json::to_value(RunState::of(run)).unwrap_or_default())
    }

    /// The fold after so many records.
    fn fold_at(&self, to: usize) -> Result<Fold, StepError> {
        let nearest = self.saved.range(..=to).next_back();
        let (from, mut fold) = match nearest {
            // Forward from here, where that is nearer.
            Some((from, _)) if self.at <= to && self.at > *from => (self.at, self.fold.clone()),
            Some((from, fold)) => (*from, fold.clone()),
            None => (self.at.min(to), self.fold.clone()),
        };
        for frame in &self.frames[from..to] {
            fold_one(&mut fold, &frame.recorded, &frame.record)?;
        }
        Ok(fold)
    }

    fn go(&mut self, to: usize) -> Result<(), StepError> {
        if to == self.at + 1 {
            // Not by way of a copy: most steps are this one.
            let frame = &self.frames[self.at];
            fold_one(&mut self.fold, &frame.recorded, &frame.record)?;
        } else {
            self.fold = self.fold_at(to)?;
        }
        self.at = to;
        Ok(())
    }

    fn moved(&mut self, to: usize) -> Result<Reply, StepError> {
        self.go(to.min(self.frames.len()))?;
        Ok(self.here(None))
    }

    fn run(&mut self) -> Result<Reply, StepError> {
        while self.at < self.frames.len() {
            let before = self.state();
            self.go(self.at + 1)?;
            if let Some(hit) = self.hit(&before, &self.state()) {
                return Ok(self.here(Some(hit)));
            }
        }
        Ok(self.here(None))
    }

    fn reverse(&mut self) -> Result<Reply, StepError> {
        while self.at > 0 {
            self.go(self.at - 1)?;
            if self.at == 0 {
                break;
            }
            let (after, at) = (self.state(), self.at);
            let before = self.fold_at(at - 1)?;
            let before = before
                .run(self.run_id)
                .map_or(Value::Null, |run| serde_json::to_value(RunState::of(run)).unwrap_or_default());
            if let Some(hit) = self.hit(&before, &after) {
                return Ok(self.here(Some(hit)));
            }
        }
        Ok(self.here(None))
    }

    /// The first breakpoint that the record stood at meets.
    fn hit(&self, before: &Value, after: &Value) -> Option<String> {
        let frame = self.frames.get(self.at.checked_sub(1)?)?;
        let changed = changes(before, after);
        let is_met = |breakpoint: &&Breakpoint| match breakpoint {
            Breakpoint::Type(event_type) => frame.headers.event_type == *event_type,
            Breakpoint::Field(path) => changed.iter().any(|change| {
                // A run that begins, begins with every field.
                let is_below = |whole: &str, part: &str| {
                    whole == part || whole.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'))
                };
                change.path.is_empty() || is_below(&change.path, path) || is_below(path, &change.path)
            }),
        };
        self.breakpoints.iter().find(is_met).map(Breakpoint::to_string)
    }

    /// Where the session stands.
    fn here(&self, hit: Option<String>) -> Reply {
        let of = self.frames.len();
        let at = self.at;
        let Some(frame) = at.checked_sub(1).and_then(|at| self.frames.get(at)) else {
            let text = format!("before the first of {of} records");
            return Reply { text, json: json!({ "at": 0, "of": of }) };
        };
        let status = self.fold.run(self.run_id).map(|run| RunState::of(run).status);
        let mut json = frame.brief();
        json["at"] = json!(at);
        json["of"] = json!(of);
        json["status"] = json!(status);
        let mut text = format!("{at}/{of}  {}", frame.text());
        if let Some(hit) = hit {
            text = format!("{text}  (breakpoint {hit})");
            json["breakpoint"] = json!(hit);
        }
        Reply { text, json }
    }

    fn breaks(&self) -> Reply {
        let all: Vec<_> = self.breakpoints.iter().map(Breakpoint::to_string).collect();
        let lines = all.iter().enumerate().map(|(place, breakpoint)| format!("{}  {breakpoint}", place + 1));
        let lines: Vec<_> = lines.collect();
        let text = if lines.is_empty() { "no breakpoints".to_owned() } else { lines.join("\n") };
        Reply { text, json: json!({ "breakpoints": all }) }
    }

    fn show(&self, path: Option<&str>) -> Result<Reply, StepError> {
        let state = self.state();
        let shown = match path {
            None => state,
            Some(path) => {
                let pointer = format!("/{}", path.replace('.', "/"));
                let found = state.pointer(&pointer).cloned();
                found.ok_or_else(|| StepError::Refused(format!("the state has no field `{path}`")))?
            }
        };
        let text = serde_json::to_string_pretty(&shown).unwrap_or_default();
        Ok(Reply { text, json: json!({ "at": self.at, "state": shown }) })
    }

    fn diff(&self) -> Result<Reply, StepError> {
        let before = match self.at.checked_sub(1) {
            None => Value::Null,
            Some(before) => {
                let fold = self.fold_at(before)?;
                fold.run(self.run_id)
                    .map_or(Value::Null, |run| serde_json::to_value(RunState::of(run)).unwrap_or_default())
            }
        };
        let changed = changes(&before, &self.state());
        let shown = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        let lines: Vec<_> = changed
            .iter()
            .map(|change| format!("{}: {} -> {}", change.path, shown(&change.before), shown(&change.after)))
            .collect();
        let text = if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") };
        Ok(Reply { text, json: json!({ "at": self.at, "changes": changed }) })
    }

    fn record(&self) -> Result<Reply, StepError> {
        let frame = self.at.checked_sub(1).and_then(|at| self.frames.get(at));
        let frame = frame
            .ok_or_else(|| StepError::Refused("no record is folded yet; `next` folds one".to_owned()))?;
        let mut json = frame.brief();
        json["event"] = match codec::decode(&frame.headers, &frame.record.value) {
            Ok((_, event)) => serde_json::to_value(EventAnswer::of(&event)).unwrap_or_default(),
            Err(error) => json!({ "unreadable": error.to_string() }),
        };
        let text = serde_json::to_string_pretty(&json).unwrap_or_default();
        Ok(Reply { text, json })
    }

    fn proposed(&self) -> Reply {
        let is_engine = |frame: &&Frame| matches!(frame.headers.author, Author::Engine { .. });
        let decided: Vec<_> = self.frames[self.at..].iter().take_while(is_engine).collect();
        let lines: Vec<_> = decided.iter().map(|frame| frame.text()).collect();
        let text = if lines.is_empty() {
            "nothing was decided before the next record from outside".to_owned()
        } else {
            lines.join("\n")
        };
        let decided: Vec<_> = decided.iter().map(|frame| frame.brief()).collect();
        Reply { text, json: json!({ "at": self.at, "proposed": decided }) }
    }

    fn list(&self) -> Reply {
        let line = |(place, frame): (usize, &Frame)| {
            let mark = if place + 1 == self.at { '>' } else { ' ' };
            format!("{mark} {}  {}", place + 1, frame.text())
        };
        let lines: Vec<_> = self.frames.iter().enumerate().map(line).collect();
        let records: Vec<_> = self.frames.iter().map(Frame::brief).collect();
        Reply { text: lines.join("\n"), json: json!({ "at": self.at, "records": records }) }
    }
}

/// Folds one record of a run where its partition stood then.
fn fold_one(fold: &mut Fold, recorded: &Recorded, record: &Record) -> Result<Verdict, FoldError> {
    fold.stand_at(recorded.control.control(record.offset));
    Ok(fold.apply(record)?.verdict)
}

impl Frame {
    fn verdict(&self) -> (&'static str, Option<Rejection>) {
        match self.verdict {
            Verdict::Accepted => ("accepted", None),
            Verdict::Duplicate(outcome) => ("duplicate", outcome.err()),
            Verdict::Rejected(rejection) => ("rejected", Some(rejection)),
            Verdict::Parked => ("parked", None),
            Verdict::Stale => ("stale", None),
            Verdict::Skipped => ("skipped", None),
        }
    }

    fn author(&self) -> Value {
        match &self.headers.author {
            Author::Engine { claim, seq, seen, idle } => {
                json!({ "engine": { "claim": claim, "seq": seq, "seen": seen, "idle": idle } })
            }
            Author::Ingest { principal } => json!({ "ingest": principal }),
            Author::Candidate { process } => json!({ "candidate": process }),
            Author::Outbox { partition, name, .. } => {
                json!({ "outbox": { "partition": partition, "offset": name.offset, "index": name.index } })
            }
        }
    }

    fn event_type(&self) -> EventType {
        self.headers.event_type
    }

    fn brief(&self) -> Value {
        let (verdict, rejection) = self.verdict();
        let mut json = json!({
            "offset": self.record.offset,
            "type": self.event_type().as_str(),
            "event_id": self.headers.event_id,
            "recorded_at": Time(self.headers.recorded_at_us).to_string(),
            "author": self.author(),
            "verdict": verdict,
        });
        if let Some(rejection) = rejection {
            json["rejection"] = json!(rejection.code());
        }
        json
    }

    fn text(&self) -> String {
        let (verdict, rejection) = self.verdict();
        let verdict =
            rejection.map_or(verdict.to_owned(), |rejection| format!("{verdict}: {}", rejection.code()));
        let author = match &self.headers.author {
            Author::Engine { claim, seq, seen, .. } => {
                format!("engine, claim {claim}, seq {seq}, seen {seen}")
            }
            Author::Ingest { principal } => format!("from {principal}"),
            Author::Candidate { process } => format!("from process {process}"),
            Author::Outbox { partition, name, .. } => {
                format!("from partition {partition}, offset {}", name.offset)
            }
        };
        format!("offset {}  {}  {verdict}  ({author})", self.record.offset, self.event_type().as_str())
    }
}
