//! The platform is ended at every named point and at random, and nothing is lost or there twice. `TIDEMILL_CRASH_SEED` repeats a run.

use std::{
    collections::BTreeSet,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};
use tidemill_tests::{BusSetup, CRASH_RUN_RATE, CrashRun, cuts, kafka};

const SEED_VARIABLE: &str = "TIDEMILL_CRASH_SEED";
/// With `TIDEMILL_TEST_LONG`.
const ROUNDS_LONG: usize = 500;
/// A round on Kafka mostly waits until the dead host's session is over: these platforms share the long rounds and the load, side by
/// side on one broker.
const SIDE_BY_SIDE: [&str; 4] = ["crash_runs_kafka", "crash_runs_kafka_2", "crash_runs_kafka_3", "crash_runs_kafka_4"];

#[test]
fn crash_runs_embedded() {
    run("crash_runs_embedded", BusSetup::Embedded, if is_long() { ROUNDS_LONG } else { 20 }, CRASH_RUN_RATE);
}

#[test]
fn crash_runs_kafka() {
    let (names, rounds) = if is_long() { (&SIDE_BY_SIDE[..], ROUNDS_LONG / SIDE_BY_SIDE.len()) } else { (&SIDE_BY_SIDE[..1], 5) };
    let rate = CRASH_RUN_RATE / names.len() as f64;
    thread::scope(|scope| {
        for name in names {
            let Some(bus) = kafka(name) else { return };
            scope.spawn(move || run(name, bus, rounds, rate));
        }
    });
}

fn is_long() -> bool {
    std::env::var_os("TIDEMILL_TEST_LONG").is_some()
}

fn run(test: &'static str, bus: BusSetup, rounds: usize, rate: f64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    eprintln!("{test}: {SEED_VARIABLE}={seed}");
    let cuts = cuts(rounds, matches!(bus, BusSetup::Kafka(..)), seed);
    let Some(mut crash_run) = CrashRun::start(test, bus, rate) else { return };
    cuts.into_iter().enumerate().for_each(|(number, cut)| crash_run.round(number, cut));
    assert_eq!(*crash_run.missed(), BTreeSet::new(), "{test}: points that were not reached ({SEED_VARIABLE}={seed})");
    assert_eq!(crash_run.finish(), Vec::<String>::new(), "{test}: {SEED_VARIABLE}={seed}");
}
