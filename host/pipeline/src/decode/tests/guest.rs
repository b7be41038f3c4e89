//! A decoder written by hand: core WebAssembly text around a memory image of prepared answers, made into a component.
//!
//! It reads two int64 columns, `/do` and the required `/id`, and adds the field `score`, twice the id. `/do` says how it behaves.

use crate::{decode::DecoderPlugin, status::PluginStatus};
use std::{
    path::Path,
    sync::{Arc, LazyLock},
};
use tidemill_message::Matcher;
use tidemill_runtime::{Limits, Plugin, Runtime, RuntimeOptions};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The values of `/do`.
pub mod act {
    pub const TRAP: i64 = 1;
    pub const SPIN: i64 = 2;
    pub const GROW: i64 = 3;
    pub const LIE: i64 = 4;
    pub const REJECT: i64 = 5;
    pub const CUT: i64 = 6;
    pub const TRAP_IN_COMPANY: i64 = 7;
    pub const LOG: i64 = 8;
}

const IMAGE_START: u32 = 1_024;
const HEAP_START: u32 = 65_536;

#[derive(Default)]
struct Image(Vec<u8>);

impl Image {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        while !self.0.len().is_multiple_of(8) {
            self.0.push(0);
        }
        let at = IMAGE_START + self.0.len() as u32;
        self.0.extend_from_slice(bytes);
        at
    }

    fn words(&mut self, words: &[u32]) -> u32 {
        self.put(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
    }

    /// The words of a string.
    fn text(&mut self, text: &str) -> [u32; 2] {
        [self.put(text.as_bytes()), text.len() as u32]
    }
}

/// The text of the module; `matcher` and the name of its field are given.
fn module(matcher: &str, field: &str) -> String {
    let mut image = Image::default();
    let [path_do, do_len] = image.text("/do");
    let [path_id, id_len] = image.text("/id");
    // Path, then kind int64, shape one, required or not.
    let columns = image.words(&[path_do, do_len, 0, path_id, id_len, 1 << 16]);
    let [matcher, matcher_len] = image.text(matcher);
    let [name, name_len] = image.text(field);
    let [unit, unit_len] = image.text("points");
    let fields = image.words(&[name, name_len, 0, unit, unit_len]);
    let [inner, inner_len] = image.text("/inner/big");
    let [junk, junk_len] = image.text("/junk");
    let sections = image.words(&[inner, inner_len, 0, junk, junk_len, 1]);
    let plans = image.words(&[0, 0, sections, 2]);
    let opened = image.words(&[0, matcher, matcher_len, columns, 2, 0, 0, fields, 1, plans, 2]);
    let [no, no_len] = image.text("not this one");
    let answer = image.words(&[0; 17]);
    let [line, line_len] = image.text("a line");
    let bytes: String = image.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let parameters = format!("i32 i32 i64{}", " i32".repeat(12));
    format!(
        r#"(module
          (import "tidemill:plugin/host@0.1.0" "log" (func $log (param i32 i32 i32)))
          (import "tidemill:plugin/host@0.1.0" "metric-add" (func $metric-add (param i32 i32 f64)))
          (memory (export "memory") 64)
          (global $heap (mut i32) (i32.const {HEAP_START}))
          (data (i32.const {IMAGE_START}) "{bytes}")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local i32)
            (local.set 4 (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get 4) (local.get 3)))
            (local.get 4))
          (func (export "tidemill:plugin/decoder@0.1.0#open") (param i32 i32) (result i32) i32.const {opened})
          (func (export "cabi_post_tidemill:plugin/decoder@0.1.0#decode") (param i32) (global.set $heap (i32.const {HEAP_START})))
          (func (export "tidemill:plugin/decoder@0.1.0#decode") (param {parameters}) (result i32)
            (local $i i32) (local $do i64) (local $rejected i32) (local $rejection i32) (local $plans i32)
            (local.set $plans (local.get 1))
            (loop $rows
              (local.set $do (i64.load (i32.add (local.get 3) (i32.shl (local.get $i) (i32.const 3)))))
              (if (i64.eq (local.get $do) (i64.const {log})) (then
                (call $log (i32.const 2) (i32.const {line}) (i32.const {line_len}))
                (call $metric-add (i32.const {line}) (i32.const {line_len}) (f64.const 1.5))))
              (if (i64.eq (local.get $do) (i64.const {trap})) (then unreachable))
              (if (i64.eq (local.get $do) (i64.const {spin})) (then (loop $for_ever (br $for_ever))))
              (if (i64.eq (local.get $do) (i64.const {grow}))
                (then (loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable))
              (if (i64.eq (local.get $do) (i64.const {lie})) (then (local.set $plans (i32.const 100000))))
              (if (i32.and (i64.eq (local.get $do) (i64.const {company})) (i32.gt_u (local.get 1) (i32.const 1))) (then unreachable))
              (if (i64.eq (local.get $do) (i64.const {reject})) (then
                (local.set $rejection (i32.add (i32.const 0x130000) (i32.shl (local.get $rejected) (i32.const 4))))
                (i32.store (local.get $rejection) (local.get $i))
                (i32.store offset=4 (local.get $rejection) (i32.const 9))
                (i32.store offset=8 (local.get $rejection) (i32.const {no}))
                (i32.store offset=12 (local.get $rejection) (i32.const {no_len}))
                (local.set $rejected (i32.add (local.get $rejected) (i32.const 1)))))
              (i64.store (i32.add (i32.const 0x100000) (i32.shl (local.get $i) (i32.const 3)))
                (i64.mul (i64.const 2) (i64.load (i32.add (local.get 3) (i32.shl (i32.add (local.get 1) (local.get $i)) (i32.const 3))))))
              (i32.store8 (i32.add (i32.const 0x110000) (local.get $i)) (i32.const 1))
              (i32.store8 (i32.add (i32.const 0x120000) (local.get $i)) (i64.eq (local.get $do) (i64.const {cut})))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $rows (i32.lt_u (local.get $i) (local.get 1))))
            (i32.store offset=4 (i32.const {answer}) (i32.const 0x100000))
            (i32.store offset=8 (i32.const {answer}) (i32.shl (local.get 1) (i32.const 3)))
            (i32.store offset=20 (i32.const {answer}) (i32.const 0x110000))
            (i32.store offset=24 (i32.const {answer}) (local.get 1))
            (i32.store offset=52 (i32.const {answer}) (i32.const 0x120000))
            (i32.store offset=56 (i32.const {answer}) (local.get $plans))
            (i32.store offset=60 (i32.const {answer}) (i32.const 0x130000))
            (i32.store offset=64 (i32.const {answer}) (local.get $rejected))
            i32.const {answer}))"#,
        trap = act::TRAP,
        spin = act::SPIN,
        grow = act::GROW,
        lie = act::LIE,
        reject = act::REJECT,
        cut = act::CUT,
        company = act::TRAP_IN_COMPANY,
        log = act::LOG,
    )
}

