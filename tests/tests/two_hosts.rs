//! Two hosts in one group on Kafka under load: one killed, one stopped in order, one frozen past its session and let go on. Counts,
//! graphs and alerts are exact, and the same from either host; copies of pings are recognised by whoever has their partition.

use std::{thread, time::Duration};
use tidemill_tests::{
    group::{Host, Repeated, SESSION, STRETCH, check, counting},
    kafka,
};

#[test]
fn two_hosts() {
    let test = "two_hosts";
    let folder = tempfile::tempdir().expect("a folder");
    let Some(setup) = kafka(test).and_then(|bus| counting(test, bus, folder.path())) else { return };
    let [mut one, mut other] = [Host::start("one", &setup), Host::start("other", &setup)];
    let mut repeated = Repeated::first(&one);
    thread::sleep(STRETCH);

    one.load.set_address(None);
    one.platform.kill();
    thread::sleep(SESSION);
    other.catches_up("the other one was killed");
    repeated.again(&other);
    one.comes_back();
    thread::sleep(STRETCH);

    other.stops();
    one.catches_up("the other one was stopped");
    repeated.again(&one);
    other.comes_back();
    thread::sleep(STRETCH);

    one.platform.freeze();
    thread::sleep(SESSION + Duration::from_secs(2));
    other.catches_up("the other one was frozen");
    repeated.again(&other);
    one.platform.thaw();
    thread::sleep(STRETCH);

    check(test, vec![one, other], &repeated, folder.path());
}
