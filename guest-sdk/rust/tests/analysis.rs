//! What an analysis plugin answers: aggregation, declarations, restore.

use tidemill_guest::analysis::*;
use tidemill_guest::testing::{self, Cell, Found, assert_analysis_invariant, assert_analysis_state_invariant, log_lines, metrics};

/// A plugin that does one of everything.
struct Everything {
    time: Column<Timestamp, Required>,
    name: Column<Text>,
    size: Column<Int64>,
    parts: Column<Int64, Many>,
    counts: Graph,
    slowest: GraphColumn,
    fail_at: i64,
    seen: u64,
}

impl Analysis for Everything {
    fn open(config: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        let counts = graphs.graph("counts", GraphShape::new(60, 60));
        let sizes = graphs.graph("sizes", GraphShape::new(60, 10).unit("B").aggregation(Aggregation::Max));
        graphs.watch(counts, "silent", Rule::inactive(5));
        let slowest = graphs.column(sizes, "max");
        graphs.watch_column(slowest, "large", Rule::above(1e6, 1).throttle_s(60));
        read.matcher("Type == 'validated'").tick_ms(1000);
        let fail_at = config.int("fail_at")?.unwrap_or(-1);
        let (name, size, parts) = (read.column("/name"), read.column("/size"), read.column("/parts/*/n"));
        Ok(Self { time: read.timestamp(), name, size, parts, counts, slowest, fail_at, seen: 0 })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let time = row.get(self.time);
        self.seen += 1;
        out.graph(self.counts).add(time.seconds(), row.get(self.name).unwrap_or("none"), 1.0);
        out.add(self.slowest, time.seconds(), row.get(self.parts).map(|part| part as f64).fold(f64::NAN, f64::max));
        if row.get(self.size) == Some(self.fail_at) {
            return Err(Failure::new("this one").code(7));
        }
        if row.get(self.size).is_some_and(|size| size > 1000) {
            log(Level::Warn, "large");
            metric_add("large", 1.0);
            out.alert("large", "a large one", format!("{:?}", row.get(self.size)), 60);
            out.message_with_key("key", Message::new("large", time).logger("test").int("size", "B", 1001).text("n", "é"));
            out.payload("latest", "text/plain", b"large".to_vec());
        }
        Ok(())
    }
}

impl Timers for Everything {
    fn tick(&mut self, now: Time, out: &mut Findings<'_>) -> Result<(), Failure> {
        out.message(&Message::new("tick", now));
        Ok(())
    }
}

impl State for Everything {
    fn snapshot(&self) -> Vec<u8> {
        let mut writer = StateWriter::new(1);
        writer.u64(self.seen);
        writer.finish()
    }

    fn restore(&mut self, bytes: &[u8], _from_version: &str) -> Result<(), Failure> {
        self.seen = StateReader::new(bytes, 1)?.u64()?;
        Ok(())
    }
}

tidemill_guest::export_analysis!(Everything, state, timers);

