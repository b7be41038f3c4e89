//! Publishing outside steps, topics and sizes.

use super::*;
use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
};
use tidemill_bus::{BusError, Compression, RECORD_BYTES_MAX, RecordBuf, Start, Step};

pub fn a_partition_keeps_its_order(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 2);
    let expected: Vec<String> = (0..300).map(|n| format!("value {n}")).collect();
    for chunk in expected.chunks(7) {
        publish(&*bus, "out", 1, records(chunk)).expect("published");
    }
    let seen = read_all(&*bus, "out", 1, expected.len());
    assert_eq!(values(&seen), expected);
    assert!(seen.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets grow");
    assert!(read_all(&*bus, "out", 0, 0).is_empty(), "nothing went elsewhere");
}

pub fn an_ack_means_that_it_can_be_read(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    for (topic, value) in [("in", "raw"), ("out", "compressed")] {
        publish_values(&*bus, topic, 0, &[value]);
    }
    drop(bus);
    let bus = factory.open();
    assert_eq!(values(&read_all(&*bus, "in", 0, 1)), ["raw"]);
    assert_eq!(values(&read_all(&*bus, "out", 0, 1)), ["compressed"]);
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A record that takes exactly so many bytes of its topic's limit.
fn sized(size: usize) -> RecordBuf {
    let mut made = RecordBuf::default();
    made.push(1_700_000_000_000, b"k", &[], &noise(size - 12));
    assert_eq!(made.largest(), size);
    made
}

pub fn sizes_from_nothing_to_the_limit(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    let sizes = [0, 1, 1 << 20, 9 << 20];
    for topic in ["in", "out"] {
        for size in sizes {
            publish(&*bus, topic, 0, records(&[noise(size)])).expect("published");
        }
        publish(&*bus, topic, 0, sized(RECORD_BYTES_MAX)).expect("the limit itself is taken");
        let refused = publish(&*bus, topic, 0, sized(RECORD_BYTES_MAX + 1)).expect_err("one byte more is not");
        let expected = format!("a record of {} bytes for topic {{}} is over its limit of {RECORD_BYTES_MAX} bytes", RECORD_BYTES_MAX + 1);
        let text = refused.to_string();
        assert!(expected.split("{}").all(|part| text.contains(part)) && text.contains(topic), "{text}");
        let seen = read_all(&*bus, topic, 0, sizes.len() + 1);
        let expected: Vec<_> = sizes.into_iter().chain([RECORD_BYTES_MAX - 12]).collect();
        assert_eq!(seen.iter().map(|seen| seen.value.len()).collect::<Vec<_>>(), expected);
        assert!(seen.iter().all(|seen| seen.value == noise(seen.value.len())), "{topic}: bytes come back");
    }
}

pub fn headers_and_empty_keys_come_back(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    let mut made = RecordBuf::default();
    made.push(1_700_000_000_001, b"", &[], b"bare");
    made.push(1_700_000_000_002, b"key", &[("tm-v", b"1"), ("tm-idx", b""), ("tm-v", &[0, 255])], b"");
    publish(&*bus, "out", 0, made).expect("published");
    let mut reader = bus.reader(&at("out", 0), Start::Beginning).expect("a reader");
    let mut found = Vec::new();
    while let Some(batch) = reader.poll(if found.is_empty() { PATIENCE } else { SILENCE }).expect("a poll") {
        for (_, record) in batch.iter() {
            let headers: Vec<_> = record.headers().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            found.push((record.timestamp_ms, record.key.to_vec(), headers, record.value.to_vec()));
        }
    }
    let headers = [("tm-v", vec![b'1']), ("tm-idx", vec![]), ("tm-v", vec![0, 255])].map(|(name, value)| (name.as_bytes().to_vec(), value));
    let expected = [(1_700_000_000_001, vec![], vec![], b"bare".to_vec()), (1_700_000_000_002, b"key".to_vec(), headers.to_vec(), vec![])];
    assert_eq!(found, expected);
}

pub fn what_does_not_exist_is_not_found(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 2);
    assert!(matches!(bus.partitions("nothing"), Err(BusError::NotFound(_))));
    assert!(matches!(bus.incarnation("nothing"), Err(BusError::NotFound(_))));
    assert!(matches!(bus.reader(&at("in", 2), Start::Beginning), Err(BusError::NotFound(_))));
    for (topic, partition) in [("nothing", 0), ("in", 2)] {
        let refused = publish(&*bus, topic, partition, records(&["lost"]));
        assert!(matches!(refused, Err(BusError::NotFound(_))), "{refused:?}");
    }
}

pub fn all_acked_of_many_threads_are_there_once(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 2);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let bus = Arc::clone(&bus);
            scope.spawn(move || {
                for n in 0..100 {
                    publish(&*bus, "in", n % 2, records(&[format!("{thread}/{n}")])).expect("published");
                }
            });
        }
    });
    let mut seen = read_all(&*bus, "in", 0, 200);
    seen.extend(read_all(&*bus, "in", 1, 200));
    assert_eq!(seen.len(), 400);
    assert_eq!(values(&seen).into_iter().collect::<BTreeSet<_>>().len(), 400, "none is there twice");
}

