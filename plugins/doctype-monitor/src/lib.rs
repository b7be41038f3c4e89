//! Watches every document type: how many messages, how large, how many failed, per channel; and raises alerts when one falls
//! silent or changes by too much.

use tidemill_guest::analysis::*;

/// Document types with graphs of their own; what comes after counts under [`OTHER`].
const TYPES_MAX: usize = 20;
/// Takes the types beyond [`TYPES_MAX`].
const OTHER: &str = "OTHER";

/// The columns it reads, and the graphs of each type.
#[derive(Debug)]
pub struct DoctypeMonitor {
    time: Column<Timestamp, Required>,
    kind: Column<Text>,
    namespace: Column<Text>,
    doc_type: Column<Text>,
    channel: Column<Text>,
    raw_channel: Column<Text>,
    submission: Column<Bytes>,
    content: Column<Bytes>,
    settings: Settings,
    types: Vec<Watched>,
}

#[derive(Debug)]
struct Settings {
    shape: GraphShape,
    inactive_rows: u32,
    change_percent: f64,
    change_rows: u32,
    throttle_s: u32,
}

#[derive(Debug)]
struct Watched {
    name: String,
    volume: Graph,
    size: Graph,
    errors: Graph,
}

impl Settings {
    fn new(config: &Config<'_>) -> Result<Self, Failure> {
        let seconds_per_row = config.u32("seconds_per_row")?.unwrap_or(60).max(1);
        Ok(Self {
            shape: GraphShape::new(config.u32("rows")?.unwrap_or(1_440), seconds_per_row),
            inactive_rows: config.u32("inactive_rows")?.unwrap_or(10),
            change_percent: config.float("change_percent")?.unwrap_or(50.0),
            change_rows: config.u32("change_rows")?.unwrap_or(60),
            throttle_s: config.u32("throttle_s")?.unwrap_or(5_400),
        })
    }
}

impl Analysis for DoctypeMonitor {
    fn open(config: &Config<'_>, read: &mut Subscription, _: &mut Graphs) -> Result<Self, Failure> {
        read.matcher("Type == 'validated' || Type == 'error'");
        read.scope(Scope::Partition);
        Ok(Self {
            time: read.timestamp(),
            kind: read.column("Type"),
            namespace: read.column("Logger"),
            doc_type: read.column("Fields[docType]"),
            channel: read.column("Fields[normalizedChannel]"),
            raw_channel: read.column("Fields[appUpdateChannel]"),
            submission: read.column("Fields[submission]"),
            content: read.column("Fields[content]"),
            settings: Settings::new(config)?,
            types: vec![],
        })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let seconds = row.get(self.time).seconds();
        let name = format!("{}/{}", row.get(self.namespace).unwrap_or("none"), row.get(self.doc_type).unwrap_or("none"));
        let channel = row.get(self.channel).or(row.get(self.raw_channel)).unwrap_or("none");
        let watched = self.watched(&name, out.graphs());
        if row.get(self.kind) == Some("error") {
            let (graph, size) = (self.types[watched].errors, self.types[watched].size);
            out.graph(graph).add(seconds, channel, 1.0);
            if let Some(body) = row.get(self.content) {
                out.graph(size).add(seconds, channel, body.len() as f64);
            }
        } else {
            let (graph, size) = (self.types[watched].volume, self.types[watched].size);
            out.graph(graph).add(seconds, channel, 1.0);
            out.graph(size).add(seconds, channel, row.get(self.submission).map_or(0, <[u8]>::len) as f64);
        }
        Ok(())
    }
}

impl DoctypeMonitor {
    /// The place of a type's graphs; declares them when the type is new.
    fn watched(&mut self, name: &str, graphs: &mut Graphs) -> usize {
        let find = |types: &[Watched], name: &str| types.iter().position(|watched| watched.name == name);
        if let Some(place) = find(&self.types, name) {
            return place;
        }
        let name = if self.types.len() < TYPES_MAX { name } else { OTHER };
        if let Some(place) = find(&self.types, name) {
            return place;
        }
        let watched = self.declare(name, graphs);
        self.types.push(watched);
        self.types.len() - 1
    }

    fn declare(&self, name: &str, graphs: &mut Graphs) -> Watched {
        let Settings { shape, inactive_rows, change_percent, change_rows, throttle_s } = self.settings;
        let volume = graphs.graph(format!("{name} volume"), shape);
        let size = graphs.graph(format!("{name} size"), shape.unit("B"));
        let errors = graphs.graph(format!("{name} errors"), shape);
        graphs.watch(volume, &format!("{name} inactive"), Rule::inactive(inactive_rows).throttle_s(throttle_s));
        graphs.watch(volume, &format!("{name} change"), Rule::percent_change(change_percent, change_rows).throttle_s(throttle_s));
        Watched { name: name.to_owned(), volume, size, errors }
    }
}

tidemill_guest::export_analysis!(DoctypeMonitor);

#[cfg(test)]
mod tests;
