//! Circular-buffer graphs: declared once, filled by adding; the host sees one cell per column and time for a whole batch.

mod batch;
mod cells;
mod names;
mod seconds;

use crate::wire;
use cells::Cells;
use names::Names;

pub use wire::Aggregation;

/// Columns a graph may have; the host refuses more.
const COLUMNS_MAX: usize = 256;

/// Takes what is added under names beyond 255.
pub const OTHER_COLUMN: &str = "OTHER";

/// The handle of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graph(u32);

/// The handle of a column of a graph: adding through it is faster than by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphColumn {
    graph: u32,
    column: u32,
    /// Where its cells are, among those of all columns of all graphs.
    slot: u32,
}

/// The size of a graph, and what its columns are unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GraphShape {
    /// At most 11,520 (8 days of minutes).
    pub rows: u32,
    /// At least 1.
    pub seconds_per_row: u32,
    /// For example `count`, `B`, `ms`.
    pub unit: &'static str,
    /// How values of the same row merge.
    pub aggregation: Aggregation,
}

impl GraphShape {
    /// A day of minutes; counts that add up.
    pub const DAY_OF_MINUTES: Self = Self::new(1_440, 60);
    /// Eight days of minutes, the longest there is; counts that add up.
    pub const EIGHT_DAYS_OF_MINUTES: Self = Self::new(11_520, 60);

    /// Counts that add up.
    pub const fn new(rows: u32, seconds_per_row: u32) -> Self {
        Self { rows, seconds_per_row, unit: "count", aggregation: Aggregation::Sum }
    }

    /// The same shape with another unit.
    #[must_use]
    pub const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// The same shape with another aggregation.
    #[must_use]
    pub const fn aggregation(self, aggregation: Aggregation) -> Self {
        Self { aggregation, ..self }
    }
}

/// When the host raises an alert about a column of a merged graph, whatever the number of partitions and hosts. It looks at
/// complete rows only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    test: wire::AlertTest,
    threshold: f64,
    window_rows: u32,
    throttle_s: u32,
}

impl Rule {
    /// No data in the last `window_rows` rows although there was some in the `window_rows` before.
    pub const fn inactive(window_rows: u32) -> Self {
        Self::new(wire::AlertTest::Inactive, 0.0, window_rows)
    }

    /// The last window's aggregate is above the threshold.
    pub const fn above(threshold: f64, window_rows: u32) -> Self {
        Self::new(wire::AlertTest::Above, threshold, window_rows)
    }

    /// The last window's aggregate is below the threshold.
    pub const fn below(threshold: f64, window_rows: u32) -> Self {
        Self::new(wire::AlertTest::Below, threshold, window_rows)
    }

    /// The last window differs from the one before by more than so many per cent.
    pub const fn percent_change(percent: f64, window_rows: u32) -> Self {
        Self::new(wire::AlertTest::PercentChange, percent, window_rows)
    }

    /// Seconds during which the same alert is not raised again; 90 minutes unless set.
    #[must_use]
    pub const fn throttle_s(self, throttle_s: u32) -> Self {
        Self { throttle_s, ..self }
    }

    const fn new(test: wire::AlertTest, threshold: f64, window_rows: u32) -> Self {
        Self { test, threshold, window_rows, throttle_s: 5_400 }
    }
}

/// The graphs of a plugin. Numbers belong to the instance: keep handles in the struct, never in a snapshot. An instance that
/// was restored declares again, and the same title and shape name the same graph.
#[derive(Debug, Default)]
pub struct Graphs {
    graphs: Vec<GraphState>,
    /// How many of them the host knows already.
    declared: usize,
    rules: Vec<wire::AlertRule>,
    /// Of all columns of all graphs, side by side: adding is a look at one of them.
    cells: Vec<Cells>,
    /// Memory for counting.
    counts: Vec<u32>,
}

#[derive(Debug)]
struct GraphState {
    title: String,
    shape: GraphShape,
    names: Names,
    columns: Vec<ColumnState>,
    declared: usize,
    /// Rules of every column, the later ones included.
    watches: Vec<(String, Rule)>,
}

#[derive(Debug)]
struct ColumnState {
    unit: &'static str,
    aggregation: Aggregation,
    slot: u32,
}

impl Graphs {
    /// Declares a graph, or finds it when the title is there already (its shape then stays). Titles are at most 255 bytes.
    pub fn graph(&mut self, title: impl Into<String>, shape: GraphShape) -> Graph {
        let title = title.into();
        if let Some(index) = self.graphs.iter().position(|graph| graph.title == title) {
            return Graph(index as u32);
        }
        self.graphs.push(GraphState::new(title, shape));
        Graph(self.graphs.len() as u32 - 1)
    }

