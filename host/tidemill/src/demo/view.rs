//! What the demo shows: a line a second, and every alert as it comes.

use super::{setup::Setup, sink::Sink, traffic::SILENT, traffic::Traffic};
use crate::serve::Platform;
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// Prints addresses and commands.
pub fn where_to_look(platform: &Platform, setup: &Setup) {
    let address = platform.address;
    let lake = setup.data_dir.join("lake/telemetry/usage_v4");
    println!(
        r#"
Tidemill runs with the configuration {}.

  http://{address}/                                          where everything is
  http://{address}/api/v1/plugins                            the plugins and what they did
  http://{address}/api/v1/plugins/doctype-monitor/graphs     live graphs
  http://{address}/api/v1/alerts                             alerts

In another terminal:
  target/debug/tidemill tap validated --limit 3               messages as they pass
  target/debug/tidemill tap errors --limit 3                  what was refused, and why
  target/debug/tidemill send tests/fixtures                   send pings of your own
  duckdb -c "SELECT normalized_channel, count(*) FROM delta_scan('{}') GROUP BY ALL"

Ctrl-C ends it. Each line below is a second of the stream.
"#,
        setup.config_file.display(),
        lake.display()
    );
}

/// What was seen so far.
pub struct View<'a> {
    platform: &'a Platform,
    traffic: &'a Traffic,
    sink: &'a Sink,
    anomaly_after: Duration,
    started: Instant,
    shown: Option<Instant>,
    sent: u64,
    alerts: HashSet<String>,
    announced: bool,
    seen: Seen,
}

/// What the demo promises to show.
#[derive(Default)]
struct Seen {
    validated: bool,
    refused: bool,
    lake: bool,
    delivered: bool,
    alert: bool,
}

impl<'a> View<'a> {
    pub fn new(platform: &'a Platform, traffic: &'a Traffic, sink: &'a Sink, anomaly_after: Duration) -> Self {
        Self {
            platform,
            traffic,
            sink,
            anomaly_after,
            started: Instant::now(),
            shown: None,
            sent: 0,
            alerts: HashSet::new(),
            announced: false,
            seen: Seen::default(),
        }
    }

    /// Shows a line when a second is over.
    pub fn show(&mut self) {
        self.show_alerts();
        if self.shown.is_some_and(|shown| shown.elapsed() < Duration::from_secs(1)) {
            return;
        }
        self.shown = Some(Instant::now());
        if !self.announced && self.started.elapsed() >= self.anomaly_after {
            self.announced = true;
            println!("       --- from now on no {SILENT} sends anything: an alert should follow ---");
        }
        self.show_line();
    }

    fn show_line(&mut self) {
        let (validated, errors) = (self.records("validated"), self.records("errors"));
        let rows: u64 = self.platform.lake_rows().iter().map(|(_, rows)| rows).sum();
        let (sent, delivered) = (self.traffic.sent(), self.sink.lines());
        println!(
            "{:5.0} s  {:4} pings/s   {sent:6} sent   {validated:6} valid   {errors:5} refused   {rows:6} rows in the lake   {delivered:6} delivered",
            self.started.elapsed().as_secs_f64(),
            sent - self.sent
        );
        self.sent = sent;
        self.seen.validated |= validated > 0;
        self.seen.refused |= errors > 0;
        self.seen.lake |= rows > 0;
        self.seen.delivered |= delivered > 0;
    }

    fn records(&self, topic: &str) -> i64 {
        let topics = self.platform.bus.topics().unwrap_or_default();
        topics.iter().filter(|found| &*found.name == topic).flat_map(|found| &found.partitions).map(|range| range.end).sum()
    }

    fn show_alerts(&mut self) {
        for alert in self.platform.live.alerts() {
            if self.alerts.insert(format!("{} {}", alert.id, alert.time)) {
                println!("ALERT    {}: {}", alert.plugin, alert.summary);
                self.seen.alert |= alert.id.starts_with(SILENT);
            }
        }
    }

    /// What was promised and not seen.
    pub fn missing(&self) -> Vec<&'static str> {
        let Seen { validated, refused, lake, delivered, alert } = &self.seen;
        let all = [
            (validated, "valid messages"),
            (refused, "refused messages"),
            (lake, "rows in the lake"),
            (delivered, "deliveries"),
            (alert, "the alert"),
        ];
        all.into_iter().filter(|(seen, _)| !**seen).map(|(_, name)| name).collect()
    }
}