fn component(matcher: &str, field: &str) -> Vec<u8> {
    let mut core = wat::parse_str(module(matcher, field)).expect("core text");
    let mut resolve = Resolve::default();
    resolve.push_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/plugin.wit")).expect("the contract");
    let wit = "package test:guest;\nworld guest { include tidemill:plugin/decoder-plugin@0.1.0; }\n";
    let package = resolve.push_str("guest.wit", wit).expect("the guest's world");
    let world = resolve.select_world(&[package], Some("guest")).expect("world");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("metadata");
    let mut encoder = ComponentEncoder::default().validate(true).module(&core).expect("a module of the world");
    encoder.encode().expect("a component")
}

fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new(RuntimeOptions::default()).expect("a runtime"));
    &RUNTIME
}

fn load(name: &str, matcher: &str, field: &str) -> Plugin {
    runtime().load(name, &component(matcher, field)).expect("loads")
}

/// The plugin `actor` with its own matcher, the name of its field, and one that narrows it.
pub fn plugin_with(matcher: &str, field: &str, extra: Option<&str>) -> DecoderPlugin {
    let limits = Limits { call_fuel_max: 1_000_000, memory_bytes_max: 8 << 20, ..Limits::default() };
    let matcher_extra = extra.map(|text| Matcher::parse(text).expect("a matcher"));
    let plugin = load("actor", matcher, field);
    DecoderPlugin { plugin, config: "{}".to_owned(), limits, matcher: matcher_extra, status: Arc::new(PluginStatus::default()) }
}

/// The plugin `actor` for every message.
pub fn plugin() -> DecoderPlugin {
    static PLUGIN: LazyLock<DecoderPlugin> = LazyLock::new(|| plugin_with("Type == 'validated'", "score", None));
    DecoderPlugin { status: Arc::new(PluginStatus::default()), ..PLUGIN.clone() }
}
