//! Checkpoints that are larger than a record.
//!
//! Such a state is cut into records of the same partition, keys `group/key`, NUL and a number, and a head under the key itself whose
//! value is empty and whose header says how many there are, how long they are together and what they hash to. All of them are
//! written in one transaction, so that readers see one state or the next; the hash proves that they belong together.

use crate::{BusError, Checkpoint};
use bytes::Bytes;
use rdkafka::{
    message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders},
    producer::BaseRecord,
};
use std::collections::HashMap;
use xxhash_rust::xxh64::{Xxh64, xxh64};

/// A larger state is cut into pieces of this size: half of what a record may have.
pub(super) const CHUNK_BYTES: usize = 4 << 20;
/// The largest state. The broker gives a transaction ten seconds: at 50 MB/s half of them.
pub(super) const CHECKPOINT_BYTES_MAX: usize = 256 << 20;
/// The header of a head.
const HEADER: &str = "tm-chunks";
/// Between a key and the number of a piece. No key has it: keys are made of names.
const MARK: char = '\0';

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) count: u32,
    bytes: u64,
    hash: u64,
}

/// What is known under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    Whole(Bytes),
    InPieces(Head),
}

/// A record of the topic of checkpoints.
pub(super) struct Piece {
    key: String,
    partition: u32,
    value: Option<Bytes>,
    head: Option<Head>,
}

impl Head {
    fn of(state: &[u8]) -> Self {
        Self { count: state.len().div_ceil(CHUNK_BYTES) as u32, bytes: state.len() as u64, hash: xxh64(state, 0) }
    }