pub fn many_partitions<F: Factory>(factory: &F) {
    let bus = factory.open();
    bus.ensure_topics(&[spec("in", F::PARTITIONS, Compression::None)]).expect("made");
    let (tell, told) = mpsc::channel();
    for partition in 0..F::PARTITIONS {
        let tell = tell.clone();
        bus.publish("in", partition, records(&[partition.to_string()]), Box::new(move |result| drop(tell.send(result))));
        // A client of Kafka sends a request for each partition: not all are under way at once.
        if partition >= 50 {
            told.recv_timeout(PATIENCE).expect("an answer").expect("published");
        }
    }
    for _ in 0..50 {
        told.recv_timeout(PATIENCE).expect("an answer").expect("published");
    }
    let mut member = Consumer::joined(&*bus, "all", &["in"]);
    // A broker may know a part of the new partitions when the member joins; it gets the others with the next look.
    member.until("all partitions", |member| member.owned.len() == F::PARTITIONS as usize);
    member.until_seen(F::PARTITIONS as usize);
    member.during(SILENCE);
    assert_eq!(member.seen.len(), F::PARTITIONS as usize);
    assert!(member.seen.iter().all(|seen| seen.value == seen.partition.partition.to_string().into_bytes()));
    let positions = (0..F::PARTITIONS).map(|partition| (at("in", partition), member.next(&at("in", partition)))).collect();
    member.member.commit(Step { positions, ..Step::default() }).expect("committed");
    let positions = group_positions(&*bus, |found| found.len() == F::PARTITIONS as usize);
    assert_eq!(positions.len(), F::PARTITIONS as usize);
}

pub fn a_full_queue_refuses_and_takes_again(factory: &impl Factory) {
    let bus = factory.open_narrow();
    in_and_out(&*bus, 1);
    let (tell, told) = mpsc::channel();
    let values: Vec<String> = (0..3000).map(|n| format!("{n:04}{}", "x".repeat(1000))).collect();
    for value in &values {
        let (tell, name) = (tell.clone(), value.clone());
        bus.publish("in", 0, records(&[value]), Box::new(move |result| drop(tell.send((name, result)))));
    }
    let (mut taken, mut refused) = (Vec::new(), 0);
    for _ in 0..values.len() {
        match told.recv_timeout(PATIENCE).expect("every publish is answered") {
            (name, Ok(())) => taken.push(name),
            (_, Err(BusError::Full(_))) => refused += 1,
            (_, Err(error)) => panic!("{error}"),
        }
    }
    assert!(refused > 0 && !taken.is_empty(), "{refused} of {} were refused by a queue of 100 KB", values.len());
    publish_values(&*bus, "in", 0, &["there is room again"]);
    bus.health().expect("it says so");
    taken.sort();
    taken.push("there is room again".to_owned());
    assert_eq!(self::values(&read_all(&*bus, "in", 0, taken.len())), taken, "what was taken is there, once and in order");
}

pub fn a_topic_made_anew_is_another_one(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["old", "older"]);
    let before = bus.incarnation("in").expect("there");
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.until_seen(2);
    let next = member.next(&at("in", 0));
    member.member.commit(Step { positions: vec![(at("in", 0), next)], ..Step::default() }).expect("committed");
    drop((member, bus));
    factory.delete_topics();

    let bus = factory.open();
    in_and_out(&*bus, 1);
    assert_ne!(bus.incarnation("in").expect("there"), before);
    publish_values(&*bus, "in", 0, &["new"]);
    assert_eq!(values(&read_all(&*bus, "in", 0, 1)), ["new"], "what was in the old one is gone");
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.until_seen(1);
    member.during(SILENCE);
    assert_eq!(values(&member.seen), ["new"], "the group's position was the old topic's");
}

pub fn topics_stay_as_they_were_made(factory: &impl Factory) {
    let bus = factory.open();
    in_and_out(&*bus, 3);
    let (before, other) = (bus.incarnation("in").expect("there"), bus.incarnation("out").expect("there"));
    assert_ne!(before, other, "each creation has a name of its own");
    publish_values(&*bus, "in", 1, &["a", "b"]);
    drop(bus);

    let bus = factory.open();
    bus.ensure_topics(&[spec("in", 8, Compression::None)]).expect("an existing topic is left as it is");
    assert_eq!(bus.partitions("in").expect("there"), 3);
    assert_eq!(bus.incarnation("in").expect("there"), before);
    let topics = bus.topics().expect("listed");
    let found = topics.iter().find(|topic| &*topic.name == "in").expect("listed");
    let empty: Vec<bool> = found.partitions.iter().map(|range| range.start == range.end).collect();
    assert_eq!(empty, [true, false, true], "{found:?}");
    assert!(bus.health().is_ok());
    assert!(!bus.kind().is_empty());
}
