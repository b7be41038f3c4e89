//! The host's alert that records were removed before a stage read them.

use crate::{
    graphs::{ALERTS, Alert},
    source::Source,
};
use std::sync::Arc;
use tidemill_bus::{Clock, Step, TopicPartition, lost::Lost};

fn lost_alert(reader: &str, place: &TopicPartition, offsets: i64, time_ns: i64) -> Alert {
    let summary = format!("{reader}: {offsets} offsets of {}/{} were removed before they were read", place.topic, place.partition);
    let detail = "The log's retention is too short for how far this reader was behind.".to_owned();
    Alert { time_ns, plugin: reader.to_owned(), id: "lost".to_owned(), kind: "host".to_owned(), summary, detail, measured: None }
}

/// Adds the alert of a stage to its step. All of them go to the first partition: there are few.
pub fn publish_lost_alert(stage: &str, lost: &Lost, incarnation: &str, clock: &dyn Clock, step: &mut Step) {
    let Lost { partition: place, position, offsets, resumed: _ } = lost;
    let alert = lost_alert(stage, place, *offsets, clock.now_ns());
    let source = Source { producer: stage, generation: 0, incarnation, partition: place.partition, offset: *position, n: 0 };
    let (mut source_text, mut value) = (Vec::new(), Vec::new());
    source.write_into(&mut source_text);
    alert.write(&mut value);
    let to = TopicPartition { topic: Arc::from(ALERTS), partition: 0 };
    step.records(&to).push(alert.time_ns.div_euclid(1_000_000), &alert.uuid(), &[("tm-v", b"1"), ("tm-src", &source_text)], &value);
}