    fn encode(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[12..].copy_from_slice(&self.hash.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let (length, hash) = rest.split_first_chunk::<8>()?;
        let (count, bytes) = (u32::from_le_bytes(*count), u64::from_le_bytes(*length));
        (bytes <= CHECKPOINT_BYTES_MAX as u64).then_some(())?;
        Some(Self { count, bytes, hash: u64::from_le_bytes(hash.try_into().ok()?) })
    }

    /// The pieces put together; `None` where they are not those of this head.
    pub(super) fn assemble(&self, key: &str, values: &HashMap<String, Saved>) -> Option<Bytes> {
        let (mut state, mut hash) = (Vec::with_capacity(usize::try_from(self.bytes).ok()?), Xxh64::new(0));
        for number in 0..self.count {
            let Saved::Whole(piece) = values.get(&piece_key(key, number))? else { return None };
            hash.update(piece);
            state.extend_from_slice(piece);
        }
        (state.len() as u64 == self.bytes && hash.digest() == self.hash).then(|| Bytes::from(state))
    }
}

/// The key of a piece.
pub(super) fn piece_key(key: &str, number: u32) -> String {
    format!("{key}{MARK}{number}")
}

/// The key that a record's key belongs to.
pub(super) fn owner(key: &str) -> &str {
    key.split_once(MARK).map_or(key, |(owner, _)| owner)
}

/// What a record says.
pub(super) fn read(message: &BorrowedMessage<'_>) -> Option<Saved> {
    let value = message.payload()?;
    let header = message.headers().and_then(|headers| headers.iter().find(|header| header.key == HEADER));
    match header.and_then(|header| header.value) {
        Some(head) => Head::decode(head).map(Saved::InPieces),
        None => Some(Saved::Whole(Bytes::copy_from_slice(value))),
    }
}

/// The records that save or forget a state under this key, where so many pieces were there before.
pub(super) fn pieces(checkpoint: &Checkpoint, key: &str, partition: u32, before: u32) -> Vec<Piece> {
    let one = |key: String, value| Piece { key, partition, value, head: None };
    let (mut made, mut count) = (Vec::new(), 0);
    match &checkpoint.bytes {
        Some(state) if state.len() > CHUNK_BYTES => {
            let head = Head::of(state);
            count = head.count;
            let piece = |number: u32| state.slice(number as usize * CHUNK_BYTES..state.len().min((number as usize + 1) * CHUNK_BYTES));
            made.extend((0..count).map(|number| one(piece_key(key, number), Some(piece(number)))));
            made.push(Piece { head: Some(head), ..one(key.to_owned(), Some(Bytes::new())) });
        }
        state => made.push(one(key.to_owned(), state.clone())),
    }
    made.extend((count..before).map(|number| one(piece_key(key, number), None)));
    made
}

/// How many pieces a checkpoint is saved in.
pub(super) fn count(checkpoint: &Checkpoint) -> u32 {
    checkpoint.bytes.as_ref().filter(|state| state.len() > CHUNK_BYTES).map_or(0, |state| state.len().div_ceil(CHUNK_BYTES) as u32)
}

/// # Errors
/// When a state is over the limit.
pub(super) fn check_size(topic: &str, checkpoint: &Checkpoint) -> Result<(), BusError> {
    match checkpoint.bytes.as_ref().map_or(0, Bytes::len) {
        size if size > CHECKPOINT_BYTES_MAX => Err(BusError::TooLarge { topic: topic.to_owned(), size, limit: CHECKPOINT_BYTES_MAX }),
        _ => Ok(()),
    }
}

impl Piece {
    /// As librdkafka takes it.
    pub(super) fn record<'a>(&'a self, topic: &'a str) -> BaseRecord<'a, [u8], [u8]> {
        let record = BaseRecord::to(topic).partition(self.partition as i32).key(self.key.as_bytes());
        let record = BaseRecord { payload: self.value.as_deref(), ..record };
        match self.head {
            Some(head) => record.headers(OwnedHeaders::new().insert(Header { key: HEADER, value: Some(&head.encode()[..]) })),
            None => record,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(bytes: Option<Vec<u8>>) -> Checkpoint {
        Checkpoint { key: "state".into(), bytes: bytes.map(Bytes::from) }
    }

    #[test]
    fn a_large_state_is_put_together_again_and_another_one_is_not() {
        let state: Vec<u8> = (0..CHUNK_BYTES * 2 + 5).map(|n| (n / 1000) as u8).collect();
        let made = pieces(&saved(Some(state.clone())), "g/state", 3, 5);
        let sizes: Vec<_> = made.iter().map(|piece| (piece.key.as_str(), piece.value.as_ref().map(Bytes::len))).collect();
        let all = CHUNK_BYTES;
        let expected =
            [("g/state\x000", Some(all)), ("g/state\x001", Some(all)), ("g/state\x002", Some(5)), ("g/state", Some(0))].into_iter();
        assert_eq!(sizes, expected.chain([("g/state\x003", None), ("g/state\x004", None)]).collect::<Vec<_>>());
        let head = made[3].head.expect("a head");
        assert_eq!(Head::decode(&head.encode()), Some(head));
        let mut values: HashMap<_, _> =
            made.iter().filter_map(|piece| Some((piece.key.clone(), Saved::Whole(piece.value.clone()?)))).collect();
        assert_eq!(head.assemble("g/state", &values), Some(Bytes::from(state)));
        values.insert("g/state\x002".into(), Saved::Whole(Bytes::from_static(b"12345")));
        assert_eq!(head.assemble("g/state", &values), None, "a piece of another state");
        values.remove("g/state\x002");
        assert_eq!(head.assemble("g/state", &values), None, "a piece is missing");
    }

    #[test]
    fn small_states_are_one_record_and_large_ones_are_cleared_away() {
        let made = pieces(&saved(Some(vec![1; CHUNK_BYTES])), "g/state", 0, 0);
        assert_eq!((made.len(), made[0].head, owner(&made[0].key)), (1, None, "g/state"));
        let forgotten = pieces(&saved(None), "g/state", 0, 2);
        assert!(forgotten.iter().all(|piece| piece.value.is_none() && owner(&piece.key) == "g/state"));
        assert_eq!(forgotten.len(), 3);
        assert_eq!(Head::decode(&[0xff; 20]), None, "a length that nobody may ask for");
        let refused = check_size("checkpoints", &saved(Some(vec![0; CHECKPOINT_BYTES_MAX + 1]))).unwrap_err();
        assert_eq!(refused.to_string(), "a record of 268435457 bytes for topic checkpoints is over its limit of 268435456 bytes");
    }
}
