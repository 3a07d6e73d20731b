//! Single promises, each with the smallest workflow that shows it.

use std::future::Future;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::future::{Either, join, select};
use futures::stream::FuturesUnordered;
use tidewheel_engine::run::{Divergence, HistoryEntry, Origin};
use tidewheel_engine::workflow::{
    Context, Machine, Output, RetryPolicy, StepFailure, StepOptions, Workflow, WorkflowError, WorkflowFuture,
};
use tidewheel_schemas::event::{RunCancelRequested, RunSignaled, RunTerminated};
use tidewheel_schemas::limit::PAYLOAD_BYTES_MAX;
use tidewheel_schemas::{Event, EventType, Failure, Location, Payload};

use super::script::{name, noop};
use super::world::{START_US, entry, info, start};

struct Function<F>(F);

impl<F, Fut> Workflow for Function<F>
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Payload, WorkflowError>> + Send + 'static,
{
    fn start(&self, context: Context, _input: Payload) -> WorkflowFuture {
        Box::pin((self.0)(context))
    }
}

fn begin(workflow: &dyn Workflow) -> Machine {
    try_begin(workflow).unwrap()
}

fn try_begin(workflow: &dyn Workflow) -> Result<Machine, Divergence> {
    let mut machine = Machine::new(workflow, info(), &start());
    machine.replay(&[start()]).map(|()| machine)
}

fn external(ordinal: u64, event: impl Into<Event>) -> HistoryEntry {
    let recorded_at_us = START_US + i64::try_from(ordinal).unwrap();
    entry(usize::try_from(ordinal).unwrap(), recorded_at_us, Origin::External { ordinal }, event.into())
}

fn signal(ordinal: u64, text: &str) -> HistoryEntry {
    external(
        ordinal,
        RunSignaled { name: name("go"), payload: Payload::json(format!("signal {ordinal} {text}")) },
    )
}

fn cancel(ordinal: u64) -> HistoryEntry {
    external(ordinal, RunCancelRequested { reason: "enough".to_owned() })
}

fn types(output: &Output) -> Vec<EventType> {
    output.proposals.iter().map(|proposal| proposal.event.event_type()).collect()
}

fn output_of(output: &Output) -> Option<&Payload> {
    output.proposals.iter().find_map(|proposal| {
        if let Event::RunCompleted(completed) = &proposal.event { Some(&completed.output) } else { None }
    })
}

fn failure_of(output: &Output) -> Option<&str> {
    output.proposals.iter().find_map(|proposal| {
        if let Event::RunFailed(failed) = &proposal.event { Some(&*failed.failure.code) } else { None }
    })
}

fn step(
    context: &Context,
    text: &str,
) -> impl Future<Output = Result<Payload, WorkflowError>> + Unpin + use<> {
    context.step(name(text), StepOptions::default(), noop())
}

fn top(coordinate: u32) -> Location {
    Location::top(coordinate)
}

#[test]
fn a_step_costs_one_record_and_the_end_chains_on_it() {
    let workflow = Function(|ctx: Context| async move { step(&ctx, "a").await });
    let mut machine = begin(&workflow);
    let output = machine.take_output();
    assert_eq!((output.proposals.len(), output.launches.len()), (0, 1));
    assert_eq!(output.launches[0].call.idempotency_key(), format!("{}/1", info().run_id));
    assert!(!machine.is_idle());
    assert_eq!(machine.step_completed(&top(1), 1, Payload::json("7"), START_US + 5), Ok(true));
    let output = machine.take_output();
    assert_eq!(types(&output), [EventType::StepCompleted, EventType::RunCompleted]);
    assert_eq!(output_of(&output), Some(&Payload::json("7")));
    assert!(machine.is_finished() && machine.is_idle());
}

#[test]
fn a_launch_waits_for_the_decisions_before_it() {
    let workflow = Function(|ctx: Context| async move {
        ctx.set_state(Payload::json("1")).unwrap();
        let (left, right) = join(step(&ctx, "a"), ctx.sleep_us(5)).await;
        right.and(left)
    });
    let output = begin(&workflow).take_output();
    assert_eq!(types(&output), [EventType::RunStateChanged, EventType::TimerStarted]);
    assert_eq!(output.launches[0].after_proposals, 1);
}

