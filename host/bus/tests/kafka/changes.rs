//! What an administrator does to topics while the bus is in use: it says so and goes on by itself.

use super::{Kafka, block_on, conformance::*};
use rdkafka::admin::{AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use std::{
    thread,
    time::{Duration, Instant},
};
use tidemill_bus::{BusError, Event};

fn commit(member: &mut Consumer, value: &str) -> Result<(), BusError> {
    let mut step = step_to("out", 0, &[value]);
    let owned: Vec<_> = member.owned.iter().map(|(partition, _)| partition.clone()).collect();
    let seen = |place: &tidemill_bus::TopicPartition| member.seen.iter().any(|seen| seen.partition == *place);
    step.positions.extend(owned.into_iter().filter(seen).map(|place| (place.clone(), member.next(&place))));
    member.member.commit(step)
}

#[test]
fn partitions_that_are_added_are_read() {
    let Some(kafka) = Kafka::make("partitions_that_are_added_are_read") else { return };
    let kafka = kafka.with("topic.metadata.refresh.interval.ms", "500");
    let bus = kafka.connect();
    in_and_out(&*bus, 2);
    publish_values(&*bus, "in", 0, &["before"]);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.until_seen(1);
    commit(&mut member, "one").expect("committed");
    let name = kafka.full("in");
    block_on(kafka.admin().create_partitions(&[NewPartitions::new(&name, 4)], &AdminOptions::new())).expect("asked")[0]
        .as_ref()
        .expect("added");
    let deadline = Instant::now() + PATIENCE;
    while bus.partitions("in").expect("there") < 4 {
        assert!(Instant::now() < deadline, "the bus does not see them");
        thread::sleep(Duration::from_millis(50));
    }
    // The producer looks again within the interval.
    while let Err(refused) = publish(&*bus, "in", 3, records(&["after"])) {
        assert!(matches!(refused, BusError::NotFound(_)) && Instant::now() < deadline, "{refused}");
        thread::sleep(Duration::from_millis(50));
    }
    member.until("the new partitions", |member| member.owned.len() == 4);
    member.until_seen(2);
    assert_eq!(values(&member.seen), ["before", "after"], "nothing comes twice");
    commit(&mut member, "two").expect("committed");
}

/// Waits until the broker works under this configuration.
fn set_max_bytes(kafka: &Kafka, topic: &str, bytes: &str) {
    let name = kafka.full(topic);
    let config = AlterConfig::new(ResourceSpecifier::Topic(&name))
        .set("max.message.bytes", bytes)
        .set("message.timestamp.type", "CreateTime")
        .set("cleanup.policy", "delete");
    block_on(kafka.admin().alter_configs(&[config], &AdminOptions::new())).expect("asked")[0].as_ref().expect("set");
    thread::sleep(Duration::from_millis(300));
}

#[test]
fn a_topic_that_is_narrowed_refuses_with_a_sentence_and_recovers() {
    let Some(kafka) = Kafka::make("a_topic_that_is_narrowed_refuses_with_a_sentence_and_recovers") else { return };
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["a"]);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.until_seen(1);
    for topic in ["in", "out"] {
        set_max_bytes(&kafka, topic, "2000");
    }
    let large: String = (0..50_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    let refused = publish(&*bus, "in", 0, records(&[&large])).expect_err("too large");
    let expected =
        format!("topic {} partition 0 refuses records that Tidemill accepts: set max.message.bytes=11534336 (broker: ", kafka.full("in"));
    assert!(refused.to_string().starts_with(&expected), "{refused}");
    let refused = commit(&mut member, &large).expect_err("too large");
    assert!(refused.to_string().contains("set max.message.bytes=11534336"), "{refused}");
    publish_values(&*bus, "in", 0, &["b"]);
    commit(&mut member, "small").expect("small records go on");
    for topic in ["in", "out"] {
        set_max_bytes(&kafka, topic, "11534336");
    }
    publish_values(&*bus, "in", 0, &[&large]);
    commit(&mut member, &large).expect("as before");
    assert_eq!(values(&read_all(&*bus, "in", 0, 3)), ["a", "b", &large]);
    assert_eq!(values(&read_all(&*bus, "out", 0, 2)), ["small", &large], "nothing of the refused step is there");
}

#[test]
fn a_topic_that_is_deleted_and_made_again_is_read_anew() {
    let Some(kafka) = Kafka::make("a_topic_that_is_deleted_and_made_again_is_read_anew") else { return };
    let kafka = kafka.with("topic.metadata.refresh.interval.ms", "500");
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["old 0", "old 1", "old 2"]);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.until_seen(3);
    commit(&mut member, "read").expect("committed");
    let before = bus.incarnation("in").expect("there");
    kafka.delete("in");
    let refused = publish(&*bus, "in", 0, records(&["nowhere"])).expect_err("it is gone");
    assert!(matches!(refused, BusError::NotFound(_) | BusError::Unavailable(_)), "{refused}");
    let told = told(&mut member, Duration::from_secs(3));
    eprintln!("while it is gone the member is told: {told:?}");
    assert!(told.iter().any(|told| told.contains("there is no topic") || told == "revoked"), "{told:?}");

    in_and_out(&*bus, 1);
    assert_ne!(bus.incarnation("in").expect("there"), before);
    publish_values(&*bus, "in", 0, &["new 0", "new 1", "new 2", "new 3"]);
    let (mut owned, mut seen, deadline) = (Vec::new(), Vec::new(), Instant::now() + PATIENCE);
    while seen.len() < 4 {
        assert!(Instant::now() < deadline, "it is not read again: {owned:?}, {seen:?}");
        match member.member.poll(Duration::from_millis(100)) {
            Ok(Event::Assigned(found)) => owned = found,
            Ok(Event::Batch(batch)) => seen.extend(batch.iter().map(|(_, record)| String::from_utf8_lossy(record.value).into_owned())),
            Ok(Event::Revoked(_) | Event::Idle) | Err(_) => {}
        }
    }
    assert_eq!(seen, ["new 0", "new 1", "new 2", "new 3"]);
    assert_eq!(owned, [(at("in", 0), 0)], "it was assigned anew, from the beginning");
    let mut step = step_to("out", 0, &["read anew"]);
    step.positions.push((at("in", 0), 4));
    member.member.commit(step).expect("committed");
    assert_eq!(values(&read_all(&*bus, "out", 0, 2)), ["read", "read anew"]);
}

