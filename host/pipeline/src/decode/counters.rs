//! What the stage counts for `/metrics`.

use super::failure::ErrorType;
use metrics::Counter;

/// Handles of the counters that grow with every message.
pub struct Counters {
    validated: Counter,
    refused: Vec<Counter>,
    duplicate: Counter,
    redelivered: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
}

impl Counters {
    /// Registers the counters with the recorder that is installed now.
    pub fn new() -> Self {
        let result = |result: &'static str| metrics::counter!("tidemill_decode_messages_total", "result" => result);
        Self {
            validated: result("validated"),
            refused: ErrorType::ALL.iter().map(|kind| result(kind.as_str())).collect(),
            duplicate: result("duplicate"),
            redelivered: result("redelivered"),
            bytes_in: metrics::counter!("tidemill_decode_bytes_total", "of" => "raw"),
            bytes_out: metrics::counter!("tidemill_decode_bytes_total", "of" => "documents"),
        }
    }

    /// A message was validated: the bytes of its raw record and of its document.
    pub fn validated(&self, raw_bytes: usize, document_bytes: usize) {
        self.validated.increment(1);
        self.bytes_in.increment(raw_bytes as u64);
        self.bytes_out.increment(document_bytes as u64);
    }

    /// A client sent a document again.
    pub fn duplicate(&self, raw_bytes: usize) {
        self.duplicate.increment(1);
        self.bytes_in.increment(raw_bytes as u64);
    }

    /// We delivered a message again.
    pub fn redelivered(&self, raw_bytes: usize) {
        self.redelivered.increment(1);
        self.bytes_in.increment(raw_bytes as u64);
    }

    /// A message went to `errors`.
    pub fn refused(&self, kind: ErrorType, raw_bytes: usize) {
        self.refused[kind as usize].increment(1);
        self.bytes_in.increment(raw_bytes as u64);
    }
}

/// A step failed and is done again.
pub fn step_failed() {
    metrics::counter!("tidemill_decode_steps_failed_total").increment(1);
}
