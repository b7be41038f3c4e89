//! Opens what an earlier process left: cuts the torn tail, steps over damage, builds the state.

use super::{
    catalog::Catalog,
    format::{Item, Place},
    reclaim,
    retention::Sealed,
    scan::{self, Found, Opened, SegmentScan},
    side::{Side, SideSlot},
    store::{Store, io_error},
};
use crate::{BusError, File, safeguard};
use std::{ops::Range, path::PathBuf, sync::Arc};

/// A record takes 15 bytes at least and Zstandard makes 1000 of 1 at most: so many offsets may be lost with a byte of the log.
const OFFSETS_PER_LOST_BYTE: u64 = 1000 / 15 + 1;

/// A segment begins with so many copies of its snapshot.
const SNAPSHOT_COPIES: usize = 2;

/// Bytes that could not be read when the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The bytes that were stepped over.
    pub bytes: Range<u64>,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: u32,
    pub(super) file: Arc<dyn File>,
    pub(super) salt: u64,
    pub(super) end: u64,
    pub(super) newest_ms: i64,
    pub(super) slots: Vec<SideSlot>,
}

/// The log as it was found.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) catalog: Catalog,
    pub(super) sealed: Vec<Sealed>,
    pub(super) active: Option<Active>,
    /// Checkpoints that were replaced and may still take room.
    pub(super) replaced: Vec<Place>,
    pub(super) next_sequence: u64,
    pub(super) next_segment: u32,
    pub(super) damage: Vec<Damage>,
}

/// Reads the folder.
///
/// # Errors
/// When a file cannot be read, a newer program wrote one, or nothing says what the topics are.
pub(super) fn recover(store: &Store) -> Result<Recovered, BusError> {
    let mut segments = store.segments()?;
    for &segment in &segments {
        scan::open(store, segment)?;
    }
    let next_segment = segments.last().map_or(0, |last| last + 1);
    let mut aside_bytes = 0;
    while let Some(last) = segments.pop() {
        if has_entry(store, last)? {
            segments.push(last);
            break;
        }
        aside_bytes += store.set_aside(last)?;
    }
    let mut found = Recovered { next_segment, ..Recovered::default() };
    if !segments.is_empty() {
        found.read(store, &segments)?;
        found.skip_offsets(aside_bytes);
    }
    found.make_durable(store)?;
    Ok(found)
}

fn open_scan(store: &Store, segment: u32) -> Result<Option<SegmentScan>, BusError> {
    Ok(match scan::open(store, segment)? {
        Opened::Scan(scan) => Some(scan),
        Opened::Unreadable => None,
    })
}

/// Whether anything of a segment can be read.
fn has_entry(store: &Store, segment: u32) -> Result<bool, BusError> {
    let Some(mut scan) = open_scan(store, segment)? else { return Ok(false) };
    let first = scan.next().map_err(|error| io_error("cannot read", &store.log_path(segment), error))?;
    Ok(matches!(first, Some(Found::Entry { .. } | Found::Damage { .. })))
}

impl Recovered {
    /// What an earlier process wrote and did not live to sync is shown from now on, and stages act on it: so it is made durable
    /// first, the segment's name too.
    fn make_durable(&self, store: &Store) -> Result<(), BusError> {
        let Some(active) = self.active.as_ref().filter(|_| safeguard("log-recovery-sync")) else { return Ok(()) };
        active.file.sync().map_err(|error| io_error("cannot sync", &store.log_path(active.segment), error))?;
        store.files().sync_dir(store.folder()).map_err(|error| io_error("cannot sync", store.folder(), error))
    }

    fn read(&mut self, store: &Store, segments: &[u32]) -> Result<(), BusError> {
        let newest = self.find_snapshot(store, segments)?;
        for &segment in &segments[..newest] {
            self.read_sealed(store, segment)?;
        }
        let (&last, sealed) = segments[newest..].split_last().unwrap_or((&segments[newest], &[]));
        for &segment in sealed {
            // The snapshot of a later segment is damaged: this one is read whole to have what that one should have said.
            let active = self.replay(store, segment, false)?;
            self.sealed.extend(active.map(|active| Sealed { segment, bytes: active.end, newest_ms: active.newest_ms }));
        }
        self.active = self.replay(store, last, true)?;
        Ok(())
    }

    /// The newest segment that begins with a readable snapshot, which is applied.
    fn find_snapshot(&mut self, store: &Store, segments: &[u32]) -> Result<usize, BusError> {
        for (at, &segment) in segments.iter().enumerate().rev() {
            let Some(mut scan) = open_scan(store, segment)? else { continue };
            for _ in 0..SNAPSHOT_COPIES {
                let next = scan.next().map_err(|error| io_error("cannot read", &store.log_path(segment), error))?;
                let Some(Found::Entry { items, .. }) = next else { continue };
                if matches!(items.first(), Some((Item::Snapshot, _))) {
                    for (item, place) in &items {
                        self.catalog.apply(item, *place);
                    }
                    return Ok(at);
                }
            }
        }
        Err(BusError::Unusable(format!(
            "no segment in {} begins with a readable snapshot: restore the folder from a copy, or move it away to begin anew",
            store.folder().display()
        )))
    }

