//! Gives back the disk space of checkpoints that were replaced.
//!
//! A state of megabytes that is saved with every step would fill the log with versions that nobody reads: retention counts them like
//! records, so records would go early. When a segment is sealed, the frames of replaced checkpoints in it become holes: positions
//! stay, nothing is written anew, and the log is as long as before but takes no room. Where the file system knows no holes, retention
//! alone remains.
//!
//! A process that dies between the sealing and the holes leaves the space of one segment to retention.

use super::{
    catalog::Catalog,
    format::{Item, Place},
    writer::Writer,
};

/// Smaller frames are not worth a hole: file systems give space back in blocks of 4 KiB.
const HOLE_BYTES_MIN: u32 = 32 << 10;

/// The place of the checkpoint that this item replaces or forgets, if it is worth a hole. Asked before the item is applied.
pub(super) fn replaced(catalog: &Catalog, item: &Item) -> Option<Place> {
    let (Item::Checkpoint { group, key, .. } | Item::Forget { group, key }) = item else { return None };
    catalog.checkpoint(group, key).filter(|place| place.length >= HOLE_BYTES_MIN)
}

impl Writer {
    /// Makes holes of what was replaced in sealed segments; what lies in the active one waits.
    pub(super) fn reclaim(&mut self) {
        let active = self.active.segment;
        let (waiting, dead): (Vec<Place>, Vec<Place>) =
            std::mem::take(&mut self.replaced).into_iter().partition(|place| place.segment == active);
        self.replaced = waiting;
        for place in dead {
            // A segment that retention has taken is not there any more.
            let Some(sealed) = self.sealed.iter_mut().find(|sealed| sealed.segment == place.segment) else { continue };
            let done = self.shared.store.open(place.segment, false).and_then(|file| {
                file.punch(u64::from(place.position), u64::from(place.length))?;
                file.allocated()
            });
            match done {
                Ok(allocated) => sealed.bytes = sealed.bytes.min(allocated),
                Err(error) => tracing::warn!(segment = place.segment, %error, "the space of a replaced checkpoint was not given back"),
            }
        }
    }
}
