//! What the SDK makes of a batch and answers, through a real component on the real runtime: the two sides of the WIT were
//! written apart.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use tidemill_build::{BuildError, Kind, build_in, new};
use tidemill_runtime::{
    Batch, CallErrorKind, Cell, ColumnsBuilder, Fate, Instance, Limits, Plugin, Runtime, RuntimeOptions, Scope, Target,
};

const CHECKED_INT: i64 = 9_007_199_254_740_993;
const NANOSECONDS: i64 = 1_522_360_830_123_456_789;

/// Builds a guest and loads it, once; `None`, and a word about it, where there is no toolchain.
fn load(kind: Kind) -> Option<Plugin> {
    static PLUGINS: [OnceLock<Option<Plugin>>; 3] = [const { OnceLock::new() }; 3];
    let source = match kind {
        Kind::Decoder => include_str!("guests/echo_decoder.rs"),
        Kind::Analysis => include_str!("guests/echo_analysis.rs"),
        Kind::Output => include_str!("guests/echo_output.rs"),
    };
    PLUGINS[kind as usize].get_or_init(|| build_and_load(kind, source)).clone()
}

fn build_and_load(kind: Kind, source: &str) -> Option<Plugin> {
    let target_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/target");
    let name = format!("echo-{kind}");
    let dir = target_dir.join("projects").join(&name);
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    new(&name, kind, "rust", &dir).unwrap();
    fs::write(dir.join("src/lib.rs"), source).unwrap();
    let built = match build_in(Some(&target_dir), &dir, None, &mut |_| {}) {
        Err(error @ BuildError::NoToolchain { .. }) => {
            eprintln!("SKIPPED {name} on the runtime: {error}");
            return None;
        }
        result => result.unwrap(),
    };
    let runtime = Runtime::new(RuntimeOptions { cache_dir: None }).unwrap();
    Some(runtime.load(&name, &fs::read(built.component).unwrap()).unwrap())
}

fn open(plugin: &Plugin, config: &str) -> Instance {
    plugin.open(config, &Limits::default()).unwrap()
}

/// A batch of rows, each filled by a function of the builder and the row.
fn batch(instance: &Instance, rows: u32, fill: impl Fn(&mut ColumnsBuilder, u32)) -> Batch {
    let mut builder = ColumnsBuilder::new(&instance.plan().subscription.columns);
    for row in 0..rows {
        fill(&mut builder, row);
        builder.finish_row();
    }
    Batch { rows, columns: builder.take(), ..Batch::default() }
}

/// A row in which every column has a value, and one in which only the required one has.
fn fill_analysis(builder: &mut ColumnsBuilder, row: u32) {
    builder.int64(0, Some(NANOSECONDS));
    if row > 0 {
        return;
    }
    builder.int64(1, Some(CHECKED_INT));
    builder.float64(2, Some(-0.5));
    builder.boolean(3, Some(true));
    builder.bytes(4, Some("é".as_bytes()));
    builder.bytes(5, Some(&[0, 255]));
    builder.bytes(6, Some(b"{\"a\": 1}"));
    builder.begin_run(7);
    builder.int64(7, Some(i64::MIN));
    builder.int64(7, Some(2));
    builder.end_run(7);
    builder.begin_run(8);
    builder.bytes(8, Some(b""));
    builder.bytes(8, Some(b"x"));
    builder.end_run(8);
    for (column, key) in [(9, "17"), (10, "name"), (11, "on")] {
        builder.begin_run(column);
        builder.entry(column, key.as_bytes());
        match column {
            9 => builder.int64(column, Some(3)),
            10 => builder.bytes(column, Some(b"value")),
            _ => builder.boolean(column, Some(true)),
        }
        builder.end_run(column);
    }
}

/// A batch of rows that have nothing but a text in the column of that number.
fn texts(instance: &Instance, column: usize, texts: &[&str]) -> Batch {
    batch(instance, texts.len() as u32, |builder, row| builder.bytes(column, Some(texts[row as usize].as_bytes())))
}

