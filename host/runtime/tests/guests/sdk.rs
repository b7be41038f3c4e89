//! The tutorial's plugin, made with the Rust SDK, called as the host calls it.

use std::path::Path;

use tidemill_build::BuildError;
use tidemill_runtime::{Batch, CellRef, ColumnKind, ColumnsBuilder, Limits, Runtime, RuntimeOptions, SharedColumn};

#[test]
fn a_plugin_of_the_sdk_keeps_the_contract() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/example-count");
    let folder = tempfile::tempdir().expect("a folder");
    let built = match tidemill_build::build(&dir, Some(&folder.path().join("count.wasm")), &mut |line| eprintln!("{line}")) {
        Ok(built) => built,
        Err(error @ BuildError::NoToolchain { .. }) => {
            eprintln!("SKIPPED a_plugin_of_the_sdk_keeps_the_contract: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let runtime = Runtime::new(RuntimeOptions::default()).expect("a runtime");
    let plugin = runtime.load("count", &std::fs::read(built.component).expect("the component")).expect("a plugin");
    let mut instance = plugin.open("{}", &Limits::default()).expect("open");
    let paths: Vec<_> = instance.plan().subscription.columns.iter().map(|column| column.path.as_str()).collect();
    assert_eq!(paths, ["Timestamp", "Fields[normalizedChannel]"]);
    let requests = instance.plan().subscription.columns.clone();
    let mut builder = ColumnsBuilder::new(&requests);
    let mut shared = [ColumnKind::Int64, ColumnKind::Text].map(SharedColumn::new);
    for (second, channel) in [(60, Some("release")), (61, Some("release")), (125, None)] {
        builder.int64(0, Some(second * 1_000_000_000));
        builder.bytes(1, channel.map(str::as_bytes));
        builder.finish_row();
        shared[0].push(CellRef::Int64(second * 1_000_000_000));
        shared[1].push(channel.map_or(CellRef::Null, |channel| CellRef::Bytes(channel.as_bytes())));
    }
    let batch = |columns| Batch { partition: 0, rows: 3, now_ms: 125_000, columns };
    let findings = instance.process(&batch(builder.take())).expect("sound");
    let column = |name: &str| findings.new_columns.iter().find(|column| column.name == name).map(|column| column.column);
    let mut cells: Vec<_> = findings.cells.iter().map(|cell| (Some(cell.column), cell.time_s / 60, cell.value)).collect();
    cells.sort_by_key(|(_, minute, _)| *minute);
    assert_eq!(findings.new_graphs.len(), 1);
    assert_eq!(cells, [(column("release"), 1, 2.0), (column("none"), 2, 1.0)]);
    assert!(plugin.has_dictionary());
    let mut other = plugin.open("{}", &Limits::default()).expect("open");
    let mut with_dictionaries = ColumnsBuilder::with_dictionaries(&requests);
    with_dictionaries.gather(&shared, &[0, 1], &[0, 1, 2]);
    let columns = with_dictionaries.take();
    let dictionaries = columns.dictionaries.as_ref().expect("there is a text column");
    assert_eq!(
        (&dictionaries.texts[..], &dictionaries.codes[..], &columns.arena[..]),
        (&[2][..], &[0, 0, 0, 0, 1, 0][..], &b"release"[..])
    );
    assert_eq!(other.process(&batch(columns)).expect("sound"), findings, "the same of texts that are there once");
    let again = instance.on_timer(0).expect("no timers");
    assert!(again.cells.is_empty());
}
