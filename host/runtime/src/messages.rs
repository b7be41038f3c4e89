//! New messages of an analysis call, checked.

use crate::bindings::tidemill::plugin::types as wit;
use crate::error::{Broken, broken};
use crate::limits::{Limits, within};

/// The row of a message or alert that a timer made.
pub const TIMER_ROW: u32 = u32::MAX;
/// Longest partition key in bytes.
const KEY_BYTES_MAX: usize = 1_024;

/// Messages for the `derived` topic: rows, keys and bytes in range; the bytes are not parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages {
    rows: Vec<u32>,
    keys: Vec<String>,
    offsets: Vec<u32>,
    arena: Vec<u8>,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMessage<'a> {
    /// The row it comes from, [`TIMER_ROW`] from a timer.
    pub row: u32,
    /// Its partition key; empty: its Uuid.
    pub key: &'a str,
    /// An unframed Heka message, as the plugin wrote it.
    pub bytes: &'a [u8],
}

impl Messages {
    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = NewMessage<'_>> {
        (0..self.rows.len()).map(|at| NewMessage {
            row: self.rows[at],
            key: &self.keys[at],
            bytes: &self.arena[self.offsets[at] as usize..self.offsets[at + 1] as usize],
        })
    }

    /// `rows` is `None` for a timer.
    pub(crate) fn check(raw: wit::Messages, rows: Option<u32>, limits: &Limits) -> Result<Self, Broken> {
        let wit::Messages { row, keys, offsets, arena } = raw;
        within("messages_max", limits.messages_max, 0, row.len() as u64)?;
        if keys.len() != row.len() {
            return Err(broken!("`messages.keys` has {} elements, `messages.row` has {}", keys.len(), row.len()));
        }
        check_rows(&row, rows)?;
        check_offsets(&offsets, row.len(), arena.len())?;
        match keys.iter().position(|key| key.len() > KEY_BYTES_MAX) {
            Some(at) => Err(broken!("`messages.keys[{at}]` has {} bytes, more than {KEY_BYTES_MAX}", keys[at].len())),
            None => Ok(Self { rows: row, keys, offsets, arena }),
        }
    }
}

fn check_rows(list: &[u32], rows: Option<u32>) -> Result<(), Broken> {
    let mut last = 0;
    for (at, row) in list.iter().enumerate() {
        check_row(&format_args!("messages.row[{at}]"), *row, rows)?;
        if *row < last {
            return Err(broken!("`messages.row[{at}]` is {row}, after {last}: rows ascend"));
        }
        last = *row;
    }
    Ok(())
}

/// A row of the batch, or [`TIMER_ROW`] where there is no batch.
pub(crate) fn check_row(what: &dyn std::fmt::Display, row: u32, rows: Option<u32>) -> Result<(), Broken> {
    match rows {
        Some(rows) if row >= rows => Err(broken!("`{what}` is {row}, but the batch has {rows} rows")),
        None if row != TIMER_ROW => Err(broken!("`{what}` is {row}, but a timer has no rows: use {TIMER_ROW}")),
        _ => Ok(()),
    }
}

/// One more than messages, or none for none; in range and monotone.
fn check_offsets(offsets: &[u32], messages: usize, arena: usize) -> Result<(), Broken> {
    if offsets.len() != messages + 1 && !(messages == 0 && offsets.is_empty()) {
        return Err(broken!("`messages.offsets` has {} elements, {messages} messages need {}", offsets.len(), messages + 1));
    }
    let mut last = 0;
    for (at, offset) in offsets.iter().enumerate() {
        if *offset < last || *offset as usize > arena {
            return Err(broken!("`messages.offsets[{at}]` is {offset}, after {last}, with an arena of {arena} bytes"));
        }
        last = *offset;
    }
    Ok(())
}
