//! Memory for what is read, used again and again: fresh pages of the system cost as much as the reading.

use parking_lot::Mutex;
use std::sync::Arc;

/// Smaller buffers come from the allocator, which has such pieces at hand.
const POOLED_BYTES_MIN: usize = 128 << 10;
/// So many buffers are kept while nobody uses them.
const KEPT_MAX: usize = 8;

/// Buffers that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    kept: Mutex<Vec<Vec<u8>>>,
    /// The largest that is kept.
    bytes_max: usize,
}

/// A buffer of some length, given back when it is dropped. What is in it is arbitrary.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    from: Arc<Buffers>,
}

impl Buffers {
    /// Of which none is kept that is larger.
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), bytes_max })
    }

    /// A buffer of at least so many bytes; not many more, because who holds a few records holds all of it.
    pub(super) fn get(self: &Arc<Self>, bytes: usize) -> Buffer {
        let fits = |kept: &Vec<u8>| kept.len() >= bytes && kept.len() / 2 <= bytes;
        let found = match bytes {
            POOLED_BYTES_MIN.. => {
                let mut kept = self.kept.lock();
                kept.iter().position(fits).map(|at| kept.swap_remove(at))
            }
            _ => None,
        };
        Buffer { bytes: found.unwrap_or_else(|| vec![0; bytes]), from: Arc::clone(self) }
    }
}

impl Buffer {
    /// Makes it so long; what is in it stays.
    pub(super) fn grow(&mut self, bytes: usize) {
        if self.bytes.len() < bytes {
            self.bytes.resize(bytes, 0);
        }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !(POOLED_BYTES_MIN..=self.from.bytes_max).contains(&self.bytes.len()) {
            return;
        }
        let mut kept = self.from.kept.lock();
        if kept.len() < KEPT_MAX {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_used_again_and_small_or_huge_ones_are_not() {
        let buffers = Buffers::new(1 << 20);
        let check = |first: usize, then: usize, is_same: bool| {
            buffers.kept.lock().clear();
            let mut buffer = buffers.get(first);
            buffer[0] = 7;
            drop(buffer);
            let again = buffers.get(then);
            assert!(again.len() >= then);
            assert_eq!(again[0] == 7, is_same, "{first} bytes, then {then}");
        };
        check(1 << 20, 1 << 20, true);
        check(1 << 20, 600 << 10, true);
        check(1 << 20, 200 << 10, false);
        check(600 << 10, 1 << 20, false);
        check(1 << 10, 1 << 10, false);
        check(2 << 20, 2 << 20, false);
    }

    #[test]
    fn only_some_are_kept() {
        let buffers = Buffers::new(1 << 20);
        let many: Vec<_> = (0..50).map(|_| buffers.get(1 << 20)).collect();
        drop(many);
        assert_eq!(buffers.kept.lock().len(), KEPT_MAX);
    }
}
