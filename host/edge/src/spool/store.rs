//! The spool's log and how much waits in it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use tidemill_bus::{
    Ack, Bus, BusError, Clock, Compression, Files, Member, RecordBuf, TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
};

/// The one topic of the log,
pub(super) const TOPIC: &str = "raw";
/// and the group that reads it.
pub(super) const GROUP: &str = "drain";

pub(super) struct Store {
    log: EmbeddedBus,
    partition: TopicPartition,
    /// Of what was appended and not drained. A batch may be drained before its append was counted.
    bytes: Arc<AtomicI64>,
}

impl Store {
    pub(super) fn open(options: EmbeddedOptions, files: Arc<dyn Files>, clock: Arc<dyn Clock>) -> Result<Self, BusError> {
        let log = EmbeddedBus::open_with(options, files, clock)?;
        log.ensure_topics(&[TopicSpec { name: TOPIC.into(), partitions: 1, compacted: false, compression: Compression::None }])?;
        let partition = TopicPartition { topic: TOPIC.into(), partition: 0 };
        let bytes = Arc::new(AtomicI64::new(log.unread_bytes(GROUP, &partition)? as i64));
        let store = Self { log, partition, bytes };
        let (records, bytes) = store.waiting();
        if records > 0 {
            tracing::info!(records, bytes, "the spool holds pings that the bus did not take");
        }
        Ok(store)
    }

    pub(super) fn append(&self, records: RecordBuf, ack: Ack) {
        let (count, length, bytes) = (u64::from(records.count()), records.bytes().len(), Arc::clone(&self.bytes));
        let counted = Box::new(move |result: Result<(), BusError>| {
            match &result {
                Ok(()) => {
                    metrics::counter!("tidemill_spool_appended_total").increment(count);
                    bytes.fetch_add(length as i64, Ordering::Relaxed);
                }
                Err(error) => {
                    let reason = if matches!(error, BusError::Full(_)) { "full" } else { "broken" };
                    metrics::counter!("tidemill_spool_refused_total", "reason" => reason).increment(count);
                }
            }
            ack(result);
        });
        self.log.publish(TOPIC, 0, records, counted);
    }

    /// The drain's way to read.
    pub(super) fn member(&self) -> Result<Box<dyn Member>, BusError> {
        self.log.join(GROUP, &[TOPIC])
    }

    /// The drain has saved its position behind these.
    pub(super) fn drained(&self, records: usize, bytes: usize) {
        metrics::counter!("tidemill_spool_drained_total").increment(records as u64);
        metrics::counter!("tidemill_spool_drained_bytes_total").increment(bytes as u64);
        self.bytes.fetch_sub(bytes as i64, Ordering::Relaxed);
    }

    /// Records that wait for the bus, and their bytes.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let topics = self.log.topics().unwrap_or_default();
        let range = topics.iter().find(|topic| topic.name == self.partition.topic).map(|topic| topic.partitions[0]);
        let positions = self.log.group_positions().unwrap_or_default();
        let position = positions.iter().find(|found| &*found.group == GROUP).map_or(0, |found| found.position);
        let records = range.map_or(0, |range| (range.end - position.max(range.start)).max(0)) as u64;
        // What lay in a damaged batch was never drained: it does not count where nothing is left.
        let bytes = self.bytes.load(Ordering::Relaxed).max(0) as u64;
        (records, if records == 0 { 0 } else { bytes })
    }

    pub(super) fn show(&self) {
        let (records, bytes) = self.waiting();
        metrics::gauge!("tidemill_spool_records").set(records as f64);
        metrics::gauge!("tidemill_spool_bytes").set(bytes as f64);
        metrics::gauge!("tidemill_spool_disk_bytes").set(self.disk_bytes() as f64);
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.log.disk_bytes()
    }

    /// # Errors
    /// Why an append would be refused now.
    pub(super) fn health(&self) -> Result<(), BusError> {
        self.log.health()
    }
}