fn rows() -> Vec<testing::Row> {
    let row = |second: i64, document: &str| testing::Row::document(document).set("Timestamp", Time::from_seconds(second));
    let mut rows = vec![
        row(119, r#"{"name": "b", "parts": [{"n": 3}, {"n": 9}, {"m": 1}]}"#),
        row(120, r#"{"name": "a", "parts": {"x": {"n": 4}}}"#),
        row(60, r#"{"name": "b", "size": 1001}"#),
        row(61, r#"{"name": 5}"#),
    ];
    rows.extend((0..20).map(|second| row(200 + second, r#"{"name": "a"}"#)));
    rows
}

#[test]
fn cells_are_one_per_column_and_row_of_the_graph() {
    let found = assert_analysis_state_invariant::<Everything>("{}", &rows());
    let cells = |column: &str| found.graphs[&("counts".to_string(), column.to_string())].cells.clone().into_iter().collect::<Vec<_>>();
    assert_eq!(cells("b"), [(60, 2.0)]);
    assert_eq!(cells("a"), [(120, 1.0), (180, 20.0)]);
    assert_eq!(cells("none"), [(60, 1.0)], "a number is no text");
    assert_eq!((found.cell("sizes", "max", 110), found.cell("sizes", "max", 120)), (Some(9.0), Some(4.0)));
    assert_eq!(found.cell("sizes", "max", 60), None, "NaN is left out");
}

#[test]
fn rules_hold_for_columns_that_come_later() {
    let mut found = assert_analysis_invariant::<Everything>("{}", &rows());
    found.rules.sort();
    let expected = [
        "large: sizes/max above 1000000 1",
        "silent:a: counts/a inactive 0 5",
        "silent:b: counts/b inactive 0 5",
        "silent:none: counts/none inactive 0 5",
    ];
    assert_eq!(found.rules, expected);
}

#[test]
fn messages_alerts_and_payloads_name_their_row() {
    let _ = (log_lines(), metrics());
    let found = testing::Analysis::<Everything>::open("{}").unwrap().feed(&rows()).unwrap();
    let Found { messages, alerts, payloads, .. } = found;
    assert_eq!((messages.len(), messages[0].row, messages[0].key.as_str()), (1, Some(2), "key"));
    assert_eq!((messages[0].type_.as_str(), messages[0].time), ("large", Time::from_seconds(60)));
    assert_eq!((&messages[0].fields["size"], &messages[0].fields["n"]), (&Cell::Int(1001), &Cell::from("é")));
    assert_eq!((alerts.len(), alerts[0].row, alerts[0].detail.as_str()), (1, Some(2), "Some(1001)"));
    assert_eq!(payloads["latest"], b"large");
    assert_eq!(log_lines(), [(Level::Warn, "large".to_string())]);
    assert_eq!(metrics()["large"], 1.0);
}

#[test]
fn a_failed_batch_leaves_nothing_behind() {
    let mut plugin = testing::Analysis::<Everything>::open(r#"{"fail_at": 13}"#).unwrap();
    let poison = testing::Row::document(r#"{"name": "new", "size": 13}"#);
    let failure = plugin.feed(&[rows()[0].clone(), poison]).unwrap_err();
    assert_eq!(failure, Failure { code: 7, text: "this one".into() });
    let found = plugin.feed(&rows()[..1]).unwrap();
    assert_eq!(found.cell("counts", "b", 60), Some(1.0), "the failed batch's cell is not there twice");
    assert_eq!(found.graphs.len(), 2, "{:?}", found.graphs);
}

#[test]
fn an_instance_that_was_restored_declares_again() {
    let mut plugin = testing::Analysis::<Everything>::open("{}").unwrap();
    let first = plugin.feed(&rows()[..2]).unwrap();
    let again = plugin.feed(&rows()[..2]).unwrap();
    plugin.restart().unwrap();
    let restored = plugin.feed(&rows()[..2]).unwrap();
    assert_eq!(restored.graphs, first.graphs);
    assert_eq!((first.rules.len(), again.rules.len(), restored.rules.len()), (3, 0, 3));
    assert_eq!(plugin.plugin().seen, 6);
}

#[test]
fn a_tick_has_no_row() {
    let found = testing::Analysis::<Everything>::open("{}").unwrap().tick(Time::from_ms(5)).unwrap();
    assert_eq!((found.messages[0].row, found.messages[0].time), (None, Time::from_ms(5)));
}

#[test]
fn names_beyond_the_limit_go_to_other() {
    let row = |number: usize| testing::Row::document(&format!(r#"{{"name": "n{number:03}"}}"#));
    let rows: Vec<_> = (0..300).map(row).collect();
    let found = testing::Analysis::<Everything>::open("{}").unwrap().feed(&rows).unwrap();
    let time_s = 1_500_000_000;
    assert_eq!(found.graphs.keys().filter(|name| name.0 == "counts").count(), 256);
    assert_eq!(found.cell("counts", "n254", time_s), Some(1.0));
    assert_eq!(found.cell("counts", OTHER_COLUMN, time_s), Some(45.0));
}

/// Counts and sums row by row, or all rows at once.
struct Sums<const AT_ONCE: bool> {
    time: Column<Timestamp, Required>,
    name: Column<Text>,
    size: Column<Float64>,
    counts: Graph,
    sum: GraphColumn,
}

impl<const AT_ONCE: bool> Analysis for Sums<AT_ONCE> {
    fn open(_: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        let counts = graphs.graph("counts", GraphShape::new(60, 60));
        let sizes = graphs.graph("sizes", GraphShape::new(60, 7));
        let (name, size) = (read.column("/name"), read.column("/size"));
        Ok(Self { time: read.timestamp(), name, size, counts, sum: graphs.column(sizes, "sum") })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let seconds = row.get(self.time).seconds();
        out.graph(self.counts).add(seconds, row.get(self.name).unwrap_or("none"), 1.0);
        if let Some(size) = row.get(self.size) {
            out.add(self.sum, seconds, size);
        }
        Ok(())
    }

    fn batch(&mut self, rows: &Rows<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        if !AT_ONCE {
            return rows.iter().try_for_each(|row| self.message(row, out));
        }
        out.count_rows(rows, self.time, self.counts, self.name, "none");
        out.add_rows(rows, self.time, self.sum, self.size);
        Ok(())
    }
}

#[test]
fn all_rows_at_once_give_what_each_row_gives() {
    let mut rows = rows();
    let row = |number: i64| {
        let document = format!(r#"{{"name": "a name that is long, {}", "size": {}.5}}"#, number % 290, number * 37 % 1_000);
        testing::Row::document(&document).set("Timestamp", Time::from_ns(number * 7_919_000_000 % 600_000_000_000 - 3_000_000_000))
    };
    rows.extend((0..900).map(row));
    rows.push(testing::Row::document(r#"{"name": "\u00e9", "size": null}"#).set("Timestamp", Time::from_ns(i64::MAX)));
    // Within one row of the graphs, for all of several batches.
    rows.extend((0..100).map(|number| row(number).set("Timestamp", Time::from_ns(31_000_000_000 + number))));
    let at_once = assert_analysis_invariant::<Sums<true>>("{}", &rows);
    let one_by_one = assert_analysis_invariant::<Sums<false>>("{}", &rows);
    assert_eq!(at_once.graphs, one_by_one.graphs);
    assert!(at_once.cell("counts", OTHER_COLUMN, 0).is_some() && at_once.cell("sizes", "sum", 7).is_some());
}

/// Neither of the two functions.
struct Nothing;

impl Analysis for Nothing {
    fn open(_: &Config<'_>, read: &mut Subscription, _: &mut Graphs) -> Result<Self, Failure> {
        read.timestamp();
        Ok(Self)
    }
}

#[test]
fn a_plugin_without_message_and_batch_says_so() {
    let failure = testing::Analysis::<Nothing>::open("{}").unwrap().feed(&rows()).unwrap_err();
    assert_eq!(failure.text, "the plugin has neither `message` nor `batch`: write one of them");
}

/// Counts rows of the call: what no plugin may do.
struct PerBatch(Graph, Column<Timestamp, Required>);

impl Analysis for PerBatch {
    fn open(_: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        Ok(Self(graphs.graph("g", GraphShape::DAY_OF_MINUTES), read.timestamp()))
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        out.graph(self.0).add(row.get(self.1).seconds(), "c", f64::from(row.index()));
        Ok(())
    }
}

#[test]
#[should_panic(expected = "batches of 7 (left) differ from batches of 1 (right)")]
fn results_that_depend_on_the_batch_are_found() {
    assert_analysis_invariant::<PerBatch>("", &rows());
}

#[test]
fn a_configuration_with_a_misspelt_key_is_refused() {
    let failure = testing::Analysis::<Everything>::open(r#"{"failat": 1}"#).unwrap_err();
    assert_eq!(failure.text, "the configuration has `failat`, which this plugin does not use; it reads: fail_at");
}
