//! The customers of the demonstration: they start orders, pay some of them later, and ask for every result. What
//! gets no answer is sent again with the same idempotency key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::order;
use super::report::Shown;
use crate::client::{Answer, Client};
use crate::failure::Failure;

const RUNS: &str = "/v1/namespaces/default/runs";
/// Orders that are started before the first one is paid, so that many are open when the node is killed.
const PAYMENT_DELAY_ORDERS: u32 = 256;
/// Wait before something that got no answer is sent again.
const RETRY: Duration = Duration::from_millis(50);
/// How long one request is tried for.
const PATIENCE: Duration = Duration::from_secs(180);

/// One thing a customer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Start(u32),
    Pay(u32),
}

/// All customers.
pub(super) struct Traffic {
    /// Orders.
    pub(super) orders: u32,
    actions: Vec<Action>,
    next: AtomicUsize,
    done: AtomicUsize,
    half: Notify,
    client: watch::Sender<Client>,
    /// The run of each order, once its start is acknowledged.
    runs: Vec<watch::Sender<Option<String>>>,
    /// Durations of requests that were answered at the first try.
    answered: Mutex<Vec<Duration>>,
    repeated: AtomicU64,
    shown: Shown,
}

/// A finished order.
#[derive(Debug)]
pub(super) struct Ended {
    /// Which order.
    pub(super) number: u32,
    /// Its run as the server answered it.
    pub(super) run: Value,
}

fn actions(orders: u32) -> Vec<Action> {
    let delay = PAYMENT_DELAY_ORDERS.min(orders / 4);
    let mut actions = Vec::new();
    for number in 0..orders + delay {
        if number < orders {
            actions.push(Action::Start(number));
        }
        if let Some(paid) = number.checked_sub(delay)
            && order::payment(paid).is_some()
        {
            actions.push(Action::Pay(paid));
        }
    }
    actions
}

impl Traffic {
    pub(super) fn new(orders: u32, client: Client, shown: Shown) -> Self {
        Self {
            orders,
            actions: actions(orders),
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            half: Notify::new(),
            client: watch::Sender::new(client),
            runs: (0..orders).map(|_| watch::Sender::new(None)).collect(),
            answered: Mutex::new(Vec::new()),
            repeated: AtomicU64::new(0),
            shown,
        }
    }

    /// Resolves when half of what customers do is acknowledged.
    pub(super) async fn half_way(&self) {
        self.half.notified().await;
    }

    /// Sends everything to another node from now on.
    pub(super) fn go_on_with(&self, client: Client) {
        self.client.send_replace(client);
    }

    /// Durations of the requests that were answered at the first try, in order.
    pub(super) fn durations(&self) -> Vec<Duration> {
        let mut durations = self.answered.lock().clone();
        durations.sort_unstable();
        durations
    }

