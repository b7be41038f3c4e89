//! Guests written by hand: core WebAssembly text around a memory image of prepared answers, made into components.

use std::fmt::Write as _;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the prepared answers begin.
const IMAGE_START: u32 = 1_024;
/// Where `cabi_realloc` begins.
const HEAP_START: u32 = 65_536;
/// An answer of an analysis call: the tag, then `findings`.
pub const FINDINGS_BYTES: usize = 4 + 104;

/// Offsets of lists within `findings`, behind the tag.
pub mod at {
    pub const MESSAGE_ROW: usize = 4;
    pub const MESSAGE_KEYS: usize = 12;
    pub const MESSAGE_OFFSETS: usize = 20;
    pub const MESSAGE_ARENA: usize = 28;
    pub const CELL_GRAPH: usize = 60;
}

/// A guest in the making.
pub struct Guest {
    kinds: Vec<&'static str>,
    optional: Vec<&'static str>,
    image: Vec<u8>,
    functions: String,
    extra_wit: &'static str,
    pages: u32,
}

impl Guest {
    /// A guest of one kind without functions.
    pub fn new(kind: &'static str) -> Self {
        Self { kinds: vec![kind], optional: vec![], image: vec![], functions: String::new(), extra_wit: "", pages: 4 }
    }

    /// An analysis guest that subscribes to everything without columns; `process` is text that leaves a pointer to its answer.
    pub fn analysis(process: &str) -> Self {
        let mut guest = Self::new("analysis");
        let opened = guest.subscription("TRUE", &[]);
        guest.open("analysis", &format!("i32.const {opened}")).process(process)
    }

    /// Adds a kind: two are one too many.
    pub fn and(mut self, kind: &'static str) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Lines of WIT within the world.
    pub fn world(mut self, wit: &'static str) -> Self {
        self.extra_wit = wit;
        self
    }

    /// Bytes in the image, and where they lie.
    pub fn put(&mut self, bytes: &[u8]) -> u32 {
        while !self.image.len().is_multiple_of(8) {
            self.image.push(0);
        }
        let at = IMAGE_START + self.image.len() as u32;
        self.image.extend_from_slice(bytes);
        at
    }

    /// An answer to `open`: the tag, then a subscription. A column is path, kind, shape and required.
    pub fn subscription(&mut self, matcher: &str, columns: &[(&str, u8, u8, bool)]) -> u32 {
        let records = columns.iter().map(|(path, kind, shape, required)| {
            let path_at = self.put(path.as_bytes());
            [&path_at.to_le_bytes()[..], &(path.len() as u32).to_le_bytes(), &[*kind, *shape, u8::from(*required), 0]].concat()
        });
        let records: Vec<u8> = records.collect::<Vec<_>>().concat();
        let (matcher_at, records_at) = (self.put(matcher.as_bytes()), self.put(&records));
        let words = [0, matcher_at, matcher.len() as u32, records_at, columns.len() as u32, 1, 0];
        self.put(&words.map(u32::to_le_bytes).concat())
    }

    /// An answer to `process`: empty findings but for the words set at offsets.
    pub fn findings(&mut self, words: &[(usize, u32)]) -> u32 {
        let mut answer = vec![0; FINDINGS_BYTES];
        for (at, word) in words {
            answer[*at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        self.put(&answer)
    }

    /// The guest's own refusal.
    pub fn failure(&mut self, code: u32, text: &str) -> u32 {
        let text_at = self.put(text.as_bytes());
        self.put(&[1, code, text_at, text.len() as u32].map(u32::to_le_bytes).concat())
    }

    /// Any text at the level of the module.
    pub fn text(mut self, text: &str) -> Self {
        self.functions.push_str(text);
        self
    }

    /// `open`: `local.get 0` and `1` are the configuration.
    pub fn open(self, kind: &str, body: &str) -> Self {
        self.text(&format!("(func (export \"tidemill:plugin/{kind}@0.1.0#open\") (param i32 i32) (result i32) {body})\n"))
    }

    /// `process`, with the batch's 15 values as parameters: partition, rows, now, six lists.
    pub fn process(self, body: &str) -> Self {
        let name = "tidemill:plugin/analysis@0.1.0#process";
        let parameters = format!("i32 i32 i64{}", " i32".repeat(12));
        self.text(&format!("(func $process (export \"{name}\") (param {parameters}) (result i32) (local $i i32) {body})\n"))
            .text(&format!("(func (export \"cabi_post_{name}\") (param i32) (global.set $heap (i32.const {HEAP_START})))\n"))
    }

    /// `snapshot` and `restore`.
    pub fn state(mut self, snapshot: &str, restore: &str) -> Self {
        self.optional.push("with-state");
        self.text(&format!("(func (export \"tidemill:plugin/state@0.1.0#snapshot\") (result i32) {snapshot})\n"))
            .text(&format!("(func (export \"tidemill:plugin/state@0.1.0#restore\") (param i32 i32 i32 i32) (result i32) {restore})\n"))
    }

    /// `on-timer`.
    pub fn timers(mut self, body: &str) -> Self {
        self.optional.push("with-timers");
        self.text(&format!("(func (export \"tidemill:plugin/timers@0.1.0#on-timer\") (param i64) (result i32) {body})\n"))
    }

    /// The component.
    pub fn build(self) -> Vec<u8> {
        let mut module = wat::parse_str(self.module()).expect("core text");
        let mut resolve = Resolve::default();
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/plugin.wit");
        resolve.push_file(contract).expect("the contract");
        let package = resolve.push_str("guest.wit", &self.wit()).expect("the guest's world");
        let world = resolve.select_world(&[package], Some("guest")).expect("world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
        let mut encoder = ComponentEncoder::default().validate(true).module(&module).expect("a module of the world");
        encoder.encode().expect("a component")
    }

    fn wit(&self) -> String {
        let mut wit = String::from("package evil:guest;\n");
        wit.push_str("interface handles { resource thing { constructor(); } }\n");
        wit.push_str("interface foreign { now: func() -> u64; }\nworld guest {\n");
        for kind in &self.kinds {
            writeln!(wit, "include tidemill:plugin/{kind}-plugin@0.1.0;").expect("text");
        }
        for optional in &self.optional {
            writeln!(wit, "include tidemill:plugin/{optional}@0.1.0;").expect("text");
        }
        wit + self.extra_wit + "}\n"
    }

    fn module(&self) -> String {
        let image: String = self.image.iter().map(|byte| format!("\\{byte:02x}")).collect();
        // Imports come first, whatever the order in which they were given.
        let (imports, functions): (Vec<&str>, Vec<&str>) = self.functions.lines().partition(|line| line.starts_with("(import"));
        format!(
            "(module
              (import \"tidemill:plugin/host@0.1.0\" \"log\" (func $log (param i32 i32 i32)))
              (import \"tidemill:plugin/host@0.1.0\" \"metric-add\" (func $metric-add (param i32 i32 f64)))
              {}
              (memory (export \"memory\") {})
              (global $heap (mut i32) (i32.const {HEAP_START}))
              (data (i32.const {IMAGE_START}) \"{image}\")
              (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (local i32)
                (local.set 4 (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                (global.set $heap (i32.add (local.get 4) (local.get 3)))
                (block $fits
                  (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
                  (br_if $fits (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get 3) (i32.const 16))))))
                  unreachable)
                (local.get 4))
              {})",
            imports.join("\n"),
            self.pages,
            functions.join("\n"),
        )
    }
}