#[test]
fn results_of_other_attempts_and_places_are_ignored() {
    let workflow = Function(|ctx: Context| async move { step(&ctx, "a").await });
    let mut machine = begin(&workflow);
    // Not launched yet.
    assert_eq!(machine.step_completed(&top(1), 1, Payload::null(), START_US), Ok(false));
    machine.take_output();
    assert_eq!(machine.step_completed(&top(1), 2, Payload::null(), START_US), Ok(false));
    assert_eq!(machine.step_completed(&top(2), 1, Payload::null(), START_US), Ok(false));
    assert_eq!(machine.step_completed(&Location([1, 1].into()), 1, Payload::null(), START_US), Ok(false));
    assert_eq!(machine.step_completed(&top(1), 1, Payload::null(), START_US), Ok(true));
    assert_eq!(machine.step_completed(&top(1), 1, Payload::null(), START_US), Ok(false));
}

#[test]
fn a_failed_step_is_tried_again_by_its_timer_and_then_fails_the_await() {
    let workflow = Function(|ctx: Context| async move {
        let retry = RetryPolicy { attempts_max: Some(2), ..RetryPolicy::default() };
        ctx.step(name("a"), StepOptions { retry, timeout_ms: Some(9) }, noop()).await
    });
    let failure = || StepFailure { failure: Failure::new("late", "too late"), retryable: true };
    let mut machine = begin(&workflow);
    assert_eq!(machine.take_output().launches[0].timeout_ms, Some(9));
    assert_eq!(machine.timer_due(&top(1), START_US), Ok(false), "nothing to fire while it runs");
    assert_eq!(machine.step_failed(&top(1), 1, failure(), START_US + 1, 0), Ok(true));
    let output = machine.take_output();
    let Event::StepFailed(failed) = &output.proposals[0].event else { panic!("{output:?}") };
    assert_eq!(failed.retry_at_us, Some(START_US + 100_001));
    assert!(machine.is_idle() && output.launches.is_empty());
    assert_eq!(machine.timer_due(&top(1), START_US + 100_001), Ok(true));
    let output = machine.take_output();
    assert!(output.proposals.is_empty() && !machine.is_idle());
    assert_eq!((output.launches[0].call.attempt, output.launches[0].after_proposals), (2, 0));
    assert_eq!(machine.step_failed(&top(1), 2, failure(), START_US + 200_000, 0), Ok(true));
    let output = machine.take_output();
    assert_eq!(types(&output), [EventType::StepFailed, EventType::RunFailed]);
    assert_eq!(failure_of(&output), Some("late"));
}

#[test]
fn an_oversized_output_fails_the_step_for_good_and_never_reaches_the_log() {
    let workflow = Function(|ctx: Context| async move { step(&ctx, "a").await });
    let mut machine = begin(&workflow);
    machine.take_output();
    let large = Payload::json(vec![b'1'; PAYLOAD_BYTES_MAX + 1]);
    assert_eq!(machine.step_completed(&top(1), 1, large, START_US), Ok(true));
    let output = machine.take_output();
    assert_eq!(types(&output), [EventType::StepFailed, EventType::RunFailed]);
    assert_eq!(failure_of(&output), Some("payload_too_large"));
}

#[test]
fn an_oversized_result_or_state_is_a_failure() {
    let large = || Payload::json(vec![b'1'; PAYLOAD_BYTES_MAX + 1]);
    let result = Function(move |_: Context| async move { Ok(large()) });
    assert_eq!(failure_of(&begin(&result).take_output()), Some("payload_too_large"));
    let state = Function(move |ctx: Context| async move {
        ctx.set_state(large()).map_err(WorkflowError::Failed)?;
        Ok(Payload::null())
    });
    let output = begin(&state).take_output();
    assert_eq!(types(&output), [EventType::RunFailed]);
}

