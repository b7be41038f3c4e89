//! What a broker's death can do to the bus: each test has a broker of its own.

use super::{
    Kafka,
    conformance::{Consumer, PATIENCE, at, in_and_out, publish, publish_values, read_all, records, step_to, values},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use tidemill_bus::{Bus, BusError, Checkpoint, Clock, Event, RecordBuf, Start, Step, SystemClock};

/// A record of now: a broker that starts forgets producers whose newest record is a day old, and what they send again is there
/// twice.
fn now(value: &str) -> RecordBuf {
    let mut made = RecordBuf::default();
    made.push(SystemClock::default().now_ns() / 1_000_000, value.as_bytes(), &[], value.as_bytes());
    made
}

#[test]
fn what_was_acknowledged_survives_a_killed_broker() {
    let Some(broker) = tidemill_test_kafka::own("what_was_acknowledged_survives_a_killed_broker") else { return };
    let mut kafka = Kafka::on(&broker, "killed");
    kafka.options.publish_timeout = Duration::from_secs(60);
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    let (acked, stop) = (Arc::new(Mutex::new(BTreeSet::new())), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let (value, acked) = (format!("{sent:06}"), Arc::clone(&acked));
                let name = value.clone();
                let ack = Box::new(move |result: Result<(), BusError>| drop(result.map(|()| acked.lock().expect("a lock").insert(name))));
                bus.publish("in", 0, now(&value), ack);
                sent += 1;
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(700));
            broker.kill().expect("killed");
            thread::sleep(Duration::from_millis(300));
            broker.restart().expect("restarted");
        }
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        publisher.join().expect("a publisher")
    });
    let deadline = Instant::now() + PATIENCE;
    while acked.lock().expect("a lock").len() < sent && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    let acked = acked.lock().expect("a lock").clone();
    let seen = values(&read_all(&*bus, "in", 0, acked.len()));
    assert!(acked.len() > 100, "only {} of {sent} were acknowledged", acked.len());
    let there: BTreeSet<_> = seen.iter().cloned().collect();
    assert!(acked.is_subset(&there), "lost: {:?}", acked.difference(&there).collect::<Vec<_>>());
    assert_eq!(there.len(), seen.len(), "some are there twice");
    assert!(seen.is_sorted(), "the order is kept");
}

/// Copies `in` to `out` in steps of 20 records as a stage does, through the deaths of the broker; returns how many calls failed.
fn copy(bus: &dyn Bus, count: usize, progress: &AtomicUsize) -> usize {
    let (mut committed, mut failed, mut copied) = (BTreeMap::new(), 0, 0);
    let (began, mut moved) = (Instant::now(), Instant::now());
    let mut member = bus.join("copy", &["in"]).expect("joined");
    let mut fail = |what: &str, error: &BusError, moved: Instant| {
        eprintln!(
            "{:6.2} s: {what} failed, {:.1} s after the last step: {error}",
            began.elapsed().as_secs_f64(),
            moved.elapsed().as_secs_f64()
        );
        failed += 1;
    };
    while copied < count {
        assert!(moved.elapsed() < STALL_MAX, "it stands still at {copied} of {count}");
        match member.poll(Duration::from_millis(100)) {
            Ok(Event::Assigned(owned)) => {
                eprintln!("{:6.2} s: assigned {owned:?}", began.elapsed().as_secs_f64());
                committed = owned.into_iter().collect();
                let state = member.checkpoint("copied").map(|state| state.unwrap_or_default());
                copied = state.map_or(copied, |state| String::from_utf8_lossy(&state).parse().unwrap_or(0));
            }
            Ok(Event::Batch(batch)) => {
                let next = batch.offsets[batch.offsets.len().min(20) - 1] + 1;
                let taken: Vec<_> = batch.iter().take(20).map(|(_, record)| record.value.to_vec()).collect();
                let mut step = Step::default();
                *step.records(&at("out", 0)) = records(&taken);
                let state = Bytes::from((copied + taken.len()).to_string());
                step.checkpoints.push(Checkpoint { key: "copied".into(), bytes: Some(state) });
                step.positions.push((batch.partition.clone(), next));
                match member.commit(step) {
                    Ok(()) => {
                        committed.insert(batch.partition.clone(), next);
                        copied += taken.len();
                        moved = Instant::now();
                    }
                    Err(error) => fail("a step", &error, moved),
                }
                // Where it is owned no more, the next assignment says where to go on.
                drop(member.seek(&batch.partition, committed[&batch.partition]));
            }
            Ok(Event::Revoked(lost)) => eprintln!("{:6.2} s: revoked {lost:?}", began.elapsed().as_secs_f64()),
            Ok(Event::Idle) => {}
            Err(error) => fail("a poll", &error, moved),
        }
        progress.store(copied, Ordering::Relaxed);
    }
    failed
}

/// After the broker is back, a member that does not go on within this time hangs.
const STALL_MAX: Duration = Duration::from_secs(90);

