use tidemill_runtime::{CallErrorKind, Limits};

use crate::support::{Guest, at};
use crate::{batch, fails, load, open};

/// The message of a call whose answer has these words set.
fn answers(words: impl FnOnce(&mut Guest) -> Vec<(usize, u32)>) -> String {
    let mut guest = Guest::new("analysis");
    let opened = guest.subscription("TRUE", &[]);
    let words = words(&mut guest);
    let answer = guest.findings(&words);
    let guest = guest.open("analysis", &format!("i32.const {opened}")).process(&format!("i32.const {answer}"));
    let error = fails(guest, &Limits { output_bytes_max: 4_096, ..Limits::default() });
    assert_eq!(error.kind, CallErrorKind::Output);
    error.message
}

#[test]
fn lists_outside_of_memory() {
    let message = answers(|_| vec![(at::MESSAGE_ARENA, 0xffff_ff00), (at::MESSAGE_ARENA + 4, 10)]);
    assert_eq!(message, "`process` broke the contract: list pointer/length out of bounds of memory");
    let message = answers(|_| vec![(at::MESSAGE_ROW, 1_024), (at::MESSAGE_ROW + 4, u32::MAX)]);
    assert!(message.starts_with("`process` broke the contract: "), "{message}");
}

#[test]
fn an_answer_beyond_the_output_limit() {
    let message = answers(|_| vec![(at::MESSAGE_ARENA, 0), (at::MESSAGE_ARENA + 4, 5_000)]);
    let want = "`process` broke the contract: limit `output_bytes_max` exceeded: limit 4096, current 4096, requested 1";
    assert_eq!(message, want);
    // Many small pointers to the same bytes count each time.
    let message = answers(|guest| {
        let text = guest.put(&[b'x'; 1_000]);
        let list = [text, 1_000].map(u32::to_le_bytes).concat().repeat(10);
        vec![(at::MESSAGE_KEYS, guest.put(&list)), (at::MESSAGE_KEYS + 4, 10)]
    });
    assert_eq!(message, want);
}

#[test]
fn text_that_is_not_utf8() {
    let message = answers(|guest| {
        let text = guest.put(&[b'a', 0xff]);
        let key = guest.put(&[text, 2].map(u32::to_le_bytes).concat());
        vec![(at::MESSAGE_KEYS, key), (at::MESSAGE_KEYS + 4, 1)]
    });
    assert_eq!(message, "`process` broke the contract: invalid utf-8 sequence of 1 bytes from index 1");
}

#[test]
fn offsets_that_lie() {
    let message = answers(|guest| {
        let (row, offsets) = (guest.put(&[0; 4]), guest.put(&[0_u32, 9].map(u32::to_le_bytes).concat()));
        let key = guest.put(&[0; 8]);
        vec![
            (at::MESSAGE_ROW, row),
            (at::MESSAGE_ROW + 4, 1),
            (at::MESSAGE_KEYS, key),
            (at::MESSAGE_KEYS + 4, 1),
            (at::MESSAGE_OFFSETS, offsets),
            (at::MESSAGE_OFFSETS + 4, 2),
            (at::MESSAGE_ARENA, 1_024),
            (at::MESSAGE_ARENA + 4, 5),
        ]
    });
    assert_eq!(message, "`process` broke the contract: `messages.offsets[1]` is 9, after 0, with an arena of 5 bytes");
}

#[test]
fn lists_of_different_length() {
    let message = answers(|_| vec![(at::CELL_GRAPH, 1_024), (at::CELL_GRAPH + 4, 2)]);
    assert_eq!(message, "`process` broke the contract: `cells.column` has 0 elements, `cells.graph` has 2");
}

#[test]
fn a_tag_that_does_not_exist() {
    let mut guest = Guest::new("analysis");
    let (opened, answer) = (guest.subscription("TRUE", &[]), guest.put(&[7; 108]));
    let guest = guest.open("analysis", &format!("i32.const {opened}")).process(&format!("i32.const {answer}"));
    let error = fails(guest, &Limits::default());
    assert_eq!(error.kind, CallErrorKind::Output);
    assert!(error.message.starts_with("`process` broke the contract: "), "{}", error.message);
}

