//! The lake's own alert: records were removed before it read them.

use tidemill_bus::{Bus, RecordBuf, lost::Lost};
use tidemill_message::MessageWriter;

/// Syslog's `alert`.
const SEVERITY: i32 = 1;

/// Publishes the alert, in the form of every host alert; a bus that does not take it has it in the log.
pub(crate) fn publish_lost(bus: &dyn Bus, lost: &Lost, now_ns: i64) {
    let Lost { partition, position, offsets, resumed: _ } = lost;
    let place = format!("{}/{}", partition.topic, partition.partition);
    let summary = format!("lake: {offsets} offsets of {place} were removed before they were read");
    let detail = format!("The lake's position is {position}. The log's retention is too short for how far it was behind.");
    let (uuid, mut value) = (uuid::Uuid::new_v4().into_bytes(), Vec::new());
    let mut message = MessageWriter::new(&mut value, &uuid, now_ns);
    message.type_(b"alert").logger(b"lake").severity(SEVERITY).payload(detail.as_bytes());
    message.field_string("id", b"lost").field_string("summary", summary.as_bytes()).field_string("kind", b"host");
    let mut records = RecordBuf::default();
    records.push(now_ns.div_euclid(1_000_000), &uuid, &[("tm-v", b"1")], &value);
    let ack = move |result: Result<(), tidemill_bus::BusError>| {
        if let Err(error) = result {
            tracing::warn!(%error, summary, "an alert could not be published");
        }
    };
    bus.publish("alerts", 0, records, Box::new(ack));
}
