//! What the bodies of all open requests may take together.

use std::sync::atomic::{AtomicU64, Ordering};

/// The room for bodies, counted in bytes.
pub(crate) struct Room {
    held: AtomicU64,
    most: u64,
}

/// What one request holds; given back when it is dropped.
pub(crate) struct Share<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    pub(crate) fn new(most: u64) -> Self {
        Self { held: AtomicU64::new(0), most }
    }

    pub(crate) fn share(&self) -> Share<'_> {
        Share { room: self, bytes: 0 }
    }
}

impl Share<'_> {
    /// Takes more; `false` where there is no room for it.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.room.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.room.most
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let room = Room::new(10);
        let (mut first, mut second) = (room.share(), room.share());
        assert!(first.grow(4) && first.grow(2) && second.grow(4));
        assert!(!second.grow(1), "full");
        drop(first);
        assert!(second.grow(5));
        drop(second);
        assert!(room.share().grow(10));
    }
}
