//! What can go wrong on the bus.

use crate::TopicPartition;

/// An error of the bus, with what to do about it where there is something to do.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The queue or the disk has no room now.
    #[error("the bus has no room: {0}")]
    Full(String),
    /// A record is larger than the topic allows.
    #[error("a record of {size} bytes for topic {topic} is over its limit of {limit} bytes")]
    TooLarge {
        /// The topic.
        topic: String,
        /// The record's size.
        size: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// There is no such topic or partition.
    #[error("there is no {0}")]
    NotFound(String),
    /// A position that is no longer (or not yet) there.
    #[error("offset {position} of {}/{} is out of range: it holds {start}..{end}", partition.topic, partition.partition)]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position that was asked for.
        position: i64,
        /// The first offset there.
        start: i64,
        /// The next offset there.
        end: i64,
    },
    /// Another member owns the partitions, another host uses the same transactional identity, or a topic was made anew.
    #[error("the member starts over: {0}")]
    Fenced(String),
    /// The bus cannot be reached or refused; the call may be made again later.
    #[error("the bus is not available: {0}")]
    Unavailable(String),
    /// The files or the topics are of another format or configuration.
    #[error("{0}")]
    Unusable(String),
    /// A file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was done, with the path.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}
