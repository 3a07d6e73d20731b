//! Lives a seed: a time of faults, then calm, then the question whether everything came to rest as promised.

mod fleet;
mod operator;
mod special;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Once};
use std::time::Duration;

use tidewheel_engine::Fold;
use tidewheel_log::EventLog as _;
use tidewheel_replay::step::Recorded;
use tidewheel_schemas::RecordHeaders;
use tokio::time::Instant;

use self::fleet::Fleet;
use self::special::Special;
use crate::client::{self, Client};
use crate::fault::Fault;
use crate::invariant::{self, Refold};
use crate::outcome::Outcome;
use crate::process::End;
use crate::program::{Planned, plan};
use crate::random::Random;
use crate::reader;
use crate::world::{Violation, World};

/// How long a world may take to come to rest once faults have stopped.
const REST: Duration = Duration::from_secs(20 * 60);

/// How seeds are lived.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Tell every event on standard error.
    pub print: bool,
    /// Keep the records of the runs, for stepping through them.
    pub records: bool,
}

/// Steps panic as planned, which nobody wants to read about.
fn keep_planned_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload_as_str().unwrap_or_default();
            if !text.starts_with("planned") {
                tell(panic);
            }
        }));
    });
}

/// Lives one seed. Never panics because of what happens in its world; what did not hold is in the outcome.
pub fn run_seed(seed: u64, settings: &Settings) -> Outcome {
    keep_planned_panics_quiet();
    let lived = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let outcome = runtime.block_on(live(seed, *settings));
        Ok::<_, std::io::Error>(outcome)
    }));
    let what = match lived {
        Ok(Ok(outcome)) => return outcome,
        Ok(Err(error)) => format!("no runtime for this seed: {error}"),
        Err(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without a message".to_owned()),
    };
    Outcome {
        seed,
        trace: 0,
        events: 0,
        records: 0,
        runs: 0,
        simulated_ms: 0,
        operations: 0,
        faults: Vec::new(),
        violations: vec![Violation { invariant: "no_panic", what }],
        recorded: Vec::new(),
    }
}

async fn live(seed: u64, settings: Settings) -> Outcome {
    let random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x7469_6465);
    let partitions = random.between(2, 3) as u32;
    let atomic = random.chance(200);
    let special = Special::choose(&random);
    let run_count = random.between(4, 16) as usize;
    let world = World::new(random, client::name("local"), partitions, atomic, settings.print);
    let runs = plan(&world.random, run_count);
    let mut fleet = Fleet::new(&world);
    let client = Client::new(&world);
    if begin(&world, &mut fleet).await {
        let reading = tokio::spawn(reader::read(Arc::clone(&world), runs.clone(), world.random.fork()));
        time_of_faults(&world, &mut fleet, &client, &runs).await;
        // What a reader has seen of a log that is lost then may not come back.
        reading.abort();
        // Half of the worlds go on with a process that lived through the faults: what it holds in memory must do.
        let survives = special == Special::Nothing && world.random.chance(500);
        if !survives || !fleet.keep_survivor().await {
            fleet.end_all().await;
        }
        world.calm_down();
        operator::let_go(&world).await;
        let mut refold = Refold::new(&world);
        let lost = special.before_rest(&world, &mut fleet).await;
        if special == Special::Upgrade {
            special::upgrade(&world, &mut fleet).await;
        } else {
            rest(&world, &mut fleet, &client, &runs, &mut refold).await;
        }
        refold.advance(&world).await;
        invariant::check(&world, &runs, &refold, lost, special == Special::Upgrade).await;
    } else {
        world.violate("progress", || "the log was never created".to_owned());
    }
    let recorded = if settings.records { recorded(&world).await } else { Vec::new() };
    Outcome { recorded, ..outcome(seed, &world, runs.len()).await }
}

