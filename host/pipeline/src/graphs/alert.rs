//! An alert as a message of the `alerts` topic: Type `alert`, Logger the plugin, Payload the detail, fields `id`, `summary` and
//! `kind`, and for an alert of a rule `graph`, `column`, `value` and `threshold`.

use super::{merge::Raised, shape::Test};
use tidemill_message::{MessageRef, MessageWriter};
use xxhash_rust::xxh3::xxh3_128;

/// The Type of an alert's message.
pub const ALERT_TYPE: &str = "alert";

/// Syslog's `alert`.
const SEVERITY: i32 = 1;

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Nanoseconds since 1970 UTC, in event time.
    pub time_ns: i64,
    /// Whose alert it is; `tidemill` for the host's own.
    pub plugin: String,
    /// Names the alert and its throttle.
    pub id: String,
    /// `inactive`, `above`, `below` or `percent-change` of a rule, `message` of a plugin, `host` of the host.
    pub kind: String,
    /// A sentence.
    pub summary: String,
    /// More.
    pub detail: String,
    /// What a rule found.
    pub measured: Option<Measured>,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The graph's title.
    pub graph: String,
    /// The column's name.
    pub column: String,
    /// The window's aggregate; `None` where there was no data.
    pub value: Option<f64>,
    /// The rule's threshold.
    pub threshold: f64,
}

impl Alert {
    /// The alert of a rule.
    pub fn of_rule(plugin: &str, raised: Raised) -> Self {
        let Raised { id, test, graph, column, time_s, firing, threshold } = raised;
        let detail = detail(test, &firing.value, &firing.previous, threshold);
        let measured = Some(Measured { graph, column, value: firing.value, threshold });
        let time_ns = time_s.saturating_mul(1_000_000_000);
        Self { time_ns, plugin: plugin.into(), id, kind: test.name().into(), summary: firing.summary, detail, measured }
    }

    /// A name that is the same each time the same alert is made.
    pub fn uuid(&self) -> [u8; 16] {
        let graph = self.measured.as_ref().map_or("", |measured| &measured.graph);
        let text = format!("{}\0{}\0{}\0{}\0{graph}\0{}", self.plugin, self.id, self.kind, self.time_ns, self.summary);
        xxh3_128(text.as_bytes()).to_le_bytes()
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { time_ns, plugin, id, kind, summary, detail, measured } = self;
        let mut message = MessageWriter::new(out, &self.uuid(), *time_ns);
        message.type_(ALERT_TYPE.as_bytes()).logger(plugin.as_bytes()).severity(SEVERITY).payload(detail.as_bytes());
        message.field_string("id", id.as_bytes()).field_string("summary", summary.as_bytes()).field_string("kind", kind.as_bytes());
        let Some(Measured { graph, column, value, threshold }) = measured else { return };
        message.field_string("graph", graph.as_bytes()).field_string("column", column.as_bytes());
        message.field_double("threshold", "", *threshold);
        if let Some(value) = value {
            message.field_double("value", "", *value);
        }
    }

    /// Reads an alert's message; another message is none.
    pub fn read(message: &MessageRef<'_>) -> Option<Self> {
        if message.type_() != Some(ALERT_TYPE.as_bytes()) {
            return None;
        }
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let field = |name| text(message.field(name).and_then(|field| field.bytes()));
        let number = |name| message.field(name).and_then(|field| field.double());
        let measured = message.field("graph").map(|_| Measured {
            graph: field("graph"),
            column: field("column"),
            value: number("value"),
            threshold: number("threshold").unwrap_or(0.0),
        });
        let (plugin, detail) = (text(message.logger()), text(message.payload()));
        let (id, kind, summary) = (field("id"), field("kind"), field("summary"));
        Some(Self { time_ns: message.timestamp(), plugin, id, kind, summary, detail, measured })
    }
}

fn detail(test: Test, value: &Option<f64>, previous: &Option<f64>, threshold: f64) -> String {
    let text = |value: &Option<f64>| value.map_or_else(|| "no data".to_owned(), |value| value.to_string());
    match test {
        Test::Inactive => format!("last window: no data; the window before: {}", text(previous)),
        Test::Above | Test::Below => format!("last window: {}; threshold: {threshold}", text(value)),
        Test::PercentChange => format!("last window: {}; the window before: {}; threshold: {threshold} %", text(value), text(previous)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_survives_the_way() {
        let measured = Measured { graph: "volume".into(), column: "main".into(), value: Some(1.5), threshold: 2.0 };
        let alert = Alert {
            time_ns: 1_541_030_400_000_000_000,
            plugin: "monitor".into(),
            id: "main".into(),
            kind: "below".into(),
            summary: "too little".into(),
            detail: "1.5".into(),
            measured: Some(measured),
        };
        for alert in [alert.clone(), Alert { measured: None, ..alert }] {
            let mut bytes = Vec::new();
            alert.write(&mut bytes);
            let message = MessageRef::parse(&bytes).unwrap();
            assert_eq!((message.uuid(), message.severity()), (&alert.uuid(), 1));
            assert_eq!(Alert::read(&message), Some(alert));
        }
        let mut bytes = Vec::new();
        MessageWriter::new(&mut bytes, &[0; 16], 0).type_(b"validated");
        assert_eq!(Alert::read(&MessageRef::parse(&bytes).unwrap()), None);
    }
}
