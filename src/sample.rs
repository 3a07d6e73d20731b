//! The workflows of `tidewheel dev` and `serve`: `order`, `steps`, `wait`, `sleep` and `count`. Written as a user would, with the SDK alone.

use std::future::ready;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidewheel::NodeBuilder;
use tidewheel_sdk::{Context, RetryPolicy, StepError, StepResult, WorkflowError, WorkflowResult};

/// How long an order waits for its payment unless its input says otherwise: a day.
const PAYMENT_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1_000;

/// Attempts that the step `charge` has.
const CHARGE_ATTEMPTS_MAX: u32 = 20;

/// A node with these workflows besides its own.
pub fn register(node: NodeBuilder) -> NodeBuilder {
    node.workflow("order", order)
        .workflow("steps", steps)
        .workflow("wait", wait)
        .workflow("sleep", sleep)
        .workflow("count", count)
}

/// The input of `order`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What is ordered.
    pub item: String,
    /// Its price.
    #[serde(default)]
    pub amount_cents: u64,
    /// How long to wait for the signal `payment`; a day if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_timeout_ms: Option<u64>,
    /// How many attempts of the step `charge` fail before one succeeds.
    #[serde(default)]
    pub fail_attempts: u32,
}

/// The payload of the signal `payment`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// The payment's name at its provider.
    pub reference: String,
    /// Whether the provider refused it.
    #[serde(default)]
    pub declined: bool,
}

/// The output of `order`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The order: the key of its run, or else the run's id.
    pub order: String,
    /// `shipped` or `cancelled`.
    pub status: String,
    /// What was ordered.
    pub item: String,
    /// Why it was cancelled: `payment_timeout` or `payment_declined`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The charge, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge: Option<Charge>,
    /// The parcel, if it was shipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parcel: Option<String>,
    /// The reservation that was given back, if it was not shipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<String>,
}

/// What the step `charge` returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The payment's name at its provider.
    pub reference: String,
    /// What was charged.
    pub amount_cents: u64,
    /// Which attempt succeeded, from 1.
    pub attempt: u32,
}

/// Reserves the item, waits for the signal `payment`, charges it and ships. An order that is declined, not paid in
/// time, or asked to cancel gives its reservation back.
///
/// # Errors
/// When the run is asked to cancel, or when charging never succeeds.
pub async fn order(context: Context, order: Order) -> WorkflowResult<Outcome> {
    let info = context.info();
    let name = info.key.as_deref().map_or_else(|| info.run_id.to_string(), str::to_owned);
    let item = order.item.clone();
    let reservation = context.step("reserve", move || ready(reserve(&item))).await?;
    let charged = match pay(&context, &order).await {
        Ok(charged) => charged,
        Err(error) => {
            release(&context, &reservation).await?;
            return Err(error);
        }
    };
    let outcome = Outcome {
        order: name.clone(),
        status: "cancelled".to_owned(),
        item: order.item,
        reason: None,
        charge: None,
        parcel: None,
        released: None,
    };
    match charged {
        Ok(charge) => {
            let parcel = context.step("ship", move || ready(ship(&name))).await?;
            Ok(Outcome {
                status: "shipped".to_owned(),
                charge: Some(charge),
                parcel: Some(parcel),
                ..outcome
            })
        }
        Err(reason) => {
            let released = release(&context, &reservation).await?;
            Ok(Outcome { reason: Some(reason.to_owned()), released: Some(released), ..outcome })
        }
    }
}

/// The charge, or why there is none.
async fn pay(context: &Context, order: &Order) -> WorkflowResult<Result<Charge, &'static str>> {
    let timeout = Duration::from_millis(order.payment_timeout_ms.unwrap_or(PAYMENT_TIMEOUT_MS));
    let Some(payment) = context.signal::<Payment>("payment").timeout(timeout).await? else {
        return Ok(Err("payment_timeout"));
    };
    let (fail_attempts, amount_cents) = (order.fail_attempts, order.amount_cents);
    let charged = context
        .step_with("charge", move |call| {
            ready(charge(call.attempt, fail_attempts, amount_cents, payment.clone()))
        })
        .retry(RetryPolicy {
            attempts_max: Some(CHARGE_ATTEMPTS_MAX),
            backoff_initial_ms: 10,
            backoff_max_ms: 1_000,
            ..RetryPolicy::default()
        })
        .timeout(Duration::from_secs(30))
        .await;
    match charged {
        Ok(charge) => Ok(Ok(charge)),
        Err(error) if error.code() == Some("payment_declined") => Ok(Err("payment_declined")),
        Err(error) => Err(error),
    }
}

fn reserve(item: &str) -> StepResult<String> {
    Ok(format!("reservation-of-{item}"))
}

fn charge(attempt: u32, fail_attempts: u32, amount_cents: u64, payment: Payment) -> StepResult<Charge> {
    if attempt <= fail_attempts {
        return Err(StepError::new("provider_unreachable", format!("attempt {attempt} got no answer")));
    }
    if payment.declined {
        return Err(StepError::fatal("payment_declined", format!("{} was declined", payment.reference)));
    }
    Ok(Charge { reference: payment.reference, amount_cents, attempt })
}

fn ship(order: &str) -> StepResult<String> {
    Ok(format!("parcel-of-{order}"))
}

