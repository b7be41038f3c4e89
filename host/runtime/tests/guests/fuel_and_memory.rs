use std::time::{Duration, Instant};

use tidemill_runtime::{CallErrorKind, Level, LimitExceeded, Limits};

use crate::support::Guest;
use crate::{batch, fails, load, open};

const MI: u64 = 1 << 20;

#[test]
fn a_guest_that_spins_is_stopped() {
    let limits = Limits { call_fuel_max: 1_000_000, ..Limits::default() };
    let error = fails(Guest::analysis("(loop (br 0)) unreachable"), &limits);
    assert_eq!(error.kind, CallErrorKind::Fuel { limit: 1_000_000 });
    assert_eq!(error.message, "`process` used up its fuel: limit `call_fuel_max` is 1000000. Do less in a call, or raise it");
    assert_eq!((error.fuel, error.kind.error_type()), (1_000_000, "plugin_fuel"));
    assert!(error.backtrace.ends_with("!process"), "{}", error.backtrace);
}

#[test]
fn the_default_fuel_stops_within_a_second() {
    let started = Instant::now();
    let error = fails(Guest::analysis("(loop (br 0)) unreachable"), &Limits::default());
    assert_eq!(error.kind, CallErrorKind::Fuel { limit: 90_000_000 });
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn a_guest_that_logs_in_a_loop_is_stopped_too() {
    let mut guest = Guest::analysis("(loop (call $log (i32.const 1) (i32.const 0) (i32.const 60000)) (br 0)) unreachable");
    guest.put(b"");
    let started = Instant::now();
    let error = fails(guest, &Limits::default());
    assert_eq!(error.kind, CallErrorKind::Fuel { limit: 90_000_000 });
    assert_eq!(error.log.len(), 100);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_guest_that_allocates_without_end_is_refused_memory() {
    let grow = "(loop (br_if 0 (i32.ne (i32.const -1) (memory.grow (i32.const 2))))) unreachable";
    let limits = Limits { memory_bytes_max: MI, ..Limits::default() };
    let mut instance = open(Guest::analysis(grow), &limits);
    let error = instance.process(&batch()).expect_err("too much");
    assert_eq!(error.kind, CallErrorKind::Memory);
    assert_eq!(
        error.message,
        "`process` ran out of memory: limit `memory_bytes_max` exceeded: limit 1048576, current 1048576, requested 131072; \
         then it gave up: wasm `unreachable` instruction executed"
    );
    let refused = LimitExceeded { name: "memory_bytes_max", limit: MI, current: MI, requested: 131_072 };
    assert_eq!(error.limit.as_deref(), Some(&refused));
    assert_eq!(instance.report().memory_bytes, MI);
}

#[test]
fn a_guest_that_bears_the_refusal_goes_on() {
    let grow = "(loop (br_if 0 (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))";
    let mut guest = Guest::new("analysis");
    let (opened, answer) = (guest.subscription("TRUE", &[]), guest.findings(&[]));
    let guest = guest.open("analysis", &format!("i32.const {opened}")).process(&format!("{grow} i32.const {answer}"));
    let mut instance = open(guest, &Limits { memory_bytes_max: MI, ..Limits::default() });
    assert!(instance.process(&batch()).expect("sound").messages.is_empty());
    assert!(!instance.is_poisoned());
}

#[test]
fn memory_that_a_guest_starts_with_counts() {
    let plugin = load(Guest::analysis("unreachable"));
    let error = plugin.open("{}", &Limits { memory_bytes_max: 65_536, ..Limits::default() }).expect_err("too little");
    assert_eq!(error.kind, CallErrorKind::Memory);
    let want = "`open` ran out of memory: limit `memory_bytes_max` exceeded: limit 65536, current 0, requested 262144; then it gave up: ";
    assert!(error.message.starts_with(want), "{}", error.message);
}

#[test]
fn tables_are_limited() {
    let grow = "(loop (br_if 0 (i32.ne (i32.const -1) (table.grow $t (ref.null func) (i32.const 64))))) unreachable";
    let guest = Guest::analysis(grow).text("(table $t 1 funcref)\n");
    let limits = Limits { table_elements_max: 1_000, ..Limits::default() };
    let error = fails(guest, &limits);
    assert_eq!(error.kind, CallErrorKind::Memory);
    let want = "`process` ran out of memory: limit `table_elements_max` exceeded: limit 1000, current ";
    assert!(error.message.starts_with(want), "{}", error.message);
}

#[test]
fn instances_are_limited() {
    let plugin = load(Guest::analysis("unreachable"));
    let error = plugin.open("{}", &Limits { instances_max: 1, ..Limits::default() }).expect_err("too many");
    assert_eq!(error.kind, CallErrorKind::Output);
    assert!(error.message.contains("instance count too high at"), "{}", error.message);
}

#[test]
fn handles_are_limited() {
    let leak = "(loop (drop (call $new (i32.const 0))) (br 0)) unreachable";
    let guest = Guest::analysis(leak)
        .world("export handles;\n")
        .text("(import \"[export]evil:guest/handles\" \"[resource-new]thing\" (func $new (param i32) (result i32)))\n")
        .text("(func (export \"evil:guest/handles#[constructor]thing\") (result i32) (call $new (i32.const 0)))\n");
    let error = fails(guest, &Limits { handles_max: 50, ..Limits::default() });
    assert_ne!(error.kind, CallErrorKind::Fuel { limit: 90_000_000 }, "{}", error.message);
    assert!(error.message.contains("handle"), "{}", error.message);
}

#[test]
fn a_guest_that_recurses_traps() {
    let guest = Guest::analysis("(call $deeper (i32.const 0))")
        .text("(func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))\n");
    let error = fails(guest, &Limits::default());
    assert_eq!((error.kind, error.message.as_str()), (CallErrorKind::Trap, "`process` trapped: call stack exhausted"));
    assert_eq!(error.backtrace.lines().count(), 16);
}

#[test]
fn log_lines_survive_a_trap_and_the_last_error_is_its_text() {
    let mut guest = Guest::new("analysis");
    let opened = guest.subscription("TRUE", &[]);
    let text = b"panicked at src/lib.rs:7: index out of bounds";
    let text_at = guest.put(text);
    let body = format!(
        "(call $log (i32.const 1) (i32.const {text_at}) (i32.const 8)) (call $log (i32.const 3) (i32.const {text_at}) (i32.const {})) unreachable",
        text.len()
    );
    let mut instance = open(guest.open("analysis", &format!("i32.const {opened}")).process(&body), &Limits::default());
    let error = instance.process(&batch()).expect_err("a panic");
    assert_eq!(error.kind, CallErrorKind::Trap);
    let want = "`process` trapped: wasm `unreachable` instruction executed: panicked at src/lib.rs:7: index out of bounds";
    assert_eq!(error.message, want);
    let lines: Vec<_> = instance.report().log.iter().map(|line| (line.level, line.text.as_str())).collect();
    assert_eq!(lines, [(Level::Info, "panicked"), (Level::Error, "panicked at src/lib.rs:7: index out of bounds")]);
    assert_eq!(error.log, instance.report().log);
}

#[test]
fn log_lines_and_metrics_are_bounded() {
    let mut guest = Guest::new("analysis");
    let (opened, answer) = (guest.subscription("TRUE", &[]), guest.findings(&[]));
    let names = guest.put(&b"n".repeat(100));
    let body = format!(
        "(loop
           (call $log (i32.const 2) (i32.const {names}) (i32.const 100))
           (call $metric-add (i32.const {names}) (i32.rem_u (local.get $i) (i32.const 5)) (f64.const 0.5))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if 0 (i32.lt_u (local.get $i) (i32.const 10))))
         i32.const {answer}"
    );
    let limits = Limits { log_lines_max: 3, log_line_bytes_max: 7, metric_names_max: 2, metric_name_bytes_max: 3, ..Limits::default() };
    let mut instance = open(guest.open("analysis", &format!("i32.const {opened}")).process(&body), &limits);
    for _ in 0..2 {
        instance.process(&batch()).expect("sound");
        let report = instance.report();
        assert_eq!((report.log.len(), report.log_dropped, report.log[0].text.as_str()), (3, 7, "nnnnnnn"));
        let metrics: Vec<_> = report.metrics.iter().map(|metric| (metric.name.as_str(), metric.delta)).collect();
        // Names "", "n", "nn", "nnn", "nnnn", twice each: the first is empty, the last too long, the third one too many.
        assert_eq!((metrics, report.metrics_dropped), (vec![("n", 1.0), ("nn", 1.0)], 6));
    }
}
