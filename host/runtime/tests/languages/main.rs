//! The conformance guest (`tests/guests/conformance`) in every language gives the same bytes.
//!
//! A language whose toolchain is missing is skipped by name. What a language answered lies in `target/guests/conformance`
//! as `LANGUAGE-KIND.actual.txt`; after a change of the guest's specification, review Rust's and copy it to `expected`.
//! With `--nocapture` each test tells what its guests cost.

mod batch;
mod guests;
mod render;

use std::time::Instant;

use tidemill_runtime::{Batch, CallErrorKind, CallReport, Instance, Kind, Limits, Plugin, Runtime, RuntimeOptions};

use guests::Language;

/// Rows of the batch that measures: more than the example's, few enough for `alerts_max`.
const MANY_ROWS: u32 = 400;

#[test]
fn rust() {
    check(Language::Rust, &Limits::default());
}

#[test]
fn c() {
    check(Language::C, &Limits::default());
}

#[test]
fn javascript() {
    check(Language::JavaScript, &call_fuel(1_500_000_000));
}

#[test]
fn python() {
    check(Language::Python, &call_fuel(300_000_000));
}

#[test]
fn go() {
    check(Language::Go, &Limits::default());
}

/// Interpreters need more fuel for the large batch; every other default suffices all languages. See the guest's README.
fn call_fuel(call_fuel_max: u64) -> Limits {
    Limits { call_fuel_max, ..Limits::default() }
}

fn check(language: Language, limits: &Limits) {
    for kind in [Kind::Decoder, Kind::Analysis] {
        let component = match guests::component(language, kind) {
            Ok(component) => component,
            Err(missing) => {
                eprintln!("SKIPPED languages::{language}: {missing}");
                return;
            }
        };
        assert_eq!(guests::foreign_imports(&component), [""; 0], "{language} {kind}");
        let plugin = load(language, kind, &component);
        assert_eq!(plugin.kind(), kind);
        guests::compare(language, kind, &answers(&plugin, limits));
    }
}

fn load(language: Language, kind: Kind, component: &[u8]) -> Plugin {
    let runtime = Runtime::new(RuntimeOptions { cache_dir: Some(guests::compiled_folder(language, kind)) }).expect("a runtime");
    let started = Instant::now();
    let plugin = runtime.load(&format!("{language}-{kind}"), component).expect("a plugin");
    eprintln!("{language} {kind}: {} bytes, loaded in {:?}", component.len(), started.elapsed());
    plugin
}

/// Everything a guest says, as text.
fn answers(plugin: &Plugin, limits: &Limits) -> String {
    let refused = plugin.open(r#"{"a": "grüße"}"#, limits).expect_err("an unknown configuration");
    let mut instance = plugin.open("{}", limits).expect("open");
    tell(plugin, "open", instance.report());
    let mut text = format!("{}\n{}", refused.message, render::plan(instance.plan()));
    text += &refusal(&mut instance);
    let example = batch::example(instance.plan(), 3, batch::ROWS.len() as u32);
    let first = answer(&mut instance, &example);
    text += &format!("{first}{}", render::report(instance.report()));
    assert_eq!(answer(&mut instance, &example), without_declarations(&first), "the same call again");
    tell(plugin, "a call of 5 rows", instance.report());
    let many = batch::example(instance.plan(), u32::MAX, MANY_ROWS);
    let many = answer(&mut instance, &many);
    tell(plugin, "a call of 400 rows", instance.report());
    text + &format!("blake3 of the answer to {MANY_ROWS} rows: {}\n", blake3::hash(many.as_bytes()))
}

/// A call that fails by the guest's own word; it does not end the instance.
fn refusal(instance: &mut Instance) -> String {
    let batch = batch::example(instance.plan(), 13, 1);
    let error = match instance.plugin().kind() {
        Kind::Decoder => instance.decode(&batch).map(drop),
        _ => instance.process(&batch).map(drop),
    };
    let error = error.expect_err("partition 13");
    assert_eq!(error.kind, CallErrorKind::Failure { code: u32::MAX });
    format!("{}\n{}", error.message, render::log(&error.log))
}

fn answer(instance: &mut Instance, batch: &Batch) -> String {
    match instance.plugin().kind() {
        Kind::Decoder => {
            let decoded = instance.decode(batch).expect("sound");
            render::decoded(&decoded, instance.plan())
        }
        _ => render::findings(&instance.process(batch).expect("sound")),
    }
}

/// A graph that is declared again is not new.
fn without_declarations(answer: &str) -> String {
    let is_kept = |line: &&str| !line.starts_with("new graph");
    answer.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

fn tell(plugin: &Plugin, what: &str, report: &CallReport) {
    let CallReport { fuel, elapsed, memory_bytes, .. } = report;
    eprintln!("{}: {what}: {fuel} fuel, {elapsed:?}, {memory_bytes} bytes of memory", plugin.name());
}