/// The compensation of `reserve`.
async fn release(context: &Context, reservation: &str) -> WorkflowResult<String> {
    let reservation = reservation.to_owned();
    context
        .step("release", move || {
            let reservation = reservation.clone();
            async move { Ok(reservation) }
        })
        .await
}

/// The input of `steps`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    /// How many steps to run.
    pub steps: u32,
    /// What to return.
    #[serde(default)]
    pub payload: Value,
}

/// Runs steps that do nothing, one after the other, and returns the payload it was given.
///
/// # Errors
/// When the run is asked to cancel.
pub async fn steps(context: Context, input: Steps) -> WorkflowResult<Value> {
    for _ in 0..input.steps {
        context.step("nothing", || async { Ok(()) }).await?;
    }
    Ok(input.payload)
}

/// Waits for the signal `go` and returns its payload. Its input is not looked at.
///
/// # Errors
/// When the run is asked to cancel.
pub async fn wait(context: Context, _input: Value) -> Result<Value, WorkflowError> {
    context.signal("go").await
}

/// The input of `sleep`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nap {
    /// When to go on, milliseconds since 1970.
    pub until_ms: i64,
}

/// Sleeps until a time. Returns that time.
///
/// # Errors
/// When the time is none, or the run is asked to cancel.
pub async fn sleep(context: Context, input: Nap) -> WorkflowResult<i64> {
    let until = Timestamp::from_millisecond(input.until_ms)
        .map_err(|error| WorkflowError::failed("bad_input", error.to_string()))?;
    context.sleep_until(until).await?;
    Ok(input.until_ms)
}

/// Signals that `count` takes at once, at most.
const TICKS_MAX: usize = 100;
/// The payload of the signal `tick` that ends `count`.
const LAST_TICK: &str = "last";

/// Counts signals `tick` until one says `last`, and returns how many came before it. Its input is not looked at.
///
/// # Errors
/// When the run is asked to cancel.
pub async fn count(context: Context, _input: Value) -> WorkflowResult<u64> {
    let mut counted = 0;
    loop {
        for tick in context.signals::<Value>("tick", TICKS_MAX).await? {
            if tick.as_str() == Some(LAST_TICK) {
                return Ok(counted);
            }
            counted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidewheel_sdk::testing::Scenario;
    use tidewheel_sdk::workflow;

    use super::*;

    fn lamp() -> Order {
        Order { item: "lamp".into(), amount_cents: 4_200, payment_timeout_ms: None, fail_attempts: 0 }
    }

    fn payment(declined: bool) -> Payment {
        Payment { reference: "p-1".into(), declined }
    }

    #[test]
    fn a_paid_order_is_shipped_after_as_many_attempts_as_it_takes() {
        for fail_attempts in [0, 3] {
            let input = Order { fail_attempts, ..lamp() };
            let run = Scenario::new(workflow(order)).signal("payment", &payment(false)).run(&input);
            let outcome: Outcome = run.output().unwrap();
            assert_eq!((outcome.status.as_str(), outcome.reason, outcome.released), ("shipped", None, None));
            let charge = outcome.charge.unwrap();
            assert_eq!((charge.amount_cents, charge.attempt), (4_200, fail_attempts + 1));
        }
    }

    #[test]
    fn an_order_without_a_good_payment_gives_its_reservation_back() {
        let declined = Scenario::new(workflow(order)).signal("payment", &payment(true)).run(&lamp());
        let unpaid = Scenario::new(workflow(order)).run(&lamp());
        for (run, reason) in [(declined, "payment_declined"), (unpaid, "payment_timeout")] {
            let outcome: Outcome = run.output().unwrap();
            assert_eq!((outcome.status.as_str(), outcome.reason.as_deref()), ("cancelled", Some(reason)));
            assert_eq!(outcome.released.as_deref(), Some("reservation-of-lamp"));
            assert_eq!((outcome.charge, outcome.parcel), (None, None));
        }
    }

    #[test]
    fn a_cancelled_order_gives_its_reservation_back_and_is_cancelled() {
        let run = Scenario::new(workflow(order))
            .cancel_after(Duration::from_secs(1), "changed my mind")
            .run(&lamp());
        assert!(run.output::<Outcome>().unwrap_err().is_cancelled());
    }

    #[test]
    fn sleep_goes_on_at_its_time_and_refuses_what_is_none() {
        let run = Scenario::new(workflow(sleep)).run(&json!({"until_ms": 1_000}));
        assert_eq!(run.output::<i64>().unwrap(), 1_000);
        let run = Scenario::new(workflow(sleep)).run(&json!({"until_ms": i64::MAX}));
        assert!(run.output::<i64>().is_err());
    }

    #[test]
    fn count_counts_until_the_last_tick() {
        let scenario = Scenario::new(workflow(count));
        let run = scenario.signal("tick", &"a").signal("tick", &1).signal("tick", &"last").run(&json!(null));
        assert_eq!(run.output::<u64>().unwrap(), 2);
    }

    #[test]
    fn steps_and_wait_return_the_payload_they_were_given() {
        let payload = json!({"hello": "tide"});
        let run = Scenario::new(workflow(steps)).run(&json!({"steps": 3, "payload": payload}));
        assert_eq!(run.output::<Value>().unwrap(), payload);
        let run = Scenario::new(workflow(wait)).signal("go", &payload).run(&json!(null));
        assert_eq!(run.output::<Value>().unwrap(), payload);
    }
}
