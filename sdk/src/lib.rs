//! What the author of a workflow imports: the typed context, steps, signals, registration, testing, the client.
//!
//! A workflow is a plain async function. Everything it awaits on its [`Context`] is recorded in the log, so it goes
//! on where it stood after a crash, a deploy or a month:
//!
//! ```
//! use std::time::Duration;
//! use serde::{Deserialize, Serialize};
//! use tidewheel_sdk::{Context, WorkflowError, WorkflowResult, testing, workflow};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { item: String, price_cents: u64 }
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Receipt { reservation: String, paid_cents: u64 }
//!
//! async fn order(ctx: Context, order: Order) -> WorkflowResult<Receipt> {
//!     let item = order.item.clone();
//!     let reservation = ctx
//!         .step_with("reserve", move |step| {
//!             let item = item.clone();
//!             async move { Ok(format!("{item} for {}", step.idempotency_key())) }
//!         })
//!         .attempts_max(5)
//!         .await?;
//!     let paid = ctx.signal::<u64>("payment").timeout(Duration::from_secs(24 * 60 * 60)).await?;
//!     let Some(paid_cents) = paid else {
//!         ctx.step("release", || async { Ok(()) }).await?;
//!         return Err(WorkflowError::failed("payment-timeout", "nobody paid within a day"));
//!     };
//!     Ok(Receipt { reservation, paid_cents })
//! }
//!
//! let tea = Order { item: "tea".to_owned(), price_cents: 300 };
//! let paid = testing::Scenario::new(workflow(order)).signal("payment", &300).run(&tea);
//! assert_eq!(paid.output::<Receipt>()?.paid_cents, 300);
//!
//! // Nobody pays: the day passes at once in a test.
//! let unpaid = testing::run::<Receipt>(workflow(order), &tea);
//! assert_eq!(unpaid.unwrap_err().code(), Some("payment-timeout"));
//! # Ok::<(), WorkflowError>(())
//! ```
//!
//! # The one rule
//! The function must be deterministic: it may look at its input and its context, at nothing else. Clocks, random
//! numbers, files and network belong into steps. Combine awaits with [`futures::join!`] or with
//! [`futures::future::select`], which polls in a fixed order; `select!` of futures and of tokio picks at random.
//! After an edit, runs under way are checked against their history; one that no longer fits is parked, not broken,
//! and can be resumed once the code fits again.

#[cfg(feature = "client")]
pub mod client;
mod context;
mod data;
mod error;
mod register;
mod signal;
mod step;
pub mod testing;

pub use context::{Context, Sleep};
pub use error::{StepError, StepResult, WorkflowError, WorkflowResult};
pub use futures;
pub use jiff;
pub use register::workflow;
pub use signal::{Signal, SignalOrTimeout, Signals};
pub use step::Step;
pub use tidewheel_engine::workflow::{RetryPolicy, RunInfo, StepCall, Workflow, Workflows};
pub use tidewheel_schemas::{Name, RunId};