/// A member that has not heard that its topic was made anew commits positions of the one before and reads on where it was.
#[test]
fn a_position_of_a_topic_that_is_gone_is_none_in_the_next_of_its_name() {
    let Some(kafka) = Kafka::make("a_position_of_a_topic_that_is_gone_is_none_in_the_next_of_its_name") else { return };
    let bus = kafka.connect();
    // Fewer records than before, as many, more.
    for new_count in [2, 3, 5] {
        in_and_out(&*bus, 1);
        publish_values(&*bus, "in", 0, &["old 0", "old 1", "old 2"]);
        let mut member = Consumer::joined(&*bus, &format!("work-{new_count}"), &["in"]);
        member.until_seen(3);
        commit(&mut member, "read").expect("committed");
        kafka.delete("in");
        in_and_out(&*bus, 1);
        // A step without a position of its own commits one again.
        member.member.commit(step_to("out", 0, &["late"])).expect("committed");
        let expected: Vec<String> = (0..new_count).map(|number| format!("new {number}")).collect();
        publish_values(&*bus, "in", 0, &expected.iter().map(String::as_str).collect::<Vec<_>>());
        let (mut done, mut heard, deadline) = (Vec::new(), Vec::new(), Instant::now() + PATIENCE);
        while done.len() < new_count {
            assert!(Instant::now() < deadline, "it is not read from its beginning: {heard:?}, {done:?}");
            match member.member.poll(Duration::from_millis(100)) {
                Ok(Event::Batch(batch)) => {
                    let seen: Vec<_> = batch.iter().map(|(_, record)| String::from_utf8_lossy(record.value).into_owned()).collect();
                    let mut step = step_to("out", 0, &seen.iter().map(String::as_str).collect::<Vec<_>>());
                    step.positions.push((at("in", 0), batch.next_offset().expect("records")));
                    match member.member.commit(step) {
                        Ok(()) => done.extend(seen),
                        Err(refused) => heard.push(refused.to_string()),
                    }
                }
                Ok(Event::Idle) => {}
                Ok(Event::Revoked(_)) => heard.push("revoked".to_owned()),
                other => heard.push(format!("{other:?}")),
            }
        }
        eprintln!("{new_count} records: {heard:?}");
        assert_eq!(done, expected);
        drop(member);
        kafka.delete("in");
    }
}

/// What a member hears within this time.
fn told(member: &mut Consumer, time: Duration) -> Vec<String> {
    let (mut told, deadline) = (Vec::new(), Instant::now() + time);
    while Instant::now() < deadline {
        match member.member.poll(Duration::from_millis(100)) {
            Ok(Event::Idle) => {}
            Ok(Event::Revoked(_)) => told.push("revoked".to_owned()),
            Ok(other) => told.push(format!("{other:?}")),
            Err(error) => {
                told.push(error.to_string());
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    told.dedup();
    told
}
