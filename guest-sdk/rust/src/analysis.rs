//! Plugins that watch the stream. `use tidemill_guest::analysis::*` brings everything that one needs.

pub use crate::Failure;
pub use crate::Time;
pub use crate::config::Config;
pub use crate::graph::{Aggregation, Graph, GraphColumn, GraphShape, Graphs, OTHER_COLUMN, Rule};
pub use crate::host::{Level, log, metric_add};
pub use crate::message::Message;
pub use crate::rows::{Row, Rows};
pub use crate::state::{State, StateReader, StateWriter};
pub use crate::subscription::*;

use crate::export::apart;
use crate::{Dictionaries, host, wire};

/// A plugin that watches the stream.
pub trait Analysis: Sized {
    /// The first call on every instance, also after a trap: says what to read and which graphs there are. An answer that differs
    /// from the deployed one refuses the instance, so it may depend on the configuration only.
    fn open(config: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure>;

    /// One message. A failure fails the whole batch as a panic would: the host then looks for the message that did it. To be
    /// written unless [`Analysis::batch`] is.
    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let _ = (row, out);
        Err(Failure::new("the plugin has neither `message` nor `batch`: write one of them"))
    }

    /// All rows of a call; to be replaced where going through column by column is faster, as [`Findings::count_rows`] and
    /// [`Findings::add_rows`] do. Results must not depend on how rows are cut into batches. Call [`Findings::at`] before adding
    /// what belongs to a row.
    fn batch(&mut self, rows: &Rows<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        for row in rows.iter() {
            out.at(row);
            self.message(row, out)?;
        }
        Ok(())
    }
}

/// For analysis plugins that act on time; exported by naming `timers` in `export_analysis!`.
pub trait Timers: Analysis {
    /// Called every `tick_ms` of the partition's time, never in the middle of a batch.
    fn tick(&mut self, now: Time, out: &mut Findings<'_>) -> Result<(), Failure>;
}

/// The row of what comes from a timer.
const NO_ROW: u32 = u32::MAX;

/// What a call found; handed to the host in one piece when the call returned `Ok`.
#[derive(Debug)]
pub struct Findings<'g> {
    graphs: &'g mut Graphs,
    row: u32,
    out: wire::Findings,
}

impl<'g> Findings<'g> {
    fn new(graphs: &'g mut Graphs) -> Self {
        Self { graphs, row: NO_ROW, out: empty() }
    }

    /// The row that messages and alerts belong to from now on. [`Analysis::batch`] calls it for every row.
    pub fn at(&mut self, row: Row<'_>) {
        self.row = row.index();
    }

    /// A graph's columns by name.
    pub fn graph(&mut self, graph: Graph) -> GraphWriter<'_> {
        GraphWriter { graphs: self.graphs, graph }
    }

    /// Adds to a column: to the sum of its row, or as its new minimum or maximum. NaN is left out.
    pub fn add(&mut self, column: GraphColumn, time_s: u32, value: f64) {
        self.graphs.add(column, time_s, value);
    }

    /// Counts all rows of a call by a text, under `none` those that have none: what `graph(graph).add(seconds, name, 1.0)` does for
    /// each row, in a fraction of its time. A graph takes one such count: of two, which names are beyond its 255 would depend on
    /// how rows are cut into batches.
    pub fn count_rows(&mut self, rows: &Rows<'_>, time: Column<Timestamp, Required>, graph: Graph, names: Column<Text>, none: &str) {
        self.graphs.count_rows(graph, *rows.slot(time), *rows.slot(names), none);
    }

    /// Adds the values of all rows of a call that have one: what [`Findings::add`] does for each row, in a fraction of its time.
    pub fn add_rows(&mut self, rows: &Rows<'_>, time: Column<Timestamp, Required>, column: GraphColumn, values: Column<Float64>) {
        self.graphs.add_rows(column, *rows.slot(time), *rows.slot(values));
    }

    /// Declares graphs, columns and rules while the plugin runs.
    pub fn graphs(&mut self) -> &mut Graphs {
        self.graphs
    }

    /// Injects a message into the `derived` topic, partitioned by its Uuid.
    pub fn message(&mut self, message: &Message) {
        self.message_with_key("", message);
    }

    /// Injects a message into the `derived` topic under a partition key of the plugin's own.
    pub fn message_with_key(&mut self, key: &str, message: &Message) {
        let messages = &mut self.out.messages;
        messages.row.push(self.row);
        messages.keys.push(key.into());
        message.write(&mut messages.arena);
        messages.offsets.push(messages.arena.len() as u32);
    }

    /// Something to show in the UI, replaced by the next of its name. Of several in one batch the last one counts.
    pub fn payload(&mut self, name: &str, media_type: &str, data: Vec<u8>) {
        self.out.payloads.retain(|payload| payload.name != name);
        self.out.payloads.push(wire::Payload { name: name.into(), media_type: media_type.into(), data });
    }

    /// An alert about the current message. For a whole stream use [`Graphs::watch`]: a single instance sees a part of it only.
    pub fn alert(&mut self, id: &str, summary: impl Into<String>, detail: impl Into<String>, throttle_s: u32) {
        let (summary, detail) = (summary.into(), detail.into());
        self.out.alerts.push(wire::Alert { row: self.row, id: id.into(), summary, detail, throttle_s });
    }

    fn finish(self) -> wire::Findings {
        let Self { graphs, row: _, mut out } = self;
        graphs.take_into(&mut out);
        out
    }
}

