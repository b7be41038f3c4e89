//! Reads a segment entry by entry and steps over what is damaged.

use super::{
    format::{
        Bites, ENTRY_HEADER_BYTES, ENTRY_MARKER, EntryHeader, Item, Place, SEGMENT_HEADER_BYTES, SEQUENCE_MAX, SegmentHeader,
        read_segment_header,
    },
    frame,
    store::{Store, io_error},
};
use crate::{BusError, File, crc::crc32c};
use std::{ops::Range, sync::Arc};

/// How much is read at once in search of the next entry.
const SEARCH_BYTES: usize = 1 << 20;

/// A segment that is read.
pub(super) struct SegmentScan {
    number: u32,
    file: Arc<dyn File>,
    salt: u64,
    length: u64,
    position: u64,
    last_sequence: Option<u64>,
    /// Checkpoints that were replaced may be holes here.
    has_holes: bool,
}

/// What an entry does, each item with the place of its frame.
pub(super) type Placed = Vec<(Item, Place)>;

/// What lies at a position of a segment.
#[derive(Debug)]
pub(super) enum Found {
    /// An entry that is whole.
    Entry { header: EntryHeader, items: Placed },
    /// Bytes that are no entry, with entries behind them. `items` of it could be read when its frames alone are damaged.
    Damage { bytes: Range<u64>, items: Option<Placed> },
    /// Bytes that are no entry, and no entry behind them: what a crash leaves.
    Tail(u64),
}

/// How the front of a segment looks.
pub(super) enum Opened {
    Scan(SegmentScan),
    /// Too short or damaged in both copies of its header.
    Unreadable,
}

/// Opens a segment for a scan.
///
/// # Errors
/// When it cannot be read, or a newer program wrote it.
pub(super) fn open(store: &Store, number: u32) -> Result<Opened, BusError> {
    let path = store.log_path(number);
    let file = store.open(number, false).map_err(|error| io_error("cannot open", &path, error))?;
    let length = file.len().map_err(|error| io_error("cannot read", &path, error))?;
    let mut header = [0; SEGMENT_HEADER_BYTES];
    if length < SEGMENT_HEADER_BYTES as u64 {
        return Ok(Opened::Unreadable);
    }
    file.read_exact_at(&mut header, 0).map_err(|error| io_error("cannot read", &path, error))?;
    match read_segment_header(&header, number) {
        SegmentHeader::Good(salt) => {
            let position = SEGMENT_HEADER_BYTES as u64;
            Ok(Opened::Scan(SegmentScan { number, file, salt, length, position, last_sequence: None, has_holes: false }))
        }
        SegmentHeader::Damaged => Ok(Opened::Unreadable),
        SegmentHeader::Newer(version) => Err(BusError::Unusable(format!(
            "{} is of format {version}, this program reads up to format {}: use the newer program that wrote it",
            path.display(),
            super::format::FORMAT_VERSION
        ))),
    }
}

impl SegmentScan {
    pub(super) fn salt(&self) -> u64 {
        self.salt
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }

    /// The segment is sealed: a checkpoint of zeros was replaced and is no damage. In the last segment it is: a crash leaves zeros too.
    pub(super) fn expect_holes(&mut self) {
        self.has_holes = true;
    }

