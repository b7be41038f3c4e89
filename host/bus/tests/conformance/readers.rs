//! Readers outside any group.

use super::*;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_bus::{Bus, RecordBuf, Start};

pub fn they_begin_where_they_are_told(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    for n in 0..5 {
        let mut made = RecordBuf::default();
        made.push(1_700_000_000_000 + n * 1000, b"k", &[], n.to_string().as_bytes());
        publish(&*bus, "in", 0, made).expect("published");
    }
    let offsets: Vec<i64> = read_all(&*bus, "in", 0, 5).iter().map(|seen| seen.offset).collect();
    let cases = [
        ("beginning", Start::Beginning, vec!["0", "1", "2", "3", "4"]),
        ("offset", Start::Offset(offsets[3]), vec!["3", "4"]),
        ("time", Start::TimeMs(1_700_000_001_500), vec!["2", "3", "4"]),
        ("exact time", Start::TimeMs(1_700_000_002_000), vec!["2", "3", "4"]),
        ("later time", Start::TimeMs(1_800_000_000_000), vec![]),
        ("end", Start::End, vec![]),
    ];
    let mut readers: Vec<_> = cases.into_iter().map(|(name, start, expected)| (name, reader(&*bus, start), expected)).collect();
    publish_values(&*bus, "in", 0, &["after"]);
    for (name, reader, mut expected) in readers.drain(..) {
        expected.push("after");
        let (mut reader, mut seen) = (reader, Vec::new());
        while let Some(batch) = reader.poll(if seen.len() < expected.len() { PATIENCE } else { SILENCE }).expect("a poll") {
            seen.extend(batch.iter().map(|(_, record)| String::from_utf8_lossy(record.value).into_owned()));
        }
        assert_eq!(seen, expected, "{name}");
    }
}

fn reader(bus: &dyn Bus, start: Start) -> Box<dyn tidemill_bus::Reader> {
    bus.reader(&at("in", 0), start).expect("a reader")
}

pub fn an_idle_poll_returns_in_time(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    let mut reader = reader(&*bus, Start::Beginning);
    for wait in [Duration::ZERO, Duration::from_millis(300)] {
        let begin = Instant::now();
        assert!(reader.poll(wait).expect("a poll").is_none());
        let took = begin.elapsed();
        assert!(took >= wait.mul_f32(0.9) && took < wait + Duration::from_secs(2), "a poll of {wait:?} took {took:?}");
    }
}

pub fn a_blocked_reader_wakes_on_an_append(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    let mut reader = reader(&*bus, Start::End);
    let publisher = Arc::clone(&bus);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        publish_values(&*publisher, "in", 0, &["wake up"]);
    });
    let begin = Instant::now();
    let batch = reader.poll(PATIENCE).expect("a poll").expect("a batch");
    assert!(begin.elapsed() < PATIENCE / 4, "took {:?}", begin.elapsed());
    assert_eq!(batch.iter().map(|(_, record)| record.value.to_vec()).collect::<Vec<_>>(), [b"wake up"]);
    thread.join().expect("published");
}

pub fn times_that_go_backwards_keep_their_order(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    let times = [10, 20, 5, 30, 1, 40].map(|second| 1_700_000_000_000 + second * 1000);
    for (n, time_ms) in times.into_iter().enumerate() {
        let mut made = RecordBuf::default();
        made.push(time_ms, b"k", &[], n.to_string().as_bytes());
        publish(&*bus, "in", 0, made).expect("published");
    }
    assert_eq!(values(&read_all(&*bus, "in", 0, 6)), ["0", "1", "2", "3", "4", "5"], "the order is that of arrival");
    for (second, expected) in [(0, "0"), (15, "1"), (25, "3"), (35, "5")] {
        let mut reader = reader(&*bus, Start::TimeMs(1_700_000_000_000 + second * 1000));
        assert_eq!(values(&read(&mut *reader, 1))[0], expected, "the first record at or after second {second}");
    }
}