/// A graph's columns by name.
#[derive(Debug)]
pub struct GraphWriter<'a> {
    graphs: &'a mut Graphs,
    graph: Graph,
}

impl GraphWriter<'_> {
    /// Adds to the column of that name, which is made when it is new. A graph has room for 255 names; what comes under further
    /// ones goes to the column [`OTHER_COLUMN`], so let no unbounded set of names in. NaN is left out.
    pub fn add(&mut self, time_s: u32, column: &str, value: f64) -> &mut Self {
        let column = self.graphs.column(self.graph, column);
        self.graphs.add(column, time_s, value);
        self
    }
}

/// Runs a plugin: what the exported functions call. Public for `export_analysis!` only.
#[doc(hidden)]
pub struct Driver<T> {
    plugin: T,
    read: Subscription,
    graphs: Graphs,
}

impl<T: Analysis> Driver<T> {
    pub fn open(config: &str) -> Result<(Self, wire::Subscription), Failure> {
        host::log_panics();
        let config = Config::new(config)?;
        let (mut read, mut graphs) = (Subscription::new(Scope::Partition), Graphs::default());
        let plugin = T::open(&config, &mut read, &mut graphs)?;
        config.refuse_unused()?;
        let answer = read.to_wire();
        Ok((Self { plugin, read, graphs }, answer))
    }

    pub fn process(&mut self, batch: &wire::Batch) -> Result<wire::Findings, Failure> {
        self.process_with(batch, None)
    }

    /// As [`process`](Self::process), with texts that are there once where there are dictionaries.
    pub fn process_with(&mut self, batch: &wire::Batch, dictionaries: Option<&Dictionaries>) -> Result<wire::Findings, Failure> {
        let rows = Rows::with(batch, dictionaries, self.read.columns())?;
        self.run(|plugin, out| apart(|| plugin.batch(&rows, out)))
    }

    pub fn tick(&mut self, now_ms: i64) -> Result<wire::Findings, Failure>
    where
        T: Timers,
    {
        self.run(|plugin, out| plugin.tick(Time::from_ms(now_ms), out))
    }

    pub fn columns(&self) -> &[wire::ColumnRequest] {
        self.read.columns()
    }

    pub fn plugin(&mut self) -> &mut T {
        &mut self.plugin
    }

    fn run(&mut self, call: impl FnOnce(&mut T, &mut Findings<'_>) -> Result<(), Failure>) -> Result<wire::Findings, Failure> {
        let mut out = Findings::new(&mut self.graphs);
        match call(&mut self.plugin, &mut out) {
            Ok(()) => Ok(out.finish()),
            Err(failure) => {
                self.graphs.discard();
                Err(failure)
            }
        }
    }
}

fn empty() -> wire::Findings {
    wire::Findings {
        messages: wire::Messages { row: Vec::new(), keys: Vec::new(), offsets: vec![0], arena: Vec::new() },
        new_graphs: Vec::new(),
        new_columns: Vec::new(),
        new_rules: Vec::new(),
        cells: wire::Cells { graph: Vec::new(), column: Vec::new(), time_s: Vec::new(), value: Vec::new() },
        payloads: Vec::new(),
        alerts: Vec::new(),
    }
}
