//! The memory of large record buffers, used again by the thread that fills them: a fresh one costs a page fault every 4 KiB, which
//! is more than copying the records into it.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

/// Smaller buffers come from the allocator's own stock.
const BYTES_MIN: usize = 256 << 10;
/// What a thread keeps. 32 MiB: the buffers of a step of 16 MiB, which grew by doubling.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// What this thread keeps; `None` until it asks for the first time, so that a thread that only drops buffers keeps nothing.
type Stock = Option<Vec<Vec<u8>>>;

thread_local! {
    static STOCK: RefCell<Stock> = const { RefCell::new(None) };
}

/// Bytes whose memory goes back to the stock of the thread that drops it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Vec<u8>);

impl Memory {
    /// Empty, with memory of the stock where there is some.
    pub(crate) fn of_stock() -> Self {
        // Where the thread is ending there is no stock.
        Self(STOCK.try_with_borrow_mut(|stock| stock.get_or_insert_default().pop()).unwrap_or_default())
    }

    /// Whether it is large enough for the stock.
    pub(crate) fn is_large(&self) -> bool {
        self.0.capacity() >= BYTES_MIN
    }

    /// The bytes, which leave the stock for good.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.is_large() {
            STOCK.try_with_borrow_mut(|stock| stock.as_mut().map(|stock| keep(stock, std::mem::take(&mut self.0))));
        }
    }
}

fn keep(stock: &mut Vec<Vec<u8>>, mut bytes: Vec<u8>) {
    let kept: usize = stock.iter().map(Vec::capacity).sum();
    if kept + bytes.capacity() <= KEPT_BYTES_MAX {
        bytes.clear();
        stock.push(bytes);
    }
}

/// As `with_borrow_mut`, but `None` where the thread is ending.
trait TryBorrow<T> {
    fn try_with_borrow_mut<R>(&'static self, act: impl FnOnce(&mut T) -> Option<R>) -> Option<R>;
}

impl<T> TryBorrow<T> for std::thread::LocalKey<RefCell<T>> {
    fn try_with_borrow_mut<R>(&'static self, act: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
        self.try_with(|cell| cell.try_borrow_mut().ok().and_then(|mut value| act(&mut value))).ok().flatten()
    }
}

impl Deref for Memory {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large(bytes: usize) -> Memory {
        Memory(Vec::with_capacity(bytes))
    }

    /// On a thread of its own, whose stock is empty.
    fn alone(test: impl FnOnce() + Send + 'static) {
        assert!(std::thread::spawn(test).join().is_ok());
    }

    #[test]
    fn a_thread_that_asks_gets_its_large_buffers_back() {
        alone(|| {
            assert_eq!(Memory::of_stock().capacity(), 0);
            let mut dropped = large(BYTES_MIN);
            dropped.extend_from_slice(b"old");
            let place = dropped.as_ptr();
            drop(dropped);
            drop(large(BYTES_MIN - 1));
            let again = Memory::of_stock();
            assert_eq!((again.as_ptr(), again.len()), (place, 0));
            assert_eq!(Memory::of_stock().capacity(), 0, "small ones are not kept, and none is given twice");
        });
    }

    #[test]
    fn what_a_thread_keeps_is_bounded() {
        alone(|| {
            drop(Memory::of_stock());
            drop((large(KEPT_BYTES_MAX / 2), large(KEPT_BYTES_MAX / 2), large(BYTES_MIN)));
            let kept = std::iter::from_fn(|| Some(Memory::of_stock()).filter(Memory::is_large)).collect::<Vec<_>>();
            assert_eq!(kept.len(), 2);
        });
    }

    #[test]
    fn a_thread_that_never_asks_keeps_nothing() {
        alone(|| {
            drop(large(BYTES_MIN));
            assert!(STOCK.with_borrow(Option::is_none));
        });
    }
}
