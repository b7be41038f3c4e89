use tidemill_runtime::{CallErrorKind, ColumnKind, ColumnsBuilder, Limits, Scope, Shape};

use crate::support::{FINDINGS_BYTES, Guest, at};
use crate::{batch, load, open};

#[test]
fn a_plan_is_read() {
    let mut guest = Guest::new("analysis");
    let opened = guest.subscription("Type == 'x'", &[("Timestamp", 0, 0, true), ("/h", 1, 2, false)]);
    let instance = open(guest.open("analysis", &format!("i32.const {opened}")).process("unreachable"), &Limits::default());
    let subscription = &instance.plan().subscription;
    assert_eq!((subscription.matcher.as_str(), subscription.scope, subscription.tick_ms), ("Type == 'x'", Scope::Partition, 0));
    let columns: Vec<_> = subscription.columns.iter().map(|c| (c.path.as_str(), c.kind, c.shape, c.required)).collect();
    let want = [("Timestamp", ColumnKind::Int64, Shape::One, true), ("/h", ColumnKind::Float64, Shape::Entries, false)];
    assert_eq!(columns, want);
}

/// Echoes the arena of the batch as one message of row 1.
fn echo() -> Guest {
    let mut guest = Guest::new("analysis");
    let opened = guest.subscription("TRUE", &[("/t", 3, 0, false), ("/n", 0, 0, false)]);
    let (row, key, offsets) = (guest.put(&1_u32.to_le_bytes()), guest.put(&[0; 8]), guest.put(&[0; 8]));
    let answer = guest.findings(&[
        (at::MESSAGE_ROW, row),
        (at::MESSAGE_ROW + 4, 1),
        (at::MESSAGE_KEYS, key),
        (at::MESSAGE_KEYS + 4, 1),
        (at::MESSAGE_OFFSETS, offsets),
        (at::MESSAGE_OFFSETS + 4, 2),
    ]);
    let arena = answer + at::MESSAGE_ARENA as u32;
    // Parameter 13 and 14 are the arena's pointer and length.
    let body = format!(
        "(i32.store (i32.const {}) (local.get 14)) (i32.store (i32.const {arena}) (local.get 13))
         (i32.store (i32.const {}) (local.get 14)) i32.const {answer}",
        offsets + 4,
        arena + 4
    );
    guest.open("analysis", &format!("i32.const {opened}")).process(&body)
}

#[test]
fn columns_cross_and_messages_come_back() {
    let mut instance = open(echo(), &Limits::default());
    let mut builder = ColumnsBuilder::new(&instance.plan().subscription.columns);
    for round in 0..1_000 {
        for text in ["ab", "", "c\u{e9}"] {
            builder.bytes(0, Some(text.as_bytes()));
            builder.int64(1, Some(round));
            builder.finish_row();
        }
        let mut batch = batch();
        batch.columns = builder.take();
        let findings = instance.process(&batch).expect("sound");
        let messages: Vec<_> = findings.messages.iter().map(|m| (m.row, m.key, m.bytes)).collect();
        assert_eq!(messages, [(1, "", "abc\u{e9}".as_bytes())]);
        builder.recycle(batch.columns);
    }
    let report = instance.report();
    assert!(report.fuel > 0 && report.fuel < 10_000 && report.memory_bytes == 4 * 65_536, "{report:?}");
}

#[test]
fn a_failure_is_shown_and_does_not_poison() {
    let mut guest = Guest::new("analysis");
    let (opened, refusal) = (guest.subscription("TRUE", &[]), guest.failure(7, "not today"));
    let mut instance =
        open(guest.open("analysis", &format!("i32.const {opened}")).process(&format!("i32.const {refusal}")), &Limits::default());
    for _ in 0..2 {
        let error = instance.process(&batch()).expect_err("a refusal");
        assert_eq!((error.kind, error.message.as_str()), (CallErrorKind::Failure { code: 7 }, "`process` refused with code 7: not today"));
    }
    let mut guest = Guest::new("analysis");
    let refusal = guest.failure(2, "`threshold` must be above 0");
    let plugin = load(guest.open("analysis", &format!("i32.const {refusal}")).process("unreachable"));
    let error = plugin.open("{}", &Limits::default()).expect_err("a refusal");
    assert_eq!(error.message, "`open` refused with code 2: `threshold` must be above 0");
}

