//! Log lines and metrics of a decoder: the decode stage gives both away, to the process's log and its metrics.

use super::report::LogReport;
use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};

/// Under which name the stage logs what plugins log.
const LOG_TARGET: &str = "tidemill::plugin";
/// Under which name the stage counts what plugins count.
const METRIC: &str = "tidemill_plugin_metric";

/// What was logged and counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Captured {
    /// In order.
    pub log: Vec<LogReport>,
    /// By name.
    pub metrics: BTreeMap<String, f64>,
}

/// Calls `act` and keeps what plugins log and count meanwhile.
pub(super) fn capture<R>(act: impl FnOnce() -> R) -> (R, Captured) {
    let captured = Arc::new(Mutex::new(Captured::default()));
    let ear = Ear(Arc::clone(&captured));
    let counted = || metrics::with_local_recorder(&ear, act);
    let result = tracing::subscriber::with_default(Ear(Arc::clone(&captured)), counted);
    let captured = captured.lock().clone();
    (result, captured)
}

struct Ear(Arc<Mutex<Captured>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Ear {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == LOG_TARGET
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        self.0.lock().log.push(LogReport { level, text: text.0 });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Sum {
    name: String,
    captured: Arc<Mutex<Captured>>,
}

impl GaugeFn for Sum {
    fn increment(&self, value: f64) {
        *self.captured.lock().metrics.entry(self.name.clone()).or_default() += value;
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, _: f64) {}
}

impl Recorder for Ear {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let name = key.labels().find(|label| label.key() == "name").filter(|_| key.name() == METRIC);
        name.map_or_else(Gauge::noop, |name| {
            Gauge::from_arc(Arc::new(Sum { name: name.value().to_owned(), captured: Arc::clone(&self.0) }))
        })
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_plugins_log_and_count_is_kept_and_nothing_else() {
        let (answer, captured) = capture(|| {
            tracing::warn!(target: "tidemill::plugin", plugin = "p", "{} rows", 3);
            tracing::error!("the host's own");
            for delta in [1.5, 2.0] {
                metrics::gauge!("tidemill_plugin_metric", "plugin" => "p", "name" => "rows").increment(delta);
            }
            metrics::gauge!("tidemill_other", "name" => "rows").increment(7.0);
            5
        });
        assert_eq!(answer, 5);
        assert_eq!(captured.log, [LogReport { level: "warn", text: "3 rows".to_owned() }]);
        assert_eq!(captured.metrics, BTreeMap::from([("rows".to_owned(), 3.5)]));
    }
}
