//! Steady state: once the decode stage has seen messages of a kind, another message costs no allocation. What a batch and a call of a
//! plugin allocate does not grow with their messages.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    path::{Path, PathBuf},
    sync::Arc,
};
use tidemill_bus::{FetchedBatch, RecordBuf, Step, TopicPartition};
use tidemill_message::MessageWriter;
use tidemill_pipeline::{
    decode::{DecodeLimits, DecodeSettings, DecodeTopics, Decoder, DecoderPlugin, VersionPointers},
    geo::CityDatabase,
    status::LiveState,
};
use tidemill_runtime::{Limits, Runtime, RuntimeOptions};
use tidemill_schema::Registry;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends may allocate after its counter is gone.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Messages of the small and the large batch, each below what a plugin is called with at once.
const FEW: usize = 10;
const MANY: usize = 110;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn gzip(document: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(document.len())];
    let length = compressor.gzip_compress(document, &mut out).expect("fits");
    out.truncate(length);
    out
}

fn batch(path: &str, document: &[u8], count: usize) -> FetchedBatch {
    let (mut records, body) = (RecordBuf::default(), gzip(document));
    for number in 0..count {
        records.push_with(0, b"", &[("tm-v", b"1")], |out| {
            let mut message = MessageWriter::new(out, b"0123456789abcdef", 1_522_238_400_000_000_000 + number as i64);
            message.type_(b"raw").field_string("uri", path.as_bytes()).field_string("remote_addr", b"2.125.160.216");
            message.field_string("Host", b"incoming.example").field_string("User-Agent", b"pingsender/1.0");
            message.field_bytes("content", "", &body);
        });
    }
    let partition = TopicPartition { topic: "raw".into(), partition: 0 };
    FetchedBatch { partition, offsets: (0..count as i64).collect(), bytes: records.into_bytes() }
}

fn decoder(plugins: Vec<DecoderPlugin>) -> Decoder {
    let city = project().join("../shared/data/geoip/GeoIP2-City-Test.mmdb");
    Decoder::new(&DecodeSettings {
        registry: Arc::new(Registry::load(&[project().join("schemas")]).expect("schemas").0),
        city: city.exists().then(|| Arc::new(CityDatabase::open(&city).expect("a database"))),
        version_pointers: VersionPointers::default(),
        plugins,
        limits: DecodeLimits::default(),
        topics: DecodeTopics { raw_incarnation: "test".into(), validated_partitions: 4, errors_partitions: 1 },
        generation: 0,
        epoch: 1,
    })
    .expect("a decoder")
}

/// The allocations of decoding a batch into a step that has room.
fn allocations(decoder: &mut Decoder, batch: &FetchedBatch, step: &mut Step) -> u64 {
    step.publish.values_mut().for_each(RecordBuf::clear);
    let before = ALLOCATIONS.get();
    decoder.decode_batch(batch, step).expect("decodes");
    let allocations = ALLOCATIONS.get() - before;
    let (valid, all) = step.publish.iter().fold((0, 0), |(valid, all), (to, records)| {
        (valid + if &*to.topic == "validated" { records.count() } else { 0 }, all + records.count())
    });
    assert_eq!((valid as usize, all as usize), (batch.offsets.len(), batch.offsets.len()), "all are valid");
    allocations
}

/// Decoding many messages allocates as often as decoding a few.
fn check(mut decoder: Decoder, path: &str, document: &str) {
    let document = std::fs::read(project().join("tests/fixtures").join(document)).expect("a recorded ping");
    let (few, many) = (batch(path, &document, FEW), batch(path, &document, MANY));
    let mut step = Step::default();
    for _ in 0..3 {
        allocations(&mut decoder, &many, &mut step);
    }
    let (few, many) = (allocations(&mut decoder, &few, &mut step), allocations(&mut decoder, &many, &mut step));
    // A vector that grows by doubling does so a few times more.
    assert!(many <= few + 16, "{FEW} messages cost {few} allocations, {MANY} cost {many}");
}

#[test]
fn a_message_that_no_plugin_wants_costs_no_allocation() {
    check(decoder(Vec::new()), "/submit/web/page-load/1/2c3a0767-d84a-4d02-8a92-fa54a3376049", "web/page-load.1.sample.pass.json");
}

#[test]
fn a_message_that_a_plugin_decodes_costs_no_allocation() {
    let path = project().join("plugins/moz-telemetry/moz-telemetry.wasm");
    let Ok(component) = std::fs::read(&path) else {
        return eprintln!("SKIPPED a_message_that_a_plugin_decodes_costs_no_allocation: {} is not built", path.display());
    };
    let plugin = Runtime::new(RuntimeOptions::default()).and_then(|runtime| runtime.load("moz-telemetry", &component)).expect("loads");
    let status = LiveState::default().plugin("moz-telemetry", "decoder", plugin.version());
    let plugin = DecoderPlugin { plugin, config: "{}".to_owned(), limits: Limits::default(), matcher: None, status };
    let path = "/submit/telemetry/2c3a0767-d84a-4d02-8a92-fa54a3376049/usage/Firefox/61.0/nightly/20180328030202";
    check(decoder(vec![plugin]), path, "telemetry/usage.4.daily.pass.json");
}