/// The broker does not answer for a while; the bus says so, and that it is well again.
fn freeze(broker: &tidemill_test_kafka::Broker, bus: &dyn Bus, time: Duration) {
    broker.freeze().expect("frozen");
    let begin = Instant::now();
    while bus.health().is_ok() && begin.elapsed() < time {
        thread::sleep(Duration::from_millis(50));
    }
    let told = bus.health();
    thread::sleep(time.saturating_sub(begin.elapsed()));
    broker.thaw().expect("thawed");
    let told = told.expect_err("it says so").to_string();
    assert!(told.starts_with("the bus is not available: no broker of 127.0.0.1:"), "{told}");
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = bus.health() {
        assert!(Instant::now() < deadline, "it does not recover: {error}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn steps_happen_once_through_a_killed_a_frozen_and_a_stopped_broker() {
    let is_long = std::env::var_os("TIDEMILL_TEST_LONG").is_some();
    // Longer than any session, or an outage that no group notices.
    let outage = Duration::from_secs(if is_long { 11 } else { 5 });
    let faults: &[_] = if is_long { &["kill", "freeze", "stop", "kill", "freeze", "kill", "kill"] } else { &["kill", "freeze", "stop"] };
    let count = 600 * (faults.len() + 1);
    let Some(broker) = tidemill_test_kafka::own("steps_happen_once_through_a_killed_a_frozen_and_a_stopped_broker") else { return };
    let bus = Kafka::on(&broker, "copy").connect();
    in_and_out(&*bus, 1);
    let input: Vec<String> = (0..count).map(|n| format!("{n:06}")).collect();
    publish(&*bus, "in", 0, records(&input)).expect("published");
    let progress = AtomicUsize::new(0);
    let failed = thread::scope(|scope| {
        let copier = scope.spawn(|| copy(&*bus, count, &progress));
        for (fault, begin) in faults.iter().zip((1..).map(|n| n * 600)) {
            while progress.load(Ordering::Relaxed) < begin && !copier.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
            eprintln!("{fault} at {begin}");
            match *fault {
                "freeze" => freeze(&broker, &*bus, outage),
                "stop" => {
                    broker.stop().expect("stopped");
                    broker.restart().expect("restarted");
                }
                _ => {
                    broker.kill().expect("killed");
                    broker.restart().expect("restarted");
                }
            }
            eprintln!("the broker is back");
        }
        copier.join().expect("a copier")
    });
    let seen = values(&read_all(&*bus, "out", 0, count));
    assert_eq!(seen.len(), count, "{failed} calls failed");
    assert_eq!(seen, input, "each once and in order");
    assert!(failed > 0, "the faults were felt");
}

#[test]
fn nothing_hangs_when_the_broker_is_gone() {
    let Some(broker) = tidemill_test_kafka::own("nothing_hangs_when_the_broker_is_gone") else { return };
    let mut kafka = Kafka::on(&broker, "gone");
    kafka.options.publish_timeout = Duration::from_secs(2);
    kafka.options.publish_bytes_max = 100_000;
    kafka.options.call_timeout = Duration::from_secs(2);
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["a"]);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.until_seen(1);
    let reader = bus.reader(&at("in", 0), Start::Beginning).expect("a reader");
    bus.health().expect("healthy");
    broker.kill().expect("killed");

    let (tell, told) = mpsc::channel();
    for _ in 0..20 {
        let tell = tell.clone();
        bus.publish("in", 0, records(&[vec![b'x'; 9000]]), Box::new(move |result| drop(tell.send((Instant::now(), result)))));
    }
    let full = told.try_recv().expect("a refusal at once").1.expect_err("full").to_string();
    assert!(full.starts_with("the bus has no room:"), "{full}");
    let begin = Instant::now();
    assert!(matches!(bus.health(), Err(BusError::Full(_))));
    let late: Vec<_> = told.iter().take(19).filter(|(_, result)| matches!(result, Err(BusError::Unavailable(_)))).collect();
    assert!(!late.is_empty() && begin.elapsed() < Duration::from_secs(10), "{} after {:?}", late.len(), begin.elapsed());
    let refused = bus.health();
    assert!(matches!(refused, Err(BusError::Unavailable(_))), "{refused:?}");
    let refused = bus.partitions("in");
    assert!(matches!(refused, Err(BusError::Unavailable(_))), "{refused:?}");

    let begin = Instant::now();
    let mut step = step_to("out", 0, &["never"]);
    step.positions.push((at("in", 0), member.next(&at("in", 0))));
    let refused = member.member.commit(step);
    assert!(matches!(refused, Err(BusError::Unavailable(_))), "{refused:?}");
    assert!(begin.elapsed() < Duration::from_secs(25), "a step took {:?}", begin.elapsed());
    let begin = Instant::now();
    drop((member, reader, bus));
    assert!(begin.elapsed() < Duration::from_secs(15), "the end took {:?}", begin.elapsed());
}
