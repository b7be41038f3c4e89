//! The platform is ended at every named point and at random, and nothing is lost or there twice. `TIDEMILL_CRASH_SEED` repeats a run.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};
use tidemill_tests::{BusSetup, CrashRun, cuts, kafka};

const SEED_VARIABLE: &str = "TIDEMILL_CRASH_SEED";
/// With `TIDEMILL_TEST_LONG`; a round on Kafka takes twelve seconds, which is how long a dead host's transaction stays open.
const ROUNDS_LONG: usize = 500;
const ROUNDS_LONG_KAFKA: usize = 50;

#[test]
fn crash_runs_embedded() {
    run("crash_runs_embedded", BusSetup::Embedded, [20, ROUNDS_LONG]);
}

#[test]
fn crash_runs_kafka() {
    let Some(bus) = kafka("crash_runs_kafka") else { return };
    run("crash_runs_kafka", bus, [5, ROUNDS_LONG_KAFKA]);
}

fn run(test: &'static str, bus: BusSetup, [rounds, rounds_long]: [usize; 2]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    eprintln!("{test}: {SEED_VARIABLE}={seed}");
    let rounds = if std::env::var_os("TIDEMILL_TEST_LONG").is_some() { rounds_long } else { rounds };
    let cuts = cuts(rounds, matches!(bus, BusSetup::Kafka(..)), seed);
    let Some(mut crash_run) = CrashRun::start(test, bus, None) else { return };
    cuts.into_iter().enumerate().for_each(|(number, cut)| crash_run.round(number, cut));
    assert_eq!(*crash_run.missed(), BTreeSet::new(), "points that were not reached ({SEED_VARIABLE}={seed})");
    assert_eq!(crash_run.finish(), Vec::<String>::new(), "{SEED_VARIABLE}={seed}");
}