    /// A column with the graph's unit and aggregation.
    pub fn column(&mut self, graph: Graph, name: &str) -> GraphColumn {
        if let Some(column) = self.find(graph, name.as_bytes()) {
            return column;
        }
        let GraphShape { unit, aggregation, .. } = self.graphs[graph.0 as usize].shape;
        self.column_with(graph, name, unit, aggregation)
    }

    /// A column with a unit and an aggregation of its own. A column that is there already stays as it is.
    pub fn column_with(&mut self, graph: Graph, name: &str, unit: &'static str, aggregation: Aggregation) -> GraphColumn {
        if let Some(column) = self.find(graph, name.as_bytes()) {
            return column;
        }
        let is_full = self.graphs[graph.0 as usize].columns.len() >= COLUMNS_MAX - 1;
        if is_full && name != OTHER_COLUMN {
            return self.column_with(graph, OTHER_COLUMN, unit, aggregation);
        }
        self.add_column(graph, name, unit, aggregation)
    }

    #[inline]
    fn find(&mut self, graph: Graph, name: &[u8]) -> Option<GraphColumn> {
        let state = &mut self.graphs[graph.0 as usize];
        let column = state.names.find(name)?;
        Some(GraphColumn { graph: graph.0, column, slot: state.columns[column as usize].slot })
    }

    fn add_column(&mut self, graph: Graph, name: &str, unit: &'static str, aggregation: Aggregation) -> GraphColumn {
        let state = &mut self.graphs[graph.0 as usize];
        let (column, slot) = (state.names.add(name), self.cells.len() as u32);
        self.cells.push(Cells::new(aggregation, state.shape.seconds_per_row));
        state.columns.push(ColumnState { unit, aggregation, slot });
        self.rules.extend(state.watches.iter().map(|(id, rule)| wire_rule(graph.0, column, format!("{id}:{name}"), *rule)));
        GraphColumn { graph: graph.0, column, slot }
    }

    /// Watches every column of a graph, present and future. The alert of a column is named `ID:COLUMN`.
    pub fn watch(&mut self, graph: Graph, id: &str, rule: Rule) {
        let state = &mut self.graphs[graph.0 as usize];
        for number in 0..state.names.len() as u32 {
            self.rules.push(wire_rule(graph.0, number, format!("{id}:{}", state.names.get(number)), rule));
        }
        state.watches.push((id.into(), rule));
    }

    /// Watches one column; the alert is named `id`.
    pub fn watch_column(&mut self, column: GraphColumn, id: &str, rule: Rule) {
        self.rules.push(wire_rule(column.graph, column.column, id.into(), rule));
    }

    /// Adds to a column: to the sum of its row, or as its new minimum or maximum.
    #[inline]
    pub(crate) fn add(&mut self, column: GraphColumn, time_s: u32, value: f64) {
        self.cells[column.slot as usize].add(time_s, value);
    }

    /// Drops what was added since the last [`Graphs::take_into`].
    pub(crate) fn discard(&mut self) {
        self.cells.iter_mut().for_each(|cells| drop(cells.drain()));
    }

    /// Moves new declarations and all cells into what the call returns.
    pub(crate) fn take_into(&mut self, out: &mut wire::Findings) {
        let Self { graphs, declared, rules, cells, counts: _ } = self;
        for graph in &graphs[*declared..] {
            let GraphShape { rows, seconds_per_row, .. } = graph.shape;
            out.new_graphs.push(wire::Graph { title: graph.title.clone(), rows, seconds_per_row });
        }
        *declared = graphs.len();
        for (number, graph) in (0..).zip(graphs) {
            graph.take_into(number, cells, out);
        }
        out.new_rules.append(rules);
    }
}

impl GraphState {
    fn new(title: String, shape: GraphShape) -> Self {
        Self { title, shape, names: Names::default(), columns: Vec::new(), declared: 0, watches: Vec::new() }
    }

    fn take_into(&mut self, number: u32, cells: &mut [Cells], out: &mut wire::Findings) {
        for (column, state) in (0..).zip(&self.columns).skip(self.declared) {
            let ColumnState { unit, aggregation, slot: _ } = *state;
            let name = self.names.get(column).to_owned();
            out.new_columns.push(wire::GraphColumn { graph: number, name, unit: unit.into(), aggregation });
        }
        self.declared = self.columns.len();
        for (column, state) in (0..).zip(&self.columns) {
            for (time_s, value) in cells[state.slot as usize].drain() {
                out.cells.graph.push(number);
                out.cells.column.push(column);
                out.cells.time_s.push(time_s);
                out.cells.value.push(value);
            }
        }
    }
}

fn wire_rule(graph: u32, column: u32, id: String, rule: Rule) -> wire::AlertRule {
    let Rule { test, threshold, window_rows, throttle_s } = rule;
    wire::AlertRule { graph, column, id, test, threshold, window_rows, throttle_s }
}
