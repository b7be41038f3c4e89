//! Pings of the project's own: the recorded `telemetry/usage` ping with ids and histograms of its own each, as large as main pings.

use super::ADDRESSES;
use crate::paths;
use anyhow::Context;
use serde_json::{Map, Value, json};
use tidemill_message::MessageWriter;
use uuid::Uuid;

/// The ping that the others are made of.
const RECORDED: &str = "tests/fixtures/telemetry/usage.4.daily.pass.json";
/// 2018-03-28 12:00:00 UTC.
const FIRST_NS: i64 = 1_522_238_400_000_000_000;
/// Histograms of a ping: with 8 buckets each they make 5 to 35 KB, 20 on average.
const HISTOGRAMS: std::ops::Range<u64> = 30..240;

/// Raw messages as the edge makes them.
///
/// # Errors
/// The recorded ping cannot be read.
pub fn messages(count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let recorded = std::fs::read(paths::root().join(RECORDED)).context(RECORDED)?;
    let recorded: Value = serde_json::from_slice(&recorded).context(RECORDED)?;
    let mut random = Random(1);
    Ok((0..count).map(|number| message(&recorded, number, &mut random)).collect())
}

fn message(recorded: &Value, number: usize, random: &mut Random) -> Vec<u8> {
    let id = random.uuid().to_string();
    let document = document(recorded, &id, random);
    let uri = format!("/submit/telemetry/{id}/usage/Firefox/61.0/nightly/20180328030202");
    let mut out = Vec::new();
    let mut writer = MessageWriter::new(&mut out, random.uuid().as_bytes(), FIRST_NS + number as i64 * 1_000_000);
    writer.type_(b"raw").logger(b"moz_ingest").hostname(b"edge-1");
    writer.field_string("remote_addr", ADDRESSES[number % ADDRESSES.len()].as_bytes());
    writer.field_string("uri", uri.as_bytes()).field_string("Host", b"incoming.example").field_string("DNT", b"1");
    writer.field_string("Date", b"Wed, 28 Mar 2018 11:59:58 GMT").field_string("X-PingSender-Version", b"1.0");
    writer.field_bytes("content", "", &gzip(document.to_string().as_bytes()));
    out
}

fn document(recorded: &Value, id: &str, random: &mut Random) -> Value {
    let mut document = recorded.clone();
    document["id"] = json!(id);
    document["clientId"] = json!(random.uuid().to_string());
    let histograms = HISTOGRAMS.start + random.below(HISTOGRAMS.end - HISTOGRAMS.start);
    let histograms: Map<String, Value> = (0..histograms).map(|number| (format!("HISTOGRAM_{number}_MS"), histogram(random))).collect();
    document["payload"]["histograms"] = Value::Object(histograms);
    document
}

fn histogram(random: &mut Random) -> Value {
    let values: Map<String, Value> = (0..8).map(|bucket| ((1_u64 << bucket).to_string(), json!(random.below(500)))).collect();
    json!({"range": [1, 10_000], "bucket_count": 20, "histogram_type": 0, "sum": random.below(100_000), "values": values})
}

fn gzip(document: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(document.len())];
    // The bound holds.
    let length = compressor.gzip_compress(document, &mut out).unwrap_or(0);
    out.truncate(length);
    out
}

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes((u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_schema::Registry;

    #[test]
    fn pings_are_valid_and_the_same_every_time() {
        let made = messages(20).unwrap();
        assert_eq!(made, messages(20).unwrap());
        let registry = Registry::load(&[paths::root().join("schemas")]).unwrap().0;
        let schema = registry.find("telemetry", "usage", 4).unwrap();
        let mut random = Random(7);
        let recorded = serde_json::from_slice(&std::fs::read(paths::root().join(RECORDED)).unwrap()).unwrap();
        assert!((0..20).all(|_| schema.is_valid_tree(&document(&recorded, "2c3a0767-d84a-4d02-8a92-fa54a3376049", &mut random))));
    }
}