#[test]
fn after_a_trap_the_instance_is_lost_and_a_new_one_works() {
    let mut guest = Guest::new("analysis");
    let (opened, answer) = (guest.subscription("TRUE", &[]), guest.findings(&[]));
    let body = format!("(if (i64.eq (local.get 2) (i64.const 13)) (then unreachable)) i32.const {answer}");
    let plugin = load(guest.open("analysis", &format!("i32.const {opened}")).process(&body));
    let mut instance = plugin.open("{}", &Limits::default()).expect("open");
    let mut unlucky = batch();
    unlucky.now_ms = 13;
    instance.process(&batch()).expect("sound");
    assert_eq!(instance.process(&unlucky).expect_err("trap").kind, CallErrorKind::Trap);
    let error = instance.process(&batch()).expect_err("poisoned");
    assert_eq!(error.kind, CallErrorKind::Poisoned);
    assert_eq!(
        error.message,
        "`process` on an instance that failed before: `process` trapped: wasm `unreachable` instruction executed. Open a new one"
    );
    assert!(instance.is_poisoned());
    let mut fresh = plugin.open_as("{}", &Limits::default(), instance.plan()).expect("fresh");
    fresh.process(&batch()).expect("sound");
}

/// A counter of calls as state: 4 bytes.
fn counter() -> Guest {
    let mut guest = Guest::new("analysis");
    let (opened, answer) = (guest.subscription("TRUE", &[]), guest.findings(&[]));
    let count = guest.put(&[0; 4]);
    let list = guest.put(&[count, 4].map(u32::to_le_bytes).concat());
    let body = format!("(i32.store (i32.const {count}) (i32.add (i32.const 1) (i32.load (i32.const {count})))) i32.const {answer}");
    let restore = format!("(i32.store (i32.const {count}) (i32.load (local.get 0))) i32.const {answer}");
    guest.open("analysis", &format!("i32.const {opened}")).process(&body).state(&format!("i32.const {list}"), &restore)
}

#[test]
fn state_moves_to_a_new_instance() {
    let plugin = load(counter());
    let limits = Limits::default();
    let mut first = plugin.open("{}", &limits).expect("open");
    (0..3).for_each(|_| drop(first.process(&batch()).expect("sound")));
    let state = first.snapshot().expect("a snapshot");
    assert_eq!(state, 3_u32.to_le_bytes());
    let mut second = plugin.open("{}", &limits).expect("open");
    second.restore(&state, plugin.version()).expect("restored");
    second.process(&batch()).expect("sound");
    assert_eq!(second.snapshot().expect("a snapshot"), 4_u32.to_le_bytes());
    let mut small = plugin.open("{}", &Limits { state_bytes_max: 3, ..limits }).expect("open");
    let error = small.snapshot().expect_err("too large");
    assert_eq!(error.kind, CallErrorKind::Output);
    let want = "`snapshot` broke the contract: limit `state_bytes_max` exceeded: limit 3, current 3, requested 1";
    assert_eq!(error.message, want);
}

#[test]
fn a_plugin_without_state_or_timers_has_none() {
    let mut instance = open(Guest::analysis("unreachable"), &Limits::default());
    assert_eq!(instance.snapshot(), Ok(vec![]));
    assert_eq!(instance.restore(b"old", "v"), Ok(()));
    assert!(instance.on_timer(0).expect("nothing").messages.is_empty());
    let error = instance.decode(&batch()).expect_err("another kind");
    assert_eq!(error.message, "`decode` was called, but `evil` is a plugin of kind analysis");
}

#[test]
fn timers_are_called() {
    let mut guest = Guest::new("analysis");
    let (opened, text) = (guest.subscription("TRUE", &[]), guest.put(b"tick"));
    let answer = guest.put(&[0; FINDINGS_BYTES]);
    let body = format!("(call $log (i32.const 0) (i32.const {text}) (i32.const 4)) i32.const {answer}");
    let guest = guest.open("analysis", &format!("i32.const {opened}")).process("unreachable").timers(&body);
    let mut instance = open(guest, &Limits::default());
    instance.on_timer(1_000).expect("sound");
    assert_eq!(instance.report().log[0].text, "tick");
}

#[test]
fn instances_move_between_threads() {
    let mut instance = open(counter(), &Limits::default());
    let state = std::thread::spawn(move || instance.process(&batch()).map(|_| instance.snapshot())).join();
    assert_eq!(state.expect("no panic").expect("sound"), Ok(vec![1, 0, 0, 0]));
}
