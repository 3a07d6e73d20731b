//! The door: a node to embed, its configuration and its telemetry. Rules, log, store and routes live in their rooms.
//!
//! ```no_run
//! use tidewheel::{Context, Node, WorkflowResult};
//!
//! async fn greet(ctx: Context, name: String) -> WorkflowResult<String> {
//!     ctx.step("greet", move || {
//!         let name = name.clone();
//!         async move { Ok(format!("hello {name}")) }
//!     })
//!     .await
//! }
//!
//! # async fn serve() -> Result<(), tidewheel::NodeError> {
//! Node::builder().workflow("greet", greet).serve().await
//! # }
//! ```

pub mod bootstrap;
pub mod check;
pub mod clone;
pub mod config;
pub mod node;
pub mod seal;
pub mod telemetry;
pub mod wire;

pub use node::{Node, NodeBuilder, NodeError, RunningNode};
pub use tidewheel_sdk::*;
