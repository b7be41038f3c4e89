//! Reads the records of a partition from a position on.

use super::{
    gather::Gathered,
    index::{Partition, Slot},
    shared::Shared,
    store::{FrameError, io_error},
};
use crate::{BusError, FetchedBatch, Records};
use std::io;

/// The records from `position` on, about `fetch_bytes_max` of them; `position` moves behind them. `None` at the end. Damaged batches
/// are stepped over: they were reported when they were found.
pub(super) fn fetch(shared: &Shared, partition: &Partition, position: &mut i64) -> Result<Option<FetchedBatch>, BusError> {
    loop {
        let range = partition.range();
        if *position < range.start || *position > range.end {
            let (partition, position) = (partition.name.clone(), *position);
            return Err(BusError::OutOfRange { partition, position, start: range.start, end: range.end });
        }
        let slots = partition.slots_from(*position, shared.options.fetch_bytes_max);
        if slots.is_empty() {
            return Ok(None);
        }
        match read(shared, partition, &slots, position)? {
            Some(batch) => return Ok(Some(batch)),
            None => continue,
        }
    }
}

/// Reads these batches; `None` where none of them could be read (the position moved, or retention was quicker).
fn read(shared: &Shared, partition: &Partition, slots: &[Slot], position: &mut i64) -> Result<Option<FetchedBatch>, BusError> {
    let mut gathered = Gathered::new(&shared.store, slots);
    for slot in slots {
        match gathered.read(&shared.store, slot, *position) {
            // A batch that cannot hold as many records as it states is damaged, however right its checksum is.
            Ok(piece) if slot.count == 0 || !piece.can_hold(slot.count) => {}
            Ok(piece) => {
                if gathered.len() > 0 && gathered.len() + piece.len() > shared.options.fetch_bytes_max {
                    break;
                }
                gathered.take(piece, slot.base.max(*position)..slot.end());
            }
            Err(FrameError::Damaged) => {}
            Err(_) if gathered.len() > 0 => break,
            Err(FrameError::Gone) if partition.range().start > slot.base => return Ok(None),
            Err(FrameError::Gone) => {
                return Err(io_error("cannot read", &shared.store.log_path(slot.segment), io::ErrorKind::NotFound.into()));
            }
            Err(FrameError::Io(error)) => return Err(error),
        }
        *position = slot.end();
    }
    Ok(gathered.finish().map(|(offsets, bytes)| FetchedBatch { partition: partition.name.clone(), offsets, bytes }))
}

/// The offset of the first record at or after this time, the end where there is none.
pub(super) fn offset_at_time(shared: &Shared, partition: &Partition, time_ms: i64) -> Result<i64, BusError> {
    let Some(slot) = partition.slot_at_time(time_ms) else { return Ok(partition.end()) };
    match shared.store.read_frame(slot.place()) {
        Ok(bytes) => {
            let before = Records::new(&bytes).take_while(|record| record.timestamp_ms < time_ms).count();
            Ok(slot.base + before as i64)
        }
        Err(FrameError::Io(error)) => Err(error),
        Err(FrameError::Damaged | FrameError::Gone) => Ok(slot.base.max(partition.range().start)),
    }
}