#[test]
fn an_allocator_that_lies() {
    // The columns of a batch go where `cabi_realloc` says; here it says: beyond the end.
    let mut guest = Guest::new("analysis");
    let opened = guest.subscription("TRUE", &[("Pid", 0, 0, false)]);
    let answer = guest.findings(&[]);
    let guest = guest
        .open("analysis", &format!("(global.set $heap (i32.const 0x7ffffff8)) i32.const {opened}"))
        .process(&format!("i32.const {answer}"));
    let mut instance = open(guest, &Limits::default());
    let mut batch = batch();
    batch.columns.arena = vec![0; 16];
    let error = instance.process(&batch).expect_err("nowhere to write");
    assert!(matches!(error.kind, CallErrorKind::Memory | CallErrorKind::Output | CallErrorKind::Trap), "{error:?}");
    assert!(instance.is_poisoned());
}

#[test]
fn bad_utf8_in_a_log_line() {
    let mut guest = Guest::new("analysis");
    let (opened, text) = (guest.subscription("TRUE", &[]), guest.put(&[0xff]));
    let body = format!("(call $log (i32.const 1) (i32.const {text}) (i32.const 1)) unreachable");
    let error = fails(guest.open("analysis", &format!("i32.const {opened}")).process(&body), &Limits::default());
    assert_eq!(error.message, "`process` broke the contract: invalid utf-8 sequence of 1 bytes from index 0");
}

#[test]
fn a_batch_with_dictionaries_for_a_guest_that_does_not_read_them() {
    let mut guest = Guest::new("analysis");
    let (opened, answer) = (guest.subscription("TRUE", &[]), guest.findings(&[]));
    let guest = guest.open("analysis", &format!("i32.const {opened}")).process(&format!("i32.const {answer}"));
    let mut instance = open(guest, &Limits::default());
    assert!(!instance.plugin().has_dictionary());
    let mut batch = batch();
    batch.columns.dictionaries = Some(tidemill_runtime::Dictionaries::default());
    let error = instance.process(&batch).expect_err("refused");
    assert!(error.message.contains("does not export `dictionary`"), "{}", error.message);
    batch.columns.dictionaries = None;
    instance.process(&batch).expect("it never reached the guest");
}

#[test]
fn an_open_that_answers_nonsense() {
    let mut guest = Guest::new("analysis");
    let opened = guest.subscription("TRUE", &[("Timestamp", 0, 0, true), ("/a/*", 3, 0, false)]);
    let plugin = load(guest.open("analysis", &format!("i32.const {opened}")).process("unreachable"));
    let error = plugin.open("{}", &Limits::default()).expect_err("nonsense");
    assert_eq!(error.kind, CallErrorKind::Output);
    let want = "`open` broke the contract: `columns[1].path` is \"/a/*\": a `*` segment needs shape many";
    assert_eq!(error.message, want);
}

#[test]
fn an_open_that_answers_otherwise_than_the_deployed_one() {
    let mut guest = Guest::new("analysis");
    let (one, other) = (guest.subscription("TRUE", &[]), guest.subscription("FALSE", &[]));
    let body = format!("(select (i32.const {one}) (i32.const {other}) (i32.eq (local.get 1) (i32.const 2)))");
    let plugin = load(guest.open("analysis", &body).process("unreachable"));
    let limits = Limits::default();
    let deployed = plugin.open("{}", &limits).expect("first").plan().clone();
    assert!(plugin.open_as("{}", &limits, &deployed).is_ok());
    let error = plugin.open_as("{ }", &limits, &deployed).expect_err("another");
    assert_eq!(
        error.message,
        "`open` broke the contract: it answers other subscription than the deployed instances: \
         the same configuration must give the same answer"
    );
}