#[test]
fn an_analysis_plugin_reads_every_kind_and_shape() {
    let Some(plugin) = load(Kind::Analysis) else { return };
    assert!(plugin.has_state() && plugin.has_timers());
    let mut instance = open(&plugin, r#"{"window": 7}"#);
    let subscription = &instance.plan().subscription;
    assert_eq!((subscription.matcher.as_str(), subscription.scope, subscription.tick_ms), ("Type == 'validated'", Scope::Partition, 1000));

    let input = batch(&instance, 2, fill_analysis);
    let found = instance.process(&input).unwrap();
    let said: Vec<_> = found.alerts.iter().map(|alert| (alert.row, alert.detail.as_str())).collect();
    let full = concat!(
        r#"1522360830123456789 Some(9007199254740993) Some(-0.5) Some(true) Some("é") Some([0, 255]) Some("{\"a\": 1}") "#,
        r#"[-9223372036854775808, 2] ["", "x"] [(17, 3)] [("name", "value")] [("on", true)]"#
    );
    let empty = "1522360830123456789 None None None None None None [] [] [] [] []";
    assert_eq!(said, [(0, full), (1, empty)]);
    let messages: Vec<_> = found.messages.iter().map(|message| (message.row, message.key)).collect();
    assert_eq!(messages, [(0, "key"), (1, "key")]);
    assert!(found.messages.iter().all(|message| message.bytes.starts_with(&[0x0A, 16])), "Heka messages begin with the Uuid");
    let names: Vec<_> = found.new_columns.iter().map(|column| (column.column, column.name.as_str())).collect();
    assert_eq!(names, [(0, "é"), (1, "none")]);
    let cells: Vec<_> = found.cells.iter().map(|cell| (cell.graph, cell.column, cell.time_s, cell.value)).collect();
    assert_eq!(cells, [(0, 0, 1_522_360_800, 1.0), (0, 1, 1_522_360_800, 2.0)]);
    let rules: Vec<_> = found.new_rules.iter().map(|rule| (rule.id.as_str(), rule.window_rows)).collect();
    assert_eq!(rules, [("silent:é", 7), ("silent:none", 7)]);
    assert_eq!((found.payloads.len(), &found.payloads[0].data[..]), (1, &b"none"[..]));
    assert_eq!(instance.report().metrics[0].delta, 2.0);
}

#[test]
fn state_and_timers_reach_the_plugin() {
    let Some(plugin) = load(Kind::Analysis) else { return };
    let mut first = open(&plugin, "{}");
    let input = batch(&first, 2, fill_analysis);
    first.process(&input).unwrap();
    let state = first.snapshot().unwrap();
    let mut second = open(&plugin, "{}");
    second.restore(&state, "0123456789ab").unwrap();
    assert_eq!(second.report().log[0].text, "0123456789ab");
    assert_eq!(second.snapshot().unwrap(), state);
    let found = second.process(&input).unwrap();
    assert_eq!(found.cells.last().map(|cell| cell.value), Some(4.0), "counting goes on");
    assert_eq!(found.new_graphs.len(), 1, "an instance that was restored declares again");
    assert!(first.process(&input).unwrap().new_graphs.is_empty(), "and one that was not does not");

    let ticked = second.on_timer(5_000).unwrap();
    assert_eq!((ticked.messages.len(), ticked.messages.iter().next().map(|message| message.row)), (1, Some(u32::MAX)));
    let error = second.restore(&[1], "0123456789ab").unwrap_err();
    assert!(error.message.contains("the state ends early"), "{error}");
}

#[test]
fn a_panic_leaves_its_text_and_a_failure_its_code() {
    let Some(plugin) = load(Kind::Analysis) else { return };
    let mut instance = open(&plugin, "{}");
    let input = texts(&instance, 4, &["fine", "panic"]);
    let error = instance.process(&input).unwrap_err();
    assert!(matches!(error.kind, CallErrorKind::Trap), "{error:?}");
    let log: Vec<_> = instance.report().log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(log[0], "about to panic");
    assert!(log[1].starts_with("panicked at src/lib.rs:") && log[1].ends_with("asked to panic at row 1"), "{log:?}");
    assert!(error.backtrace.contains("Echo"), "the backtrace has names: {}", error.backtrace);

    let mut instance = open(&plugin, "{}");
    let input = texts(&instance, 4, &["fail"]);
    let error = instance.process(&input).unwrap_err();
    assert!(matches!(error.kind, CallErrorKind::Failure { code: 9 }), "{error:?}");
    let refused = plugin.open(r#"{"windw": 1}"#, &Limits::default()).unwrap_err();
    assert!(refused.message.contains("`windw`, which this plugin does not use; it reads: window"), "{refused}");
}

#[test]
fn a_decoder_answers_with_every_kind() {
    let Some(plugin) = load(Kind::Decoder) else { return };
    let mut instance = open(&plugin, "{}");
    let plan = instance.plan();
    let fields: Vec<_> = plan.fields.iter().map(|field| (field.name.as_str(), field.representation.as_str())).collect();
    assert_eq!(fields, [("int", "ms"), ("float", ""), ("flag", ""), ("text", ""), ("bytes", ""), ("json", "json")]);
    let sections: Vec<_> = plan.section_plans[0].iter().map(|section| (section.path.as_str(), section.fate)).collect();
    assert_eq!(sections, [("/environment/system", Fate::OwnField), ("/log", Fate::Drop)]);

    let names = ["", "reject", "other", "last"];
    let input = batch(&instance, 4, |builder, row| {
        builder.bytes(3, Some(names[row as usize].as_bytes()));
        if row < 2 {
            builder.int64(0, Some(CHECKED_INT));
            builder.float64(1, Some(0.25));
            builder.boolean(2, Some(true));
            builder.bytes(4, Some(&[0, 255]));
            builder.bytes(5, Some(b"[1, 2]"));
        }
    });
    let decoded = instance.decode(&input).unwrap();
    let row = |row: u32| (0..6).map(|field| decoded.cell(field, row)).collect::<Vec<_>>();
    let full =
        [Cell::Int64(CHECKED_INT), Cell::Float64(0.25), Cell::Bool(true), Cell::Text(""), Cell::Bytes(&[0, 255]), Cell::Json(b"[1, 2]")];
    assert_eq!(row(0), full);
    assert_eq!(row(1), [Cell::Null; 6], "a rejected row leaves nothing");
    assert_eq!(row(3), [Cell::Null, Cell::Null, Cell::Null, Cell::Text("last"), Cell::Null, Cell::Null]);
    assert_eq!((0..4).map(|row| decoded.plan_of(row)).collect::<Vec<_>>(), [0, 0, 1, 0]);
    let rejections: Vec<_> = decoded.rejections.iter().map(|rejection| (rejection.row, rejection.code, rejection.text.as_str())).collect();
    assert_eq!(rejections, [(1, 7, "asked to reject")]);
}

#[test]
fn an_output_plugin_reaches_every_target() {
    let Some(plugin) = load(Kind::Output) else { return };
    assert!(plugin.open("{}", &Limits::default()).unwrap_err().message.contains("the configuration lacks `url`"));
    let mut instance = open(&plugin, r#"{"url": "http://127.0.0.1:9/"}"#);
    let input = texts(&instance, 0, &["http", "object", "append", "bus", "nowhere", "http"]);
    let sent = instance.write(&input).unwrap();
    let sent: Vec<_> = sent.iter().map(|delivery| (&delivery.target, delivery.first_row, delivery.last_row, &delivery.body[..])).collect();
    let headers = vec![("Content-Type".into(), "text/plain".into())];
    let http = Target::Http { method: "POST".into(), url: "http://127.0.0.1:9/".into(), headers };
    let (object, append) = (Target::Object("a/b".into()), Target::Append("log".into()));
    let bus = Target::Bus { topic: "own".into(), key: vec![0, 255] };
    let expected: [(&Target, u32, u32, &[u8]); 4] =
        [(&object, 1, 1, b"1"), (&append, 2, 2, b"2"), (&bus, 3, 3, b"3"), (&http, 0, 5, b"05")];
    assert_eq!(sent, expected);
}
