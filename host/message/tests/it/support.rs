//! Messages that the tests share.

use tidemill_message::{MessageRef, MessageWriter};

/// A generator of test inputs (splitmix64): equal seeds give equal inputs.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Numbers of all magnitudes, extremes included.
    pub fn integer(&mut self) -> i64 {
        let shift = self.below(64);
        (self.next() >> shift) as i64
    }

    pub fn text(&mut self, max: u64) -> String {
        let length = self.below(max);
        (0..length).map(|_| char::from_u32(0x61 + self.below(0x400) as u32).unwrap_or('x')).collect()
    }
}

pub const UUID: [u8; 16] = [0x40, 0x1c, 0xe8, 0x5b, 0x11, 0x7d, 0x4a, 0x02, 0xb3, 0x66, 0x0f, 0x9e, 0xc4, 0x2a, 0x58, 0xd1];

/// 2023-11-14T22:13:20.123456789Z.
pub const TIMESTAMP: i64 = 1_700_000_000_123_456_789;

/// A message with every header and every type of field.
pub fn full() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = MessageWriter::new(&mut bytes, &UUID, TIMESTAMP);
    writer.type_(b"main").logger(b"telemetry").severity(4).payload(b"one two, three").env_version(b"2.5").pid(4711);
    writer.hostname(b"edge-7");
    writer.field_string("color", b"red");
    writer.field_integers("size", "B", &[512, 2048]);
    writer.field_string("color", b"darkred");
    writer.field_double("ratio", "", 0.75);
    writer.field_bool("open", true);
    writer.field_bool("closed", false);
    writer.field_integer("none", "count", 0);
    writer.field_string("digits", b"17");
    writer.field_bytes("blob", "json", b"{\"a\":1}");
    writer.field_strings("days", "date", &[b"monday", b"tuesday"]);
    writer.field_strings("empty", "", &[]);
    bytes
}

/// A message with nothing but what is required.
pub fn minimal() -> Vec<u8> {
    let mut bytes = Vec::new();
    MessageWriter::new(&mut bytes, &UUID, 1_000_000_000);
    bytes
}

pub fn parsed(bytes: &[u8]) -> MessageRef<'_> {
    MessageRef::parse(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"))
}

/// The bytes of `hex`, where spaces do not matter.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.bytes().filter(|byte| *byte != b' ').collect::<Vec<_>>();
    let pair = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    digits.chunks(2).map(|chunk| pair(chunk).unwrap_or_else(|| panic!("not hexadecimal: {hex}"))).collect()
}
