//! The one thread that hands batches to the client library, and the one that hears what became of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::FutureExt;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig,
};
use tidewheel_schemas::{NewRecord, TopicPartition};

use super::context::Troubles;
use super::flight::{Flight, Lane};
use super::queue::{Batch, Queue, Taken};
use super::record::{to_headers, to_timestamp_ms};
use crate::limits::check_batch;
use crate::{Appending, LogError};

/// How long the threads wait for something before they look around.
const TICK: Duration = Duration::from_millis(100);
/// How long a producer that is replaced may take to let go of what it has.
const LET_GO: Duration = Duration::from_secs(5);
/// How long a closing log waits for what is on its way.
const FLUSH: Duration = Duration::from_secs(30);

/// Says that a partition does not exist, if that is known for sure. May ask the brokers.
pub(super) type Exists = Box<dyn Fn(&TopicPartition) -> Result<(), LogError> + Send>;

/// The appending side of one cluster.
pub(super) struct Appender {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the producer tells.
struct Deliveries {
    troubles: Arc<Troubles>,
    /// The client library gave up this producer for good.
    is_fatal: Arc<AtomicBool>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.troubles.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.is_fatal.store(true, Ordering::Release);
        }
        self.troubles.error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Flight>;

    fn delivery(&self, result: &DeliveryResult<'_>, flight: Arc<Flight>) {
        match result {
            Ok(message) => flight.delivered(message.offset()),
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                if code == RDKafkaErrorCode::Fatal {
                    self.is_fatal.store(true, Ordering::Release);
                }
                let is_forbidden = matches!(
                    code,
                    RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed
                );
                if is_forbidden && flight.is_untouched() {
                    let what = format!("appending to {}", flight.place());
                    flight.refused(LogError::Forbidden { what, cause: code.to_string() });
                }
                let mut cause = code.to_string();
                if let Some(trouble) = self.troubles.recent() {
                    cause = format!("{cause} ({})", trouble.text);
                }
                flight.lost(1, &cause);
            }
        }
    }
}

