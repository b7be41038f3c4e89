//! Members that fall silent.

use super::log::*;
use crate::conformance::*;
use std::{sync::Arc, time::Duration};
use tidemill_bus::{
    BusError, Event,
    embedded::{EmbeddedBus, EmbeddedOptions},
    faults::{FaultFiles, ManualClock},
};

#[test]
fn a_member_that_holds_others_up_is_expelled_and_may_come_back() {
    let clock = clock();
    let bus = EmbeddedBus::open_with(EmbeddedOptions::new(FOLDER), Arc::new(FaultFiles::default()), Arc::<ManualClock>::clone(&clock));
    let bus = bus.expect("opened");
    in_and_out(&bus, 2);
    let mut silent = Consumer::joined(&bus, "work", &["in"]);
    let mut other = Consumer::join(&bus, "work", &["in"]);
    clock.advance(Duration::from_secs(59));
    other.during(Duration::from_millis(50));
    assert!(other.owned.is_empty(), "it still has time");
    clock.advance(Duration::from_secs(2));
    other.until("all partitions", |other| other.owned.len() == 2);

    let mut step = step_to("out", 0, &["never"]);
    step.positions.push((at("in", 0), 0));
    let refused = silent.member.commit(step).expect_err("fenced");
    assert_eq!(refused.to_string(), "the member starts over: the member did not poll in time and was expelled in group work");
    assert!(found(&bus, "out", 0).is_empty());

    let event = silent.member.poll(Duration::ZERO).expect("a poll");
    assert!(matches!(&event, Event::Revoked(lost) if lost.len() == 2), "{event:?}");
    let deadline = std::time::Instant::now() + PATIENCE;
    silent.owned.clear();
    while silent.owned.len() != 1 || other.owned.len() != 1 {
        assert!(std::time::Instant::now() < deadline, "it did not come back");
        silent.poll(Duration::from_millis(5));
        other.poll(Duration::from_millis(5));
    }
}

#[test]
fn a_position_ahead_of_the_log_is_told_once() {
    let bus = open(&FaultFiles::default());
    in_and_out(&bus, 1);
    publish_values(&bus, "in", 0, &["a"]);
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    member.member.seek(&at("in", 0), 7).expect("owned");
    let told = member.member.poll(Duration::ZERO).expect_err("out of range");
    assert!(matches!(told, BusError::OutOfRange { .. }));
    assert_eq!(told.to_string(), "offset 7 of in/0 is out of range: it holds 0..1");
    assert!(matches!(member.member.poll(Duration::ZERO), Ok(Event::Idle)));
    member.member.seek(&at("in", 0), 0).expect("owned");
    member.until_seen(1);
}
