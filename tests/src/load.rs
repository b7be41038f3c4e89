//! Many pings at once: a list posted by several connections, and a stream at a rate that lives through restarts.

use crate::{Connection, Ping};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Posts every ping once and returns the statuses in their order; 0 where there was no answer.
pub fn post_all(address: SocketAddr, pings: &[Ping], connections: usize) -> Vec<u16> {
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut connection, mut done) = (None, vec![]);
        while let Some((at, ping)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, pings.get(at)?))) {
            done.push((at, post(&mut connection, address, ping)));
        }
        done
    };
    let mut statuses = vec![0; pings.len()];
    thread::scope(|scope| {
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
        for (at, status) in workers.into_iter().flat_map(|worker| worker.join().expect("no panic")) {
            statuses[at] = status;
        }
    });
    statuses
}

/// Posts by a connection that is made where there is none; 0 where there was no answer.
fn post(connection: &mut Option<Connection>, address: SocketAddr, ping: &Ping) -> u16 {
    let mut opened = match connection.take().map_or_else(|| Connection::open(address), Ok) {
        Ok(opened) => opened,
        Err(_) => return 0,
    };
    match opened.send("POST", &ping.path, &ping.headers, &ping.body) {
        Ok(answer) => {
            *connection = Some(opened);
            answer.status
        }
        Err(_) => 0,
    }
}

/// What a load did.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    /// Ids that were answered 200, each sent once.
    pub ids: Vec<String>,
    /// Ids that had another answer or none: their pings may be there or not.
    pub unknown: Vec<String>,
    /// Acknowledged pings in each second since the start.
    pub by_second: Vec<u64>,
}

impl Acknowledged {
    fn add(&mut self, second: usize, id: String, status: u16) {
        if status != 200 {
            self.unknown.push(id);
            return;
        }
        self.ids.push(id);
        self.by_second.resize(self.by_second.len().max(second + 1), 0);
        self.by_second[second] += 1;
    }

    fn merge(&mut self, other: Self) {
        let Self { ids, unknown, by_second } = other;
        self.ids.extend(ids);
        self.unknown.extend(unknown);
        self.by_second.resize(self.by_second.len().max(by_second.len()), 0);
        by_second.iter().zip(&mut self.by_second).for_each(|(more, sum)| *sum += more);
    }
}

/// A stream of pings at a rate, each under an id of its own; a ping that was not acknowledged is replaced by one with a new id.
pub struct Load {
    stop: Arc<AtomicBool>,
    address: Arc<Mutex<Option<SocketAddr>>>,
    workers: Vec<JoinHandle<Acknowledged>>,
}

impl Load {
    /// Starts to post what `make` makes of a running number, so many a second over so many connections.
    pub fn start(address: SocketAddr, connections: usize, rate: f64, make: fn(u64) -> Ping) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let address = Arc::new(Mutex::new(Some(address)));
        let began = Instant::now();
        let worker = |number: usize| {
            let (stop, address) = (Arc::clone(&stop), Arc::clone(&address));
            let pace = Duration::from_secs_f64(connections as f64 / rate);
            let stride = connections as u64;
            thread::spawn(move || Worker { stop, address, began, pace, next: number as u64, stride, make }.run())
        };
        let workers = (0..connections).map(worker).collect();
        Self { stop, address, workers }
    }

    /// The platform is gone (`None`), or listens there from now on.
    pub fn set_address(&self, address: Option<SocketAddr>) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Ends it.
    ///
    /// # Panics
    /// When a worker did.
    pub fn stop(self) -> Acknowledged {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Acknowledged::default();
        self.workers.into_iter().for_each(|worker| sum.merge(worker.join().expect("no panic")));
        sum
    }
}

struct Worker {
    stop: Arc<AtomicBool>,
    address: Arc<Mutex<Option<SocketAddr>>>,
    began: Instant,
    pace: Duration,
    next: u64,
    stride: u64,
    make: fn(u64) -> Ping,
}

impl Worker {
    fn run(mut self) -> Acknowledged {
        let (mut done, mut connection) = (Acknowledged::default(), None);
        let mut due = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let Some(address) = *self.address.lock().unwrap_or_else(PoisonError::into_inner) else {
                connection = None;
                thread::sleep(Duration::from_millis(10));
                due = Instant::now();
                continue;
            };
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due = (due + self.pace).max(Instant::now() - self.pace * 20);
            let ping = (self.make)(self.next);
            self.next += self.stride;
            let status = post(&mut connection, address, &ping);
            done.add(self.began.elapsed().as_secs() as usize, ping.id, status);
            if status == 0 {
                // Nobody is there: do not spin.
                thread::sleep(Duration::from_millis(5));
            }
        }
        done
    }
}
