//! Every limit of the embedded log, by name.

use crate::BusError;
use std::{path::PathBuf, time::Duration};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Where the log lies and its limits.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The folder, made where it is missing. One process at a time.
    pub folder: PathBuf,
    /// A segment is sealed at this size and deleted as a whole. Default 128 MiB: at 70 MiB/s one every two seconds, 128 of them within
    /// [`Self::retention_bytes`]. At most 1 GiB, because positions within a segment are 32 bits.
    pub segment_bytes: u64,
    /// What may wait for the writer; beyond it [`crate::Bus::publish`] is refused with [`BusError::Full`]. Default 64 MiB: about a
    /// second at 70 MiB/s.
    pub queue_bytes_max: usize,
    /// What a group commit gathers before it is written. Default 8 MiB.
    pub group_bytes_max: usize,
    /// A segment whose newest entry is older is deleted. Default 7 days.
    pub retention_age: Duration,
    /// The oldest segments beyond this many bytes in all, checkpoints not counted, are deleted. Default 16 GiB.
    pub retention_bytes: u64,
    /// Groups whose unread records keep segments alive beyond age and bytes. Default none.
    pub declared_groups: Vec<DeclaredGroup>,
    /// Up to this many bytes in all, checkpoints not counted; then the slowest declared group is cut loose, loudly, and gets [`BusError::OutOfRange`].
    /// Default 64 GiB.
    pub pinned_bytes_max: u64,
    /// With so many bytes in all, publishing is refused with [`BusError::Full`] until old segments go: for a log that must neither
    /// grow nor cut anybody loose. Default without bound.
    pub bytes_max: u64,
    /// The writer rests for so long after each group: what comes meanwhile becomes one batch, of which memory holds 32 bytes each.
    /// Default zero.
    pub group_interval: Duration,
    /// With less free on the disk, publishing is refused with [`BusError::Full`]; steps, which let consumers advance and old segments
    /// go, are refused below a quarter of it. Default 256 MiB.
    pub reserve_bytes: u64,
    /// A member that has not polled for so long while others wait for its partitions loses them. Default 60 s.
    pub session_timeout: Duration,
    /// Decompressed batches kept for the other readers of the same partitions. Default 32 MiB.
    pub cache_bytes_max: usize,
    /// Segments held open at once. Default 1,000.
    pub open_files_max: usize,
    /// What one poll returns, unless a single batch is larger. Default 1 MiB.
    pub fetch_bytes_max: usize,
}

/// A group that retention waits for.
#[derive(Clone, Debug)]
pub struct DeclaredGroup {
    /// The group.
    pub group: String,
    /// The topics it reads; a partition it has no position in counts as unread.
    pub topics: Vec<String>,
}

impl EmbeddedOptions {
    /// The defaults, in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            segment_bytes: 128 * MIB,
            queue_bytes_max: 64 << 20,
            group_bytes_max: 8 << 20,
            retention_age: Duration::from_secs(7 * 24 * 3600),
            retention_bytes: 16 * GIB,
            declared_groups: Vec::new(),
            pinned_bytes_max: 64 * GIB,
            bytes_max: u64::MAX,
            group_interval: Duration::ZERO,
            reserve_bytes: 256 * MIB,
            session_timeout: Duration::from_secs(60),
            cache_bytes_max: 32 << 20,
            open_files_max: 1000,
            fetch_bytes_max: 1 << 20,
        }
    }

    pub(super) fn check(&self) -> Result<(), BusError> {
        if self.segment_bytes > GIB {
            return Err(BusError::Unusable(format!("segment_bytes is {} and may be at most {GIB}", self.segment_bytes)));
        }
        Ok(())
    }
}
