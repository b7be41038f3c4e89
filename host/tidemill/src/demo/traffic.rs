//! The sample stream: pings of mixed quality with a rhythm like that of days, only shorter, and one document type that falls silent.

use crate::exit::{Failure, surroundings};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tidemill_testkit::{Fixture, SendOptions, Sender, Verdict};
use url::Url;

/// Pings a second in the middle of a day.
const RATE: f64 = 60.0;
/// How long a day takes.
const DAY: Duration = Duration::from_secs(20);
/// Bad pings among all.
const BAD_SHARE: f64 = 0.08;
/// The namespace that falls silent.
pub const SILENT: &str = "device";

/// The running stream.
pub struct Traffic {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Traffic {
    /// Starts posting.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn start(
        runtime: &tokio::runtime::Handle,
        edge: SocketAddr,
        fixtures: Vec<Fixture>,
        silent_after: Duration,
    ) -> Result<Self, Failure> {
        let to = Url::parse(&format!("http://{edge}")).map_err(surroundings)?;
        let sender =
            Sender::new(SendOptions { to, rate: None, attempts: 3, back_off: Duration::from_millis(100) }).map_err(surroundings)?;
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let stream =
            Stream { sender, fixtures, silent_after, random: StdRng::seed_from_u64(1), sent: Arc::clone(&sent), stop: Arc::clone(&stop) };
        runtime.spawn(stream.run());
        Ok(Self { sent, stop })
    }

    /// Pings sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the stream.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Stream {
    sender: Sender,
    fixtures: Vec<Fixture>,
    silent_after: Duration,
    random: StdRng,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Stream {
    async fn run(mut self) {
        let started = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let age = started.elapsed();
            let ping = self.next_ping(age >= self.silent_after);
            self.sender.send(&ping).await;
            self.sent.fetch_add(1, Ordering::Relaxed);
            let phase = age.as_secs_f64() / DAY.as_secs_f64() * std::f64::consts::TAU;
            let rate = RATE * (1.0 + 0.6 * phase.sin());
            tokio::time::sleep(Duration::from_secs_f64(1.0 / rate)).await;
        }
    }

    /// A recorded ping, good or bad, some of its values varied.
    fn next_ping(&mut self, is_silent: bool) -> Fixture {
        let verdict = if self.random.random_bool(BAD_SHARE) { Verdict::Fail } else { Verdict::Pass };
        let fits = |ping: &&Fixture| ping.verdict == verdict && !(is_silent && ping.namespace == SILENT);
        let candidates: Vec<&Fixture> = self.fixtures.iter().filter(fits).collect();
        let mut ping = candidates[self.random.random_range(0..candidates.len())].clone();
        if ping.namespace == "telemetry" {
            let channel = ["release", "release", "release", "beta", "nightly"][self.random.random_range(0..5)];
            let text = String::from_utf8_lossy(&ping.body).replace("\"channel\": \"nightly\"", &format!("\"channel\": \"{channel}\""));
            ping.body = text.into_bytes();
        }
        ping
    }
}