#[test]
fn the_earliest_wait_takes_a_signal_and_the_oldest_signals_are_taken_first() {
    let workflow = Function(|ctx: Context| async move {
        let (first, second) = join(ctx.signal(name("go"), None), ctx.signal(name("go"), None)).await;
        assert!(first?.unwrap().data.starts_with(b"signal 1"));
        assert!(second?.unwrap().data.starts_with(b"signal 2"));
        step(&ctx, "a").await?;
        Ok(ctx.signals(name("go"), 2, None).await?.swap_remove(1))
    });
    let mut machine = begin(&workflow);
    assert_eq!(types(&machine.take_output()), [EventType::SignalAwaited; 2]);
    for ordinal in 1..=5 {
        assert_eq!(machine.reveal_external(&signal(ordinal, "x")), Ok(true));
    }
    machine.take_output();
    assert_eq!(machine.step_completed(&top(3), 1, Payload::null(), START_US), Ok(true));
    let output = machine.take_output();
    assert_eq!(
        types(&output),
        [EventType::StepCompleted, EventType::SignalReceived, EventType::RunCompleted]
    );
    let Event::SignalReceived(received) = &output.proposals[1].event else { panic!("{output:?}") };
    assert_eq!(received.signals, [3, 4]);
    assert!(output_of(&output).unwrap().data.starts_with(b"signal 4"));
}

#[test]
fn a_dropped_wait_takes_no_signal_even_before_its_timeout() {
    let workflow = Function(|ctx: Context| async move {
        match select(ctx.signal(name("go"), Some(60)), ctx.sleep_us(5)).await {
            Either::Left(_) => panic!("no signal came yet"),
            Either::Right((slept, waiting)) => {
                slept?;
                drop(waiting);
            }
        }
        Ok(ctx.signal(name("go"), None).await?.unwrap())
    });
    let mut machine = begin(&workflow);
    assert_eq!(machine.timer_due(&top(2), START_US + 5), Ok(true));
    machine.take_output();
    machine.reveal_external(&signal(1, "x")).unwrap();
    let output = machine.take_output();
    assert_eq!(types(&output), [EventType::SignalReceived, EventType::RunCompleted]);
    let Event::SignalReceived(received) = &output.proposals[0].event else { panic!("{output:?}") };
    assert_eq!(received.location, top(3));
}

#[test]
fn the_timer_of_a_dropped_wait_is_still_recorded() {
    let workflow = Function(|ctx: Context| async move {
        let first = select(ctx.signal(name("go"), Some(60)), ctx.sleep_us(5)).await;
        assert!(matches!(first, Either::Right(_)));
        drop(first);
        step(&ctx, "a").await
    });
    let mut machine = begin(&workflow);
    assert_eq!(machine.timer_due(&top(2), START_US + 5), Ok(true));
    machine.take_output();
    assert_eq!(machine.timer_due(&top(1), START_US + 60), Ok(true));
    assert_eq!(types(&machine.take_output()), [EventType::SignalReceived]);
    assert_eq!(machine.timer_due(&top(1), START_US + 60), Ok(false));
}

#[test]
fn a_cancel_ends_every_await_aborts_steps_and_lets_compensations_run() {
    let workflow = Function(|ctx: Context| async move {
        let (charged, slept) = join(step(&ctx, "charge"), ctx.sleep_us(9)).await;
        assert_eq!(slept, Err(WorkflowError::Cancelled));
        if charged == Err(WorkflowError::Cancelled) {
            assert_eq!(ctx.cancel_reason().as_deref(), Some("enough"));
            step(&ctx, "refund").await?;
        }
        charged
    });
    let mut machine = begin(&workflow);
    machine.take_output();
    assert_eq!(machine.reveal_external(&cancel(1)), Ok(true));
    let output = machine.take_output();
    let Event::RunCancelling(cancelling) = &output.proposals[0].event else { panic!("{output:?}") };
    assert_eq!(cancelling.locations, [top(1), top(2)]);
    assert_eq!(output.aborts, [top(1)]);
    assert_eq!((&*output.launches[0].call.name, output.launches[0].after_proposals), ("refund", 1));
    assert_eq!(machine.timer_due(&top(2), START_US), Ok(false));
    assert_eq!(machine.step_completed(&top(1), 1, Payload::null(), START_US), Ok(false));
    // A second request changes nothing.
    machine.reveal_external(&cancel(2)).unwrap();
    assert_eq!(machine.step_completed(&top(3), 1, Payload::null(), START_US), Ok(true));
    assert_eq!(types(&machine.take_output()), [EventType::StepCompleted, EventType::RunCancelled]);
}

#[test]
fn cancelled_without_a_request_is_a_failure() {
    let workflow = Function(|_: Context| async move { Err(WorkflowError::Cancelled) });
    assert_eq!(failure_of(&begin(&workflow).take_output()), Some("cancelled"));
}

