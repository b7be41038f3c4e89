//! Reads five columns of main pings, of four kinds, and counts and sums them: what a row costs in a plugin.

use tidemill_guest::analysis::*;

/// The columns it reads and where it adds them up.
#[derive(Debug)]
pub struct FiveColumns {
    time: Column<Timestamp, Required>,
    length: Column<Int64>,
    first_paint: Column<Float64>,
    enabled: Column<Boolean>,
    os: Column<Text>,
    pings: GraphColumn,
    windows: GraphColumn,
    enabled_length: GraphColumn,
    paint: GraphColumn,
}

impl Analysis for FiveColumns {
    fn open(_: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        let graph = graphs.graph("sums", GraphShape::DAY_OF_MINUTES);
        let [pings, windows, enabled_length, paint] =
            ["pings", "on Windows", "session length", "first paint"].map(|name| graphs.column(graph, name));
        read.matcher("Type == 'validated' && Fields[docType] == 'main'");
        Ok(Self {
            time: read.timestamp(),
            length: read.column("/payload/info/subsessionLength"),
            first_paint: read.column("/payload/simpleMeasurements/firstPaint"),
            enabled: read.column("/environment/settings/telemetryEnabled"),
            os: read.column("/environment/system/os/name"),
            pings,
            windows,
            enabled_length,
            paint,
        })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let seconds = row.get(self.time).seconds();
        out.add(self.pings, seconds, 1.0);
        if row.get(self.os) == Some("Windows_NT") {
            out.add(self.windows, seconds, 1.0);
        }
        if row.get(self.enabled) == Some(true) {
            out.add(self.enabled_length, seconds, row.get(self.length).unwrap_or(0) as f64);
        }
        out.add(self.paint, seconds, row.get(self.first_paint).unwrap_or(0.0));
        Ok(())
    }
}

tidemill_guest::export_analysis!(FiveColumns);
