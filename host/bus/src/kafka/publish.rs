//! Publishing outside steps: one idempotent producer, one acknowledgement for each call, no allocation a record of our own.

use super::{
    errors::{logs, meaning},
    handles::{TopicHandle, TopicHandles},
    options::KafkaOptions,
    produce,
};
use crate::{Ack, BusError, Compression, RecordBuf};
use parking_lot::{Mutex, RwLock};
use rdkafka::{
    ClientConfig,
    config::FromClientConfigAndContext,
    error::KafkaError,
    message::DeliveryResult,
    producer::{Producer, ProducerContext, ThreadedProducer},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How long a bus that is dropped waits for what it has not sent yet.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Publishes; shared by all threads.
pub(super) struct Publisher {
    config: ClientConfig,
    bytes_max: usize,
    bytes: Arc<AtomicUsize>,
    running: RwLock<Arc<Running>>,
}

/// The handles go before the producer they belong to.
struct Running {
    handles: TopicHandles,
    producer: ThreadedProducer<Deliveries>,
}

/// One call: it is over when none of its records is under way.
pub(super) struct Call {
    topic: Arc<str>,
    partition: u32,
    under_way: AtomicUsize,
    bytes: usize,
    all_bytes: Arc<AtomicUsize>,
    refused: Mutex<Option<BusError>>,
    ack: Mutex<Option<Ack>>,
}

impl Call {
    /// So many of its records are no longer under way.
    fn done(&self, count: usize) {
        if self.under_way.fetch_sub(count, Ordering::AcqRel) > count {
            return;
        }
        self.all_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        if let Some(ack) = self.ack.lock().take() {
            ack(self.refused.lock().take().map_or(Ok(()), Err));
        }
    }

    fn is_refused(&self) -> bool {
        self.refused.lock().is_some()
    }

    #[cold]
    fn refuse(&self, error: &KafkaError) {
        let what = format!("topic {} partition {}", self.topic, self.partition);
        self.refused.lock().get_or_insert_with(|| meaning(&what, error));
    }
}

/// Hears of every record of the publisher.
struct Deliveries;

logs!(Deliveries);

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Call>;

    fn delivery(&self, result: &DeliveryResult<'_>, call: Arc<Call>) {
        if let Err((error, _)) = result {
            call.refuse(error);
        }
        call.done(1);
    }
}

impl Publisher {
    /// # Errors
    /// When librdkafka refuses the options.
    pub(super) fn new(options: &KafkaOptions) -> Result<Self, BusError> {
        let config = options.publisher();
        let running = RwLock::new(Running::new(&config)?);
        Ok(Self { config, bytes_max: options.publish_bytes_max, bytes: Arc::default(), running })
    }

    /// Bytes that wait for their acknowledgement, and how many may.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.bytes.load(Ordering::Relaxed), self.bytes_max)
    }

    pub(super) fn publish(&self, topic: &str, partition: u32, records: &RecordBuf, compression: Compression, ack: Ack) {
        let bytes = records.bytes().len();
        if let Err(error) = produce::check_sizes(topic, records).and_then(|()| self.admit(bytes)) {
            return ack(Err(error));
        }
        let running = Arc::clone(&self.running.read());
        let topic = match running.handles.ensure(running.producer.client().native_ptr(), topic, compression) {
            Ok(topic) => topic,
            Err(error) => {
                self.bytes.fetch_sub(bytes, Ordering::AcqRel);
                return ack(Err(error));
            }
        };
        let call = Arc::new(Call {
            topic: Arc::clone(&topic.name),
            partition,
            under_way: AtomicUsize::new(records.count() as usize + 1),
            bytes,
            all_bytes: Arc::clone(&self.bytes),
            refused: Mutex::new(None),
            ack: Mutex::new(Some(ack)),
        });
        running.send(&topic, records, &call);
        if call.is_refused() && running.is_dead() {
            self.replace(&running);
        }
        call.done(1);
    }

    /// An empty queue takes a publish of any size.
    fn admit(&self, bytes: usize) -> Result<(), BusError> {
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if before == 0 || before + bytes <= self.bytes_max {
            return Ok(());
        }
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        Err(BusError::Full(format!("{before} bytes wait for Kafka, at most {} may", self.bytes_max)))
    }

    /// A fatal error of an idempotent producer is for ever: the next publish gets a new one. The old one is closed on a thread of
    /// its own, because that takes time.
    fn replace(&self, dead: &Arc<Running>) {
        let mut running = self.running.write();
        if !Arc::ptr_eq(&running, dead) {
            return;
        }
        match Running::new(&self.config) {
            Ok(new) => {
                let old = std::mem::replace(&mut *running, new);
                tracing::warn!("the Kafka producer failed for good and was replaced");
                std::thread::spawn(move || drop(old));
            }
            Err(error) => tracing::error!(%error, "the Kafka producer failed for good and cannot be replaced"),
        }
    }

    /// Sends what waits, for a bounded time.
    pub(super) fn close(&self) {
        let running = Arc::clone(&self.running.read());
        if self.bytes.load(Ordering::Acquire) > 0 && running.producer.flush(CLOSE_WAIT).is_err() {
            tracing::warn!("records were not acknowledged when the Kafka bus was closed");
        }
    }
}

impl Running {
    fn new(config: &ClientConfig) -> Result<Arc<Self>, BusError> {
        let producer = ThreadedProducer::from_config_and_context(config, Deliveries);
        let producer = producer.map_err(|error| BusError::Unusable(format!("librdkafka refuses the options: {error}")))?;
        Ok(Arc::new(Self { handles: TopicHandles::default(), producer }))
    }

    #[expect(unsafe_code, reason = "rdkafka 0.39 looks a topic up by its name for each record")]
    fn send(&self, topic: &TopicHandle, records: &RecordBuf, call: &Arc<Call>) {
        let (producer, count) = (self.producer.client().native_ptr(), records.count() as usize);
        for (sent, record) in records.iter().enumerate() {
            // SAFETY: the producer is this value's, the handle one of its own, and its deliveries are told with calls.
            if let Err(error) = unsafe { topic.send::<Arc<Call>>(producer, call.partition, &record, Arc::clone(call)) } {
                call.refuse(&error);
                return call.done(count - sent);
            }
        }
    }

    fn is_dead(&self) -> bool {
        self.producer.client().fatal_error().is_some()
    }
}