#[test]
fn a_termination_stops_the_code_and_aborts_its_steps() {
    let workflow = Function(|ctx: Context| async move { step(&ctx, "a").await });
    let mut machine = begin(&workflow);
    machine.take_output();
    machine.reveal_external(&external(1, RunTerminated { reason: "now".to_owned() })).unwrap();
    let output = machine.take_output();
    assert!(machine.is_finished() && output.proposals.is_empty());
    assert_eq!(output.aborts, [top(1)]);
}

#[test]
fn a_panic_parks_the_run_and_keeps_the_step_result_but_not_the_decisions_after_it() {
    let workflow = Function(|ctx: Context| async move {
        let charged = step(&ctx, "charge").await?;
        ctx.set_state(charged).map_err(WorkflowError::Failed)?;
        panic!("index {} out of range", 7)
    });
    let mut machine = begin(&workflow);
    machine.take_output();
    let divergence = machine.step_completed(&top(1), 1, Payload::null(), START_US).unwrap_err();
    assert_eq!((&*divergence.expected, &*divergence.found), ("no panic", "panic: index 7 out of range"));
    assert_eq!(divergence.location, top(3));
    assert_eq!(types(&machine.take_output()), [EventType::StepCompleted]);
    assert_eq!(machine.reveal_external(&signal(1, "x")), Err(divergence), "a dead machine stays dead");
    assert!(machine.take_output().proposals.is_empty());
}

#[test]
fn an_await_the_engine_cannot_drive_is_a_divergence() {
    let workflow = Function(|_: Context| std::future::pending());
    let divergence = try_begin(&workflow).err().unwrap();
    assert_eq!(divergence.expected, "an await on the context");
    let spinning = Function(|_: Context| {
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
    });
    assert_eq!(try_begin(&spinning).err(), Some(divergence));
}

#[test]
fn a_workflow_that_decides_without_end_is_told_to_stop() {
    let workflow = Function(|ctx: Context| async move {
        loop {
            ctx.set_state(Payload::null()).map_err(WorkflowError::Failed)?;
        }
    });
    let output = begin(&workflow).take_output();
    assert_eq!(failure_of(&output), Some("too_many_commands"));
}

#[test]
fn more_awaits_than_a_cancel_can_name_are_refused() {
    let workflow = Function(|ctx: Context| async move {
        let mut sleeps: FuturesUnordered<_> = (0..10_001).map(|_| ctx.sleep_us(1)).collect();
        while let Some(slept) = sleeps.next().await {
            slept?;
        }
        Ok(Payload::null())
    });
    assert_eq!(failure_of(&begin(&workflow).take_output()), Some("too_many_awaits"));
}

#[test]
fn combinators_that_rely_on_wakers_are_driven() {
    let workflow = Function(|ctx: Context| async move {
        let mut steps: FuturesUnordered<_> = (0..200).map(|_| step(&ctx, "a")).collect();
        let mut order = Vec::new();
        while let Some(output) = steps.next().await {
            order.extend_from_slice(&output?.data);
        }
        Ok(Payload::json(order))
    });
    let mut machine = begin(&workflow);
    let launches = machine.take_output().launches;
    assert_eq!(launches.len(), 200);
    let mut expected = String::new();
    for launch in launches.iter().rev() {
        let text = format!("{} ", launch.call.location);
        expected.push_str(&text);
        assert_eq!(machine.step_completed(&launch.call.location, 1, Payload::json(text), START_US), Ok(true));
    }
    assert_eq!(output_of(&machine.take_output()), Some(&Payload::json(expected)));
}

#[test]
fn the_context_refuses_to_work_outside_the_workflow_function() {
    let escaped = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&escaped);
    let workflow = Function(move |ctx: Context| {
        *keep.lock().unwrap() = Some(ctx.clone());
        async move { step(&ctx, "a").await }
    });
    let mut machine = begin(&workflow);
    let context = escaped.lock().unwrap().take().unwrap();
    assert_eq!(context.set_state(Payload::null()).unwrap_err().code, "context_outside_workflow");
    let slept = futures::executor::block_on(context.sleep_us(1));
    assert!(
        matches!(slept, Err(WorkflowError::Failed(failure)) if failure.code == "context_outside_workflow")
    );
    assert!(machine.take_output().proposals.is_empty());
}

