//! One real Rust guest, `tests/guests/evil`, that breaks one promise at a time, as a compiler makes it break.

use std::path::Path;
use std::sync::OnceLock;

use tidemill_build::BuildError;
use tidemill_runtime::{Batch, CallErrorKind, ColumnsBuilder, Instance, Limits, Plugin, Runtime, RuntimeOptions};

/// The guest, built once; none where no toolchain can build it.
fn plugin(test: &str) -> Option<&'static Plugin> {
    static PLUGIN: OnceLock<Option<Plugin>> = OnceLock::new();
    let plugin = PLUGIN.get_or_init(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/evil");
        let built = match tidemill_build::build(&dir, None, &mut |line| eprintln!("{line}")) {
            Ok(built) => built,
            Err(BuildError::NoToolchain { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        let component = std::fs::read(&built.component).expect("the component");
        let runtime = Runtime::new(RuntimeOptions::default()).expect("a runtime");
        Some(runtime.load("evil", &component).expect("a plugin"))
    });
    if plugin.is_none() {
        eprintln!("SKIPPED {test}: no toolchain for wasm32-unknown-unknown");
    }
    plugin.as_ref()
}

fn open(plugin: &Plugin, evil: &str) -> Instance {
    plugin.open(&format!(r#"{{"evil": "{evil}", "every": 100}}"#), &Limits::default()).expect("open")
}

/// Rows with these numbers in the guest's column.
fn batch(instance: &Instance, numbers: impl Iterator<Item = i64>) -> Batch {
    let mut builder = ColumnsBuilder::new(&instance.plan().subscription.columns);
    numbers.for_each(|number| {
        builder.int64(0, Some(number));
        builder.finish_row();
    });
    Batch { partition: 0, rows: builder.rows(), now_ms: 0, columns: builder.take() }
}

#[test]
fn each_promise_broken_gives_its_exact_error() {
    let Some(plugin) = plugin("each_promise_broken_gives_its_exact_error") else { return };
    let fuel = CallErrorKind::Fuel { limit: 90_000_000 };
    let out_of_fuel = "`process` used up its fuel: limit `call_fuel_max` is 90000000. Do less in a call, or raise it";
    let cases = [
        ("spin", fuel, out_of_fuel),
        ("log-forever", fuel, out_of_fuel),
        ("grow", CallErrorKind::Memory, "`process` ran out of memory: limit `memory_bytes_max` exceeded: limit 67108864, current "),
        ("recurse", CallErrorKind::Trap, "`process` trapped: "),
        ("panic", CallErrorKind::Trap, "`process` trapped: wasm `unreachable` instruction executed: panicked at src/component.rs:"),
        (
            "huge-output",
            CallErrorKind::Output,
            "`process` broke the contract: limit `output_bytes_max` exceeded: limit 16777216, current 16777216, requested 1",
        ),
        (
            "lying-offsets",
            CallErrorKind::Output,
            "`process` broke the contract: `messages.offsets[1]` is 1073741824, after 0, with an arena of 3 bytes",
        ),
        (
            "descending-offsets",
            CallErrorKind::Output,
            "`process` broke the contract: `messages.offsets[1]` is 1, after 2, with an arena of 3 bytes",
        ),
        ("short-offsets", CallErrorKind::Output, "`process` broke the contract: `messages.offsets` has 1 elements, 1 messages need 2"),
        ("rows-beyond", CallErrorKind::Output, "`process` broke the contract: `messages.row[0]` is 5000, but the batch has 100 rows"),
        ("unequal-lists", CallErrorKind::Output, "`process` broke the contract: `cells.column` has 0 elements, `cells.graph` has 1"),
        ("unknown-graph", CallErrorKind::Output, "`process` broke the contract: `cells.graph[0]` is 3, but 0 graphs are declared"),
        (
            "many-messages",
            CallErrorKind::Output,
            "`process` broke the contract: limit `messages_max` exceeded: limit 10000, current 0, requested 20000",
        ),
        ("bad-utf8", CallErrorKind::Output, "`process` broke the contract: invalid utf-8 sequence of 1 bytes from index 1"),
        ("failure", CallErrorKind::Failure { code: 7 }, "`process` refused with code 7: evil refuses"),
    ];
    for (evil, kind, message) in cases {
        let mut instance = open(plugin, evil);
        let (harmless, harmful) = (batch(&instance, 1..100), batch(&instance, 1..101));
        instance.process(&harmless).expect(evil);
        let error = instance.process(&harmful).expect_err(evil);
        assert_eq!(error.kind, kind, "{evil}: {}", error.message);
        assert!(error.message.starts_with(message), "{evil}: {}", error.message);
        assert_eq!(instance.is_poisoned(), kind.poisons(), "{evil}");
    }
}

#[test]
fn neighbours_and_successors_go_on() {
    let Some(plugin) = plugin("neighbours_and_successors_go_on") else { return };
    let (mut evil, mut neighbour) = (open(plugin, "panic"), open(plugin, "none"));
    let (harmless, harmful) = (batch(&evil, 1..100), batch(&evil, 100..101));
    evil.process(&harmless).expect("99 messages");
    let checkpoint = evil.snapshot().expect("a snapshot");
    let error = evil.process(&harmful).expect_err("a panic");
    assert!(error.backtrace.contains("panic"), "{}", error.backtrace);
    assert!(error.log[0].text.contains("evil at work"), "{:?}", error.log);
    neighbour.process(&harmful).expect("another Store");
    let config = r#"{"evil": "panic", "every": 100}"#;
    let mut successor = plugin.open_as(config, &Limits::default(), evil.plan()).expect("a new instance");
    successor.restore(&checkpoint, plugin.version()).expect("restored");
    successor.process(&harmless).expect("99 more");
    assert_eq!(successor.snapshot().expect("a snapshot"), 198_u64.to_le_bytes());
}

#[test]
fn floods_are_counted_not_kept() {
    let Some(plugin) = plugin("floods_are_counted_not_kept") else { return };
    let mut instance = open(plugin, "log-flood");
    let harmful = batch(&instance, 100..101);
    instance.process(&harmful).expect("bounded");
    assert_eq!((instance.report().log.len(), instance.report().log_dropped), (100, 9_900));
    let mut instance = open(plugin, "metric-flood");
    instance.process(&harmful).expect("bounded");
    assert_eq!((instance.report().metrics.len(), instance.report().metrics_dropped), (64, 9_936));
}

#[test]
fn opens_and_snapshots_fail_with_their_own_limits() {
    let Some(plugin) = plugin("opens_and_snapshots_fail_with_their_own_limits") else { return };
    let error = plugin.open(r#"{"evil": "open"}"#, &Limits::default()).expect_err("a panic");
    let want = "`open` trapped: wasm `unreachable` instruction executed: panicked at src/component.rs:";
    assert!(error.message.starts_with(want) && error.log.len() == 1, "{error:?}");
    let error = plugin.open(r#"{"evil": 3}"#, &Limits::default()).expect_err("no text");
    assert_eq!(error.kind, CallErrorKind::Failure { code: 1 });
    let error = open(plugin, "snapshot-huge").snapshot().expect_err("too large");
    let want = "`snapshot` broke the contract: limit `state_bytes_max` exceeded: limit 8388608, current 8388608, requested 1";
    assert_eq!(error.message, want);
}

#[test]
fn fuel_is_the_same_every_time() {
    let Some(plugin) = plugin("fuel_is_the_same_every_time") else { return };
    let fuel = || {
        let mut instance = open(plugin, "none");
        let batch = batch(&instance, 0..1_000);
        instance.process(&batch).expect("sound");
        instance.report().fuel
    };
    let first = fuel();
    assert!(first > 1_000);
    assert_eq!(fuel(), first);
}
