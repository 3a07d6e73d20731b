//! The workflow `order`: reserve, wait for the payment, ship; without a payment, give the item back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidewheel::{Context, RetryPolicy, StepError, WorkflowError, WorkflowResult};

/// How long a customer has to pay.
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a customer orders.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The thing.
    pub item: String,
    /// Its price.
    pub amount_cents: u64,
}

/// The signal `payment`: the customer has paid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payment {
    /// The payment provider's word for it.
    pub reference: String,
}

/// What the customer gets in the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Receipt {
    /// The thing.
    pub item: String,
    /// What was paid.
    pub amount_cents: u64,
    /// The payment's reference.
    pub payment: String,
    /// The parcel's number.
    pub shipment: String,
}

/// One order, however long it takes and however often the process ends meanwhile.
pub async fn order(context: Context, order: Order) -> WorkflowResult<Receipt> {
    let item = order.item.clone();
    let reservation: String = context.step("reserve", move || reserve(item.clone())).await?;

    let Some(payment) = context.signal::<Payment>("payment").timeout(PAYMENT_TIMEOUT).await? else {
        context.step("release", move || release(reservation.clone())).await?;
        return Err(WorkflowError::failed("payment-timeout", "the order was not paid in time"));
    };

    let shipment = context
        .step("ship", move || ship(reservation.clone()))
        .retry(RetryPolicy { attempts_max: Some(5), ..RetryPolicy::default() })
        .timeout(Duration::from_secs(30))
        .await?;
    Ok(Receipt { item: order.item, amount_cents: order.amount_cents, payment: payment.reference, shipment })
}

// Steps are where the world is touched: a real service would call others here. Each prints a line, so that
// check.sh can count how often it ran.

async fn reserve(item: String) -> Result<String, StepError> {
    println!("step reserve {item}");
    Ok(format!("reservation-of-{item}"))
}

async fn ship(reservation: String) -> Result<String, StepError> {
    println!("step ship {reservation}");
    Ok(format!("parcel-for-{reservation}"))
}

async fn release(reservation: String) -> Result<(), StepError> {
    println!("step release {reservation}");
    Ok(())
}
