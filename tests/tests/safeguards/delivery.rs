//! Of deliveries.

use crate::*;
use std::sync::Arc;
use tidemill_bus::faults::{PowerCut, at_crash_point};
use tidemill_config::Allow;
use tidemill_pipeline::{
    analysis::StageHandle,
    deliver::{DeliverOptions, start_deliveries},
    output::OutboxEntry,
    status::LiveState,
};
use tidemill_runtime::Target;
use tidemill_tests::HttpSink;

const SEGMENT: u64 = 128 << 20;
const OUTBOX: &str = "outbox-test";
const GROUP: &str = "deliver-test";
const COUNT: i64 = 5;

struct World {
    bus: Arc<EmbeddedBus>,
    deliveries: StageHandle,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn open(files: &FaultFiles, sink: &HttpSink) -> Self {
        let bus = Arc::new(open(files, SEGMENT));
        topics(&*bus, &[OUTBOX, "errors"]);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let options = DeliverOptions {
            plugin: "test".to_owned(),
            allow: Allow { http: vec![sink.authority()], ..Allow::default() },
            status: LiveState::default().plugin("test", "output", "1"),
            bus: Arc::<EmbeddedBus>::clone(&bus),
            clock: Arc::new(SystemClock::default()),
            files: Arc::new(files.clone()),
            runtime: runtime.handle().clone(),
            timeout: Duration::from_secs(5),
            on_lost: tidemill_bus::OnLost::Stop,
            seed: 1,
            epoch: 0,
        };
        Self { deliveries: start_deliveries(options).expect("started"), bus, _runtime: runtime }
    }

    fn fill(&self, sink: &HttpSink) {
        let mut batch = RecordBuf::default();
        for n in 0..COUNT {
            let entry = OutboxEntry {
                plugin: "test".to_owned(),
                key: format!("test/1/0/{n}-{n}/0"),
                target: Target::Http { method: "POST".into(), url: sink.url(), headers: vec![] },
                first_source: format!("validated/0/{n}"),
                last_source: format!("validated/0/{n}"),
                body: format!("{{\"n\":{n}}}\n").into_bytes(),
            };
            batch.push_with(0, b"", &[], |out| entry.write(0, out));
        }
        publish(&*self.bus, OUTBOX, batch);
    }

    fn is_done(&self) -> bool {
        position(&*self.bus, GROUP, OUTBOX) == COUNT
    }

    fn stop(self) {
        self.deliveries.join();
    }
}

/// What each delivery came to, under all keys.
fn delivered(sink: &HttpSink) -> Verdict {
    let mut numbers: Vec<i64> = sink.lines().iter().filter_map(|line| line["n"].as_i64()).collect();
    numbers.sort_unstable();
    if numbers == (0..COUNT).collect::<Vec<_>>() { Ok(()) } else { Err(format!("{numbers:?} were delivered, each key once")) }
}

pub fn deliveries_are_made_after_a_crash() -> Verdict {
    let (files, dead) = (FaultFiles::default(), HttpSink::start(u32::MAX));
    let world = World::open(&files, &dead);
    world.fill(&dead);
    if !becomes(PATIENCE, || dead.failed() > 0) {
        return Err("nothing was attempted".to_owned());
    }
    // Long enough for a position to move that should not.
    becomes(Duration::from_millis(500), || world.is_done());
    let cut = files.power_cut(PowerCut::LosesUnsynced);
    world.stop();
    dead.recover();
    let world = World::open(&cut, &dead);
    becomes(Duration::from_secs(5), || world.is_done() && dead.requests() >= COUNT as usize);
    world.stop();
    delivered(&dead)
}

pub fn a_delivery_keeps_its_key() -> Verdict {
    let (files, sink) = (FaultFiles::default(), HttpSink::start(0));
    let (cuts, disk) = (Arc::new(Mutex::new(vec![])), files.clone());
    let taken = Arc::clone(&cuts);
    let cut = move || taken.lock().expect("not poisoned").push(disk.power_cut(PowerCut::LosesUnsynced));
    let hook = at_crash_point("outbox-after-attempt", cut);
    let world = World::open(&files, &sink);
    world.fill(&sink);
    let is_done = becomes(PATIENCE, || world.is_done());
    drop(hook);
    world.stop();
    let first = cuts.lock().expect("not poisoned").first().cloned();
    let Some(cut) = first.filter(|_| is_done) else { return Err("nothing was delivered".to_owned()) };
    let world = World::open(&cut, &sink);
    becomes(PATIENCE, || world.is_done());
    world.stop();
    delivered(&sink)
}
