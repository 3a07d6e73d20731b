//! Typed workflows from start to end: errors, signals, cancels, retries, as a user would write them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidewheel_sdk::testing::{self, Scenario};
use tidewheel_sdk::{Context, StepError, WorkflowError, WorkflowResult, workflow};

#[test]
fn input_that_does_not_fit_fails_the_run_before_its_code_runs() {
    async fn double(_: Context, number: u32) -> WorkflowResult<u32> {
        Ok(number * 2)
    }
    assert_eq!(testing::run::<u32>(workflow(double), &4), Ok(8));
    let failed = testing::run::<u32>(workflow(double), &"four").unwrap_err();
    assert_eq!(failed.code(), Some("invalid_input"));
}

#[test]
fn a_step_is_retried_until_it_succeeds_and_given_up_when_it_is_fatal() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let retried = workflow(move |ctx: Context, (): ()| {
        let calls = Arc::clone(&counted);
        async move {
            ctx.step_with("flaky", move |step| {
                calls.fetch_add(1, Ordering::Relaxed);
                async move {
                    if step.attempt < 4 { Err(StepError::new("busy", "try later")) } else { Ok(step.attempt) }
                }
            })
            .await
        }
    });
    assert_eq!(testing::run::<u32>(retried, &()), Ok(4));
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    let fatal = workflow(|ctx: Context, (): ()| async move {
        ctx.step("charge", || async { Err::<(), _>(StepError::fatal("declined", "no money")) }).await
    });
    assert_eq!(testing::run::<()>(fatal, &()).unwrap_err().code(), Some("declined"));
}

#[test]
fn any_error_converts_and_retries_end_with_the_policy() {
    let parses = workflow(|ctx: Context, (): ()| async move {
        let parsed = ctx.step("parse", || async { Ok("x".parse::<u32>()?) }).attempts_max(3).await;
        assert_eq!(parsed.as_ref().unwrap_err().code(), Some("error"));
        Ok("7".parse::<u32>()?)
    });
    let run = Scenario::new(parses).run(&());
    assert_eq!(run.output::<u32>(), Ok(7));
    assert_eq!(
        run.history.iter().filter(|entry| entry.event.event_type().as_str() == "step-failed").count(),
        3
    );
}

#[test]
fn signals_arrive_in_order_time_passes_and_state_is_published() {
    let reads = workflow(|ctx: Context, (): ()| async move {
        let begun = ctx.now();
        ctx.set_tags([("colour", "green")])?;
        let mut seen = ctx.signals::<u32>("number", 10).await?;
        ctx.sleep(Duration::from_secs(3600)).await?;
        seen.extend(ctx.signals::<u32>("number", 10).timeout(Duration::from_secs(1)).await?);
        seen.extend(ctx.signal::<u32>("number").timeout(Duration::from_secs(1)).await?);
        ctx.set_state(&seen)?;
        assert_eq!(ctx.state::<Vec<u32>>()?, Some(seen));
        Ok(ctx.now().duration_since(begun).as_secs())
    });
    let hour = Duration::from_secs(60);
    let run = Scenario::new(reads)
        .signal("number", &1)
        .signal_after(hour, "number", &2)
        .signal_after(hour, "number", &3);
    let run = run.run(&());
    assert_eq!(run.output::<i64>(), Ok(3601));
    assert_eq!(run.state::<Vec<u32>>(), Ok(Some(vec![1, 2, 3])));
}

#[test]
fn a_cancel_reaches_the_code_which_cleans_up() {
    let books = workflow(|ctx: Context, (): ()| async move {
        let waited = ctx.sleep(Duration::from_secs(3600)).await;
        if waited.as_ref().is_err_and(WorkflowError::is_cancelled) {
            ctx.step("undo", || async { Ok(()) }).await?;
            ctx.set_state("undone")?;
        }
        waited
    });
    let run = Scenario::new(books).cancel_after(Duration::from_secs(5), "enough").run(&());
    assert!(run.result.as_ref().is_err_and(WorkflowError::is_cancelled));
    assert_eq!(run.state::<String>(), Ok(Some("undone".to_owned())));
}

#[test]
fn bad_names_and_values_are_failures_not_panics() {
    let names = workflow(|ctx: Context, (): ()| async move {
        let step = ctx.step("no spaces", || async { Ok(()) }).await;
        assert_eq!(step.unwrap_err().code(), Some("invalid_name"));
        assert_eq!(ctx.signal::<()>("").await.unwrap_err().code(), Some("invalid_name"));
        let word = ctx.signal::<u32>("word").await;
        Ok(word.unwrap_err().code().map(str::to_owned))
    });
    let run = Scenario::new(names).signal("word", "seven").run(&());
    assert_eq!(run.output::<Option<String>>(), Ok(Some("invalid_signal".to_owned())));
}

#[test]
fn code_that_is_not_deterministic_fails_its_test() {
    let calls = Arc::new(AtomicU32::new(0));
    let differs = workflow(move |ctx: Context, (): ()| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move { ctx.step(&format!("step{call}"), || async { Ok(()) }).await }
    });
    assert_eq!(testing::run::<()>(differs, &()).unwrap_err().code(), Some("diverged"));
}

#[test]
fn a_wait_that_nothing_ends_is_told() {
    let waits = workflow(|ctx: Context, (): ()| async move { ctx.signal::<()>("never").await });
    assert_eq!(testing::run::<()>(waits, &()).unwrap_err().code(), Some("waits_for_ever"));
}
