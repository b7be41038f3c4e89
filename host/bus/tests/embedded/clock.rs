//! A clock that is set back.

use super::log::*;
use crate::conformance::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use tidemill_bus::{
    Clock, Start,
    embedded::{EmbeddedBus, EmbeddedOptions},
    faults::FaultFiles,
};

/// What people set, beside what passes.
#[derive(Debug)]
struct Wall {
    now_ns: AtomicI64,
    began: Instant,
}

impl Wall {
    fn at(ms: i64) -> Arc<Self> {
        Arc::new(Self { now_ns: AtomicI64::new(ms * 1_000_000), began: Instant::now() })
    }

    fn set(&self, ms: i64) {
        self.now_ns.store(ms * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for Wall {
    fn now_ns(&self) -> i64 {
        self.now_ns.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

const NOW_MS: i64 = 1_782_864_000_000;
const DAY_MS: i64 = 24 * 3600 * 1000;

#[test]
fn a_clock_set_back_loses_and_repeats_nothing() {
    let (files, wall) = (FaultFiles::default(), Wall::at(NOW_MS));
    let open = || {
        let options = EmbeddedOptions { segment_bytes: 3_000, ..EmbeddedOptions::new(FOLDER) };
        EmbeddedBus::open_with(options, Arc::new(files.clone()), Arc::<Wall>::clone(&wall) as _).expect("opened")
    };
    let bus = open();
    in_and_out(&bus, 1);
    let mut expected = Vec::new();
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    for (round, now_ms) in [NOW_MS, NOW_MS - 30 * DAY_MS, NOW_MS - 31 * DAY_MS, 0, NOW_MS + DAY_MS].into_iter().enumerate() {
        wall.set(now_ms);
        for n in 0..6 {
            let value = format!("{round}/{n} {}", "x".repeat(600));
            publish_values(&bus, "in", 0, &[&value]);
            expected.push(value);
        }
        member.until_seen(expected.len());
        let mut step = step_to("out", 0, &[&round.to_string()]);
        step.positions.push((at("in", 0), member.next(&at("in", 0))));
        member.member.commit(step).expect("committed");
        // The writer looks at the retention each second of what passes.
        std::thread::sleep(Duration::from_millis(1200));
    }
    assert_eq!(values(&member.seen), expected, "in order, each once");
    drop((member, bus));
    let bus = open();
    assert_eq!(bus.damage(), []);
    let kept = found_values(&bus, "in", 0);
    assert!(expected.ends_with(&kept) && kept.len() >= 6, "retention goes by the time that is now, from the oldest on: {}", kept.len());
    let member = Consumer::joined(&bus, "work", &["in"]);
    assert_eq!(member.owned, [(at("in", 0), expected.len() as i64)]);
    let mut reader = tidemill_bus::Bus::reader(&bus, &at("in", 0), Start::End).expect("a reader");
    publish_values(&bus, "in", 0, &["on"]);
    assert_eq!(values(&read(&mut *reader, 1)), ["on"]);
}

#[test]
fn a_clock_set_back_deletes_nothing_that_is_young() {
    let (files, wall) = (FaultFiles::default(), Wall::at(NOW_MS));
    let options = EmbeddedOptions { segment_bytes: 3_000, ..EmbeddedOptions::new(FOLDER) };
    let bus = EmbeddedBus::open_with(options, Arc::new(files), Arc::<Wall>::clone(&wall) as _).expect("opened");
    in_and_out(&bus, 1);
    for day in [0, -3, -6] {
        wall.set(NOW_MS + day * DAY_MS);
        publish_values(&bus, "in", 0, &["x".repeat(2_000).as_str(), &day.to_string()]);
    }
    wall.set(NOW_MS);
    publish_values(&bus, "in", 0, &["x".repeat(2_000).as_str()]);
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(found(&bus, "in", 0).len(), 7, "nothing is seven days old");
}
