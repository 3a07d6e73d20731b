//! The orders of the demonstration: what each is told, and what it must end as.

use serde_json::Value;
use serde_json::json;

use crate::sample::{Charge, Order, Outcome, Payment};

/// How long an order that nobody pays waits for its payment.
const PAYMENT_TIMEOUT_MS: u64 = 1_500;
/// Of so many orders one is not paid, one is declined and three need several attempts.
const CYCLE: u32 = 20;

/// What happens to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Paid and shipped.
    Paid,
    /// Paid; charging fails this often before it succeeds.
    Retried(u32),
    /// The payment is declined: the reservation is given back.
    Declined,
    /// Never paid: the reservation is given back when the time is up.
    Unpaid,
}

/// What happens to order `number`.
pub(super) const fn plan(number: u32) -> Plan {
    match number % CYCLE {
        3 => Plan::Unpaid,
        7 => Plan::Declined,
        remainder @ (11 | 13 | 17) => Plan::Retried(remainder % 3 + 1),
        _ => Plan::Paid,
    }
}

/// The key of order `number`.
pub(super) fn key(number: u32) -> String {
    format!("demo-{number:06}")
}

fn item(number: u32) -> String {
    format!("item-{}", number % 100)
}

fn reference(number: u32) -> String {
    format!("payment-of-{}", key(number))
}

/// The request to start order `number`.
pub(super) fn start(number: u32) -> Value {
    let plan = plan(number);
    let order = Order {
        item: item(number),
        amount_cents: u64::from(number),
        payment_timeout_ms: (plan == Plan::Unpaid).then_some(PAYMENT_TIMEOUT_MS),
        fail_attempts: if let Plan::Retried(attempts) = plan { attempts } else { 0 },
    };
    json!({"workflow": "order", "key": key(number), "input": order, "tags": {"shop": "demo"}})
}

/// The signal with the payment of order `number`, if there is one.
pub(super) fn payment(number: u32) -> Option<Value> {
    let plan = plan(number);
    let payment = Payment { reference: reference(number), declined: plan == Plan::Declined };
    (plan != Plan::Unpaid).then(|| json!({"name": "payment", "payload": payment}))
}

/// What order `number` must return.
pub(super) fn expected(number: u32) -> Outcome {
    let charged = |attempt| Outcome {
        order: key(number),
        status: "shipped".to_owned(),
        item: item(number),
        reason: None,
        charge: Some(Charge { reference: reference(number), amount_cents: u64::from(number), attempt }),
        parcel: Some(format!("parcel-of-{}", key(number))),
        released: None,
    };
    let cancelled = |reason: &str| Outcome {
        order: key(number),
        status: "cancelled".to_owned(),
        item: item(number),
        reason: Some(reason.to_owned()),
        charge: None,
        parcel: None,
        released: Some(format!("reservation-of-{}", item(number))),
    };
    match plan(number) {
        Plan::Paid => charged(1),
        Plan::Retried(failed) => charged(failed + 1),
        Plan::Declined => cancelled("payment_declined"),
        Plan::Unpaid => cancelled("payment_timeout"),
    }
}

#[cfg(test)]
mod tests {
    use tidewheel_sdk::testing::Scenario;
    use tidewheel_sdk::workflow;

    use super::*;
    use crate::sample;

    #[test]
    fn every_plan_ends_as_expected() {
        for number in 0..CYCLE {
            let start = start(number);
            let mut scenario = Scenario::new(workflow(sample::order));
            if let Some(payment) = payment(number) {
                scenario = scenario.signal("payment", &payment["payload"]);
            }
            let outcome: Outcome = scenario.run(&start["input"]).output().unwrap();
            let expected = Outcome { order: outcome.order.clone(), ..expected(number) };
            let expected = match expected.parcel {
                Some(_) => Outcome { parcel: Some(format!("parcel-of-{}", outcome.order)), ..expected },
                None => expected,
            };
            assert_eq!(outcome, expected, "order {number}");
        }
    }
}
