//! Named places where tests end the process, and safeguards that tests can take away.
//!
//! Both need the cargo feature `faults`, which the `tests` crate turns on: `cargo build --workspace` makes a test build. In a
//! product build (`cargo build -p tidemill`) [`crash_point`] is empty and [`safeguard`] is `true`, and nothing of them is left.
//!
//! From outside, `TIDEMILL_CRASH_AT=NAME[:NTH]` kills the process when it comes to the point for the nth time, as `kill -9` does,
//! and `TIDEMILL_SAFEGUARD_OFF=NAME,...` takes safeguards away. Within a process `faults::at_crash_point` and `faults::without` do.

/// Every crash point. The crash runs come to each of them, and `tests/tests/spool.rs` to what they do not meet.
pub const CRASH_POINTS: &[CrashPoint] = &[
    point("step-before-commit", Where::Everywhere, "everything of a step is handed to the bus, and it is not committed"),
    point("step-after-commit", Where::Everywhere, "a step is committed, and nobody was told"),
    point("log-before-sync", Where::Embedded, "an entry of the log is written and not synced"),
    point("log-after-sync", Where::Embedded, "an entry of the log is durable, and nobody was told"),
    point("log-roll-index", Where::Embedded, "the index of a full segment is written, the next segment is not there yet"),
    point("log-roll-segment", Where::Embedded, "the next segment is written, its name is not durable"),
    point("log-retention", Where::Embedded, "what an old segment still holds is carried forward, the segment is not removed"),
    point("checkpoint", Where::Everywhere, "the state of a plugin was taken for a step that is not committed"),
    point("restore", Where::Everywhere, "a new instance of a plugin has its state back and has done nothing"),
    point("outbox-before-attempt", Where::Everywhere, "a delivery is saved and was not attempted"),
    point("outbox-after-attempt", Where::Everywhere, "a delivery was confirmed by its target, and the position has not moved"),
    point("lake-before-commit", Where::Everywhere, "the data files of a Delta commit are durable, the commit is not written"),
    point("lake-after-commit", Where::Everywhere, "a Delta commit is written and not synced"),
    point("lake-before-position", Where::Everywhere, "a Delta commit is durable, and the position has not moved"),
    point("lake-compaction", Where::Everywhere, "small files are merged, the commit that replaces them is not written"),
    point("lake-compacted", Where::Everywhere, "a compaction is committed and not synced"),
    point("spool-before-position", Where::Elsewhere, "the bus confirmed what the spool's drain published, and the position has not moved"),
    point("lake-checkpoint", Where::Everywhere, "a checkpoint of a table's log is written and not synced"),
];

/// Every safeguard that can be taken away. A test shows that the suite fails without it.
pub const SAFEGUARDS: &[&str] = &[
    "log-sync",
    "log-folder-sync",
    "log-recovery-sync",
    "log-crc",
    "step-whole",
    "group-fence",
    "step-undo",
    "dedupe-undo",
    "lake-sync",
    "lake-watermark",
    "outbox-position",
    "delivery-key",
];

/// A named place where tests end the process.
#[derive(Clone, Copy, Debug)]
pub struct CrashPoint {
    /// As [`crash_point`] is given it.
    pub name: &'static str,
    /// Which installations come to it.
    pub on: Where,
    /// What has happened there and what has not.
    pub what: &'static str,
}

/// Which installations come to a crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// All.
    Everywhere,
    /// Those on the embedded log.
    Embedded,
    /// None whose bus is there all the time: `tests/tests/spool.rs` cuts there.
    Elsewhere,
}

const fn point(name: &'static str, on: Where, what: &'static str) -> CrashPoint {
    CrashPoint { name, on, what }
}

/// A place where a test may end the process: one of [`CRASH_POINTS`].
#[inline(always)]
pub fn crash_point(name: &'static str) {
    #[cfg(any(test, feature = "faults"))]
    crate::faults::reach(name);
    #[cfg(not(any(test, feature = "faults")))]
    let _ = name;
}

/// Whether a safeguard, one of [`SAFEGUARDS`], is in force: always, but where a test took it away.
#[inline(always)]
pub fn safeguard(name: &'static str) -> bool {
    #[cfg(any(test, feature = "faults"))]
    return crate::faults::is_in_force(name);
    #[cfg(not(any(test, feature = "faults")))]
    {
        let _ = name;
        true
    }
}
