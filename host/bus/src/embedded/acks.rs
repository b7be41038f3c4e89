//! Tells those who wait what became of their requests.
//!
//! Acknowledging takes the processor (every callback wakes somebody who goes on to publish), syncing takes the disk: while more
//! waits to be written, acknowledgements are made on a thread of their own and the writer goes on. Where nothing waits they are
//! made in place, so that a single request has no thread to wait for.

use crate::{Ack, BusError};
use parking_lot::{Condvar, Mutex};
use std::{collections::VecDeque, sync::Arc, thread::JoinHandle};

/// So many groups may wait to be acknowledged: then the writer does, before it goes on.
const GROUPS_MAX: usize = 4;

/// What became of a group of requests, for each of them anew.
pub(super) type Outcome = Box<dyn Fn() -> Result<(), BusError> + Send>;

/// Makes acknowledgements in the order of the groups.
pub(super) struct Acknowledger {
    groups: Arc<Groups>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Groups {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    groups: VecDeque<(Vec<Ack>, Outcome)>,
    is_busy: bool,
    is_closed: bool,
}

impl Acknowledger {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start() -> Result<Self, BusError> {
        let groups = Arc::new(Groups::default());
        let shared = Arc::clone(&groups);
        let thread = std::thread::Builder::new().name("bus-acks".to_owned()).spawn(move || shared.run());
        let thread = thread.map_err(|source| BusError::Io { what: "cannot start the log's acknowledgements".to_owned(), source })?;
        Ok(Self { groups, thread: Some(thread) })
    }

    /// Acknowledges a group after those before it; in place unless `is_hurried` or one before it is not done yet.
    pub(super) fn acknowledge(&self, acks: Vec<Ack>, outcome: Outcome, is_hurried: bool) {
        let mut waiting = self.groups.waiting.lock();
        if !is_hurried && waiting.groups.is_empty() && !waiting.is_busy {
            drop(waiting);
            return acks.into_iter().for_each(|ack| ack(outcome()));
        }
        while waiting.groups.len() >= GROUPS_MAX {
            self.groups.changed.wait(&mut waiting);
        }
        waiting.groups.push_back((acks, outcome));
        self.groups.changed.notify_all();
    }
}

impl Groups {
    /// Works until it is closed and nothing waits.
    fn run(&self) {
        let mut waiting = self.waiting.lock();
        loop {
            waiting.is_busy = false;
            while waiting.groups.is_empty() {
                if waiting.is_closed {
                    return;
                }
                self.changed.wait(&mut waiting);
            }
            let Some((acks, outcome)) = waiting.groups.pop_front() else { continue };
            waiting.is_busy = true;
            self.changed.notify_all();
            drop(waiting);
            acks.into_iter().for_each(|ack| ack(outcome()));
            waiting = self.waiting.lock();
        }
    }
}

impl Drop for Acknowledger {
    /// Everything that was handed over is acknowledged when this returns.
    fn drop(&mut self) {
        self.groups.waiting.lock().is_closed = true;
        self.groups.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("an acknowledgement panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn acknowledgements_keep_their_order_whoever_makes_them() {
        let acknowledger = Acknowledger::start().expect("a thread");
        let (sender, receiver) = mpsc::channel();
        for group in 0..200 {
            let acks = (0..3).map(|n| {
                let sender = sender.clone();
                Box::new(move |result: Result<(), BusError>| sender.send((group, n, result.is_ok())).unwrap_or_default()) as Ack
            });
            let outcome: Outcome = match group % 5 {
                0 => Box::new(|| Err(BusError::Unavailable("no".to_owned()))),
                _ => Box::new(|| Ok(())),
            };
            acknowledger.acknowledge(acks.collect(), outcome, group % 3 == 0);
        }
        drop((acknowledger, sender));
        let found: Vec<_> = receiver.into_iter().collect();
        let expected: Vec<_> = (0..200).flat_map(|group| (0..3).map(move |n| (group, n, group % 5 != 0))).collect();
        assert_eq!(found, expected);
    }
}
