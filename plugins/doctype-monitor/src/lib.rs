//! Watches every document type: how many messages, how large, how many failed, per channel; and raises alerts when one falls
//! silent or changes by too much.

use tidemill_guest::analysis::*;

/// Document types with graphs of their own: a bound on memory above what a schema repository has. What comes after counts
/// under [`OTHER`].
const TYPES_MAX: usize = 340;
/// Takes errors that name a type which no schema knows: a path can name any. That rule looks at the message alone, so
/// which types have graphs does not depend on how messages are spread over partitions.
const OTHER: &str = "OTHER";

/// The columns it reads, and the graphs of each type.
#[derive(Debug)]
pub struct DoctypeMonitor {
    time: Column<Timestamp, Required>,
    kind: Column<Text>,
    error: Column<Text>,
    is_known: Column<Boolean>,
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
    /// Declared when the first message of this instance needs them.
    graphs: Option<TypeGraphs>,
}

#[derive(Clone, Copy, Debug)]
struct TypeGraphs {
    volume: Graph,
    size: Graph,
    errors: Graph,
}

/// The format of the state: which types have graphs of their own, in the order in which they came.
const STATE_FORMAT: u32 = 1;

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
            error: read.column("Fields[DecodeErrorType]"),
            is_known: read.column("Fields[docTypeKnown]"),
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
        let name = self.name_of(&row);
        let channel = row.get(self.channel).or(row.get(self.raw_channel)).unwrap_or("none");
        let TypeGraphs { volume, size, errors } = self.graphs_of(&name, out.graphs());
        if row.get(self.kind) == Some("error") {
            out.graph(errors).add(seconds, channel, 1.0);
            if let Some(body) = row.get(self.content) {
                out.graph(size).add(seconds, channel, body.len() as f64);
            }
        } else {
            out.graph(volume).add(seconds, channel, 1.0);
            out.graph(size).add(seconds, channel, row.get(self.submission).map_or(0, <[u8]>::len) as f64);
        }
        Ok(())
    }
}

/// Which types have graphs of their own is state: after a restart the same ones have them.
impl State for DoctypeMonitor {
    fn snapshot(&self) -> Vec<u8> {
        let mut state = StateWriter::new(STATE_FORMAT);
        for watched in &self.types {
            state.text(&watched.name);
        }
        state.finish()
    }

    fn restore(&mut self, bytes: &[u8], _: &str) -> Result<(), Failure> {
        let mut state = StateReader::new(bytes, STATE_FORMAT)?;
        self.types.clear();
        while !state.is_empty() {
            self.types.push(Watched { name: state.text()?.to_owned(), graphs: None });
        }
        Ok(())
    }
}

impl DoctypeMonitor {
    /// The type of a message: of those that no schema knows all are one.
    fn name_of(&self, row: &Row<'_>) -> String {
        let failed_later = |error: &str| error == "schema" || error.starts_with("plugin_");
        let is_known = row.get(self.kind) != Some("error")
            || row.get(self.is_known) == Some(true)
            || row.get(self.error).is_some_and(failed_later);
        match (is_known, row.get(self.namespace), row.get(self.doc_type)) {
            (true, Some(namespace), Some(doc_type)) => format!("{namespace}/{doc_type}"),
            _ => OTHER.to_owned(),
        }
    }

    /// A type's graphs; declares them when they are new to this instance.
    fn graphs_of(&mut self, name: &str, graphs: &mut Graphs) -> TypeGraphs {
        let place = self.place_of(name);
        if let Some(known) = self.types[place].graphs {
            return known;
        }
        let declared = self.declare(&self.types[place].name, graphs);
        self.types[place].graphs = Some(declared);
        declared
    }

    /// The place of a type, or of what stands for all later ones.
    fn place_of(&mut self, name: &str) -> usize {
        let find = |types: &[Watched], name: &str| types.iter().position(|watched| watched.name == name);
        if let Some(place) = find(&self.types, name) {
            return place;
        }
        let name = if self.types.len() < TYPES_MAX { name } else { OTHER };
        find(&self.types, name).unwrap_or_else(|| {
            self.types.push(Watched { name: name.to_owned(), graphs: None });
            self.types.len() - 1
        })
    }

    fn declare(&self, name: &str, graphs: &mut Graphs) -> TypeGraphs {
        let Settings { shape, inactive_rows, change_percent, change_rows, throttle_s } = self.settings;
        let volume = graphs.graph(format!("{name} volume"), shape);
        let size = graphs.graph(format!("{name} size"), shape.unit("B"));
        let errors = graphs.graph(format!("{name} errors"), shape);
        graphs.watch(volume, &format!("{name} inactive"), Rule::inactive(inactive_rows).throttle_s(throttle_s));
        graphs.watch(volume, &format!("{name} change"), Rule::percent_change(change_percent, change_rows).throttle_s(throttle_s));
        TypeGraphs { volume, size, errors }
    }
}

tidemill_guest::export_analysis!(DoctypeMonitor, state);

#[cfg(test)]
mod tests;
