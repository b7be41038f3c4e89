//! What a decoder is made of.

use super::{check::VersionPointers, plugin::DecoderPlugin};
use crate::geo::CityDatabase;
use std::sync::Arc;
use tidemill_schema::Registry;

/// What the stage is configured with; shared by its workers. Changes take effect with a new decoder, between two steps.
#[derive(Clone)]
pub struct DecodeSettings {
    /// The schemas.
    pub registry: Arc<Registry>,
    /// Where addresses are; without it every place is unknown.
    pub city: Option<Arc<CityDatabase>>,
    /// Where documents state their version.
    pub version_pointers: VersionPointers,
    /// The decoder plugins, in the order in which their fields are added; at most 64.
    pub plugins: Vec<DecoderPlugin>,
    /// The limits.
    pub limits: DecodeLimits,
    /// The topics.
    pub topics: DecodeTopics,
    /// The generation in `tm-src`: a higher one replaces what a lower one made.
    pub generation: u64,
    /// The value of `tm-epoch`: which schemas, database, configuration and plugins were in force.
    pub epoch: u64,
}

/// Where records come from and go to.
#[derive(Clone, Debug)]
pub struct DecodeTopics {
    /// The incarnation of `raw`.
    pub raw_incarnation: Arc<str>,
    /// The partitions of `validated`, at least 1.
    pub validated_partitions: u32,
    /// The partitions of `errors`, at least 1.
    pub errors_partitions: u32,
}

/// The stage's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// A document after gunzip. 8 MiB: the largest request is 1 MiB.
    pub document_bytes_max: usize,
    /// A record of any topic. 10 MiB: a document and 2 MiB of fields.
    pub record_bytes_max: usize,
    /// `DecodeError`. 1 KiB: a sentence.
    pub error_text_bytes_max: usize,
    /// `DecodeErrorDetail` and `backtrace`. 16 KiB: a report.
    pub error_detail_bytes_max: usize,
    /// Documents that wait for a plugin's answer. 256 KiB: a dozen main pings, enough to make a call's fixed cost (1 us) small, and
    /// little enough that they are still in the core's own cache when they are copied into records: 2 MiB took longer. The
    /// last one may go beyond.
    pub pending_bytes_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            document_bytes_max: 8 << 20,
            record_bytes_max: 10 << 20,
            error_text_bytes_max: 1 << 10,
            error_detail_bytes_max: 16 << 10,
            pending_bytes_max: 256 << 10,
        }
    }
}
