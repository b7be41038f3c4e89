//! Small log messages, 295 bytes on average, as a stage fetches them from `validated`.

use super::{each_frame, generated};
use tidemill_bus::{FetchedBatch, RecordBuf, TopicPartition};
use tidemill_message::{MessageRef, MessageWriter};

/// Messages of the corpus.
const MESSAGES: usize = 500_000;
/// What the records of a real log carry beside their value, but for the source.
const HEADERS: [(&str, &[u8]); 3] = [("tm-v", b"1"), ("tm-src", b"decode/0/6f1c22d07a9d4a61/0/123456/0"), ("tm-epoch", b"1")];
/// 2017-11-21 00:00:00 UTC.
const FIRST_NS: i64 = 1_511_222_400_000_000_000;
const REQUESTS: [&str; 8] = [
    "/",
    "/index.html",
    "/v1/account/create",
    "/v1/session/status",
    "/favicon.ico",
    "/img/logo.png",
    "/api/recovery_key",
    "/v1/certificate/sign",
];

/// The messages as records, in pieces of about the size that a fetch returns.
pub struct Small {
    /// Its name in the table.
    pub name: &'static str,
    /// The pieces.
    pub pieces: Vec<RecordBuf>,
    /// How many messages there are.
    pub count: usize,
}

impl Small {
    /// Messages of `../shared/bench/gen.py` where that is, else some of the same shape.
    ///
    /// # Errors
    /// They cannot be made or read.
    pub fn load(piece_bytes: usize) -> anyhow::Result<Self> {
        let mut small = Self { name: "access-log", pieces: vec![RecordBuf::default()], count: 0 };
        match generated("small", MESSAGES)? {
            Some(folder) => each_frame(&folder.join("small.hpb"), &mut |message| small.push(message, piece_bytes))?,
            None => {
                small.name = "own-access-log";
                (0..MESSAGES).try_for_each(|number| small.push(&own(number), piece_bytes))?;
            }
        }
        Ok(small)
    }

    fn push(&mut self, message: &[u8], piece_bytes: usize) -> anyhow::Result<()> {
        let read = MessageRef::parse(message)?;
        if self.pieces.last().is_none_or(|piece| piece.bytes().len() >= piece_bytes) {
            self.pieces.push(RecordBuf::default());
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(read.timestamp().div_euclid(1_000_000), read.uuid(), &HEADERS, message);
        }
        self.count += 1;
        Ok(())
    }

    /// The first `count` messages or some more, as one partition's batches with offsets from 0.
    pub fn batches(&self, count: usize) -> Vec<FetchedBatch> {
        let partition = TopicPartition { topic: "validated".into(), partition: 0 };
        let (mut next, mut batches) = (0, Vec::new());
        for piece in &self.pieces {
            if next >= count as i64 {
                break;
            }
            let end = next + i64::from(piece.count());
            batches.push(FetchedBatch {
                partition: partition.clone(),
                offsets: (next..end).collect(),
                bytes: piece.bytes().to_vec().into(),
            });
            next = end;
        }
        batches
    }
}

/// A line of an access log.
fn own(number: usize) -> Vec<u8> {
    let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let pick = |shift: u32, of: u64| (mixed >> shift) % of;
    let types: [&[u8]; 10] = std::array::from_fn(|at| [&b"nginx.error"[..], b"app.audit"].get(at).copied().unwrap_or(b"nginx.access"));
    let mut out = Vec::new();
    let mut writer = MessageWriter::new(&mut out, &u128::from(mixed).to_be_bytes(), FIRST_NS + number as i64 * 43_000_000);
    writer.type_(types[pick(0, 10) as usize]).logger(b"fxa-auth").severity(6).pid(4_242);
    writer.hostname(format!("web-{}.example.net", number % 7).as_bytes());
    writer.field_string("remote_addr", format!("198.51.100.{}", pick(3, 256)).as_bytes());
    writer.field_string("request", format!("GET {} HTTP/1.1", REQUESTS[pick(5, 8) as usize]).as_bytes());
    writer.field_integer("status", "", [200, 200, 200, 200, 200, 204, 301, 304, 404, 500][pick(7, 10) as usize]);
    writer.field_integer("body_bytes_sent", "", 50 + pick(2, 90_000) as i64);
    writer.field_double("request_time", "", pick(4, 2_000) as f64 / 1e4);
    writer.field_string("http_user_agent", b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:57.0) Gecko/20100101 Firefox/57.0");
    out
}
