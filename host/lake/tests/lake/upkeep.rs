//! Compaction and checkpoints keep rows and how far their sources came.

use crate::kit::*;
use std::sync::Arc;
use std::time::Duration;
use tidemill_bus::SystemFiles;
use tidemill_lake::LakeLimits;

const ORDER: &str = "shop/order_v1";

fn limits() -> LakeLimits {
    LakeLimits { small_files_max: 5, checkpoint_commits: 6, maintenance_interval: Duration::from_millis(100), ..LakeLimits::default() }
}

fn files(world: &World) -> usize {
    world.table(ORDER).snapshot().expect("a snapshot").log_data().num_files()
}

/// Ten commits by a lake that never moves its positions, with upkeep in between.
pub fn compacted(world: &World) {
    let bus = Arc::new(Forgetful::of(&world.bus, "lake"));
    let lake = world.start_with(bus, Duration::from_millis(10), Arc::new(SystemFiles), limits());
    for offset in 0..10 {
        world.orders(offset, &[r#"{"n":3,"o":{"text":"t"}}"#]);
        until("a row", || lake.progress().rows() == offset as u64 + 1);
    }
    until("a compaction", || lake.progress().tables[ORDER].compactions > 0 && files(world) <= 5);
    until("a checkpoint", || world.table_folder(ORDER).join("_delta_log/_last_checkpoint").exists());
    drop(lake);
}

#[test]
fn compaction_keeps_rows_and_watermarks() {
    let world = World::new();
    compacted(&world);
    world.assert_ids(ORDER, 0..10);
    world.orders(10, &["{}"]);
    let lake = world.start();
    until("positions", || world.lag() == 0);
    assert_eq!(lake.progress().tables[ORDER].repeated, 10, "the log still knows how far the sources came");
    lake.stop();
    world.assert_ids(ORDER, 0..11);
}

#[test]
fn a_compacted_table_with_new_columns_reads_old_files() {
    let world = World::new();
    let lake = world.start();
    for offset in 0..4 {
        world.orders(offset, &[r#"{"n":1,"o":{"text":"old"}}"#]);
        until("a row", || lake.progress().rows() == offset as u64 + 1);
    }
    lake.stop();
    world.schema(serde_json::json!({"n": {"type": "integer"}, "new": {"type": "array", "items": {"type": "string"}},
        "o": {"type": "object", "properties": {"text": {"type": "string"}, "deep": {"type": "boolean"}}}}));
    let lake = world.start_with(Arc::clone(&world.bus), Duration::from_millis(10), Arc::new(SystemFiles), limits());
    for offset in 4..8 {
        world.orders(offset, &[r#"{"n":1,"new":["a"],"o":{"text":"new","deep":true}}"#]);
        until("a row", || lake.progress().rows() == offset as u64 - 3);
    }
    until("a compaction", || lake.progress().tables[ORDER].compactions > 0);
    lake.stop();
    world.assert_ids(ORDER, 0..8);
}
