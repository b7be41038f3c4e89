//! What a file of the double holds: as programs see it, as the disk has it, and what lies between.

use std::time::SystemTime;

/// Sectors are written whole or not at all.
const SECTOR_BYTES: usize = 512;

/// The content of a file.
#[derive(Clone, Debug)]
pub(super) struct Data {
    pub(super) seen: Vec<u8>,
    pub(super) modified: SystemTime,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Default for Data {
    fn default() -> Self {
        Self::durable(Vec::new())
    }
}

impl Data {
    /// A file that is on the disk.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), modified: SystemTime::now(), durable: bytes, unsynced: Vec::new() }
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let offset = offset as usize;
        write_at(&mut self.seen, offset, bytes);
        self.modified = SystemTime::now();
        self.unsynced.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_len(&mut self, length: u64) {
        self.seen.resize(length as usize, 0);
        self.modified = SystemTime::now();
        self.unsynced.push(Change::Length(length as usize));
    }

    pub(super) fn sync(&mut self) {
        // Only what changed: a log is synced after every entry.
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { offset, bytes } => write_at(&mut self.durable, offset, &bytes),
                Change::Length(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// A failed sync: what it should have made durable never will be.
    pub(super) fn lose(&mut self) {
        self.unsynced.clear();
    }

    /// Inverts a byte, on the disk too.
    pub(super) fn flip(&mut self, offset: usize) {
        self.seen[offset] ^= 0xff;
        self.durable = self.seen.clone();
        self.unsynced.clear();
    }

    /// What the disk holds when each unsynced sector is asked after.
    pub(super) fn after(&self, mut kept: impl FnMut() -> bool) -> Self {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match change {
                Change::Length(length) if kept() => bytes.resize(*length, 0),
                Change::Length(_) => {}
                Change::Write { offset, bytes: written } => {
                    let mut at = *offset;
                    for sector in sectors(*offset, written) {
                        if kept() {
                            write_at(&mut bytes, at, sector);
                        }
                        at += sector.len();
                    }
                }
            }
        }
        Self { modified: self.modified, ..Self::durable(bytes) }
    }
}

/// The pieces of a write that lie in one sector each.
fn sectors(offset: usize, mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut room = SECTOR_BYTES - offset % SECTOR_BYTES;
    while !bytes.is_empty() {
        let (sector, rest) = bytes.split_at(room.min(bytes.len()));
        found.push(sector);
        bytes = rest;
        room = SECTOR_BYTES;
    }
    found
}

fn write_at(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if into.len() < offset + bytes.len() {
        into.resize(offset + bytes.len(), 0);
    }
    into[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// A small generator (splitmix64): the seed decides all.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn throw(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 63) == 1
    }
}