    /// The batches of a segment before the snapshot, from its side file or, failing that, from itself.
    fn read_sealed(&mut self, store: &Store, segment: u32) -> Result<(), BusError> {
        let Some(mut scan) = open_scan(store, segment)? else {
            self.note(store, segment, 0..0);
            return Ok(());
        };
        scan.expect_holes();
        let allocated = scan.file().allocated().map_err(|error| io_error("cannot read", &store.log_path(segment), error))?;
        let side = match Side::read(store, segment, scan.length()) {
            Some(side) => side,
            None => self.rebuild_side(store, segment, &mut scan)?,
        };
        for SideSlot { topic, partition, slot } in &side.slots {
            if !self.catalog.by_id(*topic, *partition).is_some_and(|found| found.push(*slot)) {
                tracing::error!(segment, topic, partition, base = slot.base, "a batch of no known partition or order: stepped over");
            }
        }
        self.sealed.push(Sealed { segment, bytes: side.segment_bytes.min(allocated), newest_ms: side.newest_ms });
        Ok(())
    }

    fn rebuild_side(&mut self, store: &Store, segment: u32, scan: &mut SegmentScan) -> Result<Side, BusError> {
        tracing::info!(segment, "the segment's index is missing or damaged: made anew");
        let mut side = Side { segment_bytes: scan.length(), newest_ms: i64::MIN, slots: Vec::new() };
        while let Some(found) = scan.next().map_err(|error| io_error("cannot read", &store.log_path(segment), error))? {
            let items = match found {
                Found::Entry { header, items } => {
                    side.newest_ms = side.newest_ms.max(header.time_ms);
                    items
                }
                Found::Damage { bytes, items } => {
                    self.note(store, segment, bytes);
                    items.unwrap_or_default()
                }
                Found::Tail(start) => {
                    self.note(store, segment, start..scan.length());
                    Vec::new()
                }
            };
            side.slots.extend(items.iter().filter_map(|(item, place)| SideSlot::of(item, *place)));
        }
        side.write(store, segment)?;
        Ok(side)
    }

    /// Applies every entry of a segment; of the last one the torn tail is cut.
    fn replay(&mut self, store: &Store, segment: u32, last: bool) -> Result<Option<Active>, BusError> {
        let Some(mut scan) = open_scan(store, segment)? else {
            self.note(store, segment, 0..0);
            return Ok(None);
        };
        if !last {
            scan.expect_holes();
        }
        let (file, salt) = (scan.file(), scan.salt());
        let mut active = Active { segment, file, salt, end: scan.position(), newest_ms: i64::MIN, slots: Vec::new() };
        while let Some(found) = scan.next().map_err(|error| io_error("cannot read", &store.log_path(segment), error))? {
            match found {
                Found::Entry { header, items } => {
                    active.newest_ms = active.newest_ms.max(header.time_ms);
                    self.next_sequence = header.sequence + 1;
                    self.apply(&items, &mut active);
                }
                Found::Damage { bytes, items: Some(items) } => {
                    self.note(store, segment, bytes);
                    self.apply(&items, &mut active);
                }
                Found::Damage { bytes, items: None } => {
                    self.skip_offsets(bytes.end - bytes.start);
                    self.note(store, segment, bytes);
                }
                Found::Tail(start) if last => {
                    cut(store, &active, start, scan.length())?;
                    break;
                }
                Found::Tail(start) => self.note(store, segment, start..scan.length()),
            }
            active.end = scan.position();
        }
        Ok(Some(active))
    }

    fn apply(&mut self, items: &[(Item, Place)], active: &mut Active) {
        let snapshot = matches!(items.first(), Some((Item::Snapshot, _)));
        for (item, place) in items {
            self.replaced.extend(reclaim::replaced(&self.catalog, item));
            let applied = self.catalog.apply(item, *place);
            if !applied && !snapshot {
                tracing::error!(segment = active.segment, ?item, "makes no sense here: stepped over");
            }
            active.slots.extend(SideSlot::of(item, *place).filter(|_| applied));
        }
    }

    /// Records may have been lost, of any partition: their offsets must not be given to others.
    fn skip_offsets(&self, lost_bytes: u64) {
        let skipped = (lost_bytes.saturating_mul(OFFSETS_PER_LOST_BYTE)).min(1 << 40) as i64;
        self.catalog.partitions().for_each(|partition| partition.advance_end(partition.end() + skipped));
    }

    fn note(&mut self, store: &Store, segment: u32, bytes: Range<u64>) {
        let file = store.log_path(segment);
        metrics::counter!("tidemill_bus_damaged_frames_total").increment(1);
        tracing::error!(file = %file.display(), position = bytes.start, length = bytes.end - bytes.start, "damaged: these bytes are stepped over");
        self.damage.push(Damage { file, bytes });
    }
}

fn cut(store: &Store, active: &Active, start: u64, length: u64) -> Result<(), BusError> {
    let path = store.log_path(active.segment);
    tracing::warn!(file = %path.display(), position = start, bytes = length - start, "cut a torn tail: it was never confirmed");
    active.file.set_len(start).and_then(|()| active.file.sync()).map_err(|error| io_error("cannot cut", &path, error))
}
