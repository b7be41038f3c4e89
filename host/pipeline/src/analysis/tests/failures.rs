//! Traps, and who notices.

use super::{flaky::FlakyBus, support::*};
use crate::{
    analysis::saved::Saved,
    status::{PluginState, PluginStatus},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_bus::{Checkpoint, Step, TopicPartition, partition_of};
use tidemill_message::MessageRef;
use tidemill_runtime::CallErrorKind;

#[test]
fn every_hundredth_message_is_poison_and_nothing_else_is_lost() {
    let house = House::new(2);
    let trapping = Scripted::new("trapping", &house, |seen| if seen.number % 100 == 99 { Err(CallErrorKind::Trap) } else { echo(seen) });
    let neighbour = Scripted::new("neighbour", &house, |_| Ok(()));
    house.publish("validated", 0..1_000);
    let mut worker = house.analysis(&[&trapping, &neighbour]);
    house.drain(&mut worker);
    let sound: Vec<i64> = (0..1_000).filter(|number| number % 100 != 99).collect();
    assert_eq!(house.numbers("derived"), sound);
    assert_eq!(saved_state(&mut worker, "trapping"), (990, sound.iter().sum()));
    assert_eq!(saved_state(&mut worker, "neighbour"), (1_000, (0..1_000).sum()));
    assert_eq!(house.numbers("errors"), (0..10).map(|number| number * 100 + 99).collect::<Vec<_>>());
    check_error(&house.read("errors")[0].1);
    let status = house.live.find_plugin("trapping").expect("a plugin");
    assert_eq!((PluginStatus::get(&status.messages_in), PluginStatus::get(&status.rejected)), (1_000, 10));
    let neighbour = house.live.find_plugin("neighbour").expect("a plugin");
    assert_eq!((PluginStatus::get(&neighbour.traps), neighbour.stall_max()), (0, Duration::ZERO));
    // A failing call costs 50 ms here: a neighbour never waits for more than one of them.
    println!("worst stall {:?}", status.stall_max());
    assert_eq!(status.stall_max(), Duration::from_millis(50));
}

fn check_error(value: &[u8]) {
    let message = MessageRef::parse(value).expect("a message");
    let text = |name| {
        message.field(name).and_then(|field| field.bytes()).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
    };
    assert_eq!(message.type_(), Some(&b"error"[..]));
    assert_eq!(text("DecodeErrorType"), "plugin_trap");
    assert_eq!(text("DecodeError"), "plugin trapping: scripted plugin_trap");
    assert_eq!([text("plugin"), text("plugin_version"), text("backtrace")], ["trapping", "v1", "a frame"]);
    assert_eq!(message.field("fuel").and_then(|field| field.integer()), Some(7));
    assert!(text("documentId").starts_with("id-") && text("source").starts_with("validated/"), "{} {}", text("documentId"), text("source"));
    assert!(message.field("submission").is_none());
}

#[test]
fn a_failure_that_does_not_come_back_rejects_nothing() {
    let house = House::new(1);
    let once = Arc::new(AtomicBool::new(true));
    let flaky = Scripted::new("flaky", &house, move |seen| {
        let fails = seen.number == 57 && once.swap(false, Ordering::Relaxed);
        if fails { Err(CallErrorKind::Trap) } else { echo(seen) }
    });
    house.publish("validated", 0..100);
    let mut worker = house.analysis(&[&flaky]);
    house.drain(&mut worker);
    assert_eq!(house.numbers("derived"), (0..100).collect::<Vec<_>>());
    assert_eq!(saved_state(&mut worker, "flaky"), (100, (0..100).sum()));
    assert_eq!(house.read("errors").len(), 0);
    let status = house.live.find_plugin("flaky").expect("a plugin");
    assert_eq!((PluginStatus::get(&status.traps), PluginStatus::get(&status.restarts)), (1, 1));
}

#[test]
fn fuel_is_a_verdict_on_a_row_never_on_a_batch() {
    let house = House::new(1);
    // A call can pay for ten rows; row 42 is too expensive alone.
    let hungry = Scripted::new("hungry", &house, |seen| {
        let is_out = seen.row >= 10 || seen.number == 42;
        if is_out { Err(CallErrorKind::Fuel { limit: 10 }) } else { echo(seen) }
    });
    house.publish("validated", 0..200);
    let mut worker = house.analysis(&[&hungry]);
    house.drain(&mut worker);
    assert_eq!(house.numbers("derived"), (0..200).filter(|number| *number != 42).collect::<Vec<_>>());
    assert_eq!(house.texts("errors", "DecodeErrorType"), ["plugin_fuel"]);
    assert_eq!(saved_state(&mut worker, "hungry"), (199, (0..200).sum::<i64>() - 42));
}

#[test]
fn a_plugin_that_always_fails_rests_and_its_neighbour_goes_on() {
    let house = House::new(1);
    let hopeless = Scripted::new("hopeless", &house, |_| Err(CallErrorKind::Fuel { limit: 1 }));
    let neighbour = Scripted::new("neighbour", &house, echo);
    house.publish("validated", 0..500);
    let mut worker = house.analysis(&[&hopeless, &neighbour]);
    for _ in 0..60 {
        house.clock.pass(10);
        worker.turn();
    }
    assert!(worker.commit());
    assert_eq!(house.numbers("derived"), (0..500).collect::<Vec<_>>(), "the neighbour is done long before");
    let status = house.live.find_plugin("hopeless").expect("a plugin");
    assert_eq!(status.state(), PluginState::Quarantined);
    let lag = status.view(&house.bus.topics().expect("topics")).lag;
    assert!(lag > 450, "only its own lag grows: {lag}");
    assert_eq!(house.texts("alerts", "id"), ["quarantine"]);
    assert_eq!(house.numbers("errors"), [0, 1, 2], "sixteen failures to find three of them, then a rest");
    assert!(house.texts("errors", "DecodeErrorType").iter().all(|kind| kind == "plugin_fuel"));
    house.clock.pass(1_000);
    for _ in 0..20 {
        worker.turn();
    }
    assert!(worker.commit());
    let named = house.numbers("errors");
    assert!(named.len() > 6 && named.iter().enumerate().all(|(at, number)| at as i64 == *number), "after the rest it goes on: {named:?}");
}

#[test]
fn a_state_that_cannot_be_saved_takes_its_outputs_back() {
    let house = House::new(1);
    let plugin = Scripted::new("echo", &house, echo);
    house.publish("validated", 0..100);
    let mut worker = house.analysis(&[&plugin]);
    plugin.fails_to_save.store(5, Ordering::Relaxed);
    house.drain(&mut worker);
    assert_eq!(house.numbers("derived"), (0..100).collect::<Vec<_>>(), "each once, although the first attempts were taken back");
    let alerts = house.read("alerts");
    let times: Vec<_> = alerts.iter().map(|(_, value)| MessageRef::parse(value).expect("a message").timestamp()).collect();
    assert!(!times.is_empty(), "it rested");
    assert!(times.iter().all(|time_ns| *time_ns == (BEGIN_S * 10 + 99) * 100_000_000), "in the data's time: {times:?}");
    assert_eq!(saved_state(&mut worker, "echo"), (100, (0..100).sum()));
}

#[test]
fn an_instance_that_cannot_be_made_is_tried_again() {
    let house = House::new(1);
    let plugin = Scripted::new("echo", &house, echo);
    house.publish("validated", 0..10);
    let mut worker = house.analysis(&[&plugin]);
    plugin.fails_to_open.store(10, Ordering::Relaxed);
    house.drain(&mut worker);
    assert_eq!(house.numbers("derived"), (0..10).collect::<Vec<_>>());
    assert_eq!(house.live.find_plugin("echo").expect("a plugin").state(), PluginState::Live);
}

#[test]
fn a_message_that_is_none_is_a_broken_answer() {
    let house = House::new(1);
    let plugin = Scripted::new("broken", &house, |seen| {
        if let (3, crate::analysis::NewMessages::Listed(messages)) = (seen.number, &mut seen.found.messages) {
            messages.push((seen.row, String::new(), b"not a message".to_vec()));
        }
        Ok(())
    });
    house.publish("validated", 0..10);
    house.drain(&mut house.analysis(&[&plugin]));
    assert_eq!(house.texts("errors", "DecodeErrorType"), ["plugin_output"]);
    let text = &house.texts("errors", "DecodeError")[0];
    assert!(text.starts_with("plugin broken: `messages[0]` is not a Heka message: "), "{text}");
    assert_eq!(house.numbers("errors"), [3]);
}

#[test]
fn an_error_about_an_error_has_an_end() {
    let house = House::new(1);
    let plugin = Scripted { matcher: "TRUE", ..Scripted::new("hopeless", &house, |_| Err(CallErrorKind::Trap)) };
    house.publish("errors", 0..1);
    house.publish("validated", 0..1);
    let mut worker = house.analysis(&[&plugin]);
    house.drain(&mut worker);
    house.drain(&mut worker);
    // Two messages, two errors about them; no error about those.
    assert_eq!(house.numbers("errors"), [0, 0, 0]);
}

#[test]
fn steps_that_fail_are_done_again_exactly_once() {
    let mut house = House::new(2);
    let commits = Arc::new(Mutex::new(VecDeque::from([true, false, true, true, false, true])));
    house.bus = Arc::new(FlakyBus { inner: Arc::clone(&house.bus), commits: Arc::clone(&commits) });
    let plugin = Scripted::new("echo", &house, |seen| if seen.number == 33 { Err(CallErrorKind::Trap) } else { echo(seen) });
    for part in 0..4 {
        house.publish("validated", part * 50..(part + 1) * 50);
        let mut worker = house.analysis(&[&plugin]);
        house.drain(&mut worker);
        let numbers: Vec<i64> = (0..(part + 1) * 50).filter(|number| *number != 33).collect();
        assert_eq!(house.numbers("derived"), numbers);
        assert_eq!(saved_state(&mut worker, "echo"), (numbers.len() as u64, numbers.iter().sum()));
    }
    assert_eq!(house.numbers("errors"), [33]);
    assert!(commits.lock().is_empty(), "each failure happened");
}

#[test]
fn a_partition_whose_state_a_newer_program_saved_stands_still_alone() {
    let house = House::new(2);
    let plugin = Scripted::new("echo", &house, echo);
    house.publish("validated", 0..100);
    house.drain(&mut house.analysis(&[&plugin]));
    let place = TopicPartition { topic: "validated".into(), partition: 0 };
    let replace = |bytes: Bytes| {
        let key = Saved::key("echo", &place);
        let mut member = house.bus.join("analysis", &["validated"]).expect("a member");
        let before = member.checkpoint(&key).expect("readable").expect("saved");
        let checkpoints = vec![Checkpoint { key, bytes: Some(bytes) }];
        member.commit(Step { checkpoints, ..Step::default() }).expect("durable");
        before
    };
    let before = replace(Bytes::from_static(&[99]));
    house.publish("validated", 100..200);
    let mut worker = house.analysis(&[&plugin]);
    let mut turn = |expected: &[i64]| {
        for _ in 0..200 {
            house.clock.pass(100);
            assert!(worker.turn(), "nobody waits for the partition that stands still");
        }
        assert!(worker.commit());
        assert_eq!(house.numbers("derived"), expected);
    };
    let is_read = |number: &i64| *number < 100 || partition_of(format!("id-{number}").as_bytes(), 2) == 1;
    turn(&(0..200).filter(is_read).collect::<Vec<_>>());
    assert_eq!(replace(before), [99].as_slice(), "it was not saved over");
    turn(&(0..200).collect::<Vec<_>>());
}
