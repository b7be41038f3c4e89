//! Every plugin of the repository gives equal results in batches of 1, of 7 and of all, with a snapshot and a restore in between:
//! the real components in the real runtime, fed with recorded pings.

use std::{collections::BTreeMap, fmt::Write as _, fs};
use tidemill_json::get;
use tidemill_message::{MessageRef, MessageWriter};
use tidemill_pipeline::columns::{ColumnPlan, Document, FillScratch};
use tidemill_runtime::{Batch, ColumnsBuilder, Decoded, Delivery, Findings, Instance, Kind, Limits, Plugin, Runtime, RuntimeOptions};
use tidemill_testkit::Fixture;
use tidemill_tests::{component, root, shared_data};

/// The batches: of so many rows.
const SIZES: [usize; 3] = [1, 7, usize::MAX];

/// A plugin and its configuration.
const PLUGINS: [(&str, &str); 4] = [
    ("moz-telemetry", "{}"),
    ("doctype-monitor", r#"{"seconds_per_row": 2, "rows": 100}"#),
    ("http-json", r#"{"url": "http://sink.example/in", "columns": ["/payload/info", "/environment/system/os"], "body_bytes_max": 2000}"#),
    ("example-count", "{}"),
];

/// A message as a plugin of its kind sees it, and its document.
struct Row {
    message: Vec<u8>,
    document: Vec<u8>,
}

#[test]
fn every_plugin_is_invariant_under_batching() {
    let test = "every_plugin_is_invariant_under_batching";
    let rows = rows(test);
    let runtime = Runtime::new(RuntimeOptions::default()).expect("a runtime");
    for (name, config) in PLUGINS {
        let Some(path) = component(test, name) else { return };
        let plugin = runtime.load(name, &fs::read(path).expect("a component")).expect("a plugin");
        let outcomes = SIZES.map(|size| Run::of(&plugin, config, &rows, size));
        let [one, seven, all] = &outcomes;
        assert!(!all.text.is_empty(), "{name} says nothing");
        assert_same(name, "1", &one.text, &all.text);
        assert_same(name, "7", &seven.text, &all.text);
        eprintln!(
            "{name}: {} rows alike in {} calls of 1, {} of 7 and {} of all; {} restores; {} bytes of results",
            all.rows,
            one.calls,
            seven.calls,
            all.calls,
            one.restores,
            all.text.len()
        );
    }
}

#[test]
fn every_plugin_of_the_repository_is_tested_here() {
    let mut found: Vec<String> = fs::read_dir(root().join("plugins"))
        .expect("a folder")
        .filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.join("src/lib.rs").exists()))
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    found.sort();
    let mut tested = PLUGINS.map(|(name, _)| name.to_owned());
    tested.sort();
    assert_eq!(found, tested);
}

fn assert_same(name: &str, size: &str, one: &str, all: &str) {
    let differing = one.lines().zip(all.lines()).find(|(one, all)| one != all);
    assert!(one == all, "{name} in batches of {size} differs: {differing:?}");
}

/// Recorded pings, the project's own and the real repository's where it is there, some of them as errors.
fn rows(test: &str) -> Vec<Row> {
    let mut folders = vec![root().join("tests/fixtures")];
    folders.extend(shared_data(test).map(|data| data.join("pipeline-schemas/validation")));
    let fixtures = tidemill_testkit::load(&folders).expect("recorded pings");
    fixtures.iter().enumerate().map(|(number, fixture)| row(number, fixture)).collect()
}

fn row(number: usize, fixture: &Fixture) -> Row {
    let mut message = vec![];
    let time = 1_700_000_000_000_000_000 + number as i64 * 700_000_000;
    let mut writer = MessageWriter::new(&mut message, &[number as u8; 16], time);
    writer.type_(if number % 6 == 5 { b"error" } else { b"validated" }).logger(fixture.namespace.as_bytes());
    writer.field_string("documentId", format!("id-{number}").as_bytes()).field_string("docType", fixture.doctype.as_bytes());
    writer.field_string("appName", b"Firefox").field_string("appUpdateChannel", [&b"nightly"[..], b"beta", b"esr"][number % 3]);
    writer.field_string("geoCountry", [&b"US"[..], b"??"][number % 2]);
    if !number.is_multiple_of(4) {
        writer.field_string("normalizedChannel", [&b"nightly"[..], b"beta", b"release"][number % 3]);
    }
    writer.field_bytes("submission", "json", &fixture.body);
    writer.field_bytes("content", "", b"as sent");
    Row { message, document: fixture.body.clone() }
}

/// Values found in the document itself.
struct Found<'a> {
    document: &'a [u8],
    pointers: &'a [String],
}

impl Document for Found<'_> {
    fn value(&self, pointer: usize) -> Option<&[u8]> {
        get(self.document, &self.pointers[pointer])
    }

    fn each(&self, _: usize, _: &mut dyn FnMut(&[u8])) {
        panic!("no plugin of the repository asks for a pointer with *");
    }
}

/// Everything that a plugin said, in a form that does not depend on batches.
#[derive(Default)]
struct Run {
    text: String,
    rows: usize,
    calls: usize,
    restores: usize,
    names: Names,
    cells: BTreeMap<(String, u32), f64>,
    bodies: BTreeMap<String, Vec<u8>>,
}

/// What an instance calls its graphs and columns.
#[derive(Default)]
struct Names {
    graphs: BTreeMap<u32, (String, u32)>,
    columns: BTreeMap<(u32, u32), String>,
}

