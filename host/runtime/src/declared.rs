//! What an instance declared so far: graphs, their columns and alert rules, each by number.

use std::collections::HashSet;
use std::fmt::Display;

use crate::bindings::tidemill::plugin::types as wit;
use crate::error::{Broken, broken};
use crate::findings::{Aggregation, AlertRule, AlertTest, Graph, GraphColumn, NAME_BYTES_MAX, check_name};
use crate::limits::{COLUMNS_MAX, Limits, within};

/// Most rows of a graph: 8 days of minutes.
const GRAPH_ROWS_MAX: u32 = 11_520;

/// Grows from call to call; lost with the instance.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    graphs: Vec<DeclaredGraph>,
    rule_ids: HashSet<String>,
    cells: u64,
}

#[derive(Debug)]
struct DeclaredGraph {
    title: String,
    rows: u32,
    seconds_per_row: u32,
    columns: Vec<GraphColumn>,
}

impl Declared {
    /// Numbers new graphs. A title declared again with the same shape keeps its number and is left out.
    pub(crate) fn graphs(&mut self, raw: Vec<wit::Graph>, limits: &Limits) -> Result<Vec<Graph>, Broken> {
        let mut new = Vec::with_capacity(raw.len());
        for (at, wit::Graph { title, rows, seconds_per_row }) in raw.into_iter().enumerate() {
            check_name(&format_args!("new-graphs[{at}].title"), &title)?;
            if !(1..=GRAPH_ROWS_MAX).contains(&rows) || seconds_per_row == 0 {
                return Err(broken!(
                    "`new-graphs[{at}]` {title:?} has {rows} rows of {seconds_per_row} s: use 1 to {GRAPH_ROWS_MAX} rows of at least 1 s"
                ));
            }
            if self.is_known_graph(at, &title, rows, seconds_per_row)? {
                continue;
            }
            within("graphs_max", limits.graphs_max, self.graphs.len() as u64, 1)?;
            let graph = self.graphs.len() as u32;
            self.graphs.push(DeclaredGraph { title: title.clone(), rows, seconds_per_row, columns: Vec::new() });
            new.push(Graph { graph, title, rows, seconds_per_row });
        }
        Ok(new)
    }

    fn is_known_graph(&self, at: usize, title: &str, rows: u32, seconds_per_row: u32) -> Result<bool, Broken> {
        match self.graphs.iter().find(|graph| graph.title == title) {
            Some(known) if (known.rows, known.seconds_per_row) == (rows, seconds_per_row) => Ok(true),
            Some(known) => Err(broken!(
                "`new-graphs[{at}]` {title:?} has {rows} rows of {seconds_per_row} s, but was declared with {} rows of {} s",
                known.rows,
                known.seconds_per_row
            )),
            None => Ok(false),
        }
    }

    /// Numbers new columns. A name declared again with the same unit and aggregation keeps its number and is left out.
    pub(crate) fn columns(&mut self, raw: Vec<wit::GraphColumn>, limits: &Limits) -> Result<Vec<GraphColumn>, Broken> {
        let mut new = Vec::with_capacity(raw.len());
        for (at, raw) in raw.into_iter().enumerate() {
            new.extend(self.column(at, raw, limits)?);
        }
        Ok(new)
    }

    fn column(&mut self, at: usize, raw: wit::GraphColumn, limits: &Limits) -> Result<Option<GraphColumn>, Broken> {
        let wit::GraphColumn { graph, name, unit, aggregation } = raw;
        check_name(&format_args!("new-columns[{at}].name"), &name)?;
        if unit.len() > NAME_BYTES_MAX {
            return Err(broken!("`new-columns[{at}].unit` has {} bytes, more than {NAME_BYTES_MAX}", unit.len()));
        }
        let graphs = self.graphs.len();
        let known = self.graphs.get_mut(graph as usize).ok_or_else(|| no_graph(&format_args!("new-columns[{at}].graph"), graph, graphs))?;
        let aggregation = Aggregation::from(aggregation);
        if let Some(same) = known.columns.iter().find(|column| column.name == name) {
            if same.unit == unit && same.aggregation == aggregation {
                return Ok(None);
            }
            return Err(broken!("`new-columns[{at}]` {name:?} was declared with another unit or aggregation"));
        }
        let columns = known.columns.len() as u64;
        within("graph_columns_max", limits.graph_columns_max.min(COLUMNS_MAX), columns, 1)?;
        within("graph_cells_max", limits.graph_cells_max, self.cells, known.rows.into())?;
        self.cells += u64::from(known.rows);
        let column = GraphColumn { graph, column: columns as u32, name, unit, aggregation };
        known.columns.push(column.clone());
        Ok(Some(column))
    }

    /// Checks rules; an id that was there is replaced and not counted again.
    pub(crate) fn rules(&mut self, raw: Vec<wit::AlertRule>, limits: &Limits) -> Result<Vec<AlertRule>, Broken> {
        let checked = raw.into_iter().enumerate().map(|(at, rule)| self.rule(at, rule, limits));
        checked.collect()
    }

    fn rule(&mut self, at: usize, raw: wit::AlertRule, limits: &Limits) -> Result<AlertRule, Broken> {
        let wit::AlertRule { graph, column, id, test, threshold, window_rows, throttle_s } = raw;
        check_name(&format_args!("new-rules[{at}].id"), &id)?;
        self.check_column(&format_args!("new-rules[{at}].graph"), &format_args!("new-rules[{at}].column"), graph, column)?;
        if !threshold.is_finite() {
            return Err(broken!("`new-rules[{at}].threshold` is {threshold}: use a finite number"));
        }
        let rows = self.graphs[graph as usize].rows;
        if !(1..=rows).contains(&window_rows) {
            return Err(broken!("`new-rules[{at}].window-rows` is {window_rows}: use 1 to the graph's {rows} rows"));
        }
        if !self.rule_ids.contains(&id) {
            within("rules_max", limits.rules_max, self.rule_ids.len() as u64, 1)?;
            self.rule_ids.insert(id.clone());
        }
        Ok(AlertRule { graph, column, id, test: test.into(), threshold, window_rows, throttle_s })
    }

    /// Whether graph and column were declared.
    pub(crate) fn check_column(&self, graph_is: &dyn Display, column_is: &dyn Display, graph: u32, column: u32) -> Result<(), Broken> {
        let Some(known) = self.graphs.get(graph as usize) else {
            return Err(no_graph(graph_is, graph, self.graphs.len()));
        };
        let columns = known.columns.len();
        if column as usize >= columns {
            return Err(broken!("`{column_is}` is {column}, but graph {:?} has {columns} columns", known.title));
        }
        Ok(())
    }
}

fn no_graph(what: &dyn Display, graph: u32, graphs: usize) -> Broken {
    broken!("`{what}` is {graph}, but {graphs} graphs are declared")
}

impl From<wit::Aggregation> for Aggregation {
    fn from(aggregation: wit::Aggregation) -> Self {
        match aggregation {
            wit::Aggregation::Sum => Self::Sum,
            wit::Aggregation::Min => Self::Min,
            wit::Aggregation::Max => Self::Max,
        }
    }
}

impl From<wit::AlertTest> for AlertTest {
    fn from(test: wit::AlertTest) -> Self {
        match test {
            wit::AlertTest::Inactive => Self::Inactive,
            wit::AlertTest::Above => Self::Above,
            wit::AlertTest::Below => Self::Below,
            wit::AlertTest::PercentChange => Self::PercentChange,
        }
    }
}
