//! An edge that listens, with a spool on files in memory.

use crate::double::{Double, Mode};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_bus::{Bus, Clock, SystemClock, faults::FaultFiles};
use tidemill_edge::{Edge, Intake, Limits, Server, SpoolHealth, SpoolOptions};
use tokio::sync::watch;

/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the edge waits for the bus.
const BUS_PATIENCE: Duration = Duration::from_millis(300);

pub struct World {
    pub bus: Arc<Double>,
    pub files: FaultFiles,
    pub intake: Arc<Intake>,
    address: SocketAddr,
    client: reqwest::Client,
    _stop: watch::Sender<bool>,
}

/// A spool of 64 MiB that is drained as fast as it can.
pub fn options() -> SpoolOptions {
    SpoolOptions { folder: "/spool".into(), max_bytes: 64 << 20, drain_bytes_per_s: u64::MAX, disk_reserve_bytes: 0 }
}

impl World {
    pub async fn new(mode: Mode) -> Self {
        Self::with(&Double::new(mode), FaultFiles::default(), options()).await
    }

    pub async fn with(bus: &Arc<Double>, files: FaultFiles, options: SpoolOptions) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let shared: Arc<dyn Bus> = Arc::clone(bus) as Arc<dyn Bus>;
        let intake = Intake::with_spool(shared, Arc::clone(&clock), BUS_PATIENCE, options, Arc::new(files.clone()));
        let intake = Arc::new(intake.expect("a spool"));
        let edge = Some(Arc::new(Edge::new(Arc::clone(&intake), clock, Limits::default())));
        let listener = tidemill_edge::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Server { edge, router: axum::Router::new() }.run(listener, stopped, Duration::ZERO));
        Self { bus: Arc::clone(bus), files, intake, address, client: reqwest::Client::new(), _stop: stop }
    }

    /// Posts a ping of this id; the status and the text of the answer.
    pub async fn post(&self, id: &str, body: Vec<u8>) -> (u16, String) {
        let url = format!("http://{}/submit/test/ping/1/{id}", self.address);
        let answer = self.client.post(url).body(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    }

    /// Posts small pings one after another; all are taken.
    pub async fn post_all(&self, ids: &[String]) {
        for id in ids {
            assert_eq!(self.post(id, b"small".to_vec()).await, (200, "OK".to_owned()), "{id}");
        }
    }

    pub async fn spool(&self) -> SpoolHealth {
        self.health().await.spool.expect("a spool")
    }

    /// Asked as the API does: on a thread that may block.
    pub async fn health(&self) -> tidemill_edge::IntakeHealth {
        let intake = Arc::clone(&self.intake);
        tokio::task::spawn_blocking(move || intake.health()).await.expect("no panic")
    }

    pub async fn drained(&self) {
        let began = Instant::now();
        while self.spool().await.records > 0 {
            assert!(began.elapsed() < PATIENCE, "not drained: {:?}", self.health().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Posts pings of ever new ids until the answer is this one; the id that had it.
    pub async fn until_status(&self, name: &str, status: u16, body: &[u8]) -> (String, Vec<String>) {
        let (began, mut taken) = (Instant::now(), vec![]);
        for n in 0.. {
            let id = format!("{name}-{n:05}");
            let (found, text) = self.post(&id, body.to_vec()).await;
            if found == 200 {
                taken.push(id.clone());
            }
            if found == status {
                return (id, taken);
            }
            assert!(began.elapsed() < PATIENCE, "the last answer: {found} {text}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        unreachable!("it loops until it returns")
    }

    /// Waits until the bus is believed in again.
    pub async fn bus_is_up(&self) {
        let began = Instant::now();
        while self.health().await.bus.is_err() {
            assert!(began.elapsed() < PATIENCE, "{:?}", self.health().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}-{n:05}")).collect()
}