impl Run {
    fn of(plugin: &Plugin, config: &str, rows: &[Row], size: usize) -> Self {
        let mut run = Self::default();
        let mut instance = open(plugin, config);
        for batch in rows.chunks(size.min(rows.len())) {
            if let Some(batch) = fill(&instance, batch) {
                run.rows += batch.rows as usize;
                run.call(plugin.kind(), &mut instance, &batch);
                instance = run.replaced(plugin, config, instance);
            }
        }
        run.finish();
        run
    }

    /// After every fifth call another instance goes on with the state; a plugin without state just starts anew.
    fn replaced(&mut self, plugin: &Plugin, config: &str, mut instance: Instance) -> Instance {
        self.calls += 1;
        if !self.calls.is_multiple_of(5) {
            return instance;
        }
        self.restores += 1;
        let state = plugin.has_state().then(|| instance.snapshot().expect("a snapshot"));
        let mut fresh = open(plugin, config);
        assert_eq!(fresh.plan(), instance.plan(), "the plan is the same each time");
        match state {
            Some(state) => fresh.restore(&state, plugin.version()).expect("restored"),
            // Its numbers begin anew, as after a restart of the host.
            None => self.names = Names::default(),
        }
        fresh
    }

    fn call(&mut self, kind: Kind, instance: &mut Instance, batch: &Batch) {
        match kind {
            Kind::Decoder => {
                let fields = instance.plan().fields.clone();
                let decoded = instance.decode(batch).expect("decoded");
                self.decoded(&fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), &decoded);
            }
            Kind::Analysis => {
                let findings = instance.process(batch).expect("processed");
                self.findings(&findings);
            }
            Kind::Output => {
                let deliveries = instance.write(batch).expect("written");
                deliveries.into_iter().for_each(|delivery| self.delivery(delivery));
            }
        }
    }

    fn decoded(&mut self, fields: &[&str], decoded: &Decoded) {
        for row in 0..decoded.rows() {
            let _ = write!(self.text, "plan {}", decoded.plan_of(row));
            for (number, name) in fields.iter().enumerate() {
                let _ = write!(self.text, " {name}={:?}", decoded.cell(number, row));
            }
            let rejection = decoded.rejections.iter().find(|rejection| rejection.row == row);
            let _ = writeln!(self.text, " {:?}", rejection.map(|rejection| (rejection.code, &rejection.text)));
        }
    }

    fn findings(&mut self, findings: &Findings) {
        let Findings { messages, new_graphs, new_columns, new_rules, cells, payloads, alerts } = findings;
        for graph in new_graphs {
            self.names
                .graphs
                .insert(graph.graph, (format!("{} {}x{}", graph.title, graph.rows, graph.seconds_per_row), graph.seconds_per_row));
        }
        for column in new_columns {
            let name = format!("{}/{} {:?}", self.names.graphs[&column.graph].0, column.name, column.aggregation);
            self.names.columns.insert((column.graph, column.column), name);
        }
        for rule in new_rules {
            // A rule is said again by each new instance: as a set they are the same.
            let name = format!(
                "rule {} {} {:?} {} {} {}",
                self.names.columns[&(rule.graph, rule.column)],
                rule.id,
                rule.test,
                rule.threshold,
                rule.window_rows,
                rule.throttle_s
            );
            self.cells.insert((name, 0), 1.0);
        }
        for cell in cells {
            let row = cell.time_s / self.names.graphs[&cell.graph].1;
            *self.cells.entry((self.names.columns[&(cell.graph, cell.column)].clone(), row)).or_default() += cell.value;
        }
        for message in messages.iter() {
            let _ = writeln!(self.text, "message {} {:?}", message.key, message.bytes);
        }
        for alert in alerts {
            let _ = writeln!(self.text, "alert {} {} {} {}", alert.id, alert.summary, alert.detail, alert.throttle_s);
        }
        for payload in payloads {
            self.bodies.insert(format!("payload {}", payload.name), payload.data.clone());
        }
    }

    /// Of deliveries, the bodies one behind the other are the result: where they are cut depends on the batch.
    fn delivery(&mut self, delivery: Delivery) {
        self.bodies.entry(format!("{:?}", delivery.target)).or_default().extend(delivery.body);
    }

    fn finish(&mut self) {
        let Self { text, cells, bodies, .. } = self;
        for ((name, row), value) in cells {
            let _ = writeln!(text, "{name} {row} {value}");
        }
        for (target, body) in bodies {
            let _ = writeln!(text, "{target}: {}", String::from_utf8_lossy(body));
        }
    }
}

fn open(plugin: &Plugin, config: &str) -> Instance {
    plugin.open(config, &Limits::default()).expect("an instance")
}

/// The rows that the plugin subscribes to, as a batch; `None` where there is none.
fn fill(instance: &Instance, rows: &[Row]) -> Option<Batch> {
    let subscription = &instance.plan().subscription;
    let matcher = tidemill_message::Matcher::parse(&subscription.matcher).expect("a matcher");
    let plan = ColumnPlan::new(&subscription.columns).expect("columns");
    let (mut builder, mut scratch) = (ColumnsBuilder::new(&subscription.columns), FillScratch::default());
    let mut now_ms = 0;
    for row in rows {
        let message = MessageRef::parse(&row.message).expect("a message");
        if matcher.matches(&message) {
            let document = Found { document: &row.document, pointers: plan.pointers() };
            plan.fill_row(&message, &document, &mut builder, &mut scratch).expect("all required columns");
            now_ms = message.timestamp() / 1_000_000;
        }
    }
    let rows = builder.rows();
    (rows > 0).then(|| Batch { partition: 0, rows, now_ms, columns: builder.take() })
}
