use std::fs;
use std::os::unix::fs::PermissionsExt;

use tidemill_runtime::{COMPONENT_BYTES_MAX, Kind, Limits, Runtime, RuntimeOptions, compile};

use crate::batch;
use crate::support::Guest;

fn load(component: &[u8]) -> String {
    let runtime = Runtime::new(RuntimeOptions::default()).expect("a runtime");
    runtime.load("p", component).map_or_else(|error| error.to_string(), |plugin| format!("{plugin:?}"))
}

fn output(guest: Guest) -> Guest {
    let parameters = format!("i32 i32 i64{}", " i32".repeat(12));
    guest
        .open("output", "unreachable")
        .text(&format!("(func (export \"tidemill:plugin/output@0.1.0#write\") (param {parameters}) (result i32) unreachable)\n"))
}

#[test]
fn the_kind_is_what_is_exported() {
    let component = Guest::analysis("unreachable").build();
    let version = &blake3::hash(&component).to_hex()[..12];
    assert_eq!(load(&component), format!("Plugin(p analysis {version})"));
    let two = output(Guest::analysis("unreachable").and("output")).build();
    let want =
        "plugin `p` exports `analysis` and `output`: export exactly one of `decoder`, `analysis` and `output` of tidemill:plugin@0.1.0";
    assert_eq!(load(&two), want);
    let none = wat::parse_str("(component)").expect("text");
    assert_eq!(load(&none), want.replace("`analysis` and `output`: ", "no kind: "));
}

#[test]
fn what_else_is_exported_is_seen() {
    let runtime = Runtime::new(RuntimeOptions::default()).expect("a runtime");
    let plain = runtime.load("p", &Guest::analysis("unreachable").build()).expect("plain");
    assert_eq!((plain.kind(), plain.has_timers(), plain.has_state()), (Kind::Analysis, false, false));
    let rich = Guest::analysis("unreachable").timers("unreachable").state("unreachable", "unreachable").build();
    let rich = runtime.load("p", &rich).expect("rich");
    assert_eq!((rich.has_timers(), rich.has_state()), (true, true));
}

#[test]
fn foreign_imports_are_refused_by_name() {
    let import = |name: &str| load(&wat::parse_str(format!("(component (import \"{name}\" (instance)))")).expect("text"));
    assert_eq!(
        import("wasi:cli/environment@0.2.3"),
        "plugin `p` imports `wasi:cli/environment@0.2.3`: a plugin may import only `tidemill:plugin/host@0.1`. Build it without WASI: \
         Rust for wasm32-unknown-unknown, Python with `--stub-wasi`, JavaScript with `disableFeatures`, Go with the stub adapter"
    );
    assert_eq!(
        import("tidemill:plugin/host@0.2.0"),
        "plugin `p` imports `tidemill:plugin/host@0.2.0`: this host offers `tidemill:plugin/host@0.1`. Build it against that version"
    );
    let guest = Guest::analysis("unreachable")
        .world("import foreign;\n")
        .text("(import \"evil:guest/foreign\" \"now\" (func $now (result i64)))\n(func (export \"x\") (drop (call $now)))\n");
    assert_eq!(
        load(&guest.build()),
        "plugin `p` imports `evil:guest/foreign`: a plugin may import only `tidemill:plugin/host@0.1`. Link it in or leave it out"
    );
}

#[test]
fn what_is_no_component_is_refused() {
    assert_eq!(load(b"#!/bin/sh"), "plugin `p`: these bytes are not WebAssembly");
    let module = wat::parse_str("(module)").expect("text");
    let want = "plugin `p`: this is a core module, not a component: build it with `tidemill plugin build`";
    assert_eq!(load(&module), want);
    assert_eq!(compile("p", &module).expect_err("a module").to_string(), want);
    let mut cut = Guest::analysis("unreachable").build();
    cut.truncate(cut.len() / 2);
    assert!(load(&cut).starts_with("plugin `p`: the component does not compile: "), "{}", load(&cut));
    let large = load(&vec![0; COMPONENT_BYTES_MAX + 1]);
    assert_eq!(large, "plugin `p`: the component has 67108865 bytes, more than 67108864: leave out what it does not need");
}

#[test]
fn functions_of_another_type_are_refused_at_open() {
    let component = wat::parse_str(
        r#"(component
             (core module $m (func (export "f")))
             (core instance $i (instantiate $m))
             (func $f (canon lift (core func $i "f")))
             (instance $analysis (export "open" (func $f)) (export "process" (func $f)))
             (export "tidemill:plugin/analysis@0.1.0" (instance $analysis)))"#,
    );
    let runtime = Runtime::new(RuntimeOptions::default()).expect("a runtime");
    let plugin = runtime.load("p", &component.expect("text")).expect("names fit");
    let error = plugin.open("{}", &Limits::default()).expect_err("types do not");
    assert!(error.message.starts_with("`open` broke the contract: expected "), "{}", error.message);
}

#[test]
fn the_cache_is_used_and_heals() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache_dir = folder.path().join("cache");
    let runtime = Runtime::new(RuntimeOptions { cache_dir: Some(cache_dir.clone()) }).expect("a runtime");
    let component = Guest::analysis("(loop (br 0)) unreachable").build();
    let works = || {
        let plugin = runtime.load("p", &component).expect("a plugin");
        let limits = Limits { call_fuel_max: 1_000, ..Limits::default() };
        plugin.open("{}", &limits).expect("open").process(&batch()).expect_err("spins").fuel
    };
    assert_eq!(works(), 1_000);
    let files: Vec<_> = fs::read_dir(&cache_dir).expect("list").map(|entry| entry.expect("entry").path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let whole = fs::read(file).expect("compiled");
    let written = fs::metadata(file).expect("there").modified().expect("time");
    assert_eq!(works(), 1_000);
    assert_eq!(fs::metadata(file).expect("there").modified().expect("time"), written, "it was compiled again");
    fs::write(file, &whole[..whole.len() - 1]).expect("torn");
    assert_eq!(works(), 1_000);
    assert_eq!(fs::read(file).expect("compiled again").len(), whole.len());
}

#[test]
fn a_cache_folder_of_others_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("widened");
    let error = Runtime::new(RuntimeOptions { cache_dir: Some(folder.path().into()) }).err().expect("refused").to_string();
    let want = format!("cache folder {}: it holds native code, but has owner ", folder.path().display());
    assert!(error.starts_with(&want), "{error}");
}