    /// How many requests had to be sent more than once.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Starts and pays, with `clients` requests on their way at once.
    pub(super) async fn send(self: Arc<Self>, clients: u16) -> Result<(), Failure> {
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let traffic = Arc::clone(&self);
            tasks.spawn(async move {
                while let Some(action) = traffic.actions.get(traffic.next.fetch_add(1, Ordering::Relaxed)) {
                    traffic.act(*action).await?;
                    if traffic.done.fetch_add(1, Ordering::Relaxed) + 1 == traffic.actions.len() / 2 {
                        traffic.half.notify_one();
                    }
                }
                Ok(())
            });
        }
        let outcome = join(tasks).await.map(|_: Vec<()>| ());
        if outcome.is_err() {
            // Whoever waits for the middle must not wait for ever.
            self.half.notify_one();
        }
        outcome
    }

    async fn act(&self, action: Action) -> Result<(), Failure> {
        match action {
            Action::Start(number) => {
                let key = format!("{}-start", order::key(number));
                let answer = self.post(RUNS, &order::start(number), &key).await?.json()?;
                let run_id = answer.get("run_id").and_then(Value::as_str);
                let run_id =
                    run_id.ok_or_else(|| Failure::Failed(format!("a start was answered with {answer}")))?;
                self.run(number)?.send_replace(Some(run_id.to_owned()));
                self.shown.advance();
            }
            Action::Pay(number) => {
                let Some(payment) = order::payment(number) else { return Ok(()) };
                let run_id = self.run_id(number).await?;
                let key = format!("{}-payment", order::key(number));
                self.post(&format!("{RUNS}/{run_id}/signals"), &payment, &key).await?;
            }
        }
        Ok(())
    }

    fn run(&self, number: u32) -> Result<&watch::Sender<Option<String>>, Failure> {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        self.runs.get(place).ok_or_else(|| Failure::Failed(format!("there is no order {number}")))
    }

    async fn run_id(&self, number: u32) -> Result<String, Failure> {
        let mut run = self.run(number)?.subscribe();
        let waiting = tokio::time::timeout(PATIENCE, run.wait_for(Option::is_some));
        let known = waiting.await.ok().and_then(Result::ok).and_then(|run_id| (*run_id).clone());
        known.ok_or_else(|| Failure::Failed(format!("order {number} was never started")))
    }

    async fn post(&self, path: &str, body: &Value, key: &str) -> Result<Answer, Failure> {
        let body = body.to_string();
        let began = Instant::now();
        let mut tries = 0_u32;
        loop {
            let client = self.client.borrow().clone();
            tries += 1;
            let outcome = client.post(path, &[], body.clone(), key).await;
            // Accepted but not judged is no answer yet: asked again, it is the same event.
            let outcome = outcome.map(|answer| (answer.status != 202).then_some(answer));
            match outcome {
                Ok(Some(answer)) => {
                    if tries == 1 {
                        self.answered.lock().push(began.elapsed());
                    } else {
                        self.repeated.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok(answer);
                }
                Err(failure) if !may_pass(&failure) || began.elapsed() > PATIENCE => return Err(failure),
                Ok(None) if began.elapsed() > PATIENCE => {
                    return Err(Failure::Failed(format!("{path} was not judged in time")));
                }
                Ok(None) | Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Every order's end, as the server tells it.
    pub(super) async fn results(self: Arc<Self>, clients: u16) -> Result<Vec<Ended>, Failure> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (traffic, next) = (Arc::clone(&self), Arc::clone(&next));
            tasks.spawn(async move {
                let mut ended = Vec::new();
                loop {
                    let number = u32::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(u32::MAX);
                    if number >= traffic.orders {
                        return Ok(ended);
                    }
                    ended.push(Ended { number, run: traffic.result(number).await? });
                }
            });
        }
        Ok(join(tasks).await?.into_iter().flatten().collect())
    }

    async fn result(&self, number: u32) -> Result<Value, Failure> {
        let path = format!("{RUNS}/{}/result", self.run_id(number).await?);
        let began = Instant::now();
        loop {
            let client = self.client.borrow().clone();
            match client.get(&path, &[("timeout", "30s")]).await {
                Ok(answer) => {
                    let run = answer.json()?;
                    if run.get("status").and_then(Value::as_str) != Some("running") {
                        return Ok(run);
                    }
                }
                Err(failure) if !may_pass(&failure) => return Err(failure),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
            if began.elapsed() > PATIENCE {
                return Err(Failure::Failed(format!("order {} has no result", order::key(number))));
            }
        }
    }
}

/// Whether sending the same again may help.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_) => true,
        Failure::Refused { status, .. } => matches!(status, 429 | 502..=504),
        Failure::Usage(_) | Failure::Failed(_) => false,
    }
}

async fn join<T: 'static>(mut tasks: JoinSet<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let mut outcomes = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        outcomes.push(outcome.map_err(|error| Failure::Failed(format!("a client stopped: {error}")))??);
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_started_once_and_paid_after_its_start() {
        let actions = actions(2_000);
        let place = |action| actions.iter().position(|other| *other == action);
        for number in 0..2_000 {
            let started = place(Action::Start(number)).unwrap();
            let paid = place(Action::Pay(number));
            assert_eq!(paid.is_some(), order::payment(number).is_some());
            assert!(paid.is_none_or(|paid| paid > started));
        }
        assert_eq!(
            actions.len(),
            2_000 + (0..2_000).filter(|number| order::payment(*number).is_some()).count()
        );
    }
}
