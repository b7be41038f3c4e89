//! The stage on an embedded bus: each row once, whatever goes wrong.

use crate::kit::*;
use arrow_array::{Array, cast::AsArray, types};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidemill_bus::SystemFiles;
use tidemill_lake::LakeLimits;

const ORDER: &str = "shop/order_v1";
const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn records_become_rows_and_positions_follow() {
    let world = World::new();
    let lake = world.start();
    world.orders(0, &[r#"{"n":1}"#; 30]);
    world.errors(30, 5, "error");
    world.errors(35, 3, "duplicate");
    until("rows", || lake.progress().rows() == 35);
    until("positions", || world.lag() == 0);
    let progress = lake.progress();
    assert_eq!(progress.tables.keys().collect::<Vec<_>>(), ["errors", ORDER]);
    lake.stop();
    world.assert_ids(ORDER, 0..30);
    world.assert_ids("errors", 30..35);
    let protocol = world.table(ORDER).snapshot().expect("a snapshot").protocol().clone();
    assert_eq!((protocol.min_reader_version(), protocol.min_writer_version()), (1, 2));
    let errors = world.batches("errors");
    let payload = errors[0].column_by_name("payload").expect("payload").as_binary::<i32>();
    assert_eq!(payload.value(0), b"\x1f\x8b\xff");
    let text = |name: &str| errors[0].column_by_name(name).expect("a column").as_string::<i32>().value(0).to_owned();
    assert_eq!((text("error_type"), text("error_message"), text("source")), ("schema".into(), "not valid".into(), "raw/0/1".into()));
}

#[test]
fn a_kill_between_commit_and_position_repeats_no_row() {
    let world = World::new();
    world.orders(0, &["{}"; 20]);
    for last in [20, 27, 40] {
        let bus = Arc::new(Forgetful::of(&world.bus, "lake"));
        let lake = world.start_with(bus, Duration::from_millis(50), Arc::new(SystemFiles), LakeLimits::default());
        until("rows", || {
            world.lake_folder().join(ORDER).join("_delta_log/00000000000000000000.json").exists() && world.ids(ORDER).len() as i64 >= last
        });
        drop(lake);
        world.assert_ids(ORDER, 0..last);
        world.orders(last, if last == 20 { &["{}"; 7] } else { &["{}"; 13] });
    }
    assert_eq!(world.lag(), 53, "no position ever moved");
    let lake = world.start();
    until("positions", || world.lag() == 0);
    assert_eq!(lake.progress().tables[ORDER].repeated, 40);
    lake.stop();
    world.assert_ids(ORDER, 0..53);
}

#[test]
fn stopping_commits_what_is_buffered() {
    let world = World::new();
    let lake = world.start_with(Arc::clone(&world.bus), LONG, Arc::new(SystemFiles), LakeLimits::default());
    world.orders(0, &["{}"; 9]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(lake.progress().rows(), 0, "not due for an hour");
    lake.stop();
    world.assert_ids(ORDER, 0..9);
    assert_eq!(world.lag(), 0);
}

#[test]
fn a_host_that_was_overtaken_commits_nothing_twice() {
    let world = World::new();
    world.orders(0, &["{}"; 10]);
    let zombie_bus = Arc::new(Forgetful::of(&world.bus, "zombie"));
    let zombie = world.start_with(zombie_bus, LONG, Arc::new(SystemFiles), LakeLimits::default());
    std::thread::sleep(Duration::from_millis(500));
    let lake = world.start();
    until("rows", || lake.progress().rows() == 10);
    lake.stop();
    drop(zombie);
    world.assert_ids(ORDER, 0..10);
}

#[test]
fn rows_of_a_topic_that_was_made_anew_meanwhile_are_not_committed() {
    let world = World::new();
    let bus = Forgetful::of(&world.bus, "lake");
    let is_anew = Arc::clone(&bus.is_anew);
    is_anew.store(true, Ordering::Relaxed);
    let lake = world.start_with(Arc::new(bus), Duration::from_millis(50), Arc::new(SystemFiles), LakeLimits::default());
    world.orders(0, &["{}"; 9]);
    until("the member is asked", || !is_anew.load(Ordering::Relaxed));
    std::thread::sleep(Duration::from_millis(200));
    lake.stop();
    assert!(!world.table_folder(ORDER).exists(), "they will be read again, under another name");
    let lake = world.start();
    until("rows", || lake.progress().rows() == 9);
    lake.stop();
    world.assert_ids(ORDER, 0..9);
}

#[test]
fn memory_that_is_full_commits_the_largest_tables_first() {
    let world = World::new();
    let limits = LakeLimits { memory_bytes_max: 20_000, ..LakeLimits::default() };
    let lake = world.start_with(Arc::clone(&world.bus), LONG, Arc::new(SystemFiles), limits);
    world.orders(0, &[r#"{"n":7}"#; 400]);
    until("rows", || lake.progress().rows() > 300);
    lake.stop();
    world.assert_ids(ORDER, 0..400);
}

#[test]
fn a_store_that_fails_holds_its_own_positions() {
    for ending in [".parquet", ".json"] {
        let world = World::new();
        let files = FailingFiles::of(ending);
        let lake =
            world.start_with(Arc::clone(&world.bus), Duration::from_millis(50), Arc::<FailingFiles>::clone(&files), LakeLimits::default());
        world.orders(0, &["{}"; 8]);
        until("a failure", || lake.progress().tables.get(ORDER).is_some_and(|table| table.failures >= 2));
        let said = lake.progress().tables[ORDER].last_error.clone().expect("an error");
        assert!(said.ends_with("the disk is out of order"), "{said}");
        assert_eq!(world.lag(), 8, "{ending}: what is not durable does not count");
        world.orders(8, &["{}"; 4]);
        files.is_failing.store(false, Ordering::Relaxed);
        until("positions", || world.lag() == 0);
        lake.stop();
        world.assert_ids(ORDER, 0..12);
    }
}

#[test]
fn reading_pauses_while_memory_is_full_of_what_cannot_be_written() {
    let world = World::new();
    let files = FailingFiles::of(".parquet");
    let limits = LakeLimits { memory_bytes_max: 10_000, ..LakeLimits::default() };
    let lake = world.start_with(Arc::clone(&world.bus), Duration::from_millis(50), Arc::<FailingFiles>::clone(&files), limits);
    for batch in 0..20 {
        world.orders(batch * 50, &["{}"; 50]);
    }
    until("failures", || lake.progress().tables.get(ORDER).is_some_and(|table| table.failures >= 2));
    files.is_failing.store(false, Ordering::Relaxed);
    until("positions", || world.lag() == 0);
    lake.stop();
    world.assert_ids(ORDER, 0..1_000);
}

#[test]
fn a_schema_that_gains_a_property_gains_a_column() {
    let world = World::new();
    let lake = world.start();
    world.orders(0, &[r#"{"n":1,"o":{"text":"a"},"more":5}"#]);
    until("rows", || lake.progress().rows() == 1);
    lake.stop();
    world.schema(json!({"n": {"type": "integer"}, "more": {"type": "integer"},
        "o": {"type": "object", "properties": {"text": {"type": "string"}, "list": {"type": "array", "items": {"type": "integer"}}}}}));
    let lake = world.start();
    world.orders(1, &[r#"{"n":2,"o":{"text":"b","list":[1,2]},"more":6}"#]);
    until("rows", || lake.progress().rows() == 1);
    lake.stop();
    let table = world.table(ORDER);
    let schema = table.snapshot().expect("a snapshot").schema();
    let names: Vec<_> = schema.fields().map(|field| field.name().as_str()).skip(11).collect();
    assert_eq!(names, ["n", "o", "more", "additional_properties"]);
    assert_eq!(table.version(), Some(1), "the column came in the commit of its first row");
    world.assert_ids(ORDER, 0..2);
}

#[test]
fn values_that_do_not_fit_are_kept_and_counted() {
    let world = World::new();
    let lake = world.start();
    world.orders(0, &[r#"{"n":"seven","x":{"y":1}}"#, r#"{"n":7}"#]);
    until("rows", || lake.progress().rows() == 2);
    assert_eq!(lake.progress().tables[ORDER].misfits, 1);
    lake.stop();
    let mut rows = Vec::new();
    for batch in world.batches(ORDER) {
        let (n, extras) = (batch.column_by_name("n").expect("n"), batch.column_by_name("additional_properties").expect("extras"));
        let (n, extras) = (n.as_primitive::<types::Int64Type>(), extras.as_string::<i32>());
        rows.extend(
            (0..n.len()).map(|row| (n.is_valid(row).then(|| n.value(row)), extras.is_valid(row).then(|| extras.value(row).to_owned()))),
        );
    }
    rows.sort();
    assert_eq!(rows, [(None, Some(r#"{"n":"seven","x":{"y":1}}"#.to_owned())), (Some(7), None)]);
}

#[test]
fn two_members_share_the_work_and_take_over_from_each_other() {
    let world = World::new();
    let first = world.start();
    world.orders(0, &["{}"; 100]);
    until("rows", || first.progress().rows() > 0);
    let second = world.start();
    for batch in 1..5 {
        world.orders(batch * 100, &["{}"; 100]);
        std::thread::sleep(Duration::from_millis(100));
    }
    until("both", || second.progress().rows() > 0);
    first.stop();
    world.orders(500, &["{}"; 100]);
    until("positions", || world.lag() == 0);
    second.stop();
    world.assert_ids(ORDER, 0..600);
}

#[test]
fn a_record_that_is_no_message_stops_nothing() {
    let world = World::new();
    world.garbage("validated", b"\xffno message");
    world.orders(0, &["{}"; 4]);
    let lake = world.start();
    until("positions", || world.lag() == 0);
    lake.stop();
    world.assert_ids(ORDER, 0..4);
}

#[test]
fn a_url_that_cannot_be_used_says_what_can() {
    let world = World::new();
    let refused = world.start_at("ftp://host/lake").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.starts_with("lake.url ftp://host/lake: "), "{refused}");
    assert!(refused.ends_with("; give a file: URL or one of an object store, for example s3://bucket/lake"), "{refused}");
}
