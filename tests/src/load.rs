//! Many pings at once: a list posted by several connections, and a stream at a rate that lives through restarts.

use crate::{Connection, Ping};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
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
    /// When the platform listened again, and when it acknowledged the last ping before its end, both since the load's start.
    answering: BTreeMap<Duration, Duration>,
}

impl Acknowledged {
    /// How long pings were answered: from each start of the platform to the last acknowledgement before its end.
    pub fn answering(&self) -> Duration {
        self.answering.iter().map(|(since, last)| *last - *since).sum()
    }

    /// Acknowledged pings a second of that time.
    pub fn rate_while_answering(&self) -> f64 {
        self.ids.len() as f64 / self.answering().as_secs_f64().max(0.001)
    }

    fn add(&mut self, since: Duration, at: Duration, id: String, status: u16) {
        if status != 200 {
            self.unknown.push(id);
            return;
        }
        self.ids.push(id);
        self.answering.insert(since, at);
        let second = at.as_secs() as usize;
        self.by_second.resize(self.by_second.len().max(second + 1), 0);
        self.by_second[second] += 1;
    }

    fn merge(&mut self, other: Self) {
        let Self { ids, unknown, by_second, answering } = other;
        for (since, last) in answering {
            let latest = self.answering.entry(since).or_default();
            *latest = last.max(*latest);
        }
        self.ids.extend(ids);
        self.unknown.extend(unknown);
        self.by_second.resize(self.by_second.len().max(by_second.len()), 0);
        by_second.iter().zip(&mut self.by_second).for_each(|(more, sum)| *sum += more);
    }
}

/// A stream of pings at a rate, each under an id of its own; a ping that was not acknowledged is replaced by one with a new id.
pub struct Load {
    began: Instant,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Acknowledged>>,
}

/// What its workers look at.
struct Shared {
    stop: AtomicBool,
    target: Mutex<Target>,
    acknowledged: AtomicU64,
}

/// Where the platform listens, while it does, and since when.
#[derive(Clone, Copy, Debug)]
struct Target {
    since: Duration,
    address: Option<SocketAddr>,
}

impl Shared {
    fn target(&self) -> Target {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Starts to post what `make` makes of a running number, so many a second over so many connections.
    pub fn start(address: SocketAddr, connections: usize, rate: f64, make: fn(u64) -> Ping) -> Self {
        let began = Instant::now();
        let target = Mutex::new(Target { since: Duration::ZERO, address: Some(address) });
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), target, acknowledged: AtomicU64::new(0) });
        let worker = |number: usize| {
            let shared = Arc::clone(&shared);
            let pace = Duration::from_secs_f64(connections as f64 / rate);
            let stride = connections as u64;
            thread::spawn(move || Worker { shared, began, pace, next: number as u64, stride, make }.run())
        };
        let workers = (0..connections).map(worker).collect();
        Self { began, shared, workers }
    }

    /// The platform is gone (`None`), or listens there from now on.
    pub fn set_address(&self, address: Option<SocketAddr>) {
        let target = Target { since: self.began.elapsed(), address };
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Pings that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends it.
    ///
    /// # Panics
    /// When a worker did.
    pub fn stop(self) -> Acknowledged {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut sum = Acknowledged::default();
        self.workers.into_iter().for_each(|worker| sum.merge(worker.join().expect("no panic")));
        sum
    }
}

struct Worker {
    shared: Arc<Shared>,
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
        while !self.shared.stop.load(Ordering::Relaxed) {
            let Target { since, address: Some(address) } = self.shared.target() else {
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
            self.shared.acknowledged.fetch_add(u64::from(status == 200), Ordering::Relaxed);
            done.add(since, self.began.elapsed(), ping.id, status);
            if status == 0 {
                // Nobody is there: do not spin.
                thread::sleep(Duration::from_millis(5));
            }
        }
        done
    }
}