/// The records of every run, partition by partition, each with its partition as it stood before.
async fn recorded(world: &World) -> Vec<Recorded> {
    let mut all = Vec::new();
    for partition in 0..world.partitions {
        let mut fold = Fold::new(partition);
        for record in world.records(partition).await {
            let is_run = matches!(
                &record.headers,
                RecordHeaders::Known(headers) if headers.entity.run_id().is_some()
            );
            if is_run {
                all.extend(Recorded::of(&record, fold.control()));
            }
            // Beyond a raise nothing is folded.
            if fold.apply(&record).is_err() {
                break;
            }
        }
    }
    all
}

async fn outcome(seed: u64, world: &World, runs: usize) -> Outcome {
    let mut records = 0;
    for partition in 0..world.partitions {
        records += world.bounds(partition).await.end.unsigned_abs();
    }
    Outcome {
        seed,
        trace: world.trace.hash(),
        events: world.trace.events(),
        records,
        runs: runs as u64,
        simulated_ms: u64::try_from(world.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        operations: world.operations(),
        faults: Fault::ALL.iter().map(|fault| (*fault, world.faults.get(*fault))).collect(),
        violations: world.violations(),
        recorded: Vec::new(),
    }
}

/// Starts the first process and waits until the log begins in every partition.
async fn begin(world: &Arc<World>, fleet: &mut Fleet) -> bool {
    for _ in 0..600 {
        fleet.keep_one().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut begun = 0;
        for partition in 0..world.partitions {
            begun += u32::from(world.bounds(partition).await.end > 0);
        }
        let configured = world.log().bounds(&world.config_place()).await.is_ok_and(|bounds| bounds.end > 0);
        if begun == world.partitions && configured {
            return true;
        }
    }
    false
}

async fn time_of_faults(world: &Arc<World>, fleet: &mut Fleet, client: &Arc<Client>, runs: &[Planned]) {
    let ends_at = Instant::now() + Duration::from_millis(world.random.between(6_000, 25_000));
    let mut to_start = runs.iter();
    while Instant::now() < ends_at {
        tokio::time::sleep(Duration::from_millis(world.random.between(10, 600))).await;
        fleet.trouble().await;
        operator::act(world).await;
        if world.random.chance(700)
            && let Some(planned) = to_start.next()
        {
            client.start(planned);
        }
        for _ in 0..world.random.below(4) {
            client.act(runs);
        }
    }
    to_start.for_each(|planned| client.start(planned));
}

/// One process without any fault brings everything to its end.
async fn rest(
    world: &Arc<World>,
    fleet: &mut Fleet,
    client: &Arc<Client>,
    runs: &[Planned],
    refold: &mut Refold,
) {
    fleet.keep_one().await;
    // Producers that retry and appends that are still on the way come first.
    tokio::time::sleep(Duration::from_secs(20)).await;
    // A process that lived through the faults may have ended of their late consequences.
    fleet.keep_one().await;
    refold.advance(world).await;
    for planned in runs {
        if refold.is_running(planned.run_id) {
            for (signal, count) in planned.program.awaits().into_iter().enumerate() {
                (0..count).for_each(|_| client.signal(planned.run_id, signal));
            }
        }
    }
    let until = Instant::now() + REST;
    let mut quiet = 0;
    while quiet < 3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        if let Some(end) = fleet.ended().await {
            world.violate("progress", || format!("a process without faults ended: {end:?}"));
            return;
        }
        refold.advance(world).await;
        let projected = fleet.has_projected(world).await;
        quiet = if refold.is_at_rest() && projected { quiet + 1 } else { 0 };
        if Instant::now() > until {
            world.violate("progress", || {
                format!(
                    "not at rest after {REST:?} without faults: {}, views complete: {projected}",
                    refold.unrest()
                )
            });
            break;
        }
    }
    let end = fleet.stop_all().await;
    if end.iter().any(|end| *end != End::Stopped) {
        world.violate("progress", || format!("a process asked to stop ended so: {end:?}"));
    }
}
