//! What the edge takes.

use std::time::Duration;

/// The limits of a request. They are the producers' contract, not configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A larger body, as sent, is answered 413. A client caps a ping at 1 MB before gzip.
    pub body_bytes_max: u64,
    /// A longer path and query is answered 414.
    pub uri_bytes_max: usize,
    /// A longer header among those that are kept is answered 431.
    pub header_bytes_max: usize,
    /// A client that takes longer for its request head is cut off.
    pub head_timeout: Duration,
    /// A client that takes longer for its body is answered 408 and cut off.
    pub body_timeout: Duration,
    /// Without a spool, a bus that takes longer to confirm counts as failed: 500, and the client comes again.
    pub publish_timeout: Duration,
    /// Bytes of bodies that are held at once, from all clients; a request that would pass it is answered 507. About four times as
    /// much memory is used, because the bus and the record have copies. 128 MiB is two seconds at 70 MiB/s.
    pub held_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            uri_bytes_max: 10_240,
            header_bytes_max: 1_024,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            publish_timeout: Duration::from_secs(30),
            held_bytes_max: 128 << 20,
        }
    }
}
