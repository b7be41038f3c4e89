//! Circular-buffer graphs: declared once, filled by adding; the host sees one cell per column and time for a whole batch.

use crate::wire;

pub use wire::Aggregation;

/// Columns a graph may have; the host refuses more.
const COLUMNS_MAX: usize = 256;

/// Takes what is added under names beyond [`COLUMNS_MAX`] - 1.
pub const OTHER_COLUMN: &str = "OTHER";

/// The handle of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graph(u32);

/// The handle of a column of a graph: adding through it is faster than by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphColumn {
    graph: u32,
    column: u32,
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
}

#[derive(Debug)]
struct GraphState {
    title: String,
    shape: GraphShape,
    columns: Vec<ColumnState>,
    declared: usize,
    /// Numbers of columns in the order of their names.
    by_name: Vec<u32>,
    /// The number found last: rows of one kind come in runs.
    last: u32,
    /// Rules of every column, the later ones included.
    watches: Vec<(String, Rule)>,
}

#[derive(Debug)]
struct ColumnState {
    name: String,
    unit: &'static str,
    aggregation: Aggregation,
    /// Ascending times.
    cells: Vec<(u32, f64)>,
    last: usize,
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
        let GraphShape { unit, aggregation, .. } = self.graphs[graph.0 as usize].shape;
        self.column_with(graph, name, unit, aggregation)
    }

    /// A column with a unit and an aggregation of its own. A column that is there already stays as it is.
    pub fn column_with(&mut self, graph: Graph, name: &str, unit: &'static str, aggregation: Aggregation) -> GraphColumn {
        let column = self.graphs[graph.0 as usize].find_or_add(name, unit, aggregation, &mut self.rules, graph);
        GraphColumn { graph: graph.0, column }
    }

    /// Watches every column of a graph, present and future. The alert of a column is named `ID:COLUMN`.
    pub fn watch(&mut self, graph: Graph, id: &str, rule: Rule) {
        let state = &mut self.graphs[graph.0 as usize];
        for (number, column) in state.columns.iter().enumerate() {
            self.rules.push(wire_rule(graph.0, number as u32, format!("{id}:{}", column.name), rule));
        }
        state.watches.push((id.into(), rule));
    }

    /// Watches one column; the alert is named `id`.
    pub fn watch_column(&mut self, column: GraphColumn, id: &str, rule: Rule) {
        self.rules.push(wire_rule(column.graph, column.column, id.into(), rule));
    }

    /// Adds to a column: to the sum of its row, or as its new minimum or maximum.
    pub(crate) fn add(&mut self, column: GraphColumn, time_s: u32, value: f64) {
        let graph = &mut self.graphs[column.graph as usize];
        let row_s = time_s - time_s % graph.shape.seconds_per_row.max(1);
        graph.columns[column.column as usize].add(row_s, value);
    }

    /// Drops what was added since the last [`Graphs::take_into`].
    pub(crate) fn discard(&mut self) {
        self.columns_mut().for_each(|column| column.cells.clear());
    }

    /// Moves new declarations and all cells into what the call returns.
    pub(crate) fn take_into(&mut self, out: &mut wire::Findings) {
        for graph in &self.graphs[self.declared..] {
            let GraphShape { rows, seconds_per_row, .. } = graph.shape;
            out.new_graphs.push(wire::Graph { title: graph.title.clone(), rows, seconds_per_row });
        }
        self.declared = self.graphs.len();
        for (number, graph) in self.graphs.iter_mut().enumerate() {
            graph.take_into(number as u32, out);
        }
        out.new_rules.append(&mut self.rules);
    }

    fn columns_mut(&mut self) -> impl Iterator<Item = &mut ColumnState> {
        self.graphs.iter_mut().flat_map(|graph| &mut graph.columns)
    }
}

impl GraphState {
    fn new(title: String, shape: GraphShape) -> Self {
        Self { title, shape, columns: Vec::new(), declared: 0, by_name: Vec::new(), last: 0, watches: Vec::new() }
    }

    fn find_or_add(
        &mut self,
        name: &str,
        unit: &'static str,
        aggregation: Aggregation,
        rules: &mut Vec<wire::AlertRule>,
        graph: Graph,
    ) -> u32 {
        if self.columns.get(self.last as usize).is_some_and(|column| column.name == name) {
            return self.last;
        }
        self.last = match self.search(name) {
            Ok(place) => self.by_name[place],
            Err(_) if self.columns.len() >= COLUMNS_MAX - 1 && name != OTHER_COLUMN => {
                return self.find_or_add(OTHER_COLUMN, unit, aggregation, rules, graph);
            }
            Err(place) => self.insert(place, name, unit, aggregation, rules, graph),
        };
        self.last
    }

    fn search(&self, name: &str) -> Result<usize, usize> {
        self.by_name.binary_search_by(|&number| self.columns[number as usize].name.as_str().cmp(name))
    }

    fn insert(
        &mut self,
        place: usize,
        name: &str,
        unit: &'static str,
        aggregation: Aggregation,
        rules: &mut Vec<wire::AlertRule>,
        graph: Graph,
    ) -> u32 {
        let number = self.columns.len() as u32;
        self.by_name.insert(place, number);
        self.columns.push(ColumnState { name: name.into(), unit, aggregation, cells: Vec::new(), last: 0 });
        rules.extend(self.watches.iter().map(|(id, rule)| wire_rule(graph.0, number, format!("{id}:{name}"), *rule)));
        number
    }

    fn take_into(&mut self, number: u32, out: &mut wire::Findings) {
        for column in &self.columns[self.declared..] {
            let ColumnState { name, unit, aggregation, .. } = column;
            out.new_columns.push(wire::GraphColumn { graph: number, name: name.clone(), unit: (*unit).into(), aggregation: *aggregation });
        }
        self.declared = self.columns.len();
        for (index, column) in self.columns.iter_mut().enumerate() {
            for (time_s, value) in column.cells.drain(..) {
                out.cells.graph.push(number);
                out.cells.column.push(index as u32);
                out.cells.time_s.push(time_s);
                out.cells.value.push(value);
            }
        }
    }
}

impl ColumnState {
    /// Merges a value into its cell. NaN says nothing and the host refuses it, so it is left out.
    fn add(&mut self, row_s: u32, value: f64) {
        if value.is_nan() {
            return;
        }
        if self.cells.get(self.last).is_none_or(|cell| cell.0 != row_s) {
            self.last = match self.cells.binary_search_by_key(&row_s, |cell| cell.0) {
                Ok(place) => place,
                Err(place) => {
                    self.cells.insert(place, (row_s, value));
                    self.last = place;
                    return;
                }
            };
        }
        let cell = &mut self.cells[self.last].1;
        *cell = match self.aggregation {
            Aggregation::Sum => *cell + value,
            Aggregation::Min => cell.min(value),
            Aggregation::Max => cell.max(value),
        };
    }
}

fn wire_rule(graph: u32, column: u32, id: String, rule: Rule) -> wire::AlertRule {
    let Rule { test, threshold, window_rows, throttle_s } = rule;
    wire::AlertRule { graph, column, id, test, threshold, window_rows, throttle_s }
}
