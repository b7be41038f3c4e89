//! Follows topics outside any group, so that any host shows what another one found: the newest alerts, and on a bus of several hosts
//! the graphs that this one does not merge.

use super::{
    alert::Alert,
    delta::Delta,
    stage::{ALERTS, GRAPHS},
};
use crate::{
    analysis::StageHandle,
    status::{ALERTS_MAX, LiveState},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_bus::{Bus, BusError, Clock, OffsetRange, Reader, RecordRef, Start, TopicPartition};
use tidemill_message::MessageRef;

const WAIT: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(1);

/// Starts the thread that keeps [`LiveState::alerts`].
///
/// # Errors
/// When the operating system gives no thread.
pub fn follow_alerts(bus: Arc<dyn Bus>, live: Arc<LiveState>) -> io::Result<StageHandle> {
    let take = move |record: &RecordRef<'_>| {
        if let Some(alert) = MessageRef::parse(record.value).ok().and_then(|message| Alert::read(&message)) {
            live.push_alert(alert);
        }
    };
    let following = Following { bus, topic: ALERTS, newest: Some(ALERTS_MAX as i64), take };
    StageHandle::start("alerts", vec![move |stop: &AtomicBool| following.run(stop)])
}

/// Starts the thread that keeps the graphs as a host shows them that does not merge them. They are made of the same deltas in the
/// same order as the merging host's, so they are the same; the topic is read from its beginning.
///
/// # Errors
/// When the operating system gives no thread.
pub fn follow_graphs(bus: Arc<dyn Bus>, live: Arc<LiveState>, clock: Arc<dyn Clock>) -> io::Result<StageHandle> {
    let take = move |record: &RecordRef<'_>| match Delta::decode(record.value) {
        Ok(delta) => live.follow_graphs(&String::from_utf8_lossy(record.key), delta, clock.now_ns().div_euclid(1_000_000)),
        Err(error) => tracing::error!(%error, "a graph delta cannot be read; it is passed over"),
    };
    let following = Following { bus, topic: GRAPHS, newest: None, take };
    StageHandle::start("shown graphs", vec![move |stop: &AtomicBool| following.run(stop)])
}

/// A topic and what is done with its records.
struct Following<T> {
    bus: Arc<dyn Bus>,
    topic: &'static str,
    /// Only so many of each partition, the newest.
    newest: Option<i64>,
    take: T,
}

impl<T: Fn(&RecordRef<'_>)> Following<T> {
    fn run(&self, stop: &AtomicBool) {
        let mut readers = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if readers.is_empty() {
                readers = self.open().unwrap_or_else(|error| {
                    tracing::warn!(%error, topic = self.topic, "the topic cannot be followed; trying again");
                    Vec::new()
                });
            }
            if readers.is_empty() {
                std::thread::sleep(RETRY);
            }
            let wait = WAIT / readers.len().max(1) as u32;
            if readers.iter_mut().any(|reader| !self.read(&mut **reader, wait)) {
                // Nothing is shown twice: a reader is made again only where it was.
                std::thread::sleep(RETRY);
            }
        }
    }

    fn open(&self) -> Result<Vec<Box<dyn Reader>>, BusError> {
        let topics = self.bus.topics()?;
        let Some(topic) = topics.iter().find(|topic| &*topic.name == self.topic) else { return Ok(Vec::new()) };
        let partitions = (0u32..).zip(&topic.partitions).map(|(partition, range)| {
            let place = TopicPartition { topic: Arc::clone(&topic.name), partition };
            self.bus.reader(&place, Start::Offset(self.begin(range)))
        });
        partitions.collect()
    }

    fn begin(&self, range: &OffsetRange) -> i64 {
        self.newest.map_or(range.start, |newest| range.start.max(range.end.saturating_sub(newest)))
    }

    fn read(&self, reader: &mut dyn Reader, wait: Duration) -> bool {
        match reader.poll(wait) {
            Ok(batch) => {
                batch.iter().flat_map(|batch| batch.iter()).for_each(|(_, record)| (self.take)(&record));
                true
            }
            Err(error) => {
                tracing::warn!(%error, topic = self.topic, "the topic cannot be followed; trying again");
                false
            }
        }
    }
}