impl Appender {
    /// Starts the threads. The brokers need not be there.
    pub fn start(
        config: ClientConfig,
        troubles: &Arc<Troubles>,
        (bytes_max, records_max): (usize, usize),
        message_timeout: Duration,
        exists: Exists,
    ) -> Result<Self, LogError> {
        let queue = Arc::new(Queue::new(bytes_max, records_max));
        let live = Live::start(&config, troubles)?;
        let enqueuer = Enqueuer {
            queue: Arc::clone(&queue),
            config,
            troubles: Arc::clone(troubles),
            live: Some(live),
            lanes: HashMap::new(),
            message_timeout,
            exists,
        };
        let thread = std::thread::Builder::new()
            .name("tidewheel-kafka-append".to_owned())
            .spawn(move || enqueuer.run())
            .map_err(|error| LogError::Failed(format!("its appending thread cannot be started: {error}")))?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Submits a batch; see [`EventLog::append`](crate::EventLog::append).
    pub fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Appending {
        let submitted = match check_batch(&records) {
            Ok(_) if records.is_empty() => {
                let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it holds no record");
                Err(LogError::Refused { what: "appending a batch".to_owned(), source: Arc::new(source) })
            }
            Ok(bytes) => self.queue.submit(to, records, bytes),
            Err(error) => Err(error),
        };
        match submitted {
            Ok(answer) => {
                let partition = to.clone();
                let unknown = move || {
                    let cause = "the log was closed".to_owned();
                    Err(LogError::OutcomeUnknown { partition, cause })
                };
                answer.map(move |answer| answer.unwrap_or_else(|_| unknown())).boxed()
            }
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    /// Takes no more appends. What was submitted is still sent.
    pub fn close(&self) {
        self.queue.close();
    }

    /// As [`Appender::close`], and waits until the fate of everything submitted is known or time is up.
    pub fn finish(&self) {
        self.close();
        if let Some(thread) = self.thread.lock().take() {
            // A panicked thread has dropped what it had, and so answered it.
            let _ = thread.join();
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.close();
    }
}

/// One producer of the client library and the thread that hears it.
struct Live {
    producer: Arc<BaseProducer<Deliveries>>,
    is_fatal: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    listener: JoinHandle<()>,
}

impl Live {
    fn start(config: &ClientConfig, troubles: &Arc<Troubles>) -> Result<Self, LogError> {
        let is_fatal = Arc::new(AtomicBool::new(false));
        let context = Deliveries { troubles: Arc::clone(troubles), is_fatal: Arc::clone(&is_fatal) };
        let producer: BaseProducer<Deliveries> =
            config.create_with_context(context).map_err(|error| super::cluster::misconfigured(&error))?;
        let (producer, stops) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let listener = {
            let (producer, stops) = (Arc::clone(&producer), Arc::clone(&stops));
            std::thread::Builder::new()
                .name("tidewheel-kafka-hear".to_owned())
                .spawn(move || {
                    while !stops.load(Ordering::Acquire) {
                        producer.poll(TICK);
                    }
                })
                .map_err(|error| LogError::Failed(format!("its hearing thread cannot be started: {error}")))?
        };
        Ok(Self { producer, is_fatal, stops, listener })
    }

    fn is_fatal(&self) -> bool {
        self.is_fatal.load(Ordering::Acquire)
    }

    /// Gives up what is on its way and waits until its connections are closed.
    fn stop(self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.producer.in_flight_count() > 0 && Instant::now() < until && !self.is_fatal() {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let until = Instant::now() + LET_GO;
        while self.producer.in_flight_count() > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.stops.store(true, Ordering::Release);
        let _ = self.listener.join();
    }
}

/// Hands batches over, in order.
struct Enqueuer {
    queue: Arc<Queue>,
    config: ClientConfig,
    troubles: Arc<Troubles>,
    /// None while a producer that has failed is replaced.
    live: Option<Live>,
    lanes: HashMap<TopicPartition, Arc<Lane>>,
    message_timeout: Duration,
    exists: Exists,
}

impl Enqueuer {
    fn run(mut self) {
        let mut batches = Vec::new();
        loop {
            let taken = self.queue.take_all(&mut batches, TICK);
            let (bytes, records) = self.queue.depth();
            metrics::gauge!("tidewheel_log_queue_bytes").set(bytes as f64);
            metrics::gauge!("tidewheel_log_queue_records").set(records as f64);
            if self.live.as_ref().is_none_or(Live::is_fatal) {
                self.replace();
            }
            match taken {
                Taken::Batches => batches.drain(..).for_each(|batch| self.enqueue(batch)),
                Taken::Nothing => {}
                Taken::Closed => break,
            }
        }
        if let Some(live) = self.live.take() {
            live.stop(FLUSH);
        }
    }

    /// The fate of everything on its way is unknown; a new producer goes on behind it. The old one's connections are
    /// closed first, so that nothing it sent comes in behind what is sent now.
    fn replace(&mut self) {
        const CAUSE: &str = "the Kafka producer failed and is replaced";
        for lane in self.lanes.values() {
            lane.fail(CAUSE);
        }
        if let Some(live) = self.live.take() {
            tracing::error!("{CAUSE}; what was on its way has an unknown fate");
            metrics::counter!("tidewheel_log_producers_replaced_total").increment(1);
            live.stop(Duration::ZERO);
        }
        match Live::start(&self.config, &self.troubles) {
            Ok(live) => self.live = Some(live),
            Err(error) => tracing::error!(%error, "no Kafka producer can be made, trying again"),
        }
    }

    fn lane(&mut self, to: &TopicPartition) -> Result<Arc<Lane>, LogError> {
        if let Some(lane) = self.lanes.get(to) {
            return Ok(Arc::clone(lane));
        }
        (self.exists)(to)?;
        let lane = Lane::new(to.clone(), Arc::clone(&self.queue));
        self.lanes.insert(to.clone(), Arc::clone(&lane));
        Ok(lane)
    }

    fn enqueue(&mut self, batch: Batch) {
        let Batch { number, to, records, bytes, done, submitted_at } = batch;
        if submitted_at.elapsed() > self.message_timeout {
            self.queue.finished(bytes, records.len());
            let cause = "it waited too long; nothing of it was sent".to_owned();
            let _ = done.send(Err(LogError::OutcomeUnknown { partition: to, cause }));
            return;
        }
        let lane = match self.lane(&to) {
            Ok(lane) => lane,
            Err(error) => {
                self.queue.finished(bytes, records.len());
                let _ = done.send(Err(error));
                return;
            }
        };
        let Some(flight) = lane.enter(number, (records.len(), bytes), submitted_at, done) else { return };
        for (sent, record) in records.iter().enumerate() {
            if let Err(cause) = self.send(&to, record, &flight) {
                flight.lost(records.len() - sent, &cause);
                return;
            }
        }
    }

    fn send(&self, to: &TopicPartition, record: &NewRecord, flight: &Arc<Flight>) -> Result<(), String> {
        let Some(live) = &self.live else {
            return Err("there is no Kafka producer at the moment; nothing of it was sent".to_owned());
        };
        let mut message = BaseRecord::with_opaque_to(to.topic.as_str(), Arc::clone(flight))
            .partition(i32::try_from(to.partition).unwrap_or(i32::MAX))
            .key(&record.key[..])
            .payload(&record.value[..]);
        if let Some(timestamp_ms) = to_timestamp_ms(record) {
            message = message.timestamp(timestamp_ms);
        }
        if let Some(headers) = to_headers(record) {
            message = message.headers(headers);
        }
        loop {
            match live.producer.send(message) {
                Ok(()) => return Ok(()),
                // Its bounds are far beyond ours; should they be reached, order is kept by waiting here.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if !live.is_fatal() =>
                {
                    message = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => {
                    if live.producer.client().fatal_error().is_some() {
                        live.is_fatal.store(true, Ordering::Release);
                    }
                    return Err(error.to_string());
                }
            }
        }
    }
}