#[test]
fn a_machine_lets_go_of_step_closures_that_hold_its_context() {
    let held = Arc::new(());
    let probe = Arc::downgrade(&held);
    let workflow = Function(move |ctx: Context| {
        let (inner, held) = (ctx.clone(), Arc::clone(&held));
        let task: tidewheel_engine::workflow::StepTask = Arc::new(move |_| {
            let _captured = (&inner, &held);
            Box::pin(async { Ok(Payload::null()) })
        });
        async move { ctx.step(name("a"), StepOptions::default(), task).await }
    });
    let mut machine = begin(&workflow);
    machine.take_output();
    drop(machine);
    drop(workflow);
    assert!(probe.upgrade().is_none());
}

#[test]
fn a_gap_in_the_externals_is_noticed_and_a_repetition_ignored() {
    let workflow = Function(|ctx: Context| async move { step(&ctx, "a").await });
    let mut machine = begin(&workflow);
    assert_eq!(machine.reveal_external(&signal(1, "x")), Ok(true));
    assert_eq!(machine.reveal_external(&signal(1, "x")), Ok(false));
    assert!(machine.reveal_external(&signal(3, "x")).is_err());
}

#[test]
fn a_changed_command_is_named_on_both_sides() {
    let old = Function(|ctx: Context| async move { step(&ctx, "charge").await });
    let mut machine = begin(&old);
    machine.take_output();
    machine.step_completed(&top(1), 1, Payload::null(), START_US).unwrap();
    let mut log = vec![start()];
    for proposal in machine.take_output().proposals {
        let origin = Origin::Engine { seen: proposal.seen, idle: false };
        log.push(entry(log.len(), proposal.recorded_at_us, origin, proposal.event));
    }
    let sides = |workflow: &dyn Workflow| {
        let mut machine = Machine::new(workflow, info(), &log[0]);
        let divergence = machine.replay(&log).unwrap_err();
        assert!(machine.take_output().proposals.is_empty());
        (divergence.location, divergence.expected, divergence.found)
    };
    let found = || "step `charge`, completed".to_owned();
    let renamed = Function(|ctx: Context| async move { step(&ctx, "pay").await });
    assert_eq!(sides(&renamed), (top(1), "step `pay`".to_owned(), found()));
    let sleeps = Function(|ctx: Context| async move { ctx.sleep_us(1).await.map(|()| Payload::null()) });
    assert_eq!(sides(&sleeps), (top(1), "sleep".to_owned(), found()));
    let returns = Function(|_: Context| async move { Ok(Payload::null()) });
    assert_eq!(sides(&returns), (top(1), "the workflow returns a result".to_owned(), found()));
    let longer = Function(|ctx: Context| async move {
        step(&ctx, "charge").await?;
        step(&ctx, "thank").await
    });
    let returned = "the workflow returns a result".to_owned();
    assert_eq!(sides(&longer), (top(2), "step `thank`".to_owned(), returned));
}

#[test]
fn a_signal_that_lost_against_a_timeout_loses_in_every_replay() {
    let workflow = Function(|ctx: Context| async move {
        match ctx.signal(name("go"), Some(60)).await? {
            Some(_) => step(&ctx, "signalled").await,
            None => step(&ctx, "timed_out").await,
        }
    });
    let mut machine = begin(&workflow);
    assert_eq!(machine.timer_due(&top(1), START_US + 60), Ok(true));
    let awaited = machine.take_output().proposals;
    assert_eq!(machine.step_completed(&top(2), 1, Payload::null(), START_US + 61), Ok(true));
    let rest = machine.take_output().proposals;
    // The signal reached the log before what was decided without it.
    let mut log = vec![start(), signal(1, "x")];
    for proposal in awaited.into_iter().chain(rest) {
        assert_eq!(proposal.seen, 0);
        let origin = Origin::Engine { seen: 0, idle: false };
        log.push(entry(log.len(), proposal.recorded_at_us, origin, proposal.event));
    }
    for length in 1..=log.len() {
        let mut again = Machine::new(&workflow, info(), &log[0]);
        assert_eq!(again.replay(&log[..length]), Ok(()), "after {length} records");
    }
}