    /// What comes next; `None` at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Found>> {
        if self.position >= self.length {
            return Ok(None);
        }
        let Some(header) = self.header_at(self.position)? else { return self.damage(None, None).map(Some) };
        if !self.holds(self.position, &header) {
            return Ok(Some(self.end_at(None, None)));
        }
        let (items, whole) = self.read_items(&header)?;
        match items {
            Some(items) if whole => {
                self.position += header.entry_bytes();
                self.last_sequence = Some(header.sequence);
                Ok(Some(Found::Entry { header, items }))
            }
            items => self.damage(Some(header), items).map(Some),
        }
    }

    /// A header that is whole and later than the last.
    fn header_at(&self, position: u64) -> std::io::Result<Option<EntryHeader>> {
        let mut bytes = [0; ENTRY_HEADER_BYTES];
        if position + bytes.len() as u64 > self.length {
            return Ok(None);
        }
        self.file.read_exact_at(&mut bytes, position)?;
        Ok(self.accept(&bytes))
    }

    fn accept(&self, bytes: &[u8]) -> Option<EntryHeader> {
        let is_later =
            |header: &EntryHeader| header.sequence <= SEQUENCE_MAX && self.last_sequence.is_none_or(|last| header.sequence > last);
        EntryHeader::decode(bytes, self.salt).filter(is_later)
    }

    /// Whether an entry fits into the file. One that does not is torn, and the last: what lies within its length is its own, also
    /// when the file has grown by other entries.
    fn holds(&self, position: u64, header: &EntryHeader) -> bool {
        position + header.entry_bytes() <= self.length
    }

    /// The items of the entry here, and whether all its frames are whole.
    fn read_items(&self, header: &EntryHeader) -> std::io::Result<(Option<Placed>, bool)> {
        let mut bytes = vec![0; header.entry_bytes() as usize - ENTRY_HEADER_BYTES];
        self.file.read_exact_at(&mut bytes, self.position + ENTRY_HEADER_BYTES as u64)?;
        let (items, body) = bytes.split_at(header.items_bytes as usize);
        if crc32c(items) != header.items_crc {
            return Ok((None, false));
        }
        let body_position = self.position + (ENTRY_HEADER_BYTES + items.len()) as u64;
        Ok(match decode_items(items, self.number, body_position) {
            Some(items) => {
                let whole = self.frames_are_whole(&items, body, body_position);
                (Some(items), whole)
            }
            None => (None, false),
        })
    }

    fn frames_are_whole(&self, items: &[(Item, Place)], body: &[u8], body_position: u64) -> bool {
        items.iter().filter(|(item, _)| item.frame_bytes() > 0).all(|(item, place)| {
            let start = (u64::from(place.position) - body_position) as usize;
            let is_whole = |frame: &[u8]| {
                let may_be_hole = self.has_holes && matches!(item, Item::Checkpoint { .. });
                frame::is_whole(frame) || (may_be_hole && frame.iter().all(|byte| *byte == 0))
            };
            body.get(start..start + place.length as usize).is_some_and(is_whole)
        })
    }

    /// Steps over the bytes here to the next entry, by the length its header gives where that can be trusted.
    fn damage(&mut self, header: Option<EntryHeader>, items: Option<Placed>) -> std::io::Result<Found> {
        let from = match header {
            Some(header) => {
                self.last_sequence = Some(header.sequence);
                self.position + header.entry_bytes()
            }
            None => self.position + 1,
        };
        let next = self.search(from)?;
        Ok(self.end_at(next, items))
    }

    fn end_at(&mut self, next: Option<u64>, items: Option<Placed>) -> Found {
        let start = std::mem::replace(&mut self.position, next.unwrap_or(self.length));
        next.map_or(Found::Tail(start), |next| Found::Damage { bytes: start..next, items })
    }

    /// The first position at or behind this where an entry begins, if that is in the file.
    fn search(&self, mut from: u64) -> std::io::Result<Option<u64>> {
        if let Some(header) = self.header_at(from)? {
            return Ok(self.holds(from, &header).then_some(from));
        }
        while from + (ENTRY_HEADER_BYTES as u64) <= self.length {
            let window = (self.length - from).min((SEARCH_BYTES + ENTRY_HEADER_BYTES) as u64) as usize;
            let mut bytes = vec![0; window];
            self.file.read_exact_at(&mut bytes, from)?;
            let marked = |at: &usize| bytes[*at..].starts_with(&ENTRY_MARKER.to_le_bytes());
            let last = window - ENTRY_HEADER_BYTES;
            let found = (0..=last).filter(marked).find_map(|at| Some((from + at as u64, self.accept(&bytes[at..])?)));
            if let Some((at, header)) = found {
                return Ok(self.holds(at, &header).then_some(at));
            }
            from += last as u64 + 1;
        }
        Ok(None)
    }
}

fn decode_items(bytes: &[u8], segment: u32, body_position: u64) -> Option<Placed> {
    let (mut bites, mut position, mut items) = (Bites(bytes), u32::try_from(body_position).ok()?, Vec::new());
    while !bites.0.is_empty() {
        let item = Item::decode(&mut bites)?;
        let length = item.frame_bytes();
        items.push((item, Place { segment, position, length }));
        position = position.checked_add(length)?;
    }
    Some(items)
}
