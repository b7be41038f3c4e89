//! The program is replaced by a newer one under load: host by host in a group on Kafka, and on the same folder of the embedded log;
//! and back again. Counts, graphs, alerts and rows are exact, and copies of pings from before are recognised.
//!
//! `TIDEMILL_BIN_BEFORE` names the previous program and `TIDEMILL_PLUGINS_BEFORE` the folder of the plugins that it runs, as
//! `NAME/NAME.wasm`. Where they are not set, the present ones replace themselves.

use std::{env, path::Path, thread};
use tidemill_tests::{
    BusSetup, Setup,
    group::{Host, PATIENCE, Repeated, STRETCH, check, counting, has_read},
    kafka,
};

const PROGRAM_BEFORE: &str = "TIDEMILL_BIN_BEFORE";
const PLUGINS_BEFORE: &str = "TIDEMILL_PLUGINS_BEFORE";
/// What a program says of a state that a newer one saved in a format of its own.
const REFUSAL: &str = "start the newer program again";

#[test]
fn rolling_upgrade() {
    let test = "rolling_upgrade";
    let folder = tempfile::tempdir().expect("a folder");
    let Some(present) = kafka(test).and_then(|bus| counting(test, bus, folder.path())) else { return };
    let before = previous(&present);
    let [mut one, mut other] = [Host::start("one", &before), Host::start("other", &before)];
    let mut repeated = Repeated::first(&one);
    thread::sleep(STRETCH);

    replace(&mut one, &present, Some(&other));
    repeated.again(&one);
    replace(&mut other, &present, Some(&one));
    repeated.again(&other);

    replace(&mut one, &before, Some(&other));
    other.stops();
    thread::sleep(STRETCH);
    one.catches_up("it was rolled back and left alone");
    repeated.again(&one);
    let goes_on = goes_on(&one);
    other.comes_back();
    thread::sleep(STRETCH);
    if !goes_on {
        replace(&mut one, &present, Some(&other));
    }
    check(test, vec![one, other], &repeated, folder.path());
}

#[test]
fn upgrade_in_place() {
    let test = "upgrade_in_place";
    let folder = tempfile::tempdir().expect("a folder");
    let Some(present) = counting(test, BusSetup::Embedded, folder.path()) else { return };
    let before = previous(&present);
    let mut host = Host::start("host", &before);
    let mut repeated = Repeated::first(&host);
    thread::sleep(STRETCH);

    replace(&mut host, &present, None);
    repeated.again(&host);
    replace(&mut host, &before, None);
    repeated.again(&host);
    if !goes_on(&host) {
        replace(&mut host, &present, None);
    }
    check(test, vec![host], &repeated, folder.path());
}

/// The same with the previous program and the plugins that it runs.
fn previous(present: &Setup) -> Setup {
    let mut before = present.clone();
    match env::var_os(PROGRAM_BEFORE) {
        Some(program) => before.program = program.into(),
        None => eprintln!("upgrade: {PROGRAM_BEFORE} is not set, the same program replaces itself"),
    }
    if let Some(folder) = env::var_os(PLUGINS_BEFORE) {
        for plugin in &mut before.plugins {
            let name = plugin["name"].as_str().expect("a name").to_owned();
            plugin["component"] = Path::new(&folder).join(&name).join(format!("{name}.wasm")).to_string_lossy().into();
        }
    }
    eprintln!("upgrade: from {} to {}", before.program.display(), present.program.display());
    before
}

/// A host is stopped in order and started again as another program; where there is another host, that takes over and gives back.
fn replace(host: &mut Host, by: &Setup, other: Option<&Host>) {
    host.stops();
    if let Some(other) = other {
        thread::sleep(STRETCH);
        other.catches_up("the other one was stopped");
    }
    host.platform.set_up(by);
    host.comes_back();
    thread::sleep(STRETCH);
}

/// Whether it works on with the state that the present program left, after a stretch of load, in which one that does not falls
/// behind and says why.
fn goes_on(host: &Host) -> bool {
    let refuses = || host.platform.log().contains(REFUSAL);
    let decided = |streams: &_| refuses() || has_read(streams, "validated", "analysis");
    if let Err(streams) = host.platform.wait_for("/api/v1/streams", PATIENCE, decided) {
        panic!("analysis neither goes on with what the present program saved nor refuses it: {streams}");
    }
    let goes_on = !refuses();
    eprintln!(
        "upgrade: the previous program {}",
        if goes_on { "goes on after the present one" } else { "refuses what the present one saved" }
    );
    goes_on
}
