//! What waits for the writer, counted in bytes.

use super::frame::Prepared;
use crate::{Ack, BusError, TopicSpec};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a request costs beside its bytes.
const OVERHEAD_BYTES: usize = 256;

/// Things that happen together or not at all.
pub(super) struct Request {
    /// Topic number, partition, records.
    pub(super) batches: Vec<(u32, u32, Prepared)>,
    /// Group, key, bytes.
    pub(super) checkpoints: Vec<(Arc<str>, Arc<str>, Option<Bytes>)>,
    /// Group, topic number, partition, position.
    pub(super) positions: Vec<(Arc<str>, u32, u32, i64)>,
    pub(super) topics: Vec<TopicSpec>,
    pub(super) ack: Ack,
}

impl Request {
    pub(super) fn new(ack: Ack) -> Self {
        Self { batches: Vec::new(), checkpoints: Vec::new(), positions: Vec::new(), topics: Vec::new(), ack }
    }

    fn bytes(&self) -> usize {
        let records: usize = self.batches.iter().map(|(_, _, batch)| batch.bytes.len()).sum();
        let states: usize = self.checkpoints.iter().map(|(_, _, bytes)| bytes.as_ref().map_or(0, Bytes::len)).sum();
        records + states + OVERHEAD_BYTES
    }
}

/// The queue between all threads and the writer.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    room: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<(usize, Request)>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), arrived: Condvar::new(), room: Condvar::new(), bytes_max }
    }

    /// Adds a request; waits at most `patience` for room, else the request's ack says why not. One that is larger than the whole
    /// queue goes in when it is empty.
    pub(super) fn offer(&self, request: Request, patience: Duration) {
        let bytes = request.bytes();
        let deadline = Instant::now() + patience;
        let mut waiting = self.waiting.lock();
        while !waiting.closed && waiting.bytes > 0 && waiting.bytes + bytes > self.bytes_max {
            if patience.is_zero() || self.room.wait_until(&mut waiting, deadline).timed_out() {
                let full = format!("{} bytes wait for the disk, queue_bytes_max is {}", waiting.bytes, self.bytes_max);
                drop(waiting);
                return (request.ack)(Err(BusError::Full(full)));
            }
        }
        if waiting.closed {
            drop(waiting);
            return (request.ack)(Err(BusError::Unavailable("the log is closed".to_owned())));
        }
        waiting.bytes += bytes;
        waiting.requests.push_back((bytes, request));
        self.arrived.notify_one();
    }

    /// Takes what waits, up to `bytes_max` and at least one; nothing when `wait` passed; `None` when closed and empty.
    pub(super) fn take(&self, bytes_max: usize, wait: Duration) -> Option<Vec<Request>> {
        let mut waiting = self.waiting.lock();
        if waiting.requests.is_empty() && !waiting.closed {
            self.arrived.wait_for(&mut waiting, wait);
        }
        if waiting.requests.is_empty() {
            return (!waiting.closed).then(Vec::new);
        }
        let (mut taken, mut total) = (Vec::new(), 0);
        while let Some((bytes, request)) = waiting.requests.pop_front() {
            if total > 0 && total + bytes > bytes_max {
                waiting.requests.push_front((bytes, request));
                break;
            }
            total += bytes;
            taken.push(request);
        }
        waiting.bytes -= total;
        self.room.notify_all();
        Some(taken)
    }

    /// Whether there is something to take.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.lock().requests.is_empty()
    }

    /// Nothing more comes in.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_all();
        self.room.notify_all();
    }

    /// Whether less than a sixteenth of the room is left: publishers are being refused, or will be soon.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.lock().bytes > self.bytes_max - self.bytes_max / 16
    }
}
