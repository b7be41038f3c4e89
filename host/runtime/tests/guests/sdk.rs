//! The tutorial's plugin, made with the Rust SDK, called as the host calls it.

use std::path::Path;

use tidemill_build::BuildError;
use tidemill_runtime::{Batch, ColumnsBuilder, Limits, Runtime, RuntimeOptions};

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
    let mut builder = ColumnsBuilder::new(&instance.plan().subscription.columns);
    for (second, channel) in [(60, Some("release")), (61, Some("release")), (125, None)] {
        builder.int64(0, Some(second * 1_000_000_000));
        builder.bytes(1, channel.map(str::as_bytes));
        builder.finish_row();
    }
    let findings = instance.process(&Batch { partition: 0, rows: 3, now_ms: 125_000, columns: builder.take() }).expect("sound");
    let column = |name: &str| findings.new_columns.iter().find(|column| column.name == name).map(|column| column.column);
    let mut cells: Vec<_> = findings.cells.iter().map(|cell| (Some(cell.column), cell.time_s / 60, cell.value)).collect();
    cells.sort_by_key(|(_, minute, _)| *minute);
    assert_eq!(findings.new_graphs.len(), 1);
    assert_eq!(cells, [(column("release"), 1, 2.0), (column("none"), 2, 1.0)]);
    let again = instance.on_timer(0).expect("no timers");
    assert!(again.cells.is_empty());
}
