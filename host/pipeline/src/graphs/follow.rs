//! Follows the `alerts` topic, so that any host shows the newest alerts, also after a restart.

use super::{alert::Alert, stage::ALERTS};
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
use tidemill_bus::{Bus, BusError, OffsetRange, Reader, Start, TopicPartition};
use tidemill_message::MessageRef;

const WAIT: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(1);

/// Starts the thread that keeps [`LiveState::alerts`].
///
/// # Errors
/// When the operating system gives no thread.
pub fn follow_alerts(bus: Arc<dyn Bus>, live: Arc<LiveState>) -> io::Result<StageHandle> {
    StageHandle::start("alerts", vec![move |stop: &AtomicBool| follow(&*bus, &live, stop)])
}

fn follow(bus: &dyn Bus, live: &LiveState, stop: &AtomicBool) {
    let mut readers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if readers.is_empty() {
            readers = open(bus).unwrap_or_else(|error| {
                tracing::warn!(%error, "alerts cannot be read; trying again");
                Vec::new()
            });
        }
        if readers.is_empty() {
            std::thread::sleep(RETRY);
        }
        let wait = WAIT / readers.len().max(1) as u32;
        if readers.iter_mut().any(|reader| !take(reader, live, wait)) {
            // Nothing is shown twice: a reader is made again only where it was.
            std::thread::sleep(RETRY);
        }
    }
}

struct Following {
    reader: Box<dyn Reader>,
}

fn open(bus: &dyn Bus) -> Result<Vec<Following>, BusError> {
    let topics = bus.topics()?;
    let Some(topic) = topics.iter().find(|topic| &*topic.name == ALERTS) else { return Ok(Vec::new()) };
    let partitions = (0u32..).zip(&topic.partitions).map(|(partition, range)| {
        let place = TopicPartition { topic: Arc::clone(&topic.name), partition };
        Ok(Following { reader: bus.reader(&place, Start::Offset(newest(range)))? })
    });
    partitions.collect()
}

/// Where the alerts begin that may be among the newest.
fn newest(range: &OffsetRange) -> i64 {
    range.start.max(range.end.saturating_sub(ALERTS_MAX as i64))
}

fn take(following: &mut Following, live: &LiveState, wait: Duration) -> bool {
    match following.reader.poll(wait) {
        Ok(batch) => {
            for (_, record) in batch.iter().flat_map(|batch| batch.iter()) {
                if let Some(alert) = MessageRef::parse(record.value).ok().and_then(|message| Alert::read(&message)) {
                    live.push_alert(alert);
                }
            }
            true
        }
        Err(error) => {
            tracing::warn!(%error, "alerts cannot be read; trying again");
            false
        }
    }
}
