//! From an async function to a workflow the engine can run.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidewheel_engine::workflow::{self as engine, Workflow, WorkflowFuture};
use tidewheel_schemas::Payload;

use crate::context::Context;
use crate::data;
use crate::error::WorkflowResult;

struct Function<F, I> {
    function: F,
    input: PhantomData<fn(I)>,
}

/// Makes a workflow of an `async fn(Context, Input) -> WorkflowResult<Output>`.
///
/// Input and output are JSON. A run whose input does not read as `Input` fails with `invalid_input` before any code
/// of the function runs; an output that cannot be written fails it with `invalid_output`.
pub fn workflow<F, Fut, I, O>(function: F) -> Arc<dyn Workflow>
where
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = WorkflowResult<O>> + Send + 'static,
    I: DeserializeOwned + 'static,
    O: Serialize + 'static,
{
    Arc::new(Function { function, input: PhantomData })
}

impl<F, Fut, I, O> Workflow for Function<F, I>
where
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = WorkflowResult<O>> + Send + 'static,
    I: DeserializeOwned + 'static,
    O: Serialize + 'static,
{
    fn start(&self, context: engine::Context, input: Payload) -> WorkflowFuture {
        let begun = data::decode(&input, "input").map(|input| (self.function)(Context::new(context), input));
        Box::pin(async move {
            let running = begun.map_err(engine::WorkflowError::Failed)?;
            let output = running.await.map_err(crate::WorkflowError::into_engine)?;
            data::encode(&output, "output").map_err(engine::WorkflowError::Failed)
        })
    }
}
