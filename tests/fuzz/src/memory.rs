//! What an input may make a target hold, and the allocator that counts it.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What one input of some KB may make a target hold at once. The largest is a document of 1 MiB and what is made of it, or a matcher's
/// pattern.
pub const BYTES_MAX: isize = 64 << 20;

/// A log may state topics of 65,536 partitions, of some hundred bytes each.
pub const LOG_BYTES_MAX: isize = 512 << 20;

/// Runs the target on an input; what it held at most.
///
/// # Panics
/// Where that is more than `bytes_max`, or the target does.
pub fn within(bytes_max: isize, bytes: &[u8], target: impl FnOnce(&[u8])) -> isize {
    let before = LIVE.get();
    PEAK.set(before);
    target(bytes);
    let taken = PEAK.get() - before;
    assert!(taken <= bytes_max, "{taken} bytes of memory for an input of {}", bytes.len());
    taken
}

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends may allocate after its counters are gone.
    let live = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        live.get()
    });
    let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.unwrap_or(0))));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
